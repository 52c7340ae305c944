//! What a thread heap keeps follows what was live of it lately.

use super::class::Class;
use super::test_heaps::{allocate, free, with_depot};
use super::thread_heap::ThreadHeap;
use crate::base::clock;

/// Some default decay times.
const PERIOD_MS: u64 = 10_000;
const MIB: usize = 1 << 20;

fn class_of(size: usize) -> Class {
    Class::of(size, 8).expect("a small size")
}

/// Lets `count` blocks of a size live and go, as often as magazines need to grow for them.
fn fill_and_empty(heap: &'static ThreadHeap, size: usize, count: usize) {
    for _ in 0..10 {
        let blocks: Vec<_> = (0..count).filter_map(|_| allocate(heap, class_of(size))).collect();
        assert_eq!(blocks.len(), count);
        blocks.iter().for_each(|block| assert!(free(heap, *block), "it is live"));
    }
    assert_eq!(heap.check(), Ok(()));
}

/// Ends the next of some periods that begin now.
fn end_period(heap: &'static ThreadHeap, number: u64) {
    heap.end_period_if_due(clock::milliseconds() + number * PERIOD_MS);
}

fn with_heap(action: impl FnOnce(&'static ThreadHeap)) {
    // SAFETY: the action keeps nothing.
    #[expect(unsafe_code, reason = "ends a depot")]
    unsafe {
        with_depot(1 << 30, |depot| action(depot.acquire_heap().expect("memory")));
    }
}

#[test]
fn magazines_may_hold_what_was_live_lately_and_no_more() {
    with_heap(|heap| {
        fill_and_empty(heap, 4096, 1000);
        let capacity = |size| heap.stack(class_of(size)).capacity();
        assert!(capacity(4096) > 900, "all of it: {}", capacity(4096));
        // The others find little room beside it.
        fill_and_empty(heap, 8192, 400);
        fill_and_empty(heap, 16_384, 200);
        assert_eq!([8192, 16_384].map(capacity), [16, 16], "what each may always hold");
        assert!(heap.budget.most_cached() < 5 * MIB, "4 MiB were live at a time");
        for period in 1..=10 {
            end_period(heap, period);
            assert_eq!(heap.check(), Ok(()));
        }
        let cached = heap.cached_bytes_of(Class::all_small());
        assert!(cached <= MIB && heap.small_place_bytes.get() <= MIB, "{cached}");
        assert_eq!(heap.budget.most_cached(), MIB, "little was live since");
    });
}

#[test]
fn empty_slabs_of_no_use_end_with_the_second_period() {
    with_heap(|heap| {
        fill_and_empty(heap, 512, 2000);
        heap.flush();
        let empty = heap.empty_bytes.get();
        assert!((MIB / 2..=MIB).contains(&empty), "within one bound: {empty}");
        end_period(heap, 1);
        let block = allocate(heap, class_of(512)).expect("memory");
        let used = heap.empty_bytes.get();
        assert!(used < empty, "one is in use");
        end_period(heap, 2);
        assert_eq!((heap.check(), heap.empty_bytes.get()), (Ok(()), 0));
        assert!(free(heap, block), "it is live");
    });
}

#[test]
fn a_thread_that_takes_a_heap_over_starts_small() {
    with_heap(|heap| {
        fill_and_empty(heap, 64, 1000);
        let stack = heap.stack(class_of(64));
        let (capacity, places) = (stack.capacity(), stack.places_len());
        heap.flush_and_end_slabs();
        heap.depot().retire_heap(heap);
        assert!(heap.depot().acquire_heap().is_some_and(|again| again.is(heap)));
        assert!(capacity > 500 && stack.capacity() < 16);
        assert_eq!((heap.check(), heap.small_place_bytes.get() < MIB), (Ok(()), true));
        fill_and_empty(heap, 64, 1000);
        assert_eq!((stack.capacity(), stack.places_len()), (capacity, places), "no new places");
    });
}
