//! The floor: the least an allocator can do. A per-thread stack of free blocks per size class.
//!
//! It checks nothing, never gives memory back, and lets a block stay with the thread that freed it. No allocator
//! that keeps promises can be expected below it on small single-threaded rows; the column shows what is possible.
//!
//! * I1: a free block's first word links to the next free block of its class and thread.
//! * I2: a class's blocks are all as large as the class, and aligned to the largest power of two that divides its
//!   size, up to a page; so a power of two serves every alignment up to itself.
//! * I3: blocks aligned to more than a page are mapped one by one and never used again.

#![allow(unsafe_code, reason = "an allocator")]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;

/// Smallest block; it must hold a link.
const MIN_BLOCK_BYTES: usize = 16;

/// Four classes per doubling from 64 bytes on, steps of 16 below it.
const CLASS_COUNT: usize = 4 + 4 * (usize::BITS as usize - 6);

/// Small blocks are cut from runs of this size.
const RUN_BYTES: usize = 1 << 20;

/// Blocks from this size on are mapped one by one.
const MAPPED_BYTES: usize = RUN_BYTES / 4;

/// Mappings are aligned to this much at least.
const PAGE_BYTES: usize = 4_096;

/// The floor allocator.
#[derive(Debug, Default)]
pub struct Floor;

struct ThreadHeap {
    free: [*mut u8; CLASS_COUNT],
    bump: *mut u8,
    bump_bytes: usize,
}

thread_local! {
    static HEAP: UnsafeCell<ThreadHeap> = const {
        UnsafeCell::new(ThreadHeap { free: [null_mut(); CLASS_COUNT], bump: null_mut(), bump_bytes: 0 })
    };
}

/// The class of a size and the size of its blocks.
#[inline(always)]
const fn class_of(size_bytes: usize) -> (usize, usize) {
    if size_bytes <= 64 {
        let class = size_bytes.saturating_sub(1) / 16;
        (class, (class + 1) * 16)
    } else {
        let doubling = (size_bytes - 1).ilog2() as usize;
        let step = 1 << (doubling - 2);
        let quarter = (size_bytes - 1 - (1 << doubling)) / step;
        (4 + (doubling - 6) * 4 + quarter, (1 << doubling) + (quarter + 1) * step)
    }
}

/// The size whose class also serves the alignment (I2).
#[inline(always)]
const fn block_size(layout: Layout) -> usize {
    let size = if layout.size() < MIN_BLOCK_BYTES { MIN_BLOCK_BYTES } else { layout.size() };
    if layout.align() <= 16 {
        size
    } else {
        let larger = if size > layout.align() { size } else { layout.align() };
        larger.next_power_of_two()
    }
}

// SAFETY: blocks come from fresh mappings or from the free stack of their class, so they do not overlap; a thread
// uses its own stacks alone, and the calls below do not re-enter.
unsafe impl GlobalAlloc for Floor {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP.with(|heap| {
            // SAFETY: the cell belongs to this thread and nothing below calls back into the allocator.
            let heap = unsafe { &mut *heap.get() };
            let (class, class_bytes) = class_of(block_size(layout));
            let block = heap.free[class];
            if block.is_null() || layout.align() > PAGE_BYTES {
                return heap.refill(class_bytes, layout.align());
            }
            // SAFETY: a free block's first word is its link (I1).
            heap.free[class] = unsafe { block.cast::<*mut u8>().read() };
            block
        })
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.align() > PAGE_BYTES {
            return;
        }
        HEAP.with(|heap| {
            // SAFETY: as in `alloc`.
            let heap = unsafe { &mut *heap.get() };
            let (class, _) = class_of(block_size(layout));
            // SAFETY: the block is free now and at least MIN_BLOCK_BYTES large, so it can hold the link.
            unsafe { block.cast::<*mut u8>().write(heap.free[class]) };
            heap.free[class] = block;
        });
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps GlobalAlloc's contract, by which the new size is valid with this alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        if class_of(block_size(layout)) == class_of(block_size(new_layout)) {
            return block;
        }
        // SAFETY: the caller's contract; the new layout's size is not zero.
        let new_block = unsafe { self.alloc(new_layout) };
        if !new_block.is_null() {
            // SAFETY: both blocks are live, do not overlap, and hold at least the smaller size.
            unsafe { new_block.copy_from_nonoverlapping(block, layout.size().min(new_size)) };
            // SAFETY: the caller gave up the old block.
            unsafe { self.dealloc(block, layout) };
        }
        new_block
    }
}

impl ThreadHeap {
    #[cold]
    #[inline(never)]
    fn refill(&mut self, class_bytes: usize, align: usize) -> *mut u8 {
        if class_bytes >= MAPPED_BYTES || align > PAGE_BYTES {
            return map(class_bytes, align);
        }
        let natural = 1 << class_bytes.trailing_zeros().min(PAGE_BYTES.ilog2());
        let pad = self.bump.addr().wrapping_neg() & (natural - 1);
        if self.bump_bytes < class_bytes + pad {
            self.bump = map(RUN_BYTES, 16);
            self.bump_bytes = if self.bump.is_null() { 0 } else { RUN_BYTES };
            return if self.bump_bytes == 0 { null_mut() } else { self.refill(class_bytes, align) };
        }
        // SAFETY: pad + class_bytes <= bump_bytes, so the block and the new bump stay inside the run.
        let block = unsafe { self.bump.add(pad) };
        // SAFETY: as above.
        self.bump = unsafe { block.add(class_bytes) };
        self.bump_bytes -= class_bytes + pad;
        block
    }
}

/// Maps fresh pages aligned to `align`; null when the kernel has none.
fn map(size_bytes: usize, align: usize) -> *mut u8 {
    let slack = if align > PAGE_BYTES { align } else { 0 };
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh private mapping touches nothing that exists.
    let start = unsafe { libc::mmap(null_mut(), size_bytes + slack, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return null_mut();
    }
    let pad = start.addr().wrapping_neg() & (align - 1);
    start.cast::<u8>().wrapping_add(pad)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block freed with a small alignment must not be handed out for a larger one that its address misses.
    #[test]
    fn blocks_are_aligned_also_when_used_again() {
        let mut blocks = Vec::new();
        for align in [8, 16, 32, 64, 128, 1_024, 4_096, 8_192, 8, 128, 4_096] {
            for size in [1, 24, 100, 120, 128, 1_000, 5_000, 300_000] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the size is not zero.
                let block = unsafe { Floor.alloc(layout) };
                assert!(!block.is_null() && block.addr() % align == 0, "{layout:?}: {block:p}");
                blocks.push((block, layout));
            }
            for (block, layout) in blocks.drain(..) {
                // SAFETY: allocated above with this layout, freed once.
                unsafe { Floor.dealloc(block, layout) };
            }
        }
    }

    #[test]
    fn a_class_holds_its_sizes() {
        let mut last = 0;
        for size in 1..100_000 {
            let (class, bytes) = class_of(size);
            assert!(
                bytes >= size && class >= last && class < CLASS_COUNT,
                "{size}: {class}, {bytes}"
            );
            last = class;
        }
        assert!(class_of(usize::MAX / 4).0 < CLASS_COUNT);
    }
}
