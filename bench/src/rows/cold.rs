//! Blocks that are freed in random order, long after they were last touched: every free misses the caches.

use core::hint::black_box;

use fastrand::Rng;

use super::Done;
use crate::block::{Block, tag_of};
use crate::measure::Meter;

/// Blocks.
const BLOCKS: u64 = 2_000_000;

/// `cold-free`: one operation is one free, without a look at the block.
pub(super) fn cold_free(scale: u64, meter: &mut Meter) -> Done {
    let operations = BLOCKS / scale;
    let mut rng = Rng::with_seed(0xC01D);
    let mut blocks: Vec<Block> =
        (0..operations).map(|birth| Block::new(rng.u32(32..=256), tag_of(birth))).collect();
    // Checked while they are moved about, which is not timed.
    let checksum = blocks.iter().fold(0_u64, |sum, block| {
        block.check();
        sum.wrapping_add(u64::from(block.size_bytes()))
    });
    rng.shuffle(&mut blocks);
    meter.time(|| black_box(blocks).into_iter().for_each(Block::free));
    Done { operations, checksum }
}
