//! A thousand blocks of one size allocated, then all freed in a given order.

use core::hint::black_box;

use super::Done;
use crate::block::{Block, tag_of};
use crate::measure::Meter;
use crate::random::permutation;

/// Blocks of a batch.
const BATCH_LEN: usize = 1_000;

/// Batches before the clock starts, so that first touches are not laid on the rounds of a short run.
const WARM_BATCHES: u64 = 2;

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
        0..=64 => 10_000,
        65..=1_024 => 5_000,
        // glibc gives such a batch back to the kernel every time, at a hundred times the others' cost.
        _ => 600,
    } / scale;
    let mut work = Batch::new(black_box(size_bytes), order);
    work.run(WARM_BATCHES);
    let warm_births = work.births;
    let checksum = meter.time(|| work.run(batches.max(1)));
    Done { operations: work.births - warm_births, checksum }
}

struct Batch {
    size_bytes: u32,
    free_order: Vec<usize>,
    blocks: Vec<Option<Block>>,
    births: u64,
}

impl Batch {
    fn new(size_bytes: u32, order: Order) -> Self {
        let blocks = (0..BATCH_LEN).map(|_| None).collect();
        Self { size_bytes, free_order: order.indices(), blocks, births: 0 }
    }

    fn run(&mut self, batches: u64) -> u64 {
        let mut sum = 0_u64;
        for _ in 0..batches {
            for place in &mut self.blocks {
                *place = Some(Block::new(self.size_bytes, tag_of(self.births)));
                self.births += 1;
            }
            for &index in &self.free_order {
                if let Some(block) = self.blocks[index].take() {
                    sum = sum.wrapping_add(block.check_and_free());
                }
            }
        }
        sum
    }
}
