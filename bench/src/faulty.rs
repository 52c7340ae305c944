//! Allocators that are wrong on purpose, one fault each: the harness must catch every one of them.
//!
//! The fault is chosen by the environment variable [`FAULT`] of the worker, and starts once [`Faulty::break_now`]
//! was called, so that the process itself comes up unharmed.

#![allow(unsafe_code, reason = "a broken allocator")]

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering};
use std::alloc::System;

/// The environment variable that names the fault.
pub const FAULT: &str = "MEMS_BENCH_FAULT";

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// None: it behaves.
    None,
    /// Now and then a block is handed out a second time while it is live.
    Overlap,
    /// Now and then a byte of a live block is overwritten.
    Corrupt,
    /// A growing block takes along a few bytes too few.
    Miscount,
    /// `alloc_zeroed` returns memory that is not zero.
    Dirty,
}

impl Fault {
    /// All faults but none.
    pub const ALL: [Self; 4] = [Self::Overlap, Self::Corrupt, Self::Miscount, Self::Dirty];

    /// The name that [`FAULT`] takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Overlap => "overlap",
            Self::Corrupt => "corrupt",
            Self::Miscount => "miscount",
            Self::Dirty => "dirty",
        }
    }
}

/// One in this number of calls goes wrong.
const EVERY: u64 = 97;

/// Blocks below this size go wrong; the process's own buffers are mostly larger or older.
const MAX_SMALL_BYTES: usize = 4_096;

/// The system allocator with a fault.
#[derive(Debug)]
pub struct Faulty {
    fault: AtomicU8,
    calls: AtomicU64,
    last: AtomicPtr<u8>,
    last_size: AtomicU64,
}

impl Default for Faulty {
    fn default() -> Self {
        Self::new()
    }
}

impl Faulty {
    /// An allocator that behaves until it is broken.
    pub const fn new() -> Self {
        Self {
            fault: AtomicU8::new(0),
            calls: AtomicU64::new(0),
            last: AtomicPtr::new(core::ptr::null_mut()),
            last_size: AtomicU64::new(0),
        }
    }

    /// From now on the allocator has this fault.
    pub fn break_now(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::Relaxed);
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault.load(Ordering::Relaxed) == fault as u8
    }

    fn is_due(&self) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed) % EVERY == EVERY - 1
    }

    /// Whether the last block handed out could pass for one of this layout.
    fn last_of(&self, layout: Layout) -> Option<*mut u8> {
        let last = self.last.load(Ordering::Relaxed);
        (!last.is_null() && self.last_size.load(Ordering::Relaxed) == layout.size() as u64)
            .then_some(last)
    }
}

// SAFETY: none. That is its purpose; without a fault it is the system allocator.
unsafe impl GlobalAlloc for Faulty {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let is_small = (16..MAX_SMALL_BYTES).contains(&layout.size());
        if is_small
            && self.has(Fault::Overlap)
            && self.is_due()
            && let Some(last) = self.last_of(layout)
        {
            return last;
        }
        if is_small
            && self.has(Fault::Corrupt)
            && self.is_due()
            && let Some(last) = self.last_of(layout)
        {
            // SAFETY: the block is live and holds at least 16 bytes; it is not ours, which is the fault.
            unsafe { last.write_volatile(0x5A) };
        }
        // SAFETY: the caller's contract.
        let block = unsafe { System.alloc(layout) };
        self.last.store(block, Ordering::Relaxed);
        self.last_size.store(layout.size() as u64, Ordering::Relaxed);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if self.last.load(Ordering::Relaxed) == block {
            self.last.store(core::ptr::null_mut(), Ordering::Relaxed);
        }
        // Freeing a block twice would let the C library abort before the harness has seen anything.
        if !self.has(Fault::Overlap) {
            // SAFETY: the caller's contract.
            unsafe { System.dealloc(block, layout) };
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract.
        let block = unsafe { System.alloc_zeroed(layout) };
        if self.has(Fault::Dirty) && !block.is_null() {
            // SAFETY: the block is live and its size is not zero.
            unsafe { block.write(1) };
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !self.has(Fault::Miscount) {
            // SAFETY: the caller's contract.
            return unsafe { System.realloc(block, layout, new_size) };
        }
        // SAFETY: the caller's contract: the new size is valid with this alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: the caller's contract: the new size is not zero.
        let new_block = unsafe { System.alloc_zeroed(new_layout) };
        if !new_block.is_null() {
            let taken_bytes = layout.size().min(new_size).saturating_sub(8);
            // SAFETY: both blocks are live, apart, and hold at least that many bytes.
            unsafe { new_block.copy_from_nonoverlapping(block, taken_bytes) };
            // SAFETY: the caller gave up the old block.
            unsafe { System.dealloc(block, layout) };
        }
        new_block
    }
}
