//! Every law of a thread heap can be broken, and is found broken; and what broke some of them once.
#![allow(clippy::expect_used, reason = "a test that finds something wrong ends")]

use core::ptr;

use super::class::Class;
use super::class_lists::ClassLists;
use super::depot::Depot;
use super::slab::Slab;
use super::slot::{FreeSlot, LIVE, SENT};
use super::sync::Ordering;
use super::test_heaps::{self, free, slab_of};
use super::thread_heap::ThreadHeap;

/// Bytes of blocks, 16 a slab.
const SMALL: usize = 1000;

fn small() -> Class {
    Class::of(SMALL, 8).expect("a class")
}

fn medium() -> Class {
    Class::of(2 * SMALL, 8).expect("a class")
}

fn large(bytes: usize) -> Class {
    Class::of_any(bytes, 8).filter(|class| class.is_large()).expect("a large class")
}

fn heap() -> &'static ThreadHeap {
    let depot: &Depot = Box::leak(Box::new(Depot::new(1 << 30)));
    depot.acquire_heap().expect("memory")
}

fn allocate(heap: &'static ThreadHeap, class: Class) -> usize {
    test_heaps::allocate(heap, class).expect("memory")
}

/// A heap with a block, which is live, of a slab with free slots, and the slot of another in its magazine.
fn heap_with_block() -> (&'static ThreadHeap, &'static Slab, usize) {
    let heap = heap();
    let block = allocate(heap, small());
    (heap, slab_of(heap, block), block)
}

/// The law that is found broken after this.
fn broken(break_it: impl Fn(&'static ThreadHeap, &'static Slab)) -> &'static str {
    let (heap, slab, _) = heap_with_block();
    assert_eq!(heap.check(), Ok(()));
    break_it(heap, slab);
    heap.check().expect_err("a broken law").law
}

fn lists(heap: &ThreadHeap) -> &ClassLists {
    heap.list(small())
}

/// Pushes a slot that there is not, or is elsewhere.
fn push(heap: &ThreadHeap, class: Class, address: usize, slab: &'static Slab) {
    let state = slab.state(slab.slots() - 1).expect("a slot");
    assert!(heap.magazine(class).push(FreeSlot::new(address, state)).is_ok());
}

/// Changes the state of a slot that is cached.
fn change_cached(heap: &ThreadHeap, slab: &Slab, state: u8) {
    let address = heap.stack(small()).addresses().next().expect("a slot");
    let index = slab.slot_index(address).expect("a slot");
    slab.state(index).expect("a slot").store(state, Ordering::Relaxed);
}

#[test]
fn every_law_of_a_heap_can_be_broken() {
    assert_eq!(broken(|_, slab| slab.break_key()), "a slab's key names its owner and class");
    assert_eq!(
        broken(|_, slab| slab.is_listed.set(false)),
        "a slab is listed if it has free slots (I3)"
    );
    assert_eq!(
        broken(|heap, _| lists(heap).count.update(|count| count + 1)),
        "the slabs are counted (I4)"
    );
    assert_eq!(broken(|heap, _| lists(heap).empty.set(1)), "the empty slabs are counted (I4)");
    assert_eq!(broken(|_, slab| slab.next.set(Some(slab))), "a slab is listed once (I3)");
    assert_eq!(
        broken(|heap, slab| {
            let other = slab_of(heap, allocate(heap, medium()));
            heap.list(other.class()).listed.set(Some(slab));
        }),
        "a list has own slabs of a class"
    );
    assert_eq!(broken(|_, slab| slab.prev.set(Some(slab))), "a list is linked both ways");
    assert_eq!(
        broken(|heap, _| lists(heap).listed.set(None)),
        "every slab with free slots is listed (I3)"
    );
    assert_eq!(
        broken(|heap, slab| change_cached(heap, slab, LIVE)),
        "what is cached is not live (I1)"
    );
    assert_eq!(
        broken(|heap, slab| push(heap, small(), slab.start() + 1, slab)),
        "what is cached is a slot"
    );
    assert_eq!(
        broken(|heap, slab| {
            allocate(heap, medium());
            push(heap, medium(), slab.slot_start(1), slab);
        }),
        "a slot is cached with others of its class"
    );
    assert_eq!(
        broken(|heap, slab| push(heap, small(), slab.slot_start(slab.slots() - 1), slab)),
        "a slot is in one place (I1)"
    );
    assert_eq!(
        broken(|heap, slab| change_cached(heap, slab, SENT)),
        "what is in an outbox was sent, and nothing else"
    );
    assert_eq!(
        broken(|heap, _| {
            let other = heap.depot().acquire_heap().expect("memory");
            let slab = slab_of(heap, allocate(other, small()));
            let address = other.stack(small()).addresses().next().expect("a slot");
            push(heap, small(), address, slab);
        }),
        "a magazine has slots of own slabs"
    );
    let sum: [fn(&ThreadHeap); 4] = [
        |heap| heap.place_bytes.update(|bytes| bytes + 1),
        |heap| heap.small_place_bytes.update(|bytes| bytes + 1),
        |heap| heap.empty_bytes.update(|bytes| bytes + 1),
        |heap| heap.budget.give(small(), 1),
    ];
    for change in sum {
        let law = broken(|heap, _| change(heap));
        assert_eq!(law, "bytes of places and slots are summed up (I4)");
    }
    assert_eq!(broken(|heap, _| heap.large_bytes.set(1)), "so are those of large slots (I4)");
}

#[test]
fn the_laws_of_what_waits_can_be_broken() {
    let (heap, slab, block) = heap_with_block();
    let check = || heap.depot().pool.lock().check().map_err(|broken| broken.law);
    assert!(free(heap, block) && heap.flush_and_end_slabs() > 0);
    assert_eq!(check(), Ok(()));
    slab.is_listed.set(true);
    assert_eq!(check(), Err("a descriptor that waits has no slab"));
    slab.is_listed.set(false);
    heap.depot().retire_heap(heap);
    heap.depot().with_each_retired(|_| ());
    assert_eq!(check(), Ok(()));
    let card = heap.depot().pool.lock().vacant_cards().next().expect("a vacant heap");
    card.set_vacant(false);
    assert_eq!(check(), Err("what waits for a thread is vacant"));
    card.set_vacant(true);
    assert_eq!(check(), Ok(()));
}

/// Its count of empty slabs stayed as it was.
#[test]
fn an_empty_slab_that_loses_slots_is_empty_no_more() {
    let heap = heap();
    let blocks: Vec<_> = (0..small().shape().slots[0]).map(|_| allocate(heap, small())).collect();
    let slab = slab_of(heap, blocks[0]);
    blocks.iter().for_each(|block| assert!(free(heap, *block), "it is live"));
    heap.flush();
    assert!(slab.is_empty() && heap.list(small()).empty.get() == 1);
    heap.lose(slab, 0, 2);
    assert!(!slab.is_empty() && slab.is_listed.get());
    assert_eq!(heap.check(), Ok(()));
    // Nor does the child of a fork find them again.
    assert!(heap.depot().take_over(|other| other.is(heap)));
    assert!(!slab.is_in_free_words(0) && !slab.is_in_free_words(1) && slab.is_in_free_words(2));
    assert_eq!(heap.check(), Ok(()));
    heap.lose(slab, 2, slab.slots() - 2);
    assert!(!slab.has_free() && !slab.is_listed.get());
    assert_eq!(heap.check(), Ok(()));
}

/// It was counted with the slabs of one class and ended with those of another.
#[test]
fn a_slab_that_changed_its_class_is_counted_once() {
    let heap = heap();
    let (before, after) = (large(100_000), large(200_000));
    let block = allocate(heap, before);
    let slab = slab_of(heap, block);
    assert!(heap.depot().resize_slab(slab, after) && slab.class() == after);
    assert_eq!((heap.check(), heap.slab_count(before).get()), (Ok(()), 1));
    assert!(free(heap, block), "it is live");
    assert_eq!(heap.check(), Ok(()));
    heap.flush_and_end_slabs();
    assert_eq!((heap.check(), heap.slab_count(after).get()), (Ok(()), 0));
}

#[test]
fn a_descriptor_serves_the_next_slab_of_its_class() {
    let (heap, slab, block) = heap_with_block();
    assert!(free(heap, block), "it is live");
    assert!(heap.flush_and_end_slabs() > 0 && slab.start() == 0);
    let other = slab_of(heap, allocate(heap, medium()));
    assert!(!ptr::eq(other, slab), "of another class it does not");
    let another = heap.depot().acquire_heap().expect("memory");
    assert!(ptr::eq(slab_of(another, allocate(another, small())), slab), "whichever heap asks");
    assert_eq!((heap.check(), another.check()), (Ok(()), Ok(())));
}
