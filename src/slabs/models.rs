//! Models of what threads do to each other's slots: the code itself, under every interleaving that loom finds.
//!
//! ```text
//! RUSTFLAGS="--cfg mems_loom" cargo test --release --lib models --target-dir target/loom
//! ```
//!
//! A model's depot, heaps and blocks are made before loom begins to follow, and looked over once it has stopped. Cells
//! are followed, too: that two threads use one at the same time is found whatever comes of it.
#![allow(unsafe_code, reason = "ends a depot")]
#![allow(clippy::expect_used, reason = "a test")]

use loom::model::Builder;
use loom::thread;
use std::sync::Arc;

use super::class::Class;
use super::depot::Depot;
use super::followed::Followed;
use super::slab::WORD_SLOTS;
use super::sync::{AtomicBool, AtomicU8, Ordering};
use super::test_heaps::{allocate, free, slab_of, with_depot};
use super::thread_heap::ThreadHeap;

/// Addresses that a depot reserves.
const RESERVATION: usize = 1 << 28;
/// Blocks of a class with the fewest slots a slab, 8.
const BLOCK_BYTES: usize = 32 << 10;
/// Blocks of a class with slots in two words a slab.
const SMALL_BYTES: usize = 240;

/// A heap, for a thread of a model.
pub(super) type Heap = &'static ThreadHeap;

/// Bytes of the stack on which a scene is set up: a thread heap is written by value.
const STACK_BYTES: usize = 1 << 20;

/// Runs a scene, with a depot of its own, in every interleaving.
pub(super) fn explore(scene: impl Fn(&'static Depot) + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.max_branches = 10_000;
    let scene = Arc::new(scene);
    builder.check(move || {
        let scene = Arc::clone(&scene);
        // SAFETY: all threads of the scene end with it, and its depot with what it has is known to nobody else.
        let stage = spawn(move || unsafe { with_depot(RESERVATION, |depot| scene(depot)) });
        stage.join().expect("it ends");
    });
}

/// A thread of a scene.
pub(super) fn spawn<T: Send + 'static>(
    action: impl FnOnce() -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    thread::Builder::new().stack_size(STACK_BYTES).spawn(action).expect("a thread")
}

pub(super) fn class() -> Class {
    Class::of(BLOCK_BYTES, 8).expect("a class")
}

/// A heap of a thread, and blocks that it has been handed out.
pub(super) fn heap_with<const BLOCKS: usize>(depot: &'static Depot) -> (Heap, [usize; BLOCKS]) {
    heap_with_blocks_of(class(), depot)
}

/// A heap of a thread, blocks that it has been handed out, and the heap of another thread.
pub(super) fn heap_with_and_another<const BLOCKS: usize>(
    depot: &'static Depot,
) -> (Heap, [usize; BLOCKS], Heap) {
    let (owner, blocks) = heap_with(depot);
    (owner, blocks, heap_with::<0>(depot).0)
}

pub(super) fn heap_with_blocks_of<const BLOCKS: usize>(
    class: Class,
    depot: &'static Depot,
) -> (Heap, [usize; BLOCKS]) {
    let heap = depot.acquire_heap().expect("memory");
    heap.open_outbox(class);
    (heap, [(); BLOCKS].map(|()| allocate(heap, class).expect("memory")))
}

/// Frees a block and sends its slot home at once.
pub(super) fn free_and_deliver(heap: Heap, address: usize) -> bool {
    let class = slab_of(heap, address).class();
    let is_free = free(heap, address);
    heap.deliver(class);
    is_free
}

/// Two threads with these heaps, each of which frees one of the blocks and delivers it.
fn spawn_deliverers(heaps: [Heap; 2], blocks: [usize; 2]) -> [thread::JoinHandle<()>; 2] {
    [0, 1].map(|thread| {
        let (heap, block) = (heaps[thread], blocks[thread]);
        spawn(move || assert!(free_and_deliver(heap, block)))
    })
}

/// Shows loom the heaps and blocks, and a heap whose thread has ended.
fn show_retired(ended: Heap, heaps: &[Heap], blocks: &[usize]) -> Followed {
    let followed = show(heaps, blocks);
    let lists = ended.list(class());
    assert!(!ended.drain() && ended.is_retired());
    assert!(ended.next_retired.get().is_none() && ended.prev_retired.get().is_none());
    assert!(lists.listed.get().is_some() && lists.empty.get() == 0 && lists.count.get() == 1);
    followed
}

/// Shows loom what the heaps and their slabs are made of, before several threads use it.
pub(super) fn show(heaps: &[Heap], blocks: &[usize]) -> Followed {
    let slabs: Vec<_> = blocks.iter().map(|address| slab_of(heaps[0], *address)).collect();
    let followed = Followed::begin();
    for (slab, address) in slabs.iter().zip(blocks) {
        assert!(slab_of(heaps[0], *address).start() == slab.start());
        assert!(slab.key() != 0 && slab.owner().is_some() && slab.class().shape().slots[0] > 1);
        assert!(slab.live_count() > 0 && slab.carved() > 0);
        core::hint::black_box((slab.prev.get(), slab.next.get()));
        assert!(slab.check().is_ok() && slab.is_listed.get() == slab.has_free());
        assert!(slab.notice.next().is_none());
        // Loom leaves what an atomic began with out of the one order of all sequentially consistent operations.
        slab.remote().iter().for_each(|word| word.store(0, Ordering::SeqCst));
        slab.notice.clear();
        slab.mark_used(0, slab.slots());
        assert!(slab.notice.hold());
        slab.notice.release();
    }
    for heap in heaps {
        assert!(!heap.drain() && !heap.is_retired());
        assert!(heap.next_retired.get().is_none() && heap.prev_retired.get().is_none());
        assert!(heap.depot().flushes.load(Ordering::Relaxed) == 0);
        drop(heap.depot().looking.lock());
        drop(heap.depot().pool.lock());
    }
    followed
}

/// Looks, when the model is over, whether all slots of the slabs of these blocks are at home.
pub(super) fn assert_all_home(heaps: &[Heap], blocks: &[usize]) {
    for heap in heaps {
        heap.flush();
    }
    for heap in heaps {
        // What others sent home meanwhile, and notices that went to an earlier owner.
        heap.drain();
    }
    for heap in heaps {
        heap.drain();
        heap.check().expect("the laws hold");
    }
    for address in blocks {
        let slab = slab_of(heaps[0], *address);
        assert!(slab.is_empty() && slab.live_count() == 0, "all slots came home");
        assert!(slab.is_listed.get(), "and its owner knows");
    }
}

/// Two threads free a block each of a third one's, which looks for what came home, and goes on.
fn free_two_beside_a_drain(depot: &'static Depot, owner: Heap, blocks: [usize; 2]) {
    let class = slab_of(owner, blocks[0]).class();
    let others = [(); 2].map(|()| heap_with_blocks_of::<0>(class, depot).0);
    let followed = show(&[owner, others[0], others[1]], &blocks);
    let threads = spawn_deliverers(others, blocks);
    owner.drain();
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    owner.drain();
    assert!(blocks.iter().all(|block| {
        let slab = slab_of(owner, *block);
        slab.is_in_free_words(slab.slot_index(*block).expect("a slot"))
    }));
    drop(followed);
    assert_all_home(&[owner, others[0], others[1]], &blocks);
}

/// The notice: both blocks are of one word of one slab.
#[test]
fn no_slot_is_forgotten() {
    explore(|depot| {
        let (owner, blocks) = heap_with::<2>(depot);
        free_two_beside_a_drain(depot, owner, blocks);
    });
}

/// The order of notice and words: what one thread entered tells the next one nothing of the notice.
#[test]
fn no_slot_of_another_word_is_forgotten() {
    explore(|depot| {
        let class = Class::of(SMALL_BYTES, 8).expect("a class");
        let (owner, live) = heap_with_blocks_of::<{ WORD_SLOTS + 1 }>(class, depot);
        live[1..WORD_SLOTS].iter().for_each(|block| assert!(free(owner, *block)));
        free_two_beside_a_drain(depot, owner, [live[0], live[WORD_SLOTS]]);
    });
}

/// The list: the blocks are of two slabs.
#[test]
fn no_slab_is_forgotten() {
    explore(|depot| {
        let (owner, live) = heap_with::<9>(depot);
        live[1..8].iter().for_each(|block| assert!(free(owner, *block)));
        owner.flush();
        let blocks = [live[0], live[8]];
        assert!(slab_of(owner, blocks[0]).start() != slab_of(owner, blocks[1]).start());
        free_two_beside_a_drain(depot, owner, blocks);
    });
}

/// The list while it is worked off: the first slab comes onto it again before the one behind it is looked at.
#[test]
fn no_slab_behind_another_is_forgotten() {
    explore(|depot| {
        let (owner, live) = heap_with::<9>(depot);
        live[2..8].iter().for_each(|block| assert!(free(owner, *block)));
        owner.flush();
        let (other, []) = heap_with::<0>(depot);
        let blocks = [live[0], live[1], live[8]];
        let followed = show(&[owner, other], &blocks);
        assert!(free_and_deliver(other, blocks[2]) && free_and_deliver(other, blocks[0]));
        let thread = spawn(move || assert!(free_and_deliver(other, blocks[1])));
        owner.drain();
        thread.join().expect("it ends");
        drop(followed);
        assert_all_home(&[owner, other], &blocks);
    });
}

#[test]
fn one_thread_that_delivers_twice_is_heard_twice() {
    explore(|depot| {
        let (owner, blocks, other) = heap_with_and_another::<2>(depot);
        let followed = show(&[owner, other], &blocks);
        let thread = spawn(move || blocks.map(|block| assert!(free_and_deliver(other, block))));
        owner.drain();
        owner.drain();
        thread.join().expect("it ends");
        drop(followed);
        assert_all_home(&[owner, other], &blocks);
    });
}

/// A slab of a heap whose thread has ended is adopted while another thread delivers.
#[test]
fn an_adopted_slab_takes_its_news_along() {
    explore(|depot| {
        let (ended, blocks) = heap_with::<2>(depot);
        let (other, []) = heap_with::<0>(depot);
        let (adopter, []) = heap_with::<0>(depot);
        ended.flush();
        depot.retire_heap(ended);
        let followed = show_retired(ended, &[other, adopter], &blocks);
        let deliverer = spawn(move || assert!(free_and_deliver(other, blocks[0])));
        let adopting = spawn(move || {
            if let Some(slab) = depot.adopt(adopter, class()) {
                adopter.list_new(slab);
            }
            adopter.drain();
        });
        deliverer.join().expect("it ends");
        adopting.join().expect("it ends");
        drop(followed);
        assert!(free(adopter, blocks[1]), "it is still live");
        assert_all_home(&[adopter, other, ended], &blocks);
    });
}

/// Two threads free each other's blocks, and look for what came home.
#[test]
fn two_heaps_free_each_others_blocks() {
    explore(|depot| {
        let (one, ones) = heap_with::<2>(depot);
        let (other, others) = heap_with::<2>(depot);
        let blocks = [ones[0], ones[1], others[0], others[1]];
        let followed = show(&[one, other], &blocks);
        let thread = spawn(move || {
            for block in ones {
                assert!(free_and_deliver(other, block));
                other.drain();
            }
        });
        for block in others {
            assert!(free_and_deliver(one, block));
            one.drain();
        }
        thread.join().expect("it ends");
        drop(followed);
        assert_all_home(&[one, other], &blocks);
    });
}

/// The last slots come home, the slab ends, and its descriptor gets another one, while the thread that delivered has
/// still to put it on the list.
#[test]
fn a_slab_ends_and_begins_beside_a_late_notice() {
    explore(|depot| {
        let (owner, blocks) = heap_with::<2>(depot);
        owner.flush();
        let others = [heap_with::<0>(depot).0, heap_with::<0>(depot).0];
        let followed = show(&[owner, others[0], others[1]], &blocks);
        let threads = spawn_deliverers(others, blocks);
        owner.flush_and_end_slabs();
        let block = allocate(owner, class()).expect("memory");
        threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
        assert!(free_and_deliver(others[0], block), "the next notice is heard");
        drop(followed);
        assert_all_home(&[owner, others[0], others[1]], &[block]);
        owner.flush_and_end_slabs();
        assert!(depot.map.all().next().is_none(), "all slabs have ended");
    });
}

/// The last slots come home, the slab ends, and another heap gets its descriptor, while the thread that delivered has
/// still to put it on the list of the first one, which does not look any more.
#[test]
fn a_descriptor_that_another_heap_gets_is_on_no_list_of_the_first() {
    explore(|depot| {
        let (owner, blocks) = heap_with::<2>(depot);
        owner.flush();
        let others = [heap_with::<0>(depot).0, heap_with::<0>(depot).0];
        let (next, []) = heap_with::<0>(depot);
        let followed = show(&[owner, others[0], others[1], next], &blocks);
        let threads = spawn_deliverers(others, blocks);
        owner.flush_and_end_slabs();
        let block = allocate(next, class()).expect("memory");
        threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
        assert!(free_and_deliver(others[0], block));
        next.drain();
        let slab = slab_of(next, block);
        let index = slab.slot_index(block).expect("a slot");
        assert!(
            slab.is_in_free_words(index),
            "its notice is heard, whether or not the first one looks"
        );
        drop(followed);
        assert_all_home(&[next, owner, others[0], others[1]], &[block]);
    });
}

/// Of all who ask for the heap of an ended thread, one gets it.
#[test]
fn a_retired_heap_goes_to_one_thread() {
    explore(|depot| {
        let heaps = [heap_with::<0>(depot).0, heap_with::<0>(depot).0];
        let followed = show(&heaps, &[]);
        depot.retire_heap(heaps[0]);
        let retiring = spawn(move || depot.retire_heap(heaps[1]));
        let taking = spawn(move || {
            let mut taken = Vec::new();
            depot.with_each_retired(|heap| {
                assert!(!heap.is_retired());
                // Were it in another thread's hands, loom would see two at its cells.
                heap.large_bytes.set(1);
                taken.push(heap.name());
            });
            taken
        });
        let acquired = depot.acquire_heap().expect("memory");
        acquired.large_bytes.set(2);
        retiring.join().expect("it ends");
        let taken = taking.join().expect("it ends");
        drop(followed);
        assert!(!acquired.is_retired() && taken.len() <= 2);
        let pool = depot.pool.lock();
        let retired = pool.all_retired().map(ThreadHeap::name);
        let left: Vec<_> = retired.chain(pool.vacant_cards().map(|card| card.heap)).collect();
        let is_new = !heaps.iter().any(|heap| heap.name() == acquired.name());
        assert!(!left.contains(&acquired.name()));
        assert_eq!(left.len() + usize::from(!is_new), 2, "each is in one hand");
    });
}

/// A write is tried before what another thread reads even if its own thread reads first.
#[test]
fn no_order_of_reads_and_writes_is_left_out() {
    let seen: &'static [AtomicBool; 2] = Box::leak(Box::new([const { AtomicBool::new(false) }; 2]));
    explore(move |_depot| {
        let word: &'static AtomicU8 = Box::leak(Box::new(AtomicU8::new(0)));
        let followed = Followed::begin();
        assert!(word.load(Ordering::SeqCst) == 0);
        let thread = spawn(|| {
            if word.load(Ordering::SeqCst) == 0 {
                word.swap(1, Ordering::SeqCst);
            }
        });
        let read = word.load(Ordering::SeqCst);
        thread.join().expect("it ends");
        drop(followed);
        seen[usize::from(read)].store(true, Ordering::SeqCst);
    });
    assert!(seen.iter().all(|seen| seen.load(Ordering::SeqCst)), "both orders");
}
