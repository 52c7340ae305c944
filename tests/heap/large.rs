//! Blocks that are slabs of one slot, and blocks with large alignments.
#![allow(unsafe_code, reason = "calls the allocator")]
#![allow(clippy::expect_used, reason = "tests")]

use core::alloc::{GlobalAlloc, Layout};
use std::sync::{Mutex, PoisonError};

use mems::MemsAlloc;

#[global_allocator]
static GLOBAL: MemsAlloc = MemsAlloc::new();

/// What is mapped is the affair of all tests, so they run in turn.
static TURN: Mutex<()> = Mutex::new(());

/// Found where a block of 4 MiB was taken for a huge one: its slab lay in a zone where there are none, and the next few
/// hundred requests of all sizes were served without slabs, too.
#[test]
fn the_largest_slab_is_no_huge_block() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let usable = |layout: Layout| {
        // SAFETY: the layout has a size.
        let block = unsafe { GLOBAL.alloc(layout) };
        let usable = GLOBAL.usable_size(block);
        // SAFETY: the block is live.
        unsafe { GLOBAL.dealloc(block, layout) };
        usable
    };
    let bytes = |size| Layout::from_size_align(size, 8).expect("a layout");
    assert_eq!(usable(bytes((4 << 20) - 100)), Some(4 << 20), "the slot of the largest class");
    assert_eq!(usable(bytes(23_000)), Some(24 << 10), "slots of 24 KiB");
    assert_eq!(usable(bytes((4 << 20) + 100)), Some((4 << 20) + 112), "a block of the free list");
}

const ONE: usize = 1 << 20;

/// A block of a byte, and by how much what is mapped has grown for it.
fn aligned(align: usize) -> (*mut u8, Layout, usize) {
    let layout = Layout::from_size_align(1, align).expect("a layout");
    let before = GLOBAL.stats().mapped;
    // SAFETY: the layout has a size.
    let block = unsafe { GLOBAL.alloc(layout) };
    assert!(!block.is_null() && block.addr().is_multiple_of(align), "{align:#x}");
    // SAFETY: the block has a byte.
    unsafe { block.write(7) };
    (block, layout, GLOBAL.stats().mapped - before)
}

/// Found where `aligned_alloc(1 << 35, 1)` made 32 GiB readable and writable, or failed.
#[test]
fn an_aligned_block_takes_no_more_memory_than_it_needs() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let blocks: Vec<_> = (24..=44).map(|power| aligned(1 << power)).collect();
    for (block, layout, grown) in blocks {
        assert!(grown <= ONE, "{grown} bytes for one at a multiple of {}", layout.align());
        // SAFETY: the block is live.
        unsafe { GLOBAL.dealloc(block, layout) };
    }
    assert_eq!(GLOBAL.check(), Ok(()));
    let pairs: usize = (0..1000)
        .map(|turn| {
            let (block, layout, grown) = aligned(1 << (24 + turn % 8));
            // SAFETY: the block is live.
            unsafe { GLOBAL.dealloc(block, layout) };
            grown
        })
        .sum();
    assert!(pairs <= ONE, "{pairs} bytes for 1000 pairs");
    let many: Vec<_> = (0..200).map(|_| aligned(16 << 20)).collect();
    assert_eq!(GLOBAL.check(), Ok(()));
    for (block, layout, _) in many {
        // SAFETY: the block is live.
        unsafe { GLOBAL.dealloc(block, layout) };
    }
    GLOBAL.trim();
    assert_eq!(GLOBAL.check(), Ok(()));
}
