//! What only inside code can test: slabs against a model, the slab map's edges, and slots on their way home when slabs
//! change hands.

use std::collections::BTreeSet;

use super::class::{Class, MAX_SMALL, SLAB_GRANULE};
use super::depot::Depot;
use super::entry::Entry;
use super::handover;
use super::slab::{self, Slab, WORD_SLOTS};
use super::slab_map::SlabMap;
use super::slot::{FREE, FreeSlot, LIVE, LiveSlot, Refused, SENT};
use super::sync::{AtomicU8, Ordering};
use super::test_heaps::{allocate, free, slab_of};
use super::thread_heap::ThreadHeap;
use fastrand::Rng;

/// Addresses that no memory of this process has: slabs here are never touched.
const NOWHERE: usize = 1 << 50;

fn class_of(size: usize) -> Class {
    Class::of(size, 8).expect("a small size")
}

fn descriptor(class: Class) -> &'static Slab {
    let slots = class.shape().slots[1] as usize;
    Box::leak(Box::new(slab::tests::descriptor(class, slots)))
}

/// A depot of its own, which stays.
fn depot() -> &'static Depot {
    Box::leak(Box::new(Depot::new(1 << 30)))
}

fn heap(number: u64) -> &'static ThreadHeap {
    heap_of(depot(), number)
}

fn heap_of(depot: &'static Depot, number: u64) -> &'static ThreadHeap {
    let number = (1 << 40) + number;
    Box::leak(Box::new(ThreadHeap { number, other_depot: Some(depot), ..ThreadHeap::nobody() }))
}

/// Frees a slot as the slab's owner does, through an entry of the slab map.
fn free_own(slab: &'static Slab, address: usize) -> Option<FreeSlot> {
    let entry = Entry::empty();
    entry.enter(Some(slab));
    assert_eq!(entry.key(), slab.key());
    entry.own_slot(address, slab.shape().magic).map(LiveSlot::free)
}

#[test]
fn of_all_offsets_the_multiplication_finds_the_slots() {
    for class in Class::all() {
        let (slab, shape) = (descriptor(class), class.shape());
        slab.begin(NOWHERE, slab.class(), heap(0).name());
        (0..slab.slots())
            .for_each(|index| slab.state(index).expect("a slot").store(LIVE, Ordering::Relaxed));
        let entry = Entry::empty();
        entry.enter(Some(slab));
        for offset in 0..slab.slab_bytes() {
            let expected = offset / shape.slot_bytes;
            let is_start = offset % shape.slot_bytes == 0 && expected < slab.slots();
            assert_eq!(slab.slot_index(NOWHERE + offset), is_start.then_some(expected));
            assert_eq!(entry.own_slot(NOWHERE + offset, shape.magic).is_some(), is_start);
            let slot = slab.slot_with(NOWHERE + offset);
            assert_eq!(slot, (expected < slab.slots()).then_some((expected, is_start)));
        }
        for outside in [0, NOWHERE - 1, NOWHERE + slab.slab_bytes(), usize::MAX] {
            assert_eq!(slab.slot_index(outside), None);
            assert_eq!(slab.slot_with(outside), None);
        }
        assert!(
            slab.state(slab.slots()).is_some_and(|state| state.load(Ordering::Relaxed) == FREE)
        );
    }
}

/// What a slab ought to have.
struct Model {
    free: BTreeSet<usize>,
    out: Vec<usize>,
    live: BTreeSet<usize>,
}

impl Model {
    /// Takes some slots, and makes some of them live.
    fn take(&mut self, slab: &Slab, random: &mut Rng) {
        let most = random.usize(..100);
        let expected: Vec<_> = self.free.iter().copied().take(most).collect();
        let mut taken = Vec::new();
        slab.take(most, |free| taken.push(slab.slot_index(free.address()).expect("a slot")));
        assert_eq!(taken, expected, "the lowest slots, in their order");
        for slot in taken {
            self.free.remove(&slot);
            self.out.push(slot);
            if random.bool() {
                slab.state(slot).expect("a slot").store(LIVE, Ordering::Relaxed);
                self.live.insert(slot);
            }
        }
    }

    /// Puts some slots back, word by word.
    fn put(&mut self, slab: &Slab, random: &mut Rng) {
        for _ in 0..random.usize(..100).min(self.out.len()) {
            let slot = self.out.swap_remove(random.usize(..self.out.len()));
            slab.state(slot).expect("a slot").store(FREE, Ordering::Relaxed);
            self.live.remove(&slot);
            slab.put(slot / WORD_SLOTS, 1 << (slot % WORD_SLOTS));
            self.free.insert(slot);
        }
    }

    /// The owner vanishes in a fork, in the middle of a change, and some slots are on their way home.
    fn recount(&mut self, slab: &Slab, random: &mut Rng) {
        for slot in core::mem::take(&mut self.out) {
            let (word, bit) = (slot / WORD_SLOTS, 1 << (slot % WORD_SLOTS));
            if self.live.contains(&slot) || random.bool() {
                self.out.push(slot);
            } else {
                slab.state(slot).expect("a slot").store(SENT, Ordering::Relaxed);
                handover::enter(&slab.remote()[word], bit);
                self.free.insert(slot);
            }
        }
        // Taken in, and not yet out of the remote word.
        slab.remote()[0].fetch_or(slab.live_and_home(0).1 & 0xFF, Ordering::Relaxed);
        slab.break_sums();
        slab.notice.send();
        slab.recount();
        assert_eq!(slab.check(), Ok(()));
        assert!(!slab.is_listed.get() && slab.prev.get().is_none() && slab.next.get().is_none());
        assert!(slab.remote().iter().all(|word| word.load(Ordering::Relaxed) == 0));
        assert!(slab.notice.send(), "nobody is notified any more");
        slab.notice.clear();
    }

    fn compare(&self, slab: &Slab) {
        let slots = slab.slots();
        assert_eq!(slab.has_free(), !self.free.is_empty());
        assert_eq!(slab.is_empty(), self.free.len() == slots);
        assert_eq!(slab.live_count(), self.live.len());
        assert_eq!(slab.cached_count(self.live.len()), self.out.len() - self.live.len());
        for slot in 0..slots {
            assert_eq!(slab.is_in_free_words(slot), self.free.contains(&slot), "{slot}");
        }
    }
}

#[test]
fn a_slab_agrees_with_a_set_of_free_slots() {
    for (seed, size) in [(1, 8), (2, 24), (3, 1000), (4, 8192), (5, 10_000), (6, MAX_SMALL)] {
        let (class, mut random) = (class_of(size), Rng::with_seed(seed));
        let slab = descriptor(class);
        slab.begin(NOWHERE, slab.class(), heap(0).name());
        let free = (0..slab.slots()).collect();
        let mut model = Model { free, out: Vec::new(), live: BTreeSet::new() };
        for _ in 0..200 {
            match random.usize(..20) {
                0..10 => model.take(slab, &mut random),
                10..19 => model.put(slab, &mut random),
                _ => model.recount(slab, &mut random),
            }
            model.compare(slab);
        }
    }
}

#[test]
fn the_map_ends_where_it_ends() {
    let map = SlabMap::new();
    for address in [0, 8, NOWHERE, usize::MAX] {
        assert!(map.find(address).is_none());
    }
    // As on a machine whose pages are smaller than a granule: the range begins in the middle of one.
    let (base, len) = (NOWHERE + 4096, 3 << 30);
    map.begin(base, len, 0).expect("addresses");
    assert!(map.has_begun() && map.all().next().is_none());
    let first = NOWHERE + SLAB_GRANULE;
    assert!(map.find(first).is_none(), "nothing is covered yet");
    let slab = descriptor(class_of(MAX_SMALL));
    let bytes = slab.slab_bytes();
    for start in [first, first + bytes, first + (1 << 30)] {
        map.cover(start, bytes).expect("memory for the table");
        slab.begin(start, slab.class(), heap(0).name());
        map.set(start, bytes, Some(slab));
        for address in [start, start + SLAB_GRANULE - 1, start + SLAB_GRANULE, start + bytes - 1] {
            assert!(map.find(address).is_some_and(|found| found.start() == start));
        }
        for address in [0, base, start - 1, start + bytes, NOWHERE + 2 * len, usize::MAX] {
            assert!(map.find(address).is_none(), "{address:#x}");
        }
        assert_eq!(map.all().count(), 1);
        map.set(start, bytes, None);
        assert_eq!(map.all().count(), 0);
    }
    for outside in [0, NOWHERE - SLAB_GRANULE, NOWHERE - (1 << 40), NOWHERE + 2 * len] {
        assert!(map.cover(outside, bytes).is_err(), "{outside:#x}");
        // Entering such a run is not heard of, and harmless.
        map.set(outside, bytes, Some(slab));
        assert!(map.find(outside).is_none());
    }
    assert_eq!(map.all().count(), 0);
}

/// A slab on nobody's memory, its class, and its slot 7: where that starts, and its state byte.
fn slab_with_slot_7() -> (&'static Slab, Class, usize, &'static AtomicU8) {
    let class = class_of(100);
    let slab = descriptor(class);
    slab.begin(NOWHERE, class, heap(0).name());
    (slab, class, slab.slot_start(7), slab.state(7).expect("a slot"))
}

/// A stale free that has found a state byte, and then the descriptor serves another run, in which the slot is live.
#[test]
fn a_stale_free_leaves_a_slot_of_a_moved_slab_alone() {
    let (class, owner) = (class_of(100), heap(0));
    let slab = descriptor(class);
    slab.begin(NOWHERE, slab.class(), owner.name());
    let address = slab.slot_start(7);
    let state = slab.state(7).expect("a slot");
    let send = |address| slab.send(address, class).map(|slot| slot.address());
    assert_eq!(send(address), Err(Refused::NotLive(FREE)));
    state.store(LIVE, Ordering::Relaxed);
    assert_eq!(send(address), Ok(address));
    assert_eq!(
        send(address),
        Err(Refused::NotLive(SENT)),
        "nothing is written where nothing is live"
    );
    assert_eq!(slab.welcome(0, 1 << 7), 1 << 7);
    slab.end();
    assert_eq!(slab.claim_state(NOWHERE, class, state, [LIVE, SENT]), Err(Refused::NotLive(FREE)));
    slab.begin(NOWHERE + SLAB_GRANULE, slab.class(), owner.name());
    state.store(LIVE, Ordering::Relaxed);
    assert_eq!(slab.claim_state(NOWHERE, class, state, [LIVE, SENT]), Err(Refused::Moved));
    assert!(slab.is_live(7), "the block is another one, and stays");
    assert_eq!((send(address), slab.is_live(7)), (Err(Refused::NoSlot), true));
    let other = class_of(200);
    assert_eq!(slab.send(address + SLAB_GRANULE, other).map(drop), Err(Refused::Moved));
    assert_eq!(slab.hold(address + SLAB_GRANULE, class).map(|busy| busy.keep()), Ok(true));
    assert_eq!(send(address + SLAB_GRANULE), Ok(address + SLAB_GRANULE));
}

/// The owner tests the state byte, another thread frees the block, and the owner's store comes on top.
#[test]
fn two_frees_that_were_both_accepted_are_recognised_when_the_slot_comes_home() {
    let (slab, class, address, state) = slab_with_slot_7();
    let (this, all) = (1 << 7, 1 << 7 | 1 << 9);
    for after in [FREE, LIVE] {
        state.store(LIVE, Ordering::Relaxed);
        slab.state(9).expect("a slot").store(SENT, Ordering::Relaxed);
        assert!(slab.send(address, class).is_ok(), "the other thread's free");
        assert!(slab.send(address, class).is_err(), "a third is recognised at once");
        assert!(slab.hold(address, class).is_err(), "and so is a realloc");
        state.store(after, Ordering::Relaxed);
        assert_eq!(slab.welcome(0, all), all & !this, "also if it was handed out again");
        assert_eq!((slab.state_now(7), slab.state_now(9)), (after, FREE));
    }
    assert_eq!(handover::enter(&slab.remote()[0], this), 0);
    assert_eq!(handover::enter(&slab.remote()[0], all), this, "sent home twice");
}

/// A realloc holds a block, and somebody frees it all the same.
#[test]
fn a_block_that_is_held_is_freed_by_nobody_else() {
    let (slab, class, address, state) = slab_with_slot_7();
    state.store(LIVE, Ordering::Relaxed);
    let busy = slab.hold(address, class).expect("it is live");
    assert!(slab.is_live(7) && slab.live_count() == 1, "a walk sees a block");
    assert!(slab.send(address, class).is_err() && slab.hold(address, class).is_err());
    assert!(free_own(slab, address).is_none());
    assert!(busy.keep() && slab.state_now(7) == LIVE);
    // The owner's test came before, and its store comes on top.
    let busy = slab.hold(address, class).expect("it is live");
    state.store(FREE, Ordering::Relaxed);
    assert!(!busy.keep() && slab.state_now(7) == FREE);
    state.store(LIVE, Ordering::Relaxed);
    let busy = slab.hold(address, class).expect("it is live");
    slab.stop_holding(7);
    assert!(busy.send().is_none() && slab.is_live(7), "its thread had vanished");
}

#[test]
fn a_slot_that_was_never_handed_out_is_told_from_a_freed_one() {
    let (class, owner) = (class_of(100), heap(0));
    let slab = descriptor(class);
    slab.begin(NOWHERE, slab.class(), owner.name());
    let was_freed = |index| slab.was_freed(index, slab.state_now(index));
    let mut taken = Vec::new();
    slab.take(2, |slot| taken.push(slot));
    let kept = taken.pop().expect("two slots");
    let address = taken.pop().expect("two slots").hand_out();
    assert!(free_own(slab, address).is_some());
    assert_eq!([0, 1, 2].map(was_freed), [true, false, false]);
    // A wrong free changes nothing of that, by the owner or by another thread.
    for index in 1..3 {
        assert!(slab.send(slab.slot_start(index), class).is_err());
        assert!(free_own(slab, slab.slot_start(index)).is_none());
    }
    assert!(!was_freed(2), "it never left its slab");
    assert_eq!(kept.hand_out(), slab.slot_start(1));
    assert!(slab.is_live(1));
}

/// A notifier that is late puts a slab on the list of the heap that owned it before.
#[test]
fn news_of_an_adopted_slab_is_forwarded() {
    let (old, new) = (heap(1), heap(2));
    let slab = descriptor(class_of(100));
    slab.begin(NOWHERE, slab.class(), old.name());
    slab.take(usize::MAX >> 1, drop);
    for slot in [5, WORD_SLOTS + 6] {
        slab.state(slot).expect("a slot").store(SENT, Ordering::Relaxed);
    }
    handover::enter(&slab.remote()[0], 1 << 5);
    assert!(slab.notice.send());
    slab.give_to(new.name());
    new.budget.give_of(slab);
    old.accept_notice(slab);
    handover::enter(&slab.remote()[1], 1 << 6);
    assert!(!slab.notice.send(), "the first notice is still on its way");
    assert!(!new.drain(), "it went to the old owner");
    assert!(old.drain() && !slab.has_free(), "which is not its own, so it takes nothing");
    assert!(new.drain() && slab.is_in_free_words(5) && slab.is_in_free_words(WORD_SLOTS + 6));
    assert!(slab.is_listed.get() && !old.drain() && !new.drain());
    [old, new].iter().for_each(|heap| heap.is_retired.store(true, Ordering::Relaxed));
    new.slab_count(slab.class()).set(1);
    assert!(new.give_slab(slab.class()).is_some_and(|given| core::ptr::eq(given, slab)));
    assert!(old.give_slab(slab.class()).is_none());
}

/// The last slots come home and the slab ends, and then a deliverer notifies whose slots were collected with others.
#[test]
fn a_late_notice_of_an_ended_slab_is_harmless() {
    let owner = heap(3);
    let slab = descriptor(class_of(32_000));
    slab.begin(NOWHERE, slab.class(), owner.name());
    slab.end();
    assert!(slab.notice.send());
    owner.accept_notice(slab);
    slab.begin(NOWHERE + (1 << 30), slab.class(), owner.name());
    assert!(owner.drain() && !slab.is_listed.get() && slab.is_empty());
    assert!(slab.notice.send(), "the next notice is heard");
}

/// The thread that delivers vanishes in a fork before it has put the slab on a list.
#[test]
fn a_notice_that_vanished_with_its_thread_keeps_no_later_one_away() {
    let depot = depot();
    let (mine, other) =
        (depot.acquire_heap().expect("a heap"), depot.acquire_heap().expect("a heap"));
    let slab = descriptor(class_of(32_000));
    slab.begin(NOWHERE, slab.class(), mine.name());
    slab.end();
    let take = |heap: &'static ThreadHeap| {
        depot.pool.lock().descriptors.take(slab.class(), slab.slots(), heap.name())
    };
    depot.pool.lock().descriptors.put(slab);
    assert!(slab.notice.send());
    assert!(take(mine).is_none(), "somebody may put it on a list still");
    assert!(depot.take_over(|heap| heap.is(other)));
    assert!(take(mine).is_some_and(|taken| core::ptr::eq(taken, slab)));
    assert!(slab.notice.send());
}

/// The thread that delivers vanishes before it has taken the slots out of its outbox, and by then the owner has taken
/// them in and cached or handed out some.
#[test]
fn slots_that_came_home_before_their_deliverer_vanished_are_there_once() {
    const BLOCKS: usize = 40;
    let depot = depot();
    let (mine, other) =
        (depot.acquire_heap().expect("a heap"), depot.acquire_heap().expect("a heap"));
    let class = class_of(100);
    let blocks: Vec<_> = (0..BLOCKS).filter_map(|_| allocate(mine, class)).collect();
    blocks.iter().for_each(|block| assert!(free(other, *block), "it is live"));
    assert_eq!(other.outbox(class).len(), BLOCKS);
    for address in other.outbox(class).addresses() {
        let slab = slab_of(mine, address);
        let index = slab.slot_index(address).expect("a slot");
        handover::enter(&slab.remote()[index / WORD_SLOTS], 1 << (index % WORD_SLOTS));
        if slab.notice.send() {
            mine.accept_notice(slab);
        }
    }
    mine.flush();
    let mut live: Vec<_> = (0..BLOCKS / 2).filter_map(|_| allocate(mine, class)).collect();
    live.drain(..BLOCKS / 4).for_each(|block| assert!(free(mine, block), "it is live"));
    assert!(depot.take_over(|heap| heap.is(other)) && other.is_retired());
    assert_eq!((mine.check(), other.check()), (Ok(()), Ok(())));
    assert!(!depot.take_over(|_| false));
    live.extend((0..4 * BLOCKS).filter_map(|_| allocate(mine, class)));
    let count = live.len();
    live.sort_unstable();
    live.dedup();
    assert_eq!(live.len(), count, "each is handed out once");
    assert!(blocks.iter().all(|block| live.contains(block)), "and none is lost");
}

/// The thread vanishes in the middle of a refill: the magazine has grown by places that have slots, and by places in
/// which others lay before. Those are live by now, or cached, or home.
#[test]
fn slots_whose_thread_vanished_in_a_refill_are_there_once() {
    const BLOCKS: usize = 40;
    const TAKEN: usize = 5;
    for live in 0..=BLOCKS {
        let depot = depot();
        let (mine, other) =
            (depot.acquire_heap().expect("a heap"), depot.acquire_heap().expect("a heap"));
        let class = class_of(100);
        let blocks: Vec<_> = (0..BLOCKS).filter_map(|_| allocate(mine, class)).collect();
        blocks.iter().for_each(|block| assert!(free(mine, *block), "it is live"));
        let slab = slab_of(mine, blocks[0]);
        mine.flush();
        // Handed out again, and freed by another thread: in no order that the places know.
        let mut kept: Vec<_> = (0..live).filter_map(|_| allocate(mine, class)).collect();
        kept.split_off(live / 2).into_iter().for_each(|block| assert!(free(other, block)));
        let stack = mine.stack(class);
        let room = (stack.capacity() - stack.len()).min(slab.free_count());
        let mut raised = stack.raise(room);
        slab.take(TAKEN.min(room), |slot| raised.put(slot));
        assert!(depot.take_over(|heap| heap.is(mine)) && mine.is_retired());
        assert_eq!((mine.check(), other.check()), (Ok(()), Ok(())), "{live} live");
        other.flush();
        assert!(kept.iter().all(|block| slab_of(other, *block).slot_index(*block).is_some()));
        kept.extend((0..4 * BLOCKS).filter_map(|_| allocate(other, class)));
        let count = kept.len();
        kept.sort_unstable();
        kept.dedup();
        assert_eq!((kept.len(), count), (count, live / 2 + 4 * BLOCKS), "each is handed out once");
        assert!(blocks.iter().all(|block| kept.contains(block)), "and none is lost");
        assert_eq!(other.check(), Ok(()));
    }
}
