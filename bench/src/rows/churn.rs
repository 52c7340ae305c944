//! Random replacement among many live blocks of realistic sizes, by one thread or by several at once.

use fastrand::Rng;

use super::Done;
use crate::block::{Block, broken, tag_of};
use crate::measure::Meter;
use crate::random::{SIZE_TABLE_LEN, realistic_sizes};

/// Live blocks of the `churn` row.
const CHURN_SLOTS: usize = 100_000;

/// Live blocks of each thread of a `contend` row.
const CONTEND_SLOTS: usize = 4_000;

/// An array of live blocks in which random ones are replaced.
#[derive(Debug)]
pub(crate) struct Slots<'a> {
    blocks: Vec<Option<Block>>,
    sizes: &'a [u32],
    rng: Rng,
    births: u64,
    next_size: usize,
}

impl<'a> Slots<'a> {
    /// Fills `count` slots with blocks whose sizes come from `sizes` in turn; its length is a power of two.
    pub(crate) fn fill(count: usize, sizes: &'a [u32], seed: u64) -> Self {
        debug_assert!(sizes.len().is_power_of_two(), "{} sizes", sizes.len());
        let mut slots = Self {
            blocks: Vec::with_capacity(count),
            sizes,
            rng: Rng::with_seed(seed),
            births: seed,
            next_size: 0,
        };
        for _ in 0..count {
            let block = slots.next_block();
            slots.blocks.push(Some(block));
        }
        slots
    }

    /// Replaces a random block. Returns what the old one adds to the checksum.
    #[inline(always)]
    pub(crate) fn replace(&mut self) -> u64 {
        let index = self.rng.usize(0..self.blocks.len());
        let sum = self.blocks[index].take().map_or(0, Block::check_and_free);
        self.blocks[index] = Some(self.next_block());
        sum
    }

    /// Checks and frees all blocks.
    pub(crate) fn free_all(self) -> u64 {
        self.blocks
            .into_iter()
            .flatten()
            .fold(0, |sum, block| sum.wrapping_add(block.check_and_free()))
    }

    #[inline(always)]
    fn next_block(&mut self) -> Block {
        self.births += 1;
        self.next_size = (self.next_size + 1) & (self.sizes.len() - 1);
        Block::new(self.sizes[self.next_size], tag_of(self.births))
    }
}

/// `churn`: one operation replaces one of 100,000 blocks.
pub(super) fn churn(scale: u64, meter: &mut Meter) -> Done {
    let operations = 2_000_000 / scale;
    let slot_count = if scale > 100 { CONTEND_SLOTS } else { CHURN_SLOTS };
    let sizes = realistic_sizes(0xC0);
    let checksum = meter.time(|| churn_slots(slot_count, operations, &sizes, 1));
    Done { operations, checksum }
}

/// `contend-T`: every thread churns slots of its own; the total of operations does not depend on T.
pub(super) fn contend(threads: u64, scale: u64, meter: &mut Meter) -> Done {
    let per_thread = 4_000_000 / threads / scale;
    let sizes = realistic_sizes(0xC1);
    debug_assert_eq!(sizes.len(), SIZE_TABLE_LEN);
    let checksum = meter.time(|| {
        std::thread::scope(|scope| {
            let sizes = sizes.as_slice();
            let handles: Vec<_> = (0..threads)
                .map(|thread| {
                    scope.spawn(move || churn_slots(CONTEND_SLOTS, per_thread, sizes, thread << 20))
                })
                .collect();
            handles.into_iter().fold(0_u64, |sum, handle| match handle.join() {
                Ok(part) => sum.wrapping_add(part),
                Err(_) => broken(format_args!("a thread of contend-{threads} panicked")),
            })
        })
    });
    Done { operations: per_thread * threads, checksum }
}

fn churn_slots(slot_count: usize, operations: u64, sizes: &[u32], seed: u64) -> u64 {
    let mut slots = Slots::fill(slot_count, sizes, seed);
    let sum = (0..operations).fold(0_u64, |sum, _| sum.wrapping_add(slots.replace()));
    sum.wrapping_add(slots.free_all())
}
