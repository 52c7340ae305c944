//! What only inside code can test of threads: slots on their way home when threads end and slabs change hands.
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use core::alloc::Layout;
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::free::free;
use super::held::Resized;
use super::plain::PROCESS_HEAP;
use super::thread::current;
#[cfg(debug_assertions)]
use crate::base::fatal::tests::{assert_ended, in_child};
use crate::heap::MisuseKind;
use crate::settings::Settings;
use crate::slabs::class::{Class, MAX_SMALL, SLAB_GRANULE};
use crate::slabs::depot::DEPOT;
use crate::slabs::slab::Slab;
#[cfg(debug_assertions)]
use crate::slabs::slot::FreeSlot;

fn class_of(size: usize) -> Class {
    Class::of(size, 8).expect("a small size")
}

/// The process heap, one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).expect("a layout")
}

fn malloc(size: usize) -> usize {
    let start = super::malloc::malloc(layout(size), &Settings::DEFAULT);
    assert!(!start.is_null(), "there is memory");
    start.addr()
}

fn slab_with(address: usize) -> &'static Slab {
    DEPOT.map.find(address).expect("a slot")
}

/// Slots of the slabs with a key that are nowhere but in a cache.
fn cached(key: usize) -> usize {
    let slabs = DEPOT.map.all().filter(|slab| slab.key() == key);
    slabs.map(|slab| slab.cached_count(slab.live_count())).sum()
}

#[test]
fn a_thread_that_ends_sends_all_its_slots_home() {
    const SIZE: usize = 6000;
    let _alone = alone();
    let blocks: Vec<_> = (0..300).map(|_| malloc(SIZE)).collect();
    let key = current().key(class_of(SIZE));
    let (theirs, mine) = blocks.split_at(100);
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // Some wait in the outbox, and some of the thread's own in its magazine.
            theirs.iter().for_each(|block| free(*block, layout(SIZE)));
            assert!(cached(key) > 0);
            let own: Vec<_> = (0..10).map(|_| malloc(SIZE)).collect();
            own.into_iter().for_each(|block| free(block, layout(SIZE)));
        });
        // The scope alone does not wait for the thread's last steps.
        thread.join().expect("no panic");
    });
    PROCESS_HEAP.flush();
    assert_eq!(cached(key), 0);
    mine.iter().for_each(|block| free(*block, layout(SIZE)));
    PROCESS_HEAP.flush();
    assert_eq!((cached(key), PROCESS_HEAP.check()), (0, Ok(())));
    // The harness may have a block of this size, too.
    let mut slabs = DEPOT.map.all().filter(|slab| slab.key() == key);
    assert!(slabs.all(|slab| slab.live_count() > 0), "the empty ones have ended");
}

/// A malloc looks at a few of the heaps that were left, all in their turn, so there are some tries. Found where it
/// ended each search at the end of their list: with seven of them the one that was left last never had its turn.
#[test]
fn a_thread_adopts_a_slab_of_one_that_ended() {
    const TRIES: usize = 100;
    let _alone = alone();
    // Found where the harness had kept a block of the size that was tried: its slab was adopted, for good.
    let size = size_without_slab();
    let kept = thread::spawn(move || malloc(size)).join().expect("no panic");
    assert!((0..TRIES).any(|_| adopts_what_was_left()), "each time a new slab was made");
    free(kept, layout(size));
    assert_eq!(PROCESS_HEAP.check(), Ok(()));
}

/// A size of a class that has no slab, except of what other threads make right now.
fn size_without_slab() -> usize {
    let is_absent = |size: &usize| DEPOT.map.all().all(|slab| slab.class() != class_of(*size));
    let mut sizes = (1024..=MAX_SMALL).step_by(1024);
    sizes.find(is_absent).expect("no program has all of them")
}

/// The slab map has grown since the thread looked at it.
#[test]
fn a_thread_frees_what_it_does_not_know_of_yet() {
    const BLOCKS: usize = 8192;
    let _alone = alone();
    let first = malloc(8);
    let make = || (0..BLOCKS).map(|_| malloc(MAX_SMALL)).collect::<Vec<_>>();
    let blocks = thread::spawn(make).join().expect("no panic");
    let is_known = |block: usize| current().view.entry(block).is_some();
    let unknown = blocks.iter().copied().find(|block| !is_known(*block));
    let unknown = unknown.expect("256 MiB are more than any test leaves");
    free(unknown, layout(MAX_SMALL));
    assert!(is_known(unknown), "now it looks");
    assert!(PROCESS_HEAP.validate(unknown, Some(layout(MAX_SMALL))).is_err(), "it is free");
    let others = blocks.iter().copied().filter(|block| *block != unknown);
    others.for_each(|block| free(block, layout(MAX_SMALL)));
    free(first, layout(8));
    assert_eq!(PROCESS_HEAP.check(), Ok(()));
}

/// Whether a thread's new block lies in the slab that another one left when it ended.
fn adopts_what_was_left() -> bool {
    let size = size_without_slab();
    let (is_there, has_left) = (Barrier::new(2), Barrier::new(2));
    let is_adopted = thread::scope(|scope| {
        let adopter = scope.spawn(|| {
            // It has a heap of its own before the other one is free.
            let first = malloc(8);
            is_there.wait();
            has_left.wait();
            let block = malloc(size);
            assert_eq!(slab_with(block).key(), current().key(class_of(size)));
            free(first, layout(8));
            block
        });
        is_there.wait();
        let left = thread::spawn(move || malloc(size)).join().expect("no panic");
        has_left.wait();
        let block = adopter.join().expect("no panic");
        let is_adopted = core::ptr::eq(slab_with(block), slab_with(left));
        [left, block].iter().for_each(|block| free(*block, layout(size)));
        is_adopted
    });
    // What is left of the try has ended before the next one.
    PROCESS_HEAP.flush();
    is_adopted
}

/// Found by reading: a heap whose thread had vanished in a fork, right before it asked whether its new slot's bytes
/// were zero, would have said so of whatever slot lay there when it was asked the next time.
#[test]
fn what_was_said_of_a_fresh_slot_is_not_said_of_a_later_one() {
    const SIZE: usize = 20_000;
    let _alone = alone();
    let block = malloc(SIZE);
    let kept = malloc(SIZE);
    free(block, layout(SIZE));
    PROCESS_HEAP.flush();
    current().fresh_slot.set(block);
    let again = current().refill(class_of(SIZE)).expect("a slot").address(|_| ());
    assert_eq!(again, block, "the lowest");
    assert!(!current().take_fresh(again));
    [again, kept].iter().for_each(|block| free(*block, layout(SIZE)));
    PROCESS_HEAP.flush();
}

#[test]
fn every_wrong_free_of_a_slot_is_refused() {
    const SIZE: usize = 5000;
    let _alone = alone();
    let block = malloc(SIZE);
    let slab = slab_with(block);
    let (start, shape) = (slab.start(), slab.shape());
    let refused = |address: usize, size: usize, align: usize| {
        let layout = Layout::from_size_align(size, align).expect("a layout");
        let as_seen = PROCESS_HEAP.validate(address, Some(layout)).expect_err("refused").kind;
        let kind = PROCESS_HEAP.release(address, Some(layout)).expect_err("refused").kind;
        assert_eq!(as_seen, kind);
        assert!(slab.is_live(slab.slot_index(block).expect("a slot")), "nothing has changed");
        kind
    };
    assert_eq!(refused(block + 8, SIZE, 8), MisuseKind::Interior);
    assert_eq!(refused(block + 1, SIZE, 8), MisuseKind::Misaligned);
    for (size, align) in [(8, 8), (2500, 8), (SIZE, 2048), (6000, 8), (40_000, 8), (1 << 20, 4096)]
    {
        assert_eq!(refused(block, size, align), MisuseKind::WrongSize, "{size} {align}");
    }
    let vacant: Vec<_> = (0..slab.slots()).filter(|slot| !slab.is_live(*slot)).collect();
    for slot in vacant {
        let address = slab.slot_start(slot);
        let was_freed = slab.was_freed(slot, slab.state_now(slot));
        let kind = if was_freed { MisuseKind::DoubleFree } else { MisuseKind::Unallocated };
        assert_eq!(refused(address, SIZE, 8), kind);
        assert_eq!(refused(address, SLAB_GRANULE, SLAB_GRANULE), kind);
    }
    let (freed, behind) = (malloc(SIZE), slab.slot_start(slab.slots() - 1));
    free(freed, layout(SIZE));
    assert_eq!(refused(freed, SIZE, 8), MisuseKind::DoubleFree);
    if slab.carved() < slab.slots() {
        assert_eq!(refused(behind, SIZE, 8), MisuseKind::Unallocated, "it never left its slab");
    }
    let tail = start + slab.slots() * shape.slot_bytes;
    assert_eq!(refused(tail, SIZE, 8), MisuseKind::Unallocated);
    assert_eq!(refused(start + slab.slab_bytes() - 8, SIZE, 8), MisuseKind::Unallocated);
    free(block, layout(SIZE));
    PROCESS_HEAP.flush();
    // Asked, not done: by now the place may be somebody else's.
    if DEPOT.map.find(block).is_none() {
        assert!(PROCESS_HEAP.validate(block, Some(layout(SIZE))).is_err(), "the slab has gone");
    }
}

/// Found among working threads: a walk copies a few segments at a time, and showed a block once more that had become a
/// part of the one before it meanwhile.
#[test]
fn a_walk_shows_nothing_of_what_a_block_has_grown_over() {
    const SIZE: usize = 1 << 20;
    let _alone = alone();
    let blocks: Vec<_> = (0..21).map(|_| malloc(SIZE)).collect();
    let mut grown = 0;
    for pair in blocks[1..].chunks(2) {
        let (block, behind) = (pair[0], pair[1]);
        let mut walk = PROCESS_HEAP.segments();
        let before = walk.find(|segment| segment.start + segment.size == block);
        free(behind, layout(SIZE));
        PROCESS_HEAP.flush();
        let is_larger = match PROCESS_HEAP.resize(block, layout(SIZE), 2 * SIZE) {
            Ok(Resized::Here) => true,
            Ok(Resized::Elsewhere(held)) => held.keep() != Ok(()),
            Err(misuse) => panic!("{misuse}"),
        };
        let shown = walk.next().expect("the block");
        assert!(before.is_some() && shown.start == block);
        let next = walk.next().map_or(usize::MAX, |segment| segment.start);
        assert!(next >= shown.start + shown.size, "{shown:?}, and then one at {next:#x}");
        grown += usize::from(is_larger);
        free(block, layout(if is_larger { 2 * SIZE } else { SIZE }));
    }
    assert!(grown > 5, "{grown} of 10 had room to grow");
    free(blocks[0], layout(SIZE));
    PROCESS_HEAP.flush();
}

/// A slot that is in the magazine twice, and then the second of two that are handed it finds that. It holds a lock
/// without which no panic could be told.
#[test]
#[cfg(debug_assertions)]
fn a_broken_law_ends_the_program_whatever_lock_is_held() {
    let output =
        in_child("process::tests::a_broken_law_ends_the_program_whatever_lock_is_held", || {
            const SIZE: usize = 7000;
            let block = malloc(SIZE);
            let slab = slab_with(block);
            let state = slab.slot_index(block).and_then(|index| slab.state(index)).expect("a slot");
            free(block, layout(SIZE));
            let again = FreeSlot::new(block, state);
            assert!(current().magazine(class_of(SIZE)).push(again).is_ok());
            let _pool = DEPOT.pool.lock();
            assert_eq!(malloc(SIZE), block);
            malloc(SIZE);
        });
    assert_ended(
        &output,
        "mems: THE ALLOCATOR IS BROKEN: this does not hold: a slot is handed out once",
    );
}
