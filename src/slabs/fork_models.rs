//! Models of a fork: a thread vanishes at any of its operations, and its heap is made whole.
//!
//! The thread that forks holds the depot's locks, as it does in a program, so that no other one is in the middle of
//! what they guard. In the child nobody else is left, so loom is done by then.
#![allow(clippy::expect_used, reason = "a test")]

use super::class::Class;
use super::depot::Depot;
use super::followed::Vanishing;
use super::models::{Heap, class, explore, free_and_deliver, heap_with_and_another, show, spawn};
use super::test_heaps::{allocate, free, slab_of};

/// Forks while a thread does something with its heap, which it vanishes from, and another one, which forks, does
/// something with its own before. Then looks over the child's heaps.
fn fork_beside(
    depot: &'static Depot,
    [survivor, vanished]: [Heap; 2],
    blocks: &[usize],
    survivor_does: impl FnOnce(),
    vanished_does: impl FnOnce() + Send + 'static,
) {
    let followed = show(&[survivor, vanished], blocks);
    let vanishing = Vanishing::new();
    let handle = vanishing.handle();
    let thread = spawn(move || vanishing.act(vanished_does));
    survivor_does();
    {
        let _pool = depot.pool.lock();
        handle.vanish();
    }
    thread.join().expect("it ends");
    drop(followed);
    assert!(depot.take_over(|heap| heap.is(vanished)));
    for heap in [survivor, vanished] {
        heap.check().expect("the laws hold in the child");
    }
}

/// Hands out more blocks than one slab has: none of them is one of `live`, nor any twice.
fn assert_each_is_handed_out_once(heap: Heap, class: Class, live: &[usize]) {
    let count = 2 * class.shape().slots[0] as usize;
    let mut all: Vec<_> = (0..count).map(|_| allocate(heap, class).expect("memory")).collect();
    all.extend(live);
    all.sort_unstable();
    let before = all.len();
    all.dedup();
    assert_eq!(all.len(), before, "each block has one owner");
}

/// Whether a block's slot is live still.
fn is_live(heap: Heap, block: usize) -> bool {
    let slab = slab_of(heap, block);
    slab.slot_index(block).is_some_and(|index| slab.is_live(index))
}

/// The blocks of these that are live still.
fn live_of(heap: Heap, blocks: &[usize]) -> Vec<usize> {
    blocks.iter().copied().filter(|block| is_live(heap, *block)).collect()
}

/// The thread that vanishes frees a block of the one that forks.
#[test]
fn a_fork_beside_a_free_of_its_thread_loses_no_block() {
    explore(|depot| {
        let (owner, blocks, other) = heap_with_and_another::<2>(depot);
        fork_beside(
            depot,
            [owner, other],
            &blocks,
            || (),
            move || assert!(free_and_deliver(other, blocks[0])),
        );
        let live = live_of(owner, &blocks);
        assert!(live.contains(&blocks[1]), "nobody has freed it");
        assert_each_is_handed_out_once(owner, class(), &live);
    });
}

/// The thread that vanishes owns what the other one frees, and looks for it.
#[test]
fn a_fork_beside_a_drain_keeps_what_came_home() {
    explore(|depot| {
        let (owner, blocks, other) = heap_with_and_another::<2>(depot);
        fork_beside(
            depot,
            [other, owner],
            &blocks,
            || assert!(free_and_deliver(other, blocks[0])),
            move || {
                owner.drain();
            },
        );
        let slab = slab_of(other, blocks[0]);
        let index = slab.slot_index(blocks[0]).expect("a slot");
        assert!(slab.is_in_free_words(index), "what was delivered is home");
        assert!(is_live(other, blocks[1]), "nobody has freed it");
        assert_each_is_handed_out_once(other, class(), &[blocks[1]]);
    });
}

/// The thread that vanishes frees a block of its own, and is handed it again, and sends all home.
#[test]
fn a_fork_beside_a_busy_heap_hands_no_slot_out_twice() {
    explore(|depot| {
        let (owner, blocks, other) = heap_with_and_another::<2>(depot);
        fork_beside(
            depot,
            [other, owner],
            &blocks,
            || (),
            move || {
                assert!(free(owner, blocks[1]));
                allocate(owner, class());
                owner.send_home(class(), usize::MAX);
            },
        );
        let live = live_of(other, &blocks);
        assert!(live.contains(&blocks[0]), "nobody has freed it");
        assert_each_is_handed_out_once(other, class(), &live);
    });
}
