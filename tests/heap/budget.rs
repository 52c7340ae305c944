//! A heap whose memory is bounded, by its own limit or by a system that commits no more: reaching the bound answers
//! `None`, everything stays usable, and what is freed can be had again. With pages of 4, 16 and 64 KiB.
#![allow(unsafe_code, reason = "frees blocks by hand")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::ptr::NonNull;

use helpers::Rng;
use helpers::piece::{has_pattern, layout, write_pattern};
use helpers::strict::StrictOs;
use mems::Heap;

const MIB: usize = 1 << 20;
const SEED: u64 = 0xb0d6e7;
const PAGE_SIZES: [usize; 3] = [4 << 10, 16 << 10, 64 << 10];

type Entry = (NonNull<u8>, usize);

/// A block with its pattern; its size is the stamp.
fn allocate(heap: &Heap<&StrictOs>, size: usize) -> Option<Entry> {
    let start = heap.mems_malloc(size, 16)?;
    // SAFETY: the block is live and ours.
    unsafe { write_pattern(start, size, size as u64) };
    Some((start, size))
}

fn free(heap: &Heap<&StrictOs>, (start, size): Entry) {
    // SAFETY: the block is live and holds its pattern.
    assert!(unsafe { has_pattern(start, size, size, size as u64) }, "contents of {start:p}");
    // SAFETY: the block is live and nothing uses it any more.
    assert_eq!(unsafe { heap.mems_free_sized(start.as_ptr(), layout(size, 16)) }, Ok(()));
}

/// Mixed sizes until three in a row are refused.
fn fill(heap: &Heap<&StrictOs>, rng: &mut Rng, live: &mut Vec<Entry>) {
    let mut refused = 0;
    while refused < 3 {
        match allocate(heap, rng.size(17)) {
            Some(entry) => live.push(entry),
            None => refused += 1,
        }
    }
}

/// Meets the bound ten times, and has between half of it and all of it in blocks.
fn meet_the_bound(heap: &Heap<&StrictOs>, os: &StrictOs, bound: usize) {
    let (mut rng, mut live) = (Rng::announced("bound", SEED), Vec::new());
    for round in 0..10 {
        fill(heap, &mut rng, &mut live);
        let stats = heap.stats();
        assert!(stats.mapped <= bound && os.committed() <= bound, "round {round}: {stats}");
        assert!(stats.allocated >= bound / 2, "round {round}: {stats}");
        assert_eq!((stats.blocks, heap.check()), (live.len(), Ok(())), "round {round}");
        for _ in 0..live.len() / 2 {
            free(heap, live.swap_remove(rng.below(live.len())));
        }
        if round % 3 == 0 {
            heap.trim();
        }
    }
    live.drain(..).for_each(|entry| free(heap, entry));
    let whole = allocate(heap, bound / 2).expect("the room of what was freed");
    assert!(allocate(heap, bound).is_none());
    free(heap, whole);
}

#[test]
fn a_limit_is_never_exceeded() {
    for page_size in PAGE_SIZES {
        for limit in [3 * MIB, 8 * MIB + 12_345] {
            let os = StrictOs::new(page_size, usize::MAX);
            let heap = Heap::with_os(&os, 1 << 30);
            heap.set_limit(limit);
            meet_the_bound(&heap, &os, limit);
            heap.set_limit(usize::MAX);
            free(&heap, allocate(&heap, 2 * limit).expect("there is no limit any more"));
            heap.set_limit(0);
            assert!(allocate(&heap, 8 * limit).is_none(), "growth");
            free(&heap, allocate(&heap, limit).expect("what is mapped serves"));
            assert_eq!(heap.check(), Ok(()));
        }
    }
}

#[test]
fn a_system_that_commits_no_more_is_survived() {
    for page_size in PAGE_SIZES {
        let budget = 8 * MIB;
        let os = StrictOs::new(page_size, budget);
        let heap = Heap::with_os(&os, 1 << 30);
        meet_the_bound(&heap, &os, budget);
        os.set_budget(4 * budget);
        free(&heap, allocate(&heap, 2 * budget).expect("the system has more again"));
        os.set_budget(0);
        assert_eq!(heap.check(), Ok(()));
        drop(heap);
        assert_eq!(os.committed(), 0, "a dropped heap holds nothing");
    }
}

#[test]
fn a_heap_below_its_own_records_does_not_start() {
    let os = StrictOs::new(4096, usize::MAX);
    let heap = Heap::with_os(&os, 1 << 30);
    heap.set_limit(4096);
    assert!((0..10).all(|_| heap.mems_malloc(16, 16).is_none()));
    assert_eq!((heap.stats().mapped, os.committed(), heap.check()), (0, 0, Ok(())));
    heap.set_limit(4 * MIB);
    free(&heap, allocate(&heap, 16).expect("room for records and a block"));
}
