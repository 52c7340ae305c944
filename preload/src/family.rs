//! `malloc`, `free`, `calloc`, `realloc` and their next of kin.

use core::ffi::c_void;

use mems::internal::c::{self, C_ALIGN};

use crate::engine;
use crate::errno::{null_because, or_no_memory};
use crate::program;

/// `size` bytes aligned to 16; for 0 bytes an address of its own.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn malloc(size: usize) -> *mut c_void {
    match c::hand_out(size) {
        Some(start) => start.cast(),
        None => malloc_slow(size),
    }
}

#[cold]
#[inline(never)]
extern "C" fn malloc_slow(size: usize) -> *mut c_void {
    or_no_memory(engine::allocate(size, C_ALIGN))
}

/// Takes a block back; nothing for null. `errno` stays.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn free(pointer: *mut c_void) {
    engine::free(pointer);
}

/// `count` elements of `size` bytes, all zero.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    let Some(bytes) = count.checked_mul(size) else { return null_because(libc::ENOMEM) };
    match c::hand_out(bytes) {
        Some(start) => {
            // SAFETY: the block is live, `bytes` long, and nobody else's.
            unsafe { start.write_bytes(0, bytes) };
            start.cast()
        }
        None => or_no_memory(engine::allocate_zeroed(bytes)),
    }
}

/// Makes a block serve another size; a new block for null; for 0 bytes frees it and gives null, as glibc does.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn realloc(pointer: *mut c_void, size: usize) -> *mut c_void {
    engine::realloc(pointer, size)
}

/// As `realloc`, for `count` elements of `size` bytes.
#[unsafe(no_mangle)]
extern "C" fn reallocarray(pointer: *mut c_void, count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        Some(bytes) => program::realloc(pointer, bytes),
        None => null_because(libc::ENOMEM),
    }
}

/// The old name of `free`.
#[unsafe(no_mangle)]
extern "C" fn cfree(pointer: *mut c_void) {
    program::free(pointer);
}
