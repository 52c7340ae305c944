//! The other calls of an allocator: zeroed blocks, blocks that grow and shrink, larger alignments.

use core::hint::black_box;

use super::Done;
use crate::block::{Block, aligned_pair, tag_of};
use crate::measure::Meter;

/// Operations of the rows whose blocks are small.
const OPERATIONS: u64 = 5_000_000;

/// `zeroed-S`: one operation is one `alloc_zeroed` and its free.
pub(super) fn zeroed_pair(size_bytes: u32, scale: u64, meter: &mut Meter) -> Done {
    let operations = OPERATIONS / scale;
    let size_bytes = black_box(size_bytes);
    let checksum = meter.time(|| {
        (0..operations).fold(0_u64, |sum, birth| {
            sum.wrapping_add(Block::zeroed(size_bytes, tag_of(birth)).check_first_and_free())
        })
    });
    Done { operations, checksum }
}

/// `realloc-A-B`: one block goes to and fro between two sizes; one operation is both ways.
pub(super) fn realloc(from_bytes: u32, to_bytes: u32, scale: u64, meter: &mut Meter) -> Done {
    let operations = match from_bytes {
        0..=1_024 => OPERATIONS,
        1_025..=16_384 => 1_000_000,
        16_385..=1_048_576 => 200_000,
        // Who copies such a block each time takes a millisecond.
        _ => 4_000,
    } / scale.min(1_000);
    let (from_bytes, to_bytes) = (black_box(from_bytes), black_box(to_bytes));
    let mut block = Block::new(to_bytes, 0xA7);
    block.touch_all();
    let checksum = meter.time(|| {
        (0..operations).fold(0_u64, |sum, _| {
            block.resize(from_bytes);
            block.resize(to_bytes);
            sum.wrapping_add(u64::from(block.size_bytes()))
        })
    });
    block.mark();
    Done { operations, checksum: checksum.wrapping_add(block.check_and_free()) }
}

/// `aligned-A`: one operation is one allocation of 64 bytes (4 KiB for pages) with that alignment, and its free.
pub(super) fn aligned(align_bytes: u32, scale: u64, meter: &mut Meter) -> Done {
    let operations = OPERATIONS / scale;
    let (size_bytes, align_bytes) = (black_box(align_bytes.max(64)), black_box(align_bytes));
    let checksum = meter.time(|| {
        (0..operations).fold(0_u64, |sum, birth| {
            sum.wrapping_add(aligned_pair(size_bytes, align_bytes, tag_of(birth)))
        })
    });
    Done { operations, checksum }
}
