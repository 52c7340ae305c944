//! C++'s `operator new`, in all its forms. What it takes, `operator delete` gives back, whichever library it is for.
//!
//! Where there is no memory the next `operator new` is called, libstdc++'s: it asks the program's new-handler for some,
//! tries again, and throws at last. A form that the program has not replaced ends in the one that it has, as the
//! standard demands.
#![allow(non_snake_case, reason = "mangled names")]

use core::ffi::{CStr, c_void};
use core::ptr;

use mems::internal::c::{self, C_ALIGN};

use crate::{engine, next, program};

/// A function that is given a size.
pub(crate) type New = extern "C-unwind" fn(usize) -> *mut c_void;
/// A function that is given a size and an alignment.
pub(crate) type NewAligned = extern "C-unwind" fn(usize, usize) -> *mut c_void;
/// Either that does not throw; `std::nothrow` comes last.
type NewOrNull = extern "C" fn(usize, *const c_void) -> *mut c_void;
type NewAlignedOrNull = extern "C" fn(usize, usize, *const c_void) -> *mut c_void;

/// `operator new(std::size_t)`.
#[unsafe(export_name = "_Znwm")]
pub(crate) extern "C-unwind" fn new(size: usize) -> *mut c_void {
    if program::has_our_c()
        && let Some(start) = c::hand_out(size)
    {
        return start.cast();
    }
    new_slow(size, c"_Znwm")
}

/// `operator new[](std::size_t)`.
#[unsafe(export_name = "_Znam")]
pub(crate) extern "C-unwind" fn new_array(size: usize) -> *mut c_void {
    if !program::has_our_cxx() {
        return program::new(size);
    }
    match c::hand_out(size) {
        Some(start) => start.cast(),
        None => new_slow(size, c"_Znam"),
    }
}

/// `operator new(std::size_t, std::align_val_t)`.
#[unsafe(export_name = "_ZnwmSt11align_val_t")]
pub(crate) extern "C-unwind" fn new_aligned(size: usize, align: usize) -> *mut c_void {
    new_aligned_slow(size, align, c"_ZnwmSt11align_val_t")
}

/// `operator new[](std::size_t, std::align_val_t)`.
#[unsafe(export_name = "_ZnamSt11align_val_t")]
pub(crate) extern "C-unwind" fn new_array_aligned(size: usize, align: usize) -> *mut c_void {
    if program::has_our_cxx() {
        new_aligned_slow(size, align, c"_ZnamSt11align_val_t")
    } else {
        program::new_aligned(size, align)
    }
}

/// `operator new(std::size_t, const std::nothrow_t&)`.
#[unsafe(no_mangle)]
extern "C" fn _ZnwmRKSt9nothrow_t(size: usize, nothrow: *const c_void) -> *mut c_void {
    new_or_null(size, nothrow, c"_ZnwmRKSt9nothrow_t")
}

/// `operator new[](std::size_t, const std::nothrow_t&)`.
#[unsafe(no_mangle)]
extern "C" fn _ZnamRKSt9nothrow_t(size: usize, nothrow: *const c_void) -> *mut c_void {
    new_or_null(size, nothrow, c"_ZnamRKSt9nothrow_t")
}

/// `operator new(std::size_t, std::align_val_t, const std::nothrow_t&)`.
#[unsafe(no_mangle)]
extern "C" fn _ZnwmSt11align_val_tRKSt9nothrow_t(
    size: usize,
    align: usize,
    nothrow: *const c_void,
) -> *mut c_void {
    new_aligned_or_null(size, align, nothrow, c"_ZnwmSt11align_val_tRKSt9nothrow_t")
}

/// `operator new[](std::size_t, std::align_val_t, const std::nothrow_t&)`.
#[unsafe(no_mangle)]
extern "C" fn _ZnamSt11align_val_tRKSt9nothrow_t(
    size: usize,
    align: usize,
    nothrow: *const c_void,
) -> *mut c_void {
    new_aligned_or_null(size, align, nothrow, c"_ZnamSt11align_val_tRKSt9nothrow_t")
}

/// A block of at least one byte, as libstdc++ has it. `None` where the functions behind this are not ours, there is no
/// memory, or nothing can be aligned so.
fn served(is_ours: bool, size: usize, align: usize) -> Option<*mut c_void> {
    if !is_ours || !align.is_power_of_two() {
        return None;
    }
    engine::allocate(size.max(1), align.max(C_ALIGN)).map(|start| start.as_ptr().cast())
}

#[cold]
#[inline(never)]
fn new_slow(size: usize, name: &CStr) -> *mut c_void {
    if let Some(start) = served(program::has_our_c(), size, C_ALIGN) {
        return start;
    }
    // SAFETY: a function of that name is one of that type.
    let next = unsafe { next::function::<New>(name) };
    next.map_or_else(nobody_throws, |next| next(size))
}

fn new_aligned_slow(size: usize, align: usize, name: &CStr) -> *mut c_void {
    if let Some(start) = served(program::has_our_c(), size, align) {
        return start;
    }
    // SAFETY: a function of that name is one of that type.
    let next = unsafe { next::function::<NewAligned>(name) };
    next.map_or_else(nobody_throws, |next| next(size, align))
}

fn new_or_null(size: usize, nothrow: *const c_void, name: &CStr) -> *mut c_void {
    if let Some(start) = served(program::has_our_cxx(), size, C_ALIGN) {
        return start;
    }
    // SAFETY: a function of that name is one of that type.
    let next = unsafe { next::function::<NewOrNull>(name) };
    next.map_or(ptr::null_mut(), |next| next(size, nothrow))
}

fn new_aligned_or_null(
    size: usize,
    align: usize,
    nothrow: *const c_void,
    name: &CStr,
) -> *mut c_void {
    if let Some(start) = served(program::has_our_cxx(), size, align) {
        return start;
    }
    // SAFETY: a function of that name is one of that type.
    let next = unsafe { next::function::<NewAlignedOrNull>(name) };
    next.map_or(ptr::null_mut(), |next| next(size, align, nothrow))
}

/// There is no memory, and no library that could throw.
fn nobody_throws() -> *mut c_void {
    // SAFETY: no preconditions.
    unsafe { libc::abort() }
}
