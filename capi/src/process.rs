//! The process heap for C: memory by plain pointers, beside the virtual addresses of the six functions.
//!
//! Invariant: **I1** what these functions are handed is compared, never dereferenced, until the heap knows it as a live
//! block.
#![allow(unsafe_code, reason = "exports C symbols")]

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::{c_int, c_void};
use core::ptr::{self, NonNull};

use mems::internal::c::{self, C_ALIGN};
use mems::{HeapStats, MemsAlloc, MisuseCall};

use crate::records::places;
use crate::stdio;

const HEAP: MemsAlloc = MemsAlloc::new();

/// `struct mems_heap_stats`: the sums of the process heap.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct HeapStatsRecord {
    /// Bytes of live blocks.
    pub allocated: usize,
    /// Bytes of pages that a live block lies on.
    pub active: usize,
    /// Bytes of pages that may hold memory of the machine.
    pub resident: usize,
    /// Bytes that can be read and written.
    pub mapped: usize,
    /// Bytes of addresses that cannot be read, reserved for growth.
    pub reserved: usize,
    /// Bytes of the heap's own records.
    pub metadata: usize,
    /// Live blocks.
    pub block_count: usize,
    /// Holes.
    pub hole_count: usize,
    /// Bytes of free slots in caches of threads.
    pub cached: usize,
    /// Bytes free in slabs of threads that run, but for clean pages.
    pub free_running: usize,
    /// The same of threads that sleep.
    pub free_sleeping: usize,
    /// The same of threads that have ended.
    pub free_ended: usize,
    /// Bytes of holes that wait for the decay.
    pub dirty: usize,
    /// Bytes mapped without memory.
    pub clean: usize,
}

impl From<HeapStats> for HeapStatsRecord {
    fn from(stats: HeapStats) -> Self {
        Self {
            allocated: stats.allocated,
            active: stats.active,
            resident: stats.resident,
            mapped: stats.mapped,
            reserved: stats.reserved,
            metadata: stats.metadata,
            block_count: stats.blocks,
            hole_count: stats.holes,
            cached: stats.cached,
            free_running: stats.free_running,
            free_sleeping: stats.free_sleeping,
            free_ended: stats.free_ended,
            dirty: stats.dirty,
            clean: stats.clean,
        }
    }
}

/// A block, or null and `ENOMEM`.
fn or_no_memory(block: Option<NonNull<u8>>) -> *mut c_void {
    block.map_or_else(
        || {
            stdio::set_errno(libc::ENOMEM);
            ptr::null_mut()
        },
        |start| start.as_ptr().cast(),
    )
}

/// A block of `size` bytes (of 1 for 0) aligned to 16; null with `errno` `ENOMEM` where there is no more memory.
#[unsafe(no_mangle)]
pub extern "C" fn mems_heap_malloc(size: usize) -> *mut c_void {
    or_no_memory(HEAP.mems_malloc(size.max(1), C_ALIGN))
}

/// Hands out `count` elements of `size` bytes, all zero, as [`mems_heap_malloc`] does.
#[unsafe(no_mangle)]
pub extern "C" fn mems_heap_calloc(count: usize, size: usize) -> *mut c_void {
    let bytes = count.saturating_mul(size).max(1);
    or_no_memory(Layout::from_size_align(bytes, C_ALIGN).ok().and_then(|layout| {
        // SAFETY: the layout's size is not 0.
        NonNull::new(unsafe { HEAP.alloc_zeroed(layout) })
    }))
}

/// Hands out `size` bytes at a multiple of `align`; null with `errno` `EINVAL` where that is no power of two.
#[unsafe(no_mangle)]
pub extern "C" fn mems_heap_aligned_alloc(align: usize, size: usize) -> *mut c_void {
    if !align.is_power_of_two() {
        stdio::set_errno(libc::EINVAL);
        return ptr::null_mut();
    }
    or_no_memory(HEAP.mems_malloc(size.max(1), align.max(C_ALIGN)))
}

/// Makes a block serve `size` bytes, where it is or elsewhere; a new block for null; for 0 bytes frees the block and
/// gives null. Null with `errno` `ENOMEM` where there is no more memory: the block is as it was. Any other address than
/// the start of a live block ends the process, as in [`mems_heap_free`].
#[unsafe(no_mangle)]
pub extern "C" fn mems_heap_realloc(block: *mut c_void, size: usize) -> *mut c_void {
    if block.is_null() {
        return mems_heap_malloc(size);
    }
    if size == 0 {
        mems_heap_free(block);
        return ptr::null_mut();
    }
    let Ok(old_size) = c::usable_size(block.addr(), MisuseCall::Realloc).inspect_err(c::refuse)
    else {
        return ptr::null_mut();
    };
    // SAFETY: a block of this size is live there (I1), and its user gives it up by this call.
    or_no_memory(unsafe { c::resize(block.cast(), old_size, size) })
}

/// Takes a block back; nothing for null. Any other address than the start of a live block ends the process: one line on
/// standard error with the words `ADDRESS NOT FOUND`, then `SIGABRT`.
#[unsafe(no_mangle)]
pub extern "C" fn mems_heap_free(block: *mut c_void) {
    if !block.is_null()
        && let Err(misuse) = c::release(block.addr(), None)
    {
        c::refuse(&misuse);
    }
}

/// The bytes that the block has; 0 where no live block starts there. Any address may be asked about.
#[unsafe(no_mangle)]
pub extern "C" fn mems_heap_usable_size(block: *const c_void) -> usize {
    HEAP.usable_size(block.cast()).unwrap_or(0)
}

/// Checks every law of the heap's records; 0 says that all hold, 1 that the heap is damaged. O(n).
#[unsafe(no_mangle)]
pub extern "C" fn mems_heap_check() -> c_int {
    c_int::from(HEAP.check().is_err())
}

/// Gives every whole free page back to the system. Returns their bytes.
#[unsafe(no_mangle)]
pub extern "C" fn mems_heap_trim() -> usize {
    HEAP.trim()
}

/// Prints the sums, and of each span the first few segments, on standard output, behind what the program has printed.
#[unsafe(no_mangle)]
pub extern "C" fn mems_heap_print_stats() {
    stdio::print(|_| {
        HEAP.print_stats();
        Ok(())
    });
}

/// Copies the heap's sums into `out`; a null `out` is ignored. O(slots).
///
/// # Safety
///
/// `out` is null or a place for one record.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mems_heap_read_stats(out: *mut HeapStatsRecord) {
    // SAFETY: the contract is passed on.
    let out = unsafe { places(out, 1) };
    for place in out {
        place.write(HEAP.stats().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Rust program shares its heap with the C libraries that it links, and a `Box` may come to one of them.
    #[test]
    fn blocks_that_are_no_multiple_of_16_are_resized_too() {
        for (size, align) in [(24, 8), (8, 8), (3, 1), (40, 8), (104, 4), (48, 16), (100_000, 8)] {
            for new_size in [1, 16, 20, 24, 5000, 200_000] {
                let layout = Layout::from_size_align(size, align).expect("a layout");
                // SAFETY: the size is not 0.
                let block = unsafe { HEAP.alloc(layout) };
                // SAFETY: the block is that long.
                unsafe { block.write_bytes(7, size) };
                let resized: *mut u8 = mems_heap_realloc(block.cast(), new_size).cast();
                assert!(!resized.is_null() && resized.addr().is_multiple_of(C_ALIGN), "{size}");
                // SAFETY: the block has both as many bytes.
                let kept = unsafe { core::slice::from_raw_parts(resized, size.min(new_size)) };
                assert!(kept.iter().all(|byte| *byte == 7));
                assert!(mems_heap_usable_size(resized.cast()) >= new_size);
                mems_heap_free(resized.cast());
                assert_eq!(mems_heap_usable_size(resized.cast()), 0);
            }
        }
        assert_eq!(mems_heap_check(), 0);
    }
}
