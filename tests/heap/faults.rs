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

/// Does the work while the calls with the numbers `failing` fail, and looks whether the heap has come to harm.
/// Returns how many calls and how many requests were refused.
fn round(failing: Range<usize>, reservation: usize) -> (usize, usize) {
    let when = format!("calls {failing:?} failing, reservation {reservation}");
    let os = FaultyOs::failing(failing);
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
    if os.unmaps_refused() == 0 {
        assert_eq!(os.held(), 0, "{when}: a dropped heap still holds addresses");
    }
    (refused, asked)
}

#[test]
fn each_single_failure_is_survived() {
    println!("seed {SEED:#x}, {OPERATIONS} operations a round");
    for reservation in [0, 16 * MIB, 16 << 30] {
        let (mut n, mut nulls) = (0, 0);
        loop {
            let (refused, asked) = round(n..n + 1, reservation);
            if refused == 0 {
                break;
            }
            (n, nulls) = (n + 1, nulls + asked);
        }
        println!("reservation {reservation}: each of {n} calls has failed, {nulls} requests null");
        assert!(n > 10, "the work makes system calls");
    }
}

#[test]
fn each_lasting_failure_is_survived() {
    let step = scaled(3, 1);
    for reservation in [0, 16 * MIB, 16 << 30] {
        let (mut n, mut nulls) = (0, 0);
        loop {
            let (refused, asked) = round(n..usize::MAX, reservation);
            if refused == 0 {
                break;
            }
            (n, nulls) = (n + step, nulls + asked);
        }
        println!(
            "reservation {reservation}: failing from each of {n} calls, {nulls} requests null"
        );
        assert!(nulls > 0, "a system that gives nothing more is noticed");
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
