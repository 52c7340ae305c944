//! Frees that name the block's size, and are refused if it is another: C23's two functions.

use core::ffi::c_void;

use mems::internal::c::{self, C_ALIGN};

use crate::engine;

/// Takes back a block of `malloc`, `calloc` or `realloc` that was asked for with `size` bytes.
#[unsafe(no_mangle)]
extern "C" fn free_sized(pointer: *mut c_void, size: usize) {
    engine::free_sized(pointer, size);
}

/// Takes back a block of `aligned_alloc` that was asked for with this alignment and size.
#[unsafe(no_mangle)]
extern "C" fn free_aligned_sized(pointer: *mut c_void, align: usize, size: usize) {
    engine::release_or_refuse(pointer.addr(), Some(c::layout(size, align.max(C_ALIGN))));
}
