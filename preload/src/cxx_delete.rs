//! C++'s `operator delete`, in all its forms.
//!
//! A form that knows a size or an alignment is refused if the block is another, unless the program has a form of its
//! own: then every form ends there, as the standard demands.
#![allow(non_snake_case, reason = "mangled names")]

use core::ffi::c_void;

use mems::Misuse;
use mems::internal::c::{self, C_ALIGN};

use crate::{engine, program};

/// `operator delete(void*)`.
#[unsafe(export_name = "_ZdlPv")]
pub(crate) extern "C" fn delete(pointer: *mut c_void) {
    program::free(pointer);
}

/// `operator delete[](void*)`.
#[unsafe(export_name = "_ZdaPv")]
pub(crate) extern "C" fn delete_array(pointer: *mut c_void) {
    if program::has_our_cxx() { engine::free(pointer) } else { program::delete(pointer) }
}

/// `operator delete(void*, std::align_val_t)`.
#[unsafe(export_name = "_ZdlPvSt11align_val_t")]
pub(crate) extern "C" fn delete_aligned(pointer: *mut c_void, align: usize) {
    if !program::has_our_c() || is_aligned(pointer, align) {
        program::free(pointer);
    }
}

/// `operator delete[](void*, std::align_val_t)`.
#[unsafe(export_name = "_ZdaPvSt11align_val_t")]
pub(crate) extern "C" fn delete_array_aligned(pointer: *mut c_void, align: usize) {
    if program::has_our_cxx() {
        if is_aligned(pointer, align) {
            engine::free(pointer);
        }
    } else {
        program::delete_aligned(pointer, align);
    }
}

/// `operator delete(void*, std::size_t)`.
#[unsafe(no_mangle)]
extern "C" fn _ZdlPvm(pointer: *mut c_void, size: usize) {
    if program::has_our_cxx() {
        engine::free_sized(pointer, size);
    } else {
        program::delete(pointer);
    }
}

/// `operator delete[](void*, std::size_t)`.
#[unsafe(no_mangle)]
extern "C" fn _ZdaPvm(pointer: *mut c_void, size: usize) {
    if program::has_our_cxx() {
        engine::free_sized(pointer, size);
    } else {
        program::delete_array(pointer);
    }
}

/// `operator delete(void*, std::size_t, std::align_val_t)`.
#[unsafe(no_mangle)]
extern "C" fn _ZdlPvmSt11align_val_t(pointer: *mut c_void, size: usize, align: usize) {
    if program::has_our_cxx() {
        delete_sized_aligned(pointer, size, align);
    } else {
        program::delete_aligned(pointer, align);
    }
}

/// `operator delete[](void*, std::size_t, std::align_val_t)`.
#[unsafe(no_mangle)]
extern "C" fn _ZdaPvmSt11align_val_t(pointer: *mut c_void, size: usize, align: usize) {
    if program::has_our_cxx() {
        delete_sized_aligned(pointer, size, align);
    } else {
        program::delete_array_aligned(pointer, align);
    }
}

/// `operator delete(void*, const std::nothrow_t&)`.
#[unsafe(no_mangle)]
extern "C" fn _ZdlPvRKSt9nothrow_t(pointer: *mut c_void, _nothrow: *const c_void) {
    program::delete(pointer);
}

/// `operator delete[](void*, const std::nothrow_t&)`.
#[unsafe(no_mangle)]
extern "C" fn _ZdaPvRKSt9nothrow_t(pointer: *mut c_void, _nothrow: *const c_void) {
    program::delete_array(pointer);
}

/// `operator delete(void*, std::align_val_t, const std::nothrow_t&)`.
#[unsafe(no_mangle)]
extern "C" fn _ZdlPvSt11align_val_tRKSt9nothrow_t(
    pointer: *mut c_void,
    align: usize,
    _nothrow: *const c_void,
) {
    program::delete_aligned(pointer, align);
}

/// `operator delete[](void*, std::align_val_t, const std::nothrow_t&)`.
#[unsafe(no_mangle)]
extern "C" fn _ZdaPvSt11align_val_tRKSt9nothrow_t(
    pointer: *mut c_void,
    align: usize,
    _nothrow: *const c_void,
) {
    program::delete_array_aligned(pointer, align);
}

/// Whether a block begins at a multiple of the alignment that it was asked for with. A report if not.
fn is_aligned(pointer: *mut c_void, align: usize) -> bool {
    let address = pointer.addr();
    let is_aligned = address.is_multiple_of(align);
    if !is_aligned {
        c::refuse(&Misuse::misaligned(address, None, None));
    }
    is_aligned
}

/// Takes back a block of the aligned `operator new`, which has rounded the size up to the alignment, as libstdc++ and
/// libc++ do today, or has not, as they did.
fn delete_sized_aligned(pointer: *mut c_void, size: usize, align: usize) {
    if !is_aligned(pointer, align) {
        return;
    }
    let align = align.max(C_ALIGN);
    let is_rounded = size.checked_next_multiple_of(align).is_some_and(|rounded| {
        !pointer.is_null()
            && engine::release(pointer.addr(), Some(c::layout(rounded, align))).is_ok()
    });
    if !is_rounded {
        engine::release_or_refuse(pointer.addr(), Some(c::layout(size, align)));
    }
}
