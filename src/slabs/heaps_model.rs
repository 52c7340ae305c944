//! Thread heaps of one depot that free each other's blocks, against a model: the blocks that are live.
//!
//! One thread acts for all of them, so that a run can be repeated and shrunk; what threads do at the same time is left
//! to `models` and `heaps_soak`. After every step each heap and each slab keeps its laws, no two blocks overlap, and
//! every slot that is neither live nor at home is in exactly one cache. At the end nothing is left.
#![allow(unsafe_code, reason = "writes into blocks, and ends a depot")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test that finds something wrong ends")]

use std::alloc::Layout;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};

use super::class::Class;
use super::depot::Depot;
use super::rounds;
use super::test_heaps::{allocate, free, with_depot};
use super::thread_heap::ThreadHeap;

const SEED: [u8; 32] = *b"one hands out what others return";
/// Addresses that a depot reserves.
const RESERVATION: usize = 1 << 30;
/// Threads of a run.
const THREADS: usize = 3;
/// Sizes of every kind: many slots a slab, few, one.
const SIZES: [usize; 10] = [24, 100, 1000, 5000, 8192, 32_000, 32 << 10, 40_000, 300_000, 4 << 20];
const ALIGNMENTS: [usize; 4] = [8, 64, 4096, 32 << 10];

/// A thread's heap, and none while there is no such thread.
type Thread = Option<&'static ThreadHeap>;

/// What happens next. A `pick` chooses among the live blocks.
#[derive(Clone, Debug)]
enum Step {
    Allocate { thread: usize, size: usize, align: usize, count: usize },
    Free { thread: usize, pick: usize, count: usize },
    FreeTwice { thread: usize, other: usize, pick: usize },
    Resize { pick: usize, size: usize },
    Drain { thread: usize },
    Flush { thread: usize },
    FlushAndEndSlabs { thread: usize },
    AskForFlush,
    EndThread { thread: usize },
    StartWithoutSlabs { thread: usize },
    Tidy,
    TakeRetired,
    GiveBackRecords,
    Fork { survivor: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let thread = || 0..THREADS;
    let size = || prop::sample::select(&SIZES[..]);
    let align = prop::sample::select(&ALIGNMENTS[..]);
    let count = || prop_oneof![4 => 1..4_usize, 1 => 1..70_usize];
    let pick = any::<usize>;
    prop_oneof![
        30 => (thread(), size(), align, count()).prop_map(|(thread, size, align, count)| {
            Step::Allocate { thread, size, align, count }
        }),
        30 => (thread(), pick(), count())
            .prop_map(|(thread, pick, count)| Step::Free { thread, pick, count }),
        4 => (thread(), thread(), pick())
            .prop_map(|(thread, other, pick)| Step::FreeTwice { thread, other, pick }),
        6 => (pick(), size()).prop_map(|(pick, size)| Step::Resize { pick, size }),
        6 => thread().prop_map(|thread| Step::Drain { thread }),
        4 => thread().prop_map(|thread| Step::Flush { thread }),
        2 => thread().prop_map(|thread| Step::FlushAndEndSlabs { thread }),
        1 => Just(Step::AskForFlush),
        6 => thread().prop_map(|thread| Step::EndThread { thread }),
        2 => thread().prop_map(|thread| Step::StartWithoutSlabs { thread }),
        1 => Just(Step::Tidy),
        1 => Just(Step::TakeRetired),
        2 => Just(Step::GiveBackRecords),
        2 => thread().prop_map(|survivor| Step::Fork { survivor }),
    ]
}

/// A run: the depot, its threads, and the model.
struct Run {
    depot: &'static Depot,
    threads: [Thread; THREADS],
    /// The bytes of every live block, by its start.
    live: BTreeMap<usize, usize>,
}

impl Run {
    /// The heap of a thread, which starts if there is none. None without memory for it.
    fn heap(&mut self, thread: usize) -> Thread {
        if self.threads[thread].is_none() {
            self.threads[thread] = self.depot.acquire_heap();
        }
        self.threads[thread]
    }

    fn step(&mut self, step: &Step) -> TestCaseResult {
        match *step {
            Step::Allocate { thread, size, align, count } => {
                (0..count).try_for_each(|_| self.allocate(thread, size, align))?;
            }
            Step::Free { thread, pick, count } => {
                (0..count).try_for_each(|_| self.free_one(thread, pick))?;
            }
            Step::FreeTwice { thread, other, pick } => {
                if let Some(address) = self.pick(pick) {
                    self.free_one(thread, pick)?;
                    let heap = self.heap(other);
                    prop_assert!(heap.is_none_or(|heap| !free(heap, address)), "it was freed");
                }
            }
            Step::Resize { pick, size } => self.resize(pick, size)?,
            Step::Drain { thread } => drop(self.threads[thread].map(ThreadHeap::drain)),
            Step::Flush { thread } => drop(self.threads[thread].map(ThreadHeap::flush)),
            Step::FlushAndEndSlabs { thread } => {
                self.threads[thread].map(ThreadHeap::flush_and_end_slabs);
            }
            Step::AskForFlush => self.depot.ask_for_flush(),
            Step::EndThread { thread } => self.end_thread(thread),
            Step::StartWithoutSlabs { thread } => {
                self.end_thread(thread);
                let heap = self.depot.acquire_empty_heap();
                let owns =
                    |heap: &'static ThreadHeap| self.depot.map.all().any(|slab| heap.owns(slab));
                prop_assert!(!heap.is_some_and(owns), "it has no slab");
                self.threads[thread] = heap;
            }
            Step::Tidy => self.depot.tidy_retired(),
            Step::TakeRetired => self.depot.with_each_retired(|heap| {
                heap.flush_and_end_slabs();
            }),
            Step::GiveBackRecords => {
                self.depot.give_back_records(&mut rounds::Step::all());
            }
            Step::Fork { survivor } => self.fork(survivor),
        }
        self.check()
    }

    fn allocate(&mut self, thread: usize, size: usize, align: usize) -> TestCaseResult {
        let layout = Layout::from_size_align(size, align).expect("a layout");
        let Some(class) = Class::of_layout(layout) else { return Ok(()) };
        let Some(heap) = self.heap(thread) else { return Ok(()) };
        let Some(start) = allocate(heap, class) else { return Ok(()) };
        let bytes = class.shape().slot_bytes;
        prop_assert!(start % align == 0 && bytes >= size);
        let before = self.live.range(..start + bytes).next_back();
        prop_assert!(before.is_none_or(|(other, len)| other + len <= start), "two owners");
        mark(start, bytes);
        self.live.insert(start, bytes);
        Ok(())
    }

    fn pick(&self, pick: usize) -> Option<usize> {
        let index = pick.checked_rem(self.live.len())?;
        self.live.keys().nth(index).copied()
    }

    fn free_one(&mut self, thread: usize, pick: usize) -> TestCaseResult {
        let (Some(start), Some(heap)) = (self.pick(pick), self.heap(thread)) else { return Ok(()) };
        let bytes = self.live.remove(&start).expect("a live block");
        prop_assert!(is_marked(start, bytes), "its bytes are as they were");
        for inside in [start + 1, start + bytes / 2, start + bytes - 1] {
            prop_assert!(inside == start || !free(heap, inside), "no block starts there");
        }
        prop_assert!(free(heap, start), "it is live");
        Ok(())
    }

    /// Makes a block of a slab of its own larger or smaller where it is.
    fn resize(&mut self, pick: usize, size: usize) -> TestCaseResult {
        let Some(start) = self.pick(pick) else { return Ok(()) };
        let slab = self.depot.map.find(start).expect("a slab");
        let class = Class::of_any(size, 8).filter(|class| class.is_large());
        let Some(class) = class.filter(|_| slab.class().is_large()) else { return Ok(()) };
        let before = slab.shape().slot_bytes;
        let is_done = self.depot.resize_slab(slab, class);
        let bytes = if is_done { class.shape().slot_bytes } else { before };
        prop_assert_eq!(slab.shape().slot_bytes, bytes);
        let behind = self.live.range(start + 1..).next();
        prop_assert!(behind.is_none_or(|(other, _)| start + bytes <= *other), "two owners");
        mark(start, bytes);
        self.live.insert(start, bytes);
        Ok(())
    }

    fn end_thread(&mut self, thread: usize) {
        if let Some(heap) = self.threads[thread].take() {
            heap.flush();
            self.depot.retire_heap(heap);
        }
    }

    /// All threads but one vanish.
    fn fork(&mut self, survivor: usize) {
        let kept = self.threads[survivor];
        self.depot.take_over(|heap| !heap.is_retired() && !kept.is_some_and(|kept| kept.is(heap)));
        self.threads = [None; THREADS];
        self.threads[survivor] = kept;
    }

    /// Every heap that was ever made.
    fn all_heaps(&self) -> Vec<&'static ThreadHeap> {
        self.depot.pool.lock().all_heaps().collect()
    }

    fn check(&self) -> TestCaseResult {
        prop_assert_eq!(self.depot.heap.check(), Ok(()));
        prop_assert_eq!(self.depot.pool.lock().check(), Ok(()));
        let (mut live_count, mut cached_count) = (0, 0);
        for slab in self.depot.map.all() {
            let live = slab.live_count();
            live_count += live;
            let behind = self.depot.map.find(slab.start() + slab.slab_bytes());
            prop_assert!(behind.is_none_or(|other| other.start() > slab.start()), "it ends");
            cached_count += slab.cached_count(live);
        }
        prop_assert_eq!(live_count, self.live.len());
        for (start, bytes) in &self.live {
            let slab = self.depot.map.find(*start).expect("a slab");
            let index = slab.slot_index(*start);
            prop_assert!(index.is_some_and(|index| slab.is_live(index)), "it is live");
            prop_assert_eq!(slab.shape().slot_bytes, *bytes);
        }
        let mut in_caches = 0;
        for heap in self.all_heaps() {
            prop_assert_eq!(heap.check(), Ok(()));
            in_caches += Class::all()
                .map(|class| heap.stack(class).len() + heap.outbox(class).len())
                .sum::<usize>();
        }
        prop_assert_eq!(cached_count, in_caches, "what is not at home is in one cache");
        Ok(())
    }

    /// Frees what is left and ends all threads.
    fn finish(&mut self) -> TestCaseResult {
        for thread in (0..THREADS).cycle().take(self.live.len()) {
            self.free_one(thread, thread * 7)?;
        }
        (0..THREADS).for_each(|thread| self.end_thread(thread));
        // What one heap forwards another takes in the second time.
        self.depot.tidy_retired();
        self.depot.tidy_retired();
        self.check()?;
        prop_assert!(self.depot.map.all().next().is_none(), "all slabs have ended");
        Ok(())
    }
}

/// Where a block has its marks: at both ends.
fn marks(start: usize, bytes: usize) -> [*mut usize; 2] {
    [start, start + bytes - size_of::<usize>()]
        .map(|place| crate::base::addr::raw_pointer(place).cast())
}

fn mark(start: usize, bytes: usize) {
    // SAFETY: the block is live and has room for a word.
    marks(start, bytes).iter().for_each(|place| unsafe { place.write_unaligned(!start) });
}

fn is_marked(start: usize, bytes: usize) -> bool {
    // SAFETY: the block is live, and was marked.
    marks(start, bytes).iter().all(|place| unsafe { place.read_unaligned() } == !start)
}

fn run(limit: usize, steps: &[Step]) -> TestCaseResult {
    let play = |depot: &'static Depot| {
        depot.heap.set_limit(limit);
        let mut run = Run { depot, threads: [None; THREADS], live: BTreeMap::new() };
        steps.iter().try_for_each(|step| run.step(step)).and_then(|()| run.finish())
    };
    // SAFETY: the run is over then, and nobody else knows the depot and what it has.
    unsafe { with_depot(RESERVATION, play) }
}

fn compare(cases: u32, limit: impl Strategy<Value = usize>) {
    println!("seed {}", String::from_utf8_lossy(&SEED));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &SEED);
    let steps = prop::collection::vec(step(), 1..120);
    let result = TestRunner::new_with_rng(config, random)
        .run(&(limit, steps), |(limit, steps)| run(limit, &steps));
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn heaps_that_free_each_others_blocks_agree_with_a_set_of_blocks() {
    compare(30, Just(usize::MAX));
}

/// Requests fail, and large blocks have no slabs.
#[test]
fn so_they_do_where_memory_runs_out() {
    compare(30, (1..40_usize).prop_map(|steps| steps << 18));
}
