//! Blocks that are slabs of one slot.
#![allow(unsafe_code, reason = "calls the allocator")]

use core::alloc::{GlobalAlloc, Layout};

use mems::MemsAlloc;

#[global_allocator]
static GLOBAL: MemsAlloc = MemsAlloc::new();

/// Found where a block of 4 MiB was taken for a huge one: its slab lay in a zone where there are none, and the next few
/// hundred requests of all sizes were served without slabs, too.
#[test]
fn the_largest_slab_is_no_huge_block() {
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
