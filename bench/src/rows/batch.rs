//! A thousand blocks of one size allocated, then all freed in a given order.

use core::hint::black_box;

use super::Done;
use crate::block::{Block, tag_of};
use crate::measure::Meter;
use crate::random::permutation;

/// Blocks of a batch.
const BATCH_LEN: usize = 1_000;

/// The order in which a batch is freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    Lifo,
    /// Oldest first.
    Fifo,
    /// One fixed permutation.
    Rand,
}

impl Order {
    /// All orders, in the order of the tables.
    pub const ALL: [Self; 3] = [Self::Lifo, Self::Fifo, Self::Rand];

    /// The order's name in a row's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lifo => "lifo",
            Self::Fifo => "fifo",
            Self::Rand => "rand",
        }
    }

    fn indices(self) -> Vec<usize> {
        match self {
            Self::Lifo => (0..BATCH_LEN).rev().collect(),
            Self::Fifo => (0..BATCH_LEN).collect(),
            Self::Rand => permutation(BATCH_LEN, 0xBA7C),
        }
    }
}

/// `batch-S-order`: one operation is one allocation and one free.
pub(super) fn batch(size_bytes: u32, order: Order, scale: u64, meter: &mut Meter) -> Done {
    let batches = match size_bytes {
        0..=64 => 15_000,
        65..=1_024 => 8_000,
        // glibc gives such a batch back to the kernel every time, at a hundred times the others' cost.
        _ => 600,
    } / scale;
    let batches = batches.max(1);
    let indices = order.indices();
    let size_bytes = black_box(size_bytes);
    let mut blocks: Vec<Option<Block>> = Vec::with_capacity(BATCH_LEN);
    blocks.resize_with(BATCH_LEN, || None);
    let mut birth = 0_u64;
    let checksum = meter.time(|| {
        let mut sum = 0_u64;
        for _ in 0..batches {
            for place in &mut blocks {
                *place = Some(Block::new(size_bytes, tag_of(birth)));
                birth += 1;
            }
            for &index in &indices {
                if let Some(block) = blocks[index].take() {
                    sum = sum.wrapping_add(block.check_and_free());
                }
            }
        }
        sum
    });
    Done { operations: birth, checksum }
}
