//! How much memory a heap keeps once most of it was freed, and whether larger blocks fit in what is left.

use core::time::Duration;

use fastrand::Rng;

use super::Done;
use crate::block::{Block, tag_of};
use crate::measure::{Meter, rss_kib};

/// Bytes of objects at the first step.
const FULL_BYTES: u64 = 1 << 30;

/// The idle time after everything was freed.
const IDLE: Duration = Duration::from_secs(2);

/// Pairs after the idle time: an allocator may give memory back only when it is called.
const LATE_PAIRS: u64 = 20_000;

/// `fragment`: fill, thin out, refill with larger blocks, free all, idle, a few pairs; RSS after each step.
pub(super) fn fragment(scale: u64, meter: &mut Meter) -> Done {
    let full_bytes = FULL_BYTES / scale;
    let mut heap =
        Heap { blocks: Vec::new(), rng: Rng::with_seed(0xF4A6), live_bytes: 0, births: 0, sum: 0 };
    heap.blocks.reserve(usize::try_from(full_bytes / 512).unwrap_or(0));
    let mut frees = 0;

    meter.time(|| heap.fill_to(full_bytes, 16, 1_024));
    meter.note("rss_fill_kib", rss_kib());
    heap.rng.shuffle(&mut heap.blocks);
    meter.time(|| frees += heap.free_down_to(heap.blocks.len() / 10));
    meter.note("rss_thin_kib", rss_kib());
    meter.time(|| heap.fill_to(full_bytes * 3 / 10, 1_229, 7_372));
    meter.note("rss_refill_kib", rss_kib());
    meter.time(|| frees += heap.free_down_to(0));
    meter.note("rss_freed_kib", rss_kib());
    if scale == 1 {
        std::thread::sleep(IDLE);
    }
    meter.note("rss_idle_kib", rss_kib());
    meter.time(|| {
        for _ in 0..LATE_PAIRS {
            heap.add(16, 1_024);
            frees += heap.free_down_to(0);
        }
    });
    meter.note("rss_late_kib", rss_kib());
    Done { operations: heap.births + frees, checksum: heap.sum }
}

struct Heap {
    blocks: Vec<Block>,
    rng: Rng,
    live_bytes: u64,
    births: u64,
    sum: u64,
}

impl Heap {
    fn add(&mut self, low: u32, high: u32) {
        let size_bytes = self.rng.u32(low..=high);
        self.births += 1;
        self.live_bytes += u64::from(size_bytes);
        self.blocks.push(Block::new(size_bytes, tag_of(self.births)));
    }

    fn fill_to(&mut self, bytes: u64, low: u32, high: u32) {
        while self.live_bytes < bytes {
            self.add(low, high);
        }
    }

    /// Frees from the end until `count` blocks are left; returns how many.
    fn free_down_to(&mut self, count: usize) -> u64 {
        let mut freed = 0;
        while self.blocks.len() > count
            && let Some(block) = self.blocks.pop()
        {
            self.live_bytes -= u64::from(block.size_bytes());
            self.sum = self.sum.wrapping_add(block.check_and_free());
            freed += 1;
        }
        freed
    }
}
