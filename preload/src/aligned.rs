//! Blocks with an alignment of their own.

use core::ffi::{c_int, c_void};

use mems::internal::c::C_ALIGN;
use mems::os::{Os, System};

use crate::engine;
use crate::errno::{null_because, or_no_memory};

/// A block aligned to a power of two.
fn aligned(align: usize, size: usize) -> *mut c_void {
    or_no_memory(engine::allocate(size, align.max(C_ALIGN)))
}

/// `size` bytes at a multiple of `align`, a power of two: else `EINVAL`.
#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    if align.is_power_of_two() { aligned(align, size) } else { null_because(libc::EINVAL) }
}

/// As `aligned_alloc`, but rounds the alignment up to a power of two, as glibc does.
#[unsafe(no_mangle)]
extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
    match align.checked_next_power_of_two() {
        Some(align) => aligned(align, size),
        None => null_because(libc::EINVAL),
    }
}

/// Puts a block at a multiple of `align`, a power of two and at least a pointer's size, into `place`. Returns the
/// error, and leaves `errno` and, in case of an error, `place` alone.
///
/// # Safety
///
/// `place` may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(place: *mut *mut c_void, align: usize, size: usize) -> c_int {
    if !align.is_power_of_two() || align < size_of::<*mut c_void>() {
        return libc::EINVAL;
    }
    match engine::allocate(size, align.max(C_ALIGN)) {
        Some(start) => {
            // SAFETY: by the contract.
            unsafe { place.write(start.as_ptr().cast()) };
            0
        }
        None => libc::ENOMEM,
    }
}

/// `size` bytes at the start of a page.
#[unsafe(no_mangle)]
extern "C" fn valloc(size: usize) -> *mut c_void {
    aligned(System.page_size(), size)
}

/// Whole pages, at least `size` bytes of them.
#[unsafe(no_mangle)]
extern "C" fn pvalloc(size: usize) -> *mut c_void {
    let page = System.page_size();
    match size.max(1).checked_next_multiple_of(page) {
        Some(whole) => aligned(page, whole),
        None => null_because(libc::ENOMEM),
    }
}
