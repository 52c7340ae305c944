//! Models of mistakes: what the code makes of two calls for one block in the same instant, under every interleaving
//! that loom finds. They are run as, and with the means of, the other [`models`](super::models).
#![allow(clippy::expect_used, reason = "a test")]

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::class::Class;
use super::models::{
    Heap, assert_all_home, class, explore, free_and_deliver, heap_with, heap_with_and_another,
    heap_with_blocks_of, show, spawn,
};
use super::raced;
use super::slab::claim::BusySlot;
use super::test_heaps::{allocate, free, own_slot, slab_of};

/// In how many interleavings a mistake was found as late as that.
static LATE: AtomicUsize = AtomicUsize::new(0);

/// Holds a block on behalf of a realloc, as the thread of `heap` does for one of another heap's.
fn hold(heap: Heap, address: usize) -> Option<BusySlot> {
    let slab = slab_of(heap, address);
    let class = slab.class();
    slab.hold(address, class).or_else(|_| slab.hold_sampled(address, class)).ok()
}

/// Makes a block one that a profile knows, as its owner does when a profile begins.
fn begin_to_sample(heap: Heap, address: usize) -> bool {
    let slab = slab_of(heap, address);
    slab.slot_index(address).is_some_and(|index| slab.change_sampled(index, true))
}

/// Reallocs a block of another heap's: whether it was accepted.
fn move_and_deliver(heap: Heap, address: usize) -> bool {
    let Some(sent) = hold(heap, address).and_then(BusySlot::send) else { return false };
    heap.take_in(sent);
    heap.deliver(class());
    true
}

/// Two threads do something with one block that only one of them may do, as does its owner. Each says whether it was
/// accepted; in the end it is looked whether all but one are recognised. Returns in how many interleavings one was
/// recognised only when the slot came home.
fn race(owner_does: fn(Heap, usize) -> bool, others_do: [fn(Heap, usize) -> bool; 2]) -> usize {
    race_of(|_, _| true, owner_does, others_do)
}

/// The same with a block that is made ready first.
fn race_of(
    ready: fn(Heap, usize) -> bool,
    owner_does: fn(Heap, usize) -> bool,
    others_do: [fn(Heap, usize) -> bool; 2],
) -> usize {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    LATE.store(0, Ordering::Relaxed);
    explore(move |depot| {
        raced::count();
        let (owner, blocks) = heap_with::<1>(depot);
        assert!(ready(owner, blocks[0]));
        let others = [(); 2].map(|()| heap_with::<0>(depot).0);
        let followed = show(&[owner, others[0], others[1]], &blocks);
        let threads = [0, 1].map(|index| {
            let (heap, action) = (others[index], others_do[index]);
            spawn(move || action(heap, blocks[0]))
        });
        let mut accepted = usize::from(owner_does(owner, blocks[0]));
        for thread in threads {
            accepted += usize::from(thread.join().expect("it ends"));
        }
        drop(followed);
        assert_all_home(&[owner, others[0], others[1]], &blocks);
        let late = raced::count();
        LATE.fetch_add(late, Ordering::Relaxed);
        assert_eq!(accepted - late, 1, "one of them was right");
    });
    LATE.load(Ordering::Relaxed)
}

/// One race at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn nothing(_heap: Heap, _address: usize) -> bool {
    false
}

#[test]
fn of_two_frees_one_is_recognised() {
    assert!(race(free, [free_and_deliver, nothing]) > 0, "the owner's store may come on top");
}

#[test]
fn of_two_frees_by_others_one_is_recognised() {
    assert_eq!(race(nothing, [free_and_deliver, free_and_deliver]), 0, "at the call");
}

#[test]
fn of_a_free_and_a_realloc_one_is_recognised() {
    assert!(race(free, [move_and_deliver, nothing]) > 0, "the owner's store may come on top");
}

#[test]
fn of_a_free_and_a_realloc_by_others_one_is_recognised() {
    assert_eq!(race(nothing, [free_and_deliver, move_and_deliver]), 0, "at the call");
}

/// The owner's realloc looks whether the block is live, and then frees it as ever.
fn move_own(heap: Heap, address: usize) -> bool {
    own_slot(heap, address).is_some() && free(heap, address)
}

#[test]
fn of_the_owners_realloc_and_anothers_one_is_recognised() {
    assert!(race(move_own, [move_and_deliver, nothing]) > 0, "the owner's store may come on top");
}

#[test]
fn of_two_reallocs_one_is_recognised() {
    assert_eq!(race(nothing, [move_and_deliver, move_and_deliver]), 0, "at the call");
}

#[test]
fn of_two_frees_of_a_sampled_block_one_is_recognised() {
    assert_eq!(race_of(begin_to_sample, free, [free_and_deliver, nothing]), 0, "at the call");
    assert_eq!(race_of(begin_to_sample, nothing, [free_and_deliver; 2]), 0, "at the call");
}

#[test]
fn of_a_free_and_a_realloc_of_a_sampled_block_one_is_recognised() {
    let late = race_of(begin_to_sample, free, [move_and_deliver, nothing]);
    assert_eq!(late, 0, "at the call");
}

/// A profile begins while another thread frees the block: be it sampled by then or not, it is freed once.
#[test]
fn a_block_that_is_freed_while_a_profile_begins_comes_home() {
    let not_a_free = |owner, address| {
        begin_to_sample(owner, address);
        false
    };
    assert_eq!(
        race(
            not_a_free,
            [|heap, address| { (0..2).any(|_| free_and_deliver(heap, address)) }, nothing]
        ),
        0
    );
}

/// The owner hands the slot out again at once, and looks for what came home. Whatever was accepted, no slot is live and
/// free.
#[test]
fn a_slot_that_was_freed_twice_is_in_one_hand() {
    explore(|depot| {
        raced::count();
        let (owner, blocks, other) = heap_with_and_another::<1>(depot);
        let followed = show(&[owner, other], &blocks);
        let thread = spawn(move || free_and_deliver(other, blocks[0]));
        let is_freed = free(owner, blocks[0]);
        let again = is_freed.then(|| allocate(owner, class()).expect("memory"));
        owner.drain();
        let is_sent = thread.join().expect("it ends");
        drop(followed);
        owner.flush();
        owner.check().expect("the laws hold");
        let slab = slab_of(owner, blocks[0]);
        let index = slab.slot_index(blocks[0]).expect("a slot");
        // The other thread has freed the first block, or the second one, or both were recognised.
        let is_live = again == Some(blocks[0]) && slab.is_live(index);
        let is_home = slab.is_in_free_words(index);
        assert!(is_live != is_home, "in one hand");
        assert_eq!(
            raced::count() == 1,
            is_freed && is_sent && is_live,
            "if neither, the second free counts"
        );
    });
}

/// A block is held and kept, and then its owner's free is as good as any. One that comes meanwhile is recognised, at
/// that call or as the realloc ends.
#[test]
fn a_block_that_was_held_can_be_freed() {
    explore(|depot| {
        let (owner, blocks, other) = heap_with_and_another::<1>(depot);
        let followed = show(&[owner, other], &blocks);
        let thread = spawn(move || hold(other, blocks[0]).map(BusySlot::keep));
        let is_freed = free(owner, blocks[0]);
        let kept = thread.join().expect("it ends");
        drop(followed);
        assert!(is_freed || kept == Some(true), "a free is refused while the block is held");
        assert!(is_freed || free(owner, blocks[0]), "and then it is not");
        assert_all_home(&[owner, other], &blocks);
    });
}

/// A free that comes too late, of a slab that has ended: its descriptor serves another run by now.
#[test]
fn a_stale_free_harms_no_slab_that_began_since() {
    explore(|depot| {
        raced::count();
        let (owner, blocks, other) = heap_with_and_another::<1>(depot);
        let slab = slab_of(owner, blocks[0]);
        let (start, bytes) = (slab.start(), slab.slab_bytes());
        let followed = show(&[owner, other], &blocks);
        let thread = spawn(move || free(other, blocks[0]));
        assert!(free(owner, blocks[0]) || raced::count() == 0);
        owner.flush_and_end_slabs();
        let has_ended = slab.start() == 0;
        // The next one lies elsewhere.
        let layout = core::alloc::Layout::from_size_align(bytes, 16).expect("a layout");
        let filler = depot.heap.allocate(layout).map(|block| block.start.addr().get());
        let block = allocate(owner, class()).expect("memory");
        let is_stale = thread.join().expect("it ends");
        drop(followed);
        if has_ended && filler == Some(start) {
            assert!(core::ptr::eq(slab_of(owner, block), slab), "the same descriptor");
            let index = slab.slot_index(block).expect("a slot");
            let is_live = slab.is_live(index);
            assert!(is_live || is_stale, "a block is freed by its own address alone");
            assert!(!is_live || free(owner, block));
            other.flush();
            // Both were accepted, as the owner's store came on top. Or the other thread has seen the new slab's byte
            // and still the old slab's start: then the new block is nobody's to hand out.
            assert_eq!(
                raced::count(),
                usize::from(is_stale),
                "what was accepted does not come home"
            );
            assert!(!slab.is_in_free_words(index) || is_live);
        }
    });
}

/// A large block is made another size where it is while another thread frees it as one of the old size.
#[test]
fn a_free_beside_a_change_of_class_is_of_the_class_it_names() {
    const BEFORE: usize = 100_000;
    explore(|depot| {
        raced::count();
        let class_of = |bytes| Class::of_any(bytes, 8).expect("a class");
        let (before, after) = (class_of(BEFORE), class_of(2 * BEFORE));
        let (owner, blocks) = heap_with_blocks_of::<1>(before, depot);
        let slab = slab_of(owner, blocks[0]);
        let followed = super::followed::Followed::begin();
        assert!(slab.start() == blocks[0] && slab.key() != 0 && slab.class() == before);
        assert!(slab.live_count() == 1 && owner.outer.get().is_none());
        drop(depot.pool.lock());
        let thread = spawn(move || slab.send(blocks[0], before).is_ok());
        let held = slab.hold(blocks[0], before).ok();
        let is_held = held.is_some();
        let is_larger = held.is_some_and(|busy| {
            let is_larger = depot.resize_slab(slab, after);
            assert!(busy.keep(), "nobody frees what is held");
            is_larger
        });
        let is_sent = thread.join().expect("it ends");
        drop(followed);
        assert!(is_held != is_sent || is_sent && !is_larger, "one of them, or one after the other");
        assert!(!is_sent || slab.class() == before, "what was sent is of the class that was named");
    });
}
