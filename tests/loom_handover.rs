//! The protocols between threads, run by the model checker loom: every interleaving, and every reordering that the
//! orderings allow.
//!
//! ```text
//! RUSTFLAGS="--cfg mems_loom" cargo test --release --test loom_handover
//! ```
//!
//! The handover is the allocator's own code, compiled here with loom's atomics. Built in any other way this file holds
//! no test.
#![allow(missing_docs, reason = "a test")]
#![cfg(mems_loom)]

#[path = "../src/slabs/handover.rs"]
#[allow(unreachable_pub, dead_code, reason = "a module of another crate")]
mod handover;

/// Loom's atomics in the place of core's.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
}

use loom::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// One slab with one remote word, and the lists of two heaps that may own it.
struct Model {
    owner: AtomicUsize,
    word: AtomicU64,
    is_notified: AtomicU32,
    next: AtomicUsize,
    lists: [AtomicUsize; 2],
    /// Every bit that was collected, so that none is lost and none comes twice.
    home: Mutex<u64>,
}

/// The only slab.
const SLAB: usize = 1;

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            owner: AtomicUsize::new(0),
            word: AtomicU64::new(0),
            is_notified: AtomicU32::new(0),
            next: AtomicUsize::new(0),
            lists: [AtomicUsize::new(0), AtomicUsize::new(0)],
            home: Mutex::new(0),
        })
    }

    /// What a thread does that frees another heap's slots.
    fn deliver(&self, bits: u64) {
        handover::enter(&self.word, bits);
        if handover::notify(&self.is_notified) {
            let owner = self.owner.load(Ordering::Acquire);
            handover::push(&self.lists[owner], SLAB, &self.next);
        }
    }

    /// What a heap does when it misses.
    fn drain(&self, heap: usize) {
        let mut name = handover::take_all(&self.lists[heap]);
        while name != 0 {
            name = self.next.load(Ordering::Relaxed);
            let owner = self.owner.load(Ordering::Acquire);
            if owner == heap {
                handover::clear_notice(&self.is_notified);
                let bits = handover::collect(&self.word);
                let mut home = self.home.lock().unwrap();
                assert_eq!(*home & bits, 0, "a slot came home twice");
                *home |= bits;
            } else {
                handover::push(&self.lists[owner], SLAB, &self.next);
            }
        }
    }
}

#[test]
fn no_slot_is_forgotten() {
    loom::model(|| {
        let model = Model::new();
        let threads: Vec<_> = [1, 2]
            .map(|bits| {
                let model = Arc::clone(&model);
                thread::spawn(move || model.deliver(bits))
            })
            .into();
        model.drain(0);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        model.drain(0);
        assert_eq!(*model.home.lock().unwrap(), 3);
    });
}

#[test]
fn one_thread_that_delivers_twice_is_heard_twice() {
    loom::model(|| {
        let model = Model::new();
        let other = Arc::clone(&model);
        let thread = thread::spawn(move || {
            other.deliver(1);
            other.deliver(2);
        });
        model.drain(0);
        model.drain(0);
        thread.join().unwrap();
        model.drain(0);
        assert_eq!(*model.home.lock().unwrap(), 3);
    });
}

/// A slab of a retired heap (0) is adopted (by 1) under the pool's lock, while others deliver.
#[test]
fn an_adopted_slab_takes_its_news_along() {
    loom::model(|| {
        let model = Model::new();
        let pool = Arc::new(Mutex::new(()));
        let other = Arc::clone(&model);
        let deliverer = thread::spawn(move || other.deliver(1));
        let (other, lock) = (Arc::clone(&model), Arc::clone(&pool));
        let adopter = thread::spawn(move || {
            {
                let _pool = lock.lock().unwrap();
                other.drain(0);
                other.owner.store(1, Ordering::Release);
            }
            other.drain(1);
        });
        deliverer.join().unwrap();
        adopter.join().unwrap();
        // Somebody looks at the retired heap again, then the new owner misses again.
        {
            let _pool = pool.lock().unwrap();
            model.drain(0);
        }
        model.drain(1);
        assert_eq!(*model.home.lock().unwrap(), 1);
    });
}

/// The state byte: of two frees in the same instant one is recognised, or the slot was handed out anew in between.
#[test]
fn of_two_frees_one_loses() {
    loom::model(|| {
        let state = Arc::new(AtomicU8::new(1));
        let handed_out_again = Arc::new(AtomicU32::new(0));
        let model = Model::new();
        let winners: Vec<_> = [1_u64, 1]
            .map(|bits| {
                let (state, model) = (Arc::clone(&state), Arc::clone(&model));
                thread::spawn(move || {
                    let is_valid = state.swap(0, Ordering::Relaxed) == 1;
                    if is_valid {
                        model.deliver(bits);
                    }
                    is_valid
                })
            })
            .into();
        // The owner misses once, and hands the slot out again if it has come home.
        model.drain(0);
        let came_home = std::mem::take(&mut *model.home.lock().unwrap()) == 1;
        if came_home {
            state.store(1, Ordering::Relaxed);
            handed_out_again.store(1, Ordering::Relaxed);
        }
        let valid = winners.into_iter().map(|t| t.join().unwrap());
        let valid = valid.filter(|is_valid| *is_valid).count();
        let lives = 1 + handed_out_again.load(Ordering::Relaxed) as usize;
        assert!(valid >= 1 && valid <= lives, "{valid} frees of {lives} lives were accepted");
    });
}
