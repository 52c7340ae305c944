//! One block at a time: allocate, touch the first byte, free.

use core::hint::black_box;

use super::Done;
use crate::block::{Block, tag_of};
use crate::measure::Meter;

/// Operations of the small pair rows; the larger sizes take fewer, since some allocators go to the kernel there.
const SMALL_OPERATIONS: u64 = 10_000_000;

/// Pairs before the clock starts, so that first touches are not laid on the first rounds.
const WARM_PAIRS: u64 = 100;

/// `pair-S`: the size is hidden from the compiler.
pub(super) fn pair(size_bytes: u32, scale: u64, meter: &mut Meter) -> Done {
    let operations = match size_bytes {
        0..=32_768 => SMALL_OPERATIONS,
        32_769..=262_144 => 2_000_000,
        // Some allocators ask the kernel for every such block.
        _ => 200_000,
    } / scale;
    let size_bytes = black_box(size_bytes);
    pairs(size_bytes, WARM_PAIRS);
    let checksum = meter.time(|| pairs(size_bytes, operations));
    Done { operations, checksum }
}

#[inline(never)]
fn pairs(size_bytes: u32, count: u64) -> u64 {
    (0..count).fold(0_u64, |sum, birth| {
        sum.wrapping_add(Block::with_first_byte(size_bytes, tag_of(birth)).check_first_and_free())
    })
}

/// `boxpair-64`: a constant layout through `Box`, which a linker with LTO can inline.
pub(super) fn box_pair(scale: u64, meter: &mut Meter) -> Done {
    let operations = SMALL_OPERATIONS / scale;
    let checksum = meter.time(|| {
        (0..operations).fold(0_u64, |sum, birth| {
            let boxed = black_box(Box::new([birth; 8]));
            sum.wrapping_add(boxed[0] ^ boxed[7].rotate_left(1))
        })
    });
    Done { operations, checksum }
}
