//! The n-th call of the operating system fails, for every n: whatever was asked for is refused, nothing else changes,
//! and the heap goes on as soon as the system does.
#![allow(unsafe_code, reason = "frees blocks by hand")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::ops::Range;
use core::ptr::NonNull;

use helpers::faulty::FaultyOs;
use helpers::piece::{has_pattern, write_pattern};
use helpers::{Rng, scaled};
use mems::Heap;
use mems::os::{Os, System};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

const MIB: usize = 1 << 20;
/// The same work is done for every n.
const SEED: u64 = 0xfa17;
/// Operations of the work.
const OPERATIONS: usize = scaled(200, 400);

/// A block with its pattern; its size is the stamp.
struct Entry {
    start: NonNull<u8>,
    size: usize,
}

impl Entry {
    fn assert_intact(&self, when: &str) {
        // SAFETY: the block is live and holds its pattern.
        let is_intact = unsafe { has_pattern(self.start, self.size, self.size, self.size as u64) };
        assert!(is_intact, "{when}: contents of {:p}, {} bytes, changed", self.start, self.size);
    }
}

fn allocate(heap: &Heap<&FaultyOs>, size: usize, align: usize) -> Option<Entry> {
    let start = heap.mems_malloc(size, align)?;
    assert!(start.addr().get().is_multiple_of(align));
    // SAFETY: the block is live and ours. If the heap hands out pages that a failed call has dropped, this faults.
    unsafe { write_pattern(start, size, size as u64) };
    Some(Entry { start, size })
}

fn free(heap: &Heap<&FaultyOs>, entry: &Entry, when: &str) {
    entry.assert_intact(when);
    // SAFETY: the block is live and nothing uses it any more.
    assert_eq!(unsafe { heap.mems_free(entry.start.as_ptr()) }, Ok(()), "{when}");
    // SAFETY: it is gone, so this is refused.
    assert!(unsafe { heap.mems_free(entry.start.as_ptr()) }.is_err(), "{when}");
}

/// Some work with all kinds of sizes, and a trim now and then. Returns how many requests were refused.
fn work(heap: &Heap<&FaultyOs>, live: &mut Vec<Entry>) -> usize {
    let mut rng = Rng::quiet(SEED);
    let mut refused = 0;
    for operation in 0..OPERATIONS {
        if operation % 50 == 49 {
            heap.trim();
        }
        let (size, align) = match rng.below(100) {
            0..3 => (32 * MIB + rng.below(32 * MIB), 16),
            3..15 => (rng.size(21), 4096 << rng.below(8)),
            _ => (rng.size(14), 1 << rng.below(8)),
        };
        if rng.once_in(2) && !live.is_empty() {
            let entry = live.swap_remove(rng.below(live.len()));
            free(heap, &entry, "during the work");
        }
        match allocate(heap, size, align) {
            Some(entry) => live.push(entry),
            None => refused += 1,
        }
    }
    refused
}

/// How the system refuses.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    /// It leaves the run as it was.
    Clean,
    /// It leaves a gap.
    Gap,
    /// Somebody maps that many bytes into the gap at once.
    Intruder(usize),
}

impl Refusal {
    /// A system of which the calls with the numbers `failing` fail in this way.
    fn at(self, failing: Range<usize>) -> FaultyOs {
        let os = FaultyOs::failing(failing);
        match self {
            Self::Clean => os.leave_gaps(0),
            Self::Gap => {}
            Self::Intruder(len) => os.let_somebody_in(len),
        }
        os
    }
}

/// Does the work while the calls with the numbers `failing` fail, and looks whether the heap has come to harm.
/// Returns how many calls and how many requests were refused.
fn round(failing: Range<usize>, reservation: usize, refusal: Refusal) -> (usize, usize) {
    let when = format!("calls {failing:?} failing ({refusal:?}), reservation {reservation}");
    let os = refusal.at(failing);
    let (refused, asked) = {
        let heap = Heap::with_os(&os, reservation);
        let mut live = Vec::new();
        let asked = work(&heap, &mut live);
        let refused = os.refused();
        assert_eq!(heap.check(), Ok(()), "{when}");
        assert_eq!(heap.stats().blocks, live.len(), "{when}");
        live.iter().for_each(|entry| entry.assert_intact(&when));
        os.heal();
        let again = work(&heap, &mut live);
        assert_eq!(again, 0, "{when}: requests refused after the system has recovered");
        live.iter().for_each(|entry| free(&heap, entry, &when));
        heap.trim();
        assert_eq!(heap.check(), Ok(()), "{when}");
        let stats = heap.stats();
        assert_eq!((stats.blocks, stats.allocated), (0, 0), "{when}: {stats}");
        (refused, asked)
    };
    assert_all_went(&os, &when);
    (refused, asked)
}

/// Nobody else's memory was touched, and no addresses are held by a heap that was dropped, as far as the system let go.
fn assert_all_went(os: &FaultyOs, when: &str) {
    let (intruders, are_whole) = os.intruders();
    assert!(are_whole, "{when}: somebody else's memory was written to");
    if os.unmaps_refused() == 0 && intruders == 0 {
        assert_eq!(os.held(), 0, "{when}: a dropped heap still holds addresses");
    }
}

/// Does rounds in which ever later calls fail, from the n-th on for `lasting` ones, until none would.
fn rounds(refusal: Refusal, lasting: usize, step: usize) {
    println!("seed {SEED:#x}, {OPERATIONS} operations a round, {refusal:?}");
    for reservation in [0, 16 * MIB, 16 << 30] {
        let (mut n, mut nulls) = (0, 0);
        loop {
            let (refused, asked) = round(n..n.saturating_add(lasting), reservation, refusal);
            if refused == 0 {
                break;
            }
            (n, nulls) = (n + step, nulls + asked);
        }
        println!("reservation {reservation}: {n} calls, {nulls} requests null");
        assert!(n > 10, "the work makes system calls");
        assert!(lasting == 1 || nulls > 0, "a system that gives nothing more is noticed");
    }
}

const REFUSALS: [Refusal; 4] =
    [Refusal::Clean, Refusal::Gap, Refusal::Intruder(4096), Refusal::Intruder(usize::MAX)];

#[test]
fn each_single_failure_is_survived() {
    REFUSALS.into_iter().for_each(|refusal| rounds(refusal, 1, 1));
}

#[test]
fn each_lasting_failure_is_survived() {
    REFUSALS.into_iter().for_each(|refusal| rounds(refusal, usize::MAX, scaled(3, 1)));
}

/// Blocks with large alignments lie in zones of their own, which come in more calls than others.
#[test]
fn each_failure_beside_a_large_alignment_is_survived() {
    const ALIGNMENTS: [usize; 4] = [16 * MIB, 64 * MIB, 1 << 30, 16 * MIB];
    for refusal in REFUSALS {
        let (mut n, mut nulls) = (0, 0);
        loop {
            let when = format!("call {n} failing ({refusal:?})");
            let os = refusal.at(n..n + 1);
            let heap = Heap::with_os(&os, 16 << 30);
            let mut live: Vec<_> =
                ALIGNMENTS.into_iter().filter_map(|align| allocate(&heap, 1000, align)).collect();
            assert_eq!(heap.check(), Ok(()), "{when}");
            nulls += ALIGNMENTS.len() - live.len();
            os.heal();
            live.extend(
                ALIGNMENTS.map(|align| allocate(&heap, 5000, align).expect("it is healed")),
            );
            live.iter().for_each(|entry| free(&heap, entry, &when));
            heap.trim();
            assert_eq!(heap.check(), Ok(()), "{when}");
            drop(heap);
            assert_all_went(&os, &when);
            if os.refused() == 0 {
                break;
            }
            n += 1;
        }
        println!("{refusal:?}: {n} calls, {nulls} requests null");
        assert!(n > 4 * ALIGNMENTS.len(), "the work makes system calls");
    }
}

/// Found on Linux 6.1: what the program mapped after a request that had failed was the heap's next block.
#[test]
fn no_gap_is_left_for_the_programs_own_mappings() {
    const LEN: usize = 4 * MIB;
    let os = FaultyOs::default();
    let heap = Heap::with_os(&os, 16 << 30);
    let first = allocate(&heap, 1000, 16).unwrap();
    os.break_down();
    assert!(heap.mems_malloc(256 * MIB, 16).is_none(), "the system refuses");
    os.heal();
    let mappings: Vec<_> = (0..64).map(|_| System.map(LEN).unwrap()).collect();
    for mapping in &mappings {
        // SAFETY: the mapping is ours.
        unsafe { write_pattern(*mapping, LEN, 1) };
    }
    let is_intact = |mapping: &NonNull<u8>| {
        // SAFETY: the mapping is ours, unless the heap has taken it: this is what is asked.
        unsafe { has_pattern(*mapping, LEN, LEN, 1) }
    };
    let blocks: Vec<_> = (0..64).map(|_| allocate(&heap, LEN, 16).unwrap()).collect();
    assert!(mappings.iter().all(is_intact), "the heap has mapped over them");
    blocks.iter().chain([&first]).for_each(|entry| free(&heap, entry, "afterwards"));
    heap.trim();
    drop(heap);
    assert!(mappings.iter().all(is_intact), "the heap has unmapped them");
    for mapping in mappings {
        // SAFETY: the mapping is ours, and nothing uses it any more.
        unsafe { System.unmap(mapping, LEN) }.unwrap();
    }
}

/// A kernel that refuses for another reason than before leaves the pages, and nobody knows but those.
#[test]
fn what_was_not_given_back_after_all_is_not_lost() {
    const LEN: usize = 40 * MIB;
    let os = FaultyOs::default();
    os.leave_gaps(0);
    os.say_nothing();
    let heap = Heap::with_os(&os, 16 << 30);
    let [block, behind] = [LEN; 2].map(|len| allocate(&heap, len, 16).unwrap());
    os.refuse_next(1);
    free(&heap, &block, "its pages stay");
    assert_eq!(heap.check(), Ok(()));
    let again = allocate(&heap, LEN, 16).unwrap();
    assert_eq!(again.start, block.start);
    [again, behind].iter().for_each(|entry| free(&heap, entry, "at the end"));
    drop(heap);
    assert_eq!(os.held(), 0);
}

/// A system that takes pages back and gives no fresh ones for them.
#[test]
fn what_could_not_be_given_back_is_had_again() {
    const LEN: usize = 40 * MIB;
    for (refused, gaps) in [(1, 1), (2, 2), (2, 1)] {
        let os = FaultyOs::default();
        os.leave_gaps(gaps);
        let heap = Heap::with_os(&os, 16 << 30);
        let [block, behind] = [LEN; 2].map(|len| allocate(&heap, len, 16).unwrap());
        os.refuse_next(refused);
        free(&heap, &block, "its pages go");
        assert_eq!(heap.check(), Ok(()));
        let mapped = heap.stats().mapped;
        let again = allocate(&heap, LEN, 16).unwrap();
        assert_eq!((again.start, heap.stats().mapped), (block.start, mapped), "{refused} refused");
        [again, behind].iter().for_each(|entry| free(&heap, entry, "at the end"));
        drop(heap);
        assert_eq!(os.held(), 0);
    }
}

#[test]
fn without_the_system_what_is_there_still_serves() {
    let os = FaultyOs::default();
    let heap = Heap::with_os(&os, 1 << 30);
    let blocks: Vec<_> = (0..1000).map(|_| allocate(&heap, 1000, 16).unwrap()).collect();
    os.break_down();
    for round in 0..10 {
        blocks.iter().for_each(|entry| entry.assert_intact("broken down"));
        assert!(heap.mems_malloc(1 << 29, 16).is_none(), "round {round}");
        assert!(heap.mems_malloc(16, 1 << 29).is_none(), "round {round}");
    }
    let count = blocks.len();
    blocks.iter().for_each(|entry| free(&heap, entry, "broken down"));
    let again: Vec<_> = (0..count).map(|_| allocate(&heap, 1000, 16).unwrap()).collect();
    again.iter().for_each(|entry| free(&heap, entry, "broken down, again"));
    assert_eq!(heap.check(), Ok(()));
    os.heal();
    assert!(allocate(&heap, 1 << 27, 16).is_some());
    drop(heap);
    assert_eq!(os.held(), 0);
}

#[test]
fn a_heap_that_could_not_start_starts_later() {
    let os = FaultyOs::default();
    os.break_down();
    let heap = Heap::with_os(&os, 1 << 30);
    for _ in 0..100 {
        assert!(heap.mems_malloc(16, 8).is_none());
        assert_eq!((heap.stats().blocks, heap.trim(), heap.check()), (0, 0, Ok(())));
    }
    assert_eq!(os.held(), 0, "{} calls", os.calls());
    os.heal();
    assert!(heap.mems_malloc(16, 8).is_some());
}
