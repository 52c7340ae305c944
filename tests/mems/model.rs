//! [`mems::Mems`] against what the original does: a list of spans, each with a list of segments, walked from the front.
//!
//! The model also keeps every span's bytes, so that fresh bytes are seen to be zero, reused ones to be what they were,
//! and a block's bytes to stay. After every step all segments, addresses and sums are compared and the heap checks its
//! own laws. Runs shrink to the shortest that differs.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that finds something wrong ends")]

use crate::helpers::accounts::TestOs;
use crate::segments::segments;
use mems::{AddressNotFound, FIRST_ADDRESS, MallocError, Mems, MemsStats, SegmentKind, VirtAddr};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};

const SEED: [u8; 32] = *b"first fit from the first address";

/// A segment: its size, and whether it is handed out.
type Part = (usize, SegmentKind);

#[derive(Debug)]
struct ModelSpan {
    start: usize,
    parts: Vec<Part>,
    memory: Vec<u8>,
}

/// The linear model.
#[derive(Debug)]
struct Model {
    page_size: usize,
    spans: Vec<ModelSpan>,
    next_start: usize,
}

impl Model {
    fn new(page_size: usize) -> Self {
        Self { page_size, spans: Vec::new(), next_start: FIRST_ADDRESS.0 }
    }

    fn malloc(&mut self, size: usize) -> usize {
        for span in &mut self.spans {
            let mut start = span.start;
            for index in 0..span.parts.len() {
                let (room, kind) = span.parts[index];
                if kind == SegmentKind::Hole && room >= size {
                    span.parts[index] = (size, SegmentKind::Block);
                    if room > size {
                        span.parts.insert(index + 1, (room - size, SegmentKind::Hole));
                    }
                    return start;
                }
                start += room;
            }
        }
        let (start, len) = (self.next_start, size.next_multiple_of(self.page_size));
        let parts = vec![(len, SegmentKind::Hole)];
        self.spans.push(ModelSpan { start, parts, memory: vec![0; len] });
        self.next_start += len;
        self.malloc(size)
    }

    fn free(&mut self, address: usize) -> bool {
        for span in &mut self.spans {
            let mut start = span.start;
            for index in 0..span.parts.len() {
                if start == address && span.parts[index].1 == SegmentKind::Block {
                    span.parts[index].1 = SegmentKind::Hole;
                    span.parts.dedup_by(|behind, before| {
                        let merge = before.1 == SegmentKind::Hole && behind.1 == SegmentKind::Hole;
                        if merge {
                            before.0 += behind.0;
                        }
                        merge
                    });
                    return true;
                }
                start += span.parts[index].0;
            }
        }
        false
    }

    /// Start and size of the block that has `address`.
    fn block_with(&self, address: usize) -> Option<(usize, usize)> {
        let all = self.segments();
        let found = all.iter().find(|(start, size, _)| address.wrapping_sub(*start) < *size);
        found.filter(|found| found.2 == SegmentKind::Block).map(|found| (found.0, found.1))
    }

    fn segments(&self) -> Vec<(usize, usize, SegmentKind)> {
        let mut all = Vec::new();
        for span in &self.spans {
            let mut start = span.start;
            for (size, kind) in &span.parts {
                all.push((start, *size, *kind));
                start += size;
            }
        }
        all
    }

    /// The bytes from `address` on, `len` of them, of the span that has them.
    fn memory(&mut self, address: usize, len: usize) -> &mut [u8] {
        let has = |span: &&mut ModelSpan| address.wrapping_sub(span.start) < span.memory.len();
        let span = self.spans.iter_mut().find(has).expect("a span has it");
        let offset = address - span.start;
        &mut span.memory[offset..offset + len]
    }

    fn stats(&self) -> MemsStats {
        let all = self.segments();
        let total: usize = self.spans.iter().map(|span| span.memory.len()).sum();
        let holes = || all.iter().filter(|it| it.2 == SegmentKind::Hole).map(|it| it.1);
        let free: usize = holes().sum();
        let mut stats = MemsStats::default();
        (stats.pages_used, stats.mapped) = (total / self.page_size, total);
        (stats.allocated, stats.free) = (total - free, free);
        (stats.spans, stats.segments) = (self.spans.len(), all.len());
        (stats.blocks, stats.holes) = (all.len() - holes().count(), holes().count());
        stats.largest_hole = holes().max().unwrap_or(0);
        stats
    }
}

/// One step of a run. An index chooses among the live blocks.
#[derive(Clone, Debug)]
enum Step {
    Malloc(usize),
    Free(prop::sample::Index),
    /// `free` and `get` of any address, near a live block or not.
    Address(prop::sample::Index, isize),
    Impossible(usize),
    Finish,
}

fn steps(most: usize, mallocs: u32, frees: u32) -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![8 => 1..100_usize, 2 => 1..3000_usize, 1 => (1..4_usize).prop_map(|p| p * 1024)];
    let impossible = prop_oneof![
        Just(0),
        Just(usize::MAX),
        Just(isize::MAX.unsigned_abs()),
        (1..200_usize).prop_map(|more| isize::MAX.unsigned_abs() + more),
    ];
    let address = (any::<prop::sample::Index>(), -50..200_isize);
    let step = prop_oneof![
        mallocs * 20 => size.prop_map(Step::Malloc),
        frees * 20 => any::<prop::sample::Index>().prop_map(Step::Free),
        60 => address.prop_map(|(index, distance)| Step::Address(index, distance)),
        10 => impossible.prop_map(Step::Impossible),
        1 => Just(Step::Finish),
    ];
    prop::collection::vec(step, most)
}

/// A heap and the model that it is compared with.
struct Pair<'os> {
    heap: Mems<&'os TestOs>,
    model: Model,
    live: Vec<usize>,
    written: u8,
}

impl Pair<'_> {
    fn malloc(&mut self, size: usize) -> TestCaseResult {
        let expected = self.model.malloc(size);
        prop_assert_eq!(self.heap.malloc(size), Ok(VirtAddr(expected)));
        self.live.push(expected);
        let memory = self.model.memory(expected, size);
        let bytes = self.heap.bytes_mut(VirtAddr(expected));
        let Some(bytes) = bytes else { return Err(TestCaseError::fail("a block has bytes")) };
        prop_assert_eq!(&*bytes, &*memory, "fresh bytes are zero, others are what they were");
        self.written = self.written.wrapping_add(1);
        bytes.fill(self.written);
        memory.fill(self.written);
        Ok(())
    }

    fn free(&mut self, index: &prop::sample::Index) -> TestCaseResult {
        if self.live.is_empty() {
            return Ok(());
        }
        let start = self.live.swap_remove(index.index(self.live.len()));
        let bytes = self.heap.bytes(VirtAddr(start)).map(<[u8]>::to_vec).unwrap_or_default();
        prop_assert_eq!(&*self.model.memory(start, bytes.len()), &*bytes, "a block's bytes stay");
        prop_assert!(self.model.free(start));
        prop_assert_eq!(self.heap.free(VirtAddr(start)), Ok(()));
        Ok(())
    }

    fn address(&mut self, index: &prop::sample::Index, distance: isize) -> TestCaseResult {
        let near =
            if self.live.is_empty() { 1000 } else { self.live[index.index(self.live.len())] };
        let address = near.wrapping_add_signed(distance);
        let block = self.model.block_with(address);
        let view = self.heap.bytes(VirtAddr(address)).map(<[u8]>::len);
        prop_assert_eq!(view, block.map(|(start, size)| start + size - address));
        let first = block.and_then(|(start, _)| self.heap.get(VirtAddr(start)));
        let place = self.heap.get(VirtAddr(address)).map(|place| place.addr().get());
        let offset = block.map_or(0, |(start, _)| address - start);
        prop_assert_eq!(place, first.map(|first| first.addr().get() + offset));
        let is_start = block.is_some_and(|(start, _)| start == address);
        if !is_start {
            let wrong = AddressNotFound(VirtAddr(address));
            prop_assert_eq!(self.heap.free(VirtAddr(address)), Err(wrong));
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> TestCaseResult {
        match step {
            Step::Malloc(size) => self.malloc(*size)?,
            Step::Free(index) => self.free(index)?,
            Step::Address(index, distance) => self.address(index, *distance)?,
            Step::Impossible(0) => prop_assert_eq!(self.heap.malloc(0), Err(MallocError::ZeroSize)),
            Step::Impossible(size) => {
                prop_assert_eq!(self.heap.malloc(*size), Err(MallocError::OutOfMemory));
            }
            Step::Finish => {
                self.heap.finish();
                self.model = Model::new(self.model.page_size);
                self.live.clear();
            }
        }
        self.compare()
    }

    fn compare(&self) -> TestCaseResult {
        prop_assert_eq!(self.heap.check(), Ok(()));
        let seen = segments(&self.heap);
        let seen: Vec<_> = seen.iter().map(|it| (it.start.0, it.size, it.kind)).collect();
        prop_assert_eq!(&seen, &self.model.segments());
        let mut stats = self.heap.stats();
        stats.metadata = 0;
        prop_assert_eq!(stats, self.model.stats());
        let spans: Vec<_> = self.heap.spans().map(|it| (it.start.0, it.segment_count)).collect();
        let expected: Vec<_> =
            self.model.spans.iter().map(|it| (it.start, it.parts.len())).collect();
        prop_assert_eq!(spans, expected);
        Ok(())
    }
}

fn compare_run(page_size: usize, steps: &[Step]) -> TestCaseResult {
    let os = TestOs::new(4096);
    let (heap, model) = (Mems::with_os(&os, page_size), Model::new(page_size));
    let mut pair = Pair { heap, model, live: Vec::new(), written: 0 };
    for step in steps {
        pair.step(step)?;
    }
    drop(pair);
    prop_assert_eq!(os.live(), []);
    Ok(())
}

fn runner(cases: u32) -> TestRunner {
    println!("seed {}", String::from_utf8_lossy(&SEED));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED))
}

fn run(cases: u32, steps: impl Strategy<Value = Vec<Step>>) {
    let page_size = prop::sample::select(vec![64, 1000, 1024, 4096, 8192]);
    let result =
        runner(cases).run(&(page_size, steps), |(page_size, steps)| compare_run(page_size, &steps));
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// 75,000 steps with few live blocks: every edge case often.
#[test]
fn short_runs_agree_with_the_model() {
    run(250, steps(300, 12, 10));
}

/// 25,000 steps with up to a thousand live blocks: an index of several levels, growing and shrinking.
#[test]
fn long_runs_agree_with_the_model() {
    run(10, steps(2_500, 20, 10));
}
