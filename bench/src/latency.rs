//! Latency of single calls, inside a worker: every `malloc` and `free` of a churn timed by itself.
//!
//! * I1: nothing is allocated between two samples but the sampled blocks; histograms have fixed bounds.
//! * I2: a sample during which the kernel switched threads says nothing about the allocator; it is removed and
//!   counted. Only slow samples can hold a switch, so only those are looked at.

use std::sync::Barrier;

use fastrand::Rng;
use hdrhistogram::Histogram;
use quanta::Clock;

use crate::block::{Block, broken, or_broken, tag_of};
use crate::measure::Switches;
use crate::random::realistic_sizes;

/// Percentiles reported, with their names in the results.
pub const PERCENTILES: [(&str, f64); 5] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p999", 99.9), ("p9999", 99.99)];

/// Blocks alive in each thread.
const SLOT_COUNT: usize = 4_000;

/// Replacements timed, over all threads.
const SAMPLE_COUNT: u64 = 2_000_000;

/// A thread switch takes longer than this; faster samples need no look at the counters.
const SWITCH_NS: u64 = 1_000;

/// Samples after which the counters are read again, so that a switch between two of them is not charged to one.
const RECOUNT_EVERY: u64 = 64;

/// Largest latency told apart, in nanoseconds.
const HIGHEST_NS: u64 = 10_000_000_000;

/// What one thread measured, or several together.
struct Tails {
    malloc: Histogram<u64>,
    free: Histogram<u64>,
    removed: Switches,
}

impl Tails {
    fn new() -> Self {
        let histogram = || or_broken(Histogram::new_with_bounds(1, HIGHEST_NS, 3), "a histogram");
        Self { malloc: histogram(), free: histogram(), removed: Switches::default() }
    }

    fn add(&mut self, other: &Self) {
        or_broken(self.malloc.add(&other.malloc), "adding histograms");
        or_broken(self.free.add(&other.free), "adding histograms");
        self.removed.voluntary += other.removed.voluntary;
        self.removed.involuntary += other.removed.involuntary;
    }
}

/// Samples `malloc` and `free` in `threads` threads at once and returns the worker's line.
pub fn worker_line(threads: u64, scale: u64) -> String {
    let threads = threads.max(1);
    let samples = SAMPLE_COUNT / threads / scale.max(1);
    let sizes = realistic_sizes(0x1A7);
    let start = Barrier::new(usize::try_from(threads).unwrap_or(1));
    let mut all = Tails::new();
    std::thread::scope(|scope| {
        let (sizes, start) = (sizes.as_slice(), &start);
        let handles: Vec<_> = (0..threads)
            .map(|seed| {
                scope.spawn(move || {
                    let mut sampler = Sampler::new(sizes, seed);
                    start.wait();
                    sampler.sample(samples);
                    sampler.tails
                })
            })
            .collect();
        for handle in handles {
            match handle.join() {
                Ok(tails) => all.add(&tails),
                Err(_) => broken(format_args!("a sampling thread panicked")),
            }
        }
    });
    line(threads, &all)
}

fn line(threads: u64, tails: &Tails) -> String {
    let mut words = vec![format!("threads={threads}"), format!("timer_ns={}", timer_ns())];
    for (call, histogram) in [("malloc", &tails.malloc), ("free", &tails.free)] {
        words.push(format!("{call}_samples={}", histogram.len()));
        for (name, percentile) in PERCENTILES {
            words.push(format!("{call}_{name}={}", histogram.value_at_percentile(percentile)));
        }
        words.push(format!("{call}_max={}", histogram.max()));
    }
    words.push(format!("waited={}", tails.removed.voluntary));
    words.push(format!("displaced={}", tails.removed.involuntary));
    words.join(" ")
}

/// What an empty sample takes: the part of every latency that is the timer's.
fn timer_ns() -> u64 {
    let clock = Clock::new();
    let mut empty: Vec<u64> = (0..1_001)
        .map(|_| {
            let start = clock.raw();
            clock.delta_as_nanos(start, clock.raw())
        })
        .collect();
    empty.sort_unstable();
    empty[empty.len() / 2]
}

struct Sampler<'a> {
    clock: Clock,
    blocks: Vec<Option<Block>>,
    sizes: &'a [u32],
    rng: Rng,
    tails: Tails,
    switches: Switches,
}

impl<'a> Sampler<'a> {
    fn new(sizes: &'a [u32], seed: u64) -> Self {
        let blocks = sizes
            .iter()
            .take(SLOT_COUNT)
            .map(|&size| Some(Block::new(size, tag_of(seed))))
            .collect();
        let (clock, rng) = (Clock::new(), Rng::with_seed(seed));
        Self {
            clock,
            blocks,
            sizes,
            rng,
            tails: Tails::new(),
            switches: Switches::of_this_thread(),
        }
    }

    fn sample(&mut self, samples: u64) {
        for birth in 0..samples {
            if birth % RECOUNT_EVERY == 0 {
                self.switches = Switches::of_this_thread();
            }
            let index = self.rng.usize(0..self.blocks.len());
            let size = self.sizes[self.rng.usize(0..self.sizes.len())];
            if let Some(block) = self.blocks[index].take() {
                block.check();
                let start = self.clock.raw();
                block.free();
                let taken_ns = self.clock.delta_as_nanos(start, self.clock.raw());
                if self.is_undisturbed(taken_ns) {
                    self.tails.free.saturating_record(taken_ns.max(1));
                }
            }
            let start = self.clock.raw();
            let block = Block::unmarked(size, tag_of(birth));
            let taken_ns = self.clock.delta_as_nanos(start, self.clock.raw());
            if self.is_undisturbed(taken_ns) {
                self.tails.malloc.saturating_record(taken_ns.max(1));
            }
            block.mark();
            self.blocks[index] = Some(block);
        }
        for block in self.blocks.drain(..).flatten() {
            block.check_and_free();
        }
    }

    /// Whether no thread switch fell into the sample just taken; a disturbed one is counted.
    #[inline(always)]
    fn is_undisturbed(&mut self, taken_ns: u64) -> bool {
        taken_ns < SWITCH_NS || self.recount()
    }

    #[cold]
    #[inline(never)]
    fn recount(&mut self) -> bool {
        let now = Switches::of_this_thread();
        let before = core::mem::replace(&mut self.switches, now);
        self.tails.removed.voluntary += u64::from(now.voluntary > before.voluntary);
        self.tails.removed.involuntary += u64::from(now.involuntary > before.involuntary);
        now == before
    }
}
