//! Models of what threads do to each other's slots: the code itself, under every interleaving that loom finds.
//!
//! ```text
//! RUSTFLAGS="--cfg mems_loom" cargo test --release --lib models --target-dir target/loom
//! ```
//!
//! A model's depot, heaps and blocks are made before loom begins to follow, and looked over once it has stopped. Cells
//! are followed, too: that two threads use one at the same time is found whatever comes of it.
#![allow(unsafe_code, reason = "ends a depot")]

use loom::model::Builder;
use loom::thread;
use std::sync::Arc;

use super::class::Class;
use super::depot::Depot;
use super::modelled::Followed;
use super::slab::Slab;
use super::sync::Ordering;
use super::thread_heap::ThreadHeap;

/// Addresses that a depot reserves.
const RESERVATION: usize = 1 << 28;
/// Blocks of a class with the fewest slots a slab, 8.
const BLOCK_BYTES: usize = 32 << 10;

/// A heap, for a thread of a model.
type Heap = &'static ThreadHeap;

/// Bytes of the stack on which a scene is set up: a thread heap is written by value.
const STACK_BYTES: usize = 1 << 20;

/// Runs a scene with a depot of its own in every interleaving in which a thread is interrupted up to `preemptions`
/// times.
fn explore(preemptions: usize, scene: impl Fn(&'static Depot) + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    let scene = Arc::new(scene);
    builder.check(move || {
        let scene = Arc::clone(&scene);
        let stage = thread::Builder::new().stack_size(STACK_BYTES);
        let stage = stage.spawn(move || {
            let depot: *mut Depot = Box::into_raw(Box::new(Depot::new(RESERVATION)));
            // SAFETY: it stays until the scene is over.
            scene(unsafe { &*depot });
            // SAFETY: all threads of the scene have ended, and its depot with what it has is known to nobody else.
            let depot = unsafe { Box::from_raw(depot) };
            // SAFETY: as above.
            unsafe { depot.map.end() };
        });
        stage.expect("a thread").join().expect("it ends");
    });
}

/// A thread of a scene.
fn spawn<T: Send + 'static>(action: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::Builder::new().stack_size(STACK_BYTES).spawn(action).expect("a thread")
}

fn class() -> Class {
    Class::of(BLOCK_BYTES, 8).expect("a class")
}

/// A heap of a thread, and blocks that it has been handed out.
fn heap_with<const BLOCKS: usize>(depot: &'static Depot) -> (Heap, [usize; BLOCKS]) {
    let heap = depot.acquire_heap().expect("memory");
    heap.open_outbox(heap.outbox(class()), class());
    (heap, [(); BLOCKS].map(|()| allocate(heap).expect("memory")))
}

fn allocate(heap: Heap) -> Option<usize> {
    heap.hand_out(class()).or_else(|| heap.refill(class()))
}

/// Takes a block back on a thread with this heap. Whether there was one.
fn free(heap: Heap, address: usize) -> bool {
    let Some(slab) = heap.depot.map.find(address) else { return false };
    let slot = if slab.key() == heap.key(class()) {
        slab.free_own(address).ok()
    } else {
        slab.free(address)
    };
    slot.map(|slot| heap.take_in(slab, slot)).is_some()
}

/// As [`free`], and sends it home at once.
fn free_and_deliver(heap: Heap, address: usize) -> bool {
    let is_free = free(heap, address);
    heap.send_home(heap.outbox(class()), heap.outbox(class()).len());
    is_free
}

fn slab_of(heap: Heap, address: usize) -> &'static Slab {
    heap.depot.map.find(address).expect("a slab")
}

/// As [`show`], with a heap whose thread has ended.
fn show_retired(ended: Heap, heaps: &[Heap], blocks: &[usize]) -> Followed {
    let followed = show(heaps, blocks);
    let lists = ended.list(class());
    assert!(!ended.drain() && ended.is_retired.get() && ended.next_retired.get().is_none());
    assert!(lists.listed.get().is_some() && lists.empty.get() == 0 && lists.count.get() == 1);
    followed
}

/// Shows loom what the heaps and their slabs are made of, before several threads use it.
fn show(heaps: &[Heap], blocks: &[usize]) -> Followed {
    let slabs: Vec<_> = blocks.iter().map(|address| slab_of(heaps[0], *address)).collect();
    let followed = Followed::begin();
    for (slab, address) in slabs.iter().zip(blocks) {
        assert!(slab_of(heaps[0], *address).start() == slab.start());
        assert!(slab.key() != 0 && slab.owner().is_some() && slab.class() == class());
        assert!(slab.live_count() > 0 && !slab.carved_and_purged().1);
        assert!(slab.prev.get().is_none() && slab.next.get().is_none());
        assert!(slab.check().is_ok() && slab.is_listed.get() == slab.has_free());
        assert!(slab.notice.next().is_none());
        slab.notice.clear();
    }
    for heap in heaps {
        assert!(!heap.drain() && !heap.is_retired.get() && heap.next_retired.get().is_none());
        assert!(heap.depot.flushes.load(Ordering::Relaxed) == 0);
        drop(heap.depot.pool.lock());
    }
    followed
}

/// Looks, when the model is over, whether all slots of the slabs of these blocks are at home.
fn assert_all_home(heaps: &[Heap], blocks: &[usize]) {
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

#[test]
fn no_slot_is_forgotten() {
    explore(3, |depot| {
        let (owner, blocks) = heap_with::<2>(depot);
        let others = [heap_with::<0>(depot).0, heap_with::<0>(depot).0];
        let followed = show(&[owner, others[0], others[1]], &blocks);
        let threads: Vec<_> = others
            .into_iter()
            .zip(blocks)
            .map(|(heap, block)| spawn(move || assert!(free_and_deliver(heap, block))))
            .collect();
        owner.drain();
        threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
        owner.drain();
        assert!(blocks.iter().all(|block| {
            let slab = slab_of(owner, *block);
            slab.is_in_free_words(slab.slot_index(*block).expect("a slot"))
        }));
        drop(followed);
        assert_all_home(&[owner, others[0], others[1]], &blocks);
    });
}

#[test]
fn one_thread_that_delivers_twice_is_heard_twice() {
    explore(3, |depot| {
        let (owner, blocks) = heap_with::<2>(depot);
        let (other, []) = heap_with::<0>(depot);
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
    explore(3, |depot| {
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

/// Two threads free each other's block, and look for what came home.
#[test]
fn two_heaps_free_each_others_blocks() {
    explore(2, |depot| {
        let (one, [first]) = heap_with::<1>(depot);
        let (other, [second]) = heap_with::<1>(depot);
        let followed = show(&[one, other], &[first, second]);
        let thread = spawn(move || {
            assert!(free_and_deliver(other, first));
            other.drain();
        });
        assert!(free_and_deliver(one, second));
        one.drain();
        thread.join().expect("it ends");
        drop(followed);
        assert_all_home(&[one, other], &[first, second]);
    });
}

/// The state byte: of two frees in the same instant, by the owner and by another thread, one is recognised.
#[test]
fn of_two_frees_one_loses() {
    explore(3, |depot| {
        let (owner, blocks) = heap_with::<1>(depot);
        let (other, []) = heap_with::<0>(depot);
        let followed = show(&[owner, other], &blocks);
        let thread = spawn(move || free_and_deliver(other, blocks[0]));
        let is_own = free(owner, blocks[0]);
        let is_others = thread.join().expect("it ends");
        assert!(is_own != is_others, "one free of one life");
        drop(followed);
        assert_all_home(&[owner, other], &blocks);
    });
}
