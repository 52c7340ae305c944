//! Which pages of slabs go back, and when: against a model, and in rounds whose time is told.
#![allow(unsafe_code, reason = "writes to blocks, and ends a depot")]
#![allow(clippy::expect_used, reason = "a test")]

use fastrand::Rng;

use super::class::Class;
use super::depot::Depot;
use super::rounds::Step;
use super::slab::Slab;
use super::slab::pages::Which;
use super::test_heaps::{allocate, free, slab_of, with_depot};
use super::thread_heap::ThreadHeap;
use crate::base::addr;
use crate::base::clock;
use crate::base::os::{Os, System};

/// The default decay time.
const DECAY_MS: u64 = 100;
const BYTE: u8 = 0xA5;

/// Does `action` with a depot, and two heaps.
fn with_heaps(action: impl FnOnce(&'static Depot, [&'static ThreadHeap; 2])) {
    // SAFETY: the action keeps nothing.
    unsafe {
        with_depot(1 << 30, |depot| {
            action(depot, [(); 2].map(|()| depot.acquire_heap().expect("memory")));
        });
    }
}

/// Blocks of a class, full.
fn blocks(heap: &'static ThreadHeap, class: Class, count: usize) -> Vec<usize> {
    let block = |_| {
        let block = allocate(heap, class).expect("memory");
        let start = addr::pointer(block).expect("an address").as_ptr();
        // SAFETY: the block was just handed out.
        unsafe { start.write_bytes(BYTE, class.shape().slot_bytes) };
        block
    };
    (0..count).map(block).collect()
}

fn is_full(class: Class, block: usize) -> bool {
    let start = addr::pointer(block).expect("an address").as_ptr();
    // SAFETY: the block is live, and full.
    let bytes = unsafe { core::slice::from_raw_parts(start, class.shape().slot_bytes) };
    bytes.iter().all(|byte| *byte == BYTE)
}

/// The slabs of a heap.
fn slabs_of(heap: &'static ThreadHeap) -> impl Iterator<Item = &'static Slab> {
    heap.depot().map.all().filter(|slab| heap.owns(slab))
}

/// Bytes of the heap's slabs that have gone back.
fn given_back(heap: &'static ThreadHeap) -> usize {
    slabs_of(heap).map(|slab| slab.given_back()).sum()
}

/// Bytes of the whole pages of the slab that have slots only for which `is_free` says so, and were taken before.
fn free_bytes(slab: &Slab, is_free: impl Fn(usize) -> bool) -> usize {
    let (page, slot_bytes) = (System.page_size(), slab.shape().slot_bytes);
    let is_free_byte = |byte: usize| {
        // What is left behind the last slot goes with it.
        let slot = (byte / slot_bytes).min(slab.slots() - 1);
        is_free(slot) && slot < slab.carved()
    };
    let is_free_page =
        |page_start: &usize| (*page_start..page_start + page).step_by(8).all(is_free_byte);
    (0..slab.slab_bytes()).step_by(page).filter(is_free_page).count() * page
}

/// Frees of every class, at random: the pages that go back are those that a model finds, and no others.
#[test]
fn the_pages_that_go_back_are_those_on_which_nothing_lies() {
    let mut rng = Rng::with_seed(1403);
    with_heaps(|_, [heap, _]| {
        for class in Class::all_small() {
            let count = class.shape().slots[0] as usize * 3 / 2;
            let mut live = blocks(heap, class, count);
            for _ in 0..3 {
                let freed_of = rng.usize(1..8);
                live.retain(|block| {
                    let stays = rng.usize(0..8) >= freed_of;
                    assert!(stays || free(heap, *block), "it was live");
                    stays
                });
                heap.flush();
                heap.give_back_all_free(&mut Step::all());
                assert_eq!(heap.check(), Ok(()));
                for slab in slabs_of(heap).filter(|slab| slab.class() == class) {
                    let free = free_bytes(slab, |slot| slab.is_in_free_words(slot));
                    assert_eq!(slab.given_back(), free, "{} bytes", slab.shape().slot_bytes);
                }
                live.extend(blocks(heap, class, count / 3));
                assert_eq!(heap.check(), Ok(()));
                assert!(live.iter().all(|block| is_full(class, *block)), "no live byte went");
            }
            assert!(live.iter().all(|block| free(heap, *block)), "they are live");
            heap.flush_and_end_slabs();
        }
    });
}

/// Blocks of which all but every eighth are freed: there are pages that are free, and live blocks.
fn thin_out(heap: &'static ThreadHeap) -> (Class, Vec<usize>) {
    let class = Class::of(2048, 8).expect("a class");
    let (kept, others): (Vec<_>, Vec<_>) =
        blocks(heap, class, 640).into_iter().enumerate().partition(|(number, _)| number % 8 == 0);
    assert!(others.iter().all(|(_, block)| free(heap, *block)), "they are live");
    heap.flush();
    (class, kept.into_iter().map(|(_, block)| block).collect())
}

#[test]
fn own_pages_go_back_when_they_were_free_for_a_decay_time() {
    with_heaps(|_, [heap, _]| {
        let (class, kept) = thin_out(heap);
        let start = clock::milliseconds() + 10 * DECAY_MS;
        heap.give_back_if_due(start);
        assert_eq!((given_back(heap), heap.round.waits()), (0, true), "they were seen now");
        heap.give_back_if_due(start + DECAY_MS / 2);
        assert_eq!(given_back(heap), 0, "it is too early");
        // Some of them are used meanwhile, and free again.
        let used = blocks(heap, class, 32);
        assert!(used.iter().all(|block| free(heap, *block)), "they are live");
        heap.flush();
        heap.give_back_if_due(start + DECAY_MS);
        let most = given_back(heap);
        assert!(most > 700 << 10, "{most}");
        heap.give_back_if_due(start + 2 * DECAY_MS);
        let all = given_back(heap);
        assert!(all > most && all < most + (128 << 10), "those that were used: {most}, {all}");
        heap.give_back_if_due(start + 3 * DECAY_MS);
        assert_eq!((given_back(heap), heap.round.waits()), (all, false), "nothing is left");
        assert_eq!(heap.check(), Ok(()));
        assert!(kept.iter().all(|block| is_full(class, *block)), "no live byte went");
    });
}

#[test]
fn pages_of_a_heap_without_a_thread_and_of_one_that_sleeps_go_back_by_others() {
    with_heaps(|depot, [heap, other]| {
        let owner = depot.acquire_heap().expect("memory");
        let class = thin_out(heap).0;
        let sleeping = blocks(owner, class, 640);
        depot.retire_heap(heap);
        assert!(sleeping[128..].iter().all(|block| free(other, *block)), "they are live");
        other.flush();
        let mut now = clock::milliseconds() + 10 * DECAY_MS;
        for round in 0..3 {
            // As many steps as a round may need.
            for _ in 0..20 {
                other.give_back_if_due(now);
                now += 1;
            }
            let bytes = [given_back(heap), given_back(owner)];
            match round {
                0 => assert_eq!(bytes, [0, 0], "they were seen now"),
                _ => assert!(bytes[0] > 700 << 10 && bytes[1] > 900 << 10, "{bytes:?}"),
            }
            now += DECAY_MS;
        }
        assert!(heap.is_retired(), "it can be had again");
        assert_eq!([heap.check(), owner.check()], [Ok(()); 2]);
        // The sleeper wakes, and uses all of it.
        let again = blocks(owner, class, 512);
        assert!(sleeping[..128].iter().chain(&again).all(|block| is_full(class, *block)));
        assert_eq!(owner.check(), Ok(()));
    });
}

#[test]
fn a_page_that_is_lost_on_the_way_is_never_handed_out() {
    with_heaps(|_, [heap, other]| {
        let class = Class::of(2048, 8).expect("a class");
        let live = blocks(heap, class, class.shape().slots[0] as usize);
        let slab = slab_of(heap, live[0]);
        assert!(live.iter().all(|block| free(other, *block)), "they are live");
        other.flush();
        assert!(slab.notice.hold(), "nobody else does");
        let (due, _) = slab.due(&slab.sent_pages(), Which::All);
        let (first, count) = due.runs().next().expect("a run of pages");
        let (start, _) = slab.page_run(first, count);
        let (first, count) = slab.slots_within(start, System.page_size());
        slab.lose_sent(first, count);
        slab.notice.release();
        let lost: Vec<_> = (first..first + count).map(|slot| slab.slot_start(slot)).collect();
        let again = blocks(heap, class, 2 * live.len());
        assert!(again.iter().all(|block| !lost.contains(block)), "its slots are nobody's");
        assert_eq!(heap.check(), Ok(()));
    });
}
