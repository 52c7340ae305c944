//! Hot paths for callgrind: `malloc` and `free` behind functions that a profiler can tell apart by name.
//!
//! The wrappers' own instructions are known to the profiler too, so that they can be subtracted.

#![allow(unsafe_code, reason = "callgrind finds the wrappers by their unmangled names")]

use core::alloc::Layout;
use core::hint::black_box;
use std::alloc::{alloc, dealloc};

use crate::block::{ALIGN_BYTES, broken};

/// The function whose instructions are those of one allocation.
pub const MALLOC: &str = "mems_bench_malloc";

/// The function whose instructions are those of one free.
pub const FREE: &str = "mems_bench_free";

/// Calls of each wrapper in one round of a path.
pub const CALLS_PER_ROUND: u64 = 1_000;

/// Rounds that warm a path up; they are run, and subtracted by running twice.
pub const WARM_ROUNDS: u64 = 20;

/// A hot path: blocks of one size, a number of them alive at once.
#[derive(Debug, Clone, Copy)]
pub struct HotPath {
    /// Its name.
    pub name: &'static str,
    size_bytes: usize,
    alive: usize,
}

/// The hot paths, in the order of the table.
pub const HOT_PATHS: [HotPath; 6] = [
    HotPath { name: "pair-16", size_bytes: 16, alive: 1 },
    HotPath { name: "pair-64", size_bytes: 64, alive: 1 },
    HotPath { name: "pair-4Ki", size_bytes: 4_096, alive: 1 },
    HotPath { name: "pair-32Ki", size_bytes: 32_768, alive: 1 },
    HotPath { name: "batch-64", size_bytes: 64, alive: 1_000 },
    HotPath { name: "batch-512", size_bytes: 512, alive: 1_000 },
];

/// Allocates one block.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn mems_bench_malloc(size_bytes: usize) -> *mut u8 {
    // SAFETY: the sizes of the hot paths are small, the alignment is a power of two.
    let layout = unsafe { Layout::from_size_align_unchecked(size_bytes, ALIGN_BYTES) };
    // SAFETY: the layout's size is not zero.
    black_box(unsafe { alloc(layout) })
}

/// Frees one block.
///
/// # Safety
///
/// `block` came from [`mems_bench_malloc`] with this size and was not freed.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn mems_bench_free(block: *mut u8, size_bytes: usize) {
    // SAFETY: as in `mems_bench_malloc`.
    let layout = unsafe { Layout::from_size_align_unchecked(size_bytes, ALIGN_BYTES) };
    // SAFETY: the caller's contract.
    unsafe { dealloc(block, layout) };
    black_box(size_bytes);
}

/// Runs `rounds` rounds of a hot path after the warm-up; `None` when there is no such path.
pub fn run(name: &str, rounds: u64) -> Option<String> {
    let path = HOT_PATHS.into_iter().find(|path| path.name == name)?;
    let size_bytes = black_box(path.size_bytes);
    let mut blocks = Vec::with_capacity(path.alive);
    let mut calls = 0;
    for _ in 0..(WARM_ROUNDS + rounds) * CALLS_PER_ROUND / path.alive as u64 {
        for _ in 0..path.alive {
            let block = mems_bench_malloc(size_bytes);
            if block.is_null() {
                broken(format_args!("alloc({size_bytes}) returned null"));
            }
            blocks.push(block);
            calls += 1;
        }
        for block in blocks.drain(..) {
            // SAFETY: allocated above with this size, freed once.
            unsafe { mems_bench_free(block, size_bytes) };
        }
    }
    Some(format!("path={name} calls={calls}"))
}
