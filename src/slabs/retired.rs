//! Thread heaps: how they are made, what becomes of them when their threads end, and how others adopt their slabs.
//!
//! A thread that ends leaves its heap, slabs and all, to the next thread that starts. Until then threads that need a
//! slab adopt single ones from it.
//!
//! Invariant: **I1** a retired heap has no thread, and whichever thread holds the `pool` lock may act for it.

use super::class::Class;
use super::depot::{Depot, Pool};
use super::slab::Slab;
use super::thread_heap::ThreadHeap;
use crate::base::fatal::debug_law;

/// Retired heaps that are looked at for one without slabs.
#[cfg(feature = "std")]
const EMPTY_TRIES: usize = 16;
/// Retired heaps that are looked at for one new slab.
const ADOPT_TRIES: usize = 4;

impl Pool {
    /// All heaps that were ever made, the last one first.
    pub(crate) fn all_heaps(&self) -> impl Iterator<Item = &'static ThreadHeap> + Clone + use<> {
        ThreadHeap::all_from(self.heaps.made.map(ThreadHeap::named))
    }

    /// The first of the retired heaps, which are linked by `next_retired`.
    fn first_retired(&self) -> Option<&'static ThreadHeap> {
        self.heaps.retired.map(ThreadHeap::named)
    }

    /// The heaps whose threads have ended.
    pub(crate) fn all_retired(&self) -> impl Iterator<Item = &'static ThreadHeap> + use<> {
        core::iter::successors(self.first_retired(), |heap| heap.next_retired.get())
    }

    fn set_first_retired(&mut self, heap: Option<&'static ThreadHeap>) {
        self.heaps.retired = heap.map(ThreadHeap::name);
    }

    /// Takes a heap without a thread.
    pub(crate) fn retire(&mut self, heap: &'static ThreadHeap) {
        debug_law!(!heap.is_retired.get() && !heap.is_nobody(), "a heap retires once");
        heap.is_retired.set(true);
        heap.next_retired.set(self.first_retired());
        self.set_first_retired(Some(heap));
    }
}

impl Depot {
    /// A heap for a thread: that of one that ended, or a new one.
    pub(crate) fn acquire_heap(&'static self) -> Option<&'static ThreadHeap> {
        let mut pool = self.pool.lock();
        if let Some(heap) = pool.first_retired() {
            pool.set_first_retired(heap.next_retired.take());
            heap.is_retired.set(false);
            return Some(heap);
        }
        self.make_heap(&mut pool)
    }

    /// A new heap.
    fn make_heap(&'static self, pool: &mut Pool) -> Option<&'static ThreadHeap> {
        // Number 0 is nobody's, so a key of zero bytes is no slab's.
        let number = pool.heaps.count + 1;
        let made_before = pool.heaps.made.map(ThreadHeap::named);
        let heap = pool.write(&self.heap, ThreadHeap::new(self, number, made_before))?;
        pool.heaps.count = number;
        pool.heaps.made = Some(heap.name());
        Some(heap)
    }

    /// A heap without slabs: the first of a few whose threads have ended that has none, else a new one. O(map).
    #[cfg(feature = "std")]
    pub(crate) fn acquire_empty_heap(&'static self) -> Option<&'static ThreadHeap> {
        let mut pool = self.pool.lock();
        let (mut before, mut next) = (None::<&ThreadHeap>, pool.first_retired());
        for _ in 0..EMPTY_TRIES {
            let Some(heap) = next else { break };
            self.tidy(&mut pool, heap);
            if !self.map.all().any(|slab| heap.owns(slab)) {
                let behind = heap.next_retired.take();
                match before {
                    Some(before) => before.next_retired.set(behind),
                    None => pool.set_first_retired(behind),
                }
                heap.is_retired.set(false);
                return Some(heap);
            }
            (before, next) = (next, heap.next_retired.get());
        }
        self.make_heap(&mut pool)
    }

    /// Takes in what others sent to a retired heap, and ends its empty slabs.
    fn tidy(&self, pool: &mut Pool, heap: &'static ThreadHeap) {
        heap.drain();
        self.end_empty_slabs_of(pool, heap);
    }

    fn end_empty_slabs_of(&self, pool: &mut Pool, heap: &'static ThreadHeap) {
        heap.end_empty_slabs(|slab| self.end_slab_locked(pool, slab));
    }

    /// All heaps whose threads have ended, the caller's until it gives each to [`Depot::retire_heap`].
    pub(crate) fn take_retired(&self) -> Option<&'static ThreadHeap> {
        let mut pool = self.pool.lock();
        let first = pool.first_retired();
        pool.set_first_retired(None);
        core::iter::successors(first, |heap| heap.next_retired.get())
            .for_each(|heap| heap.is_retired.set(false));
        first
    }

    /// Takes the heap of a thread that ended, its caches flushed.
    pub(crate) fn retire_heap(&self, heap: &'static ThreadHeap) {
        self.pool.lock().retire(heap);
    }

    /// Ends the empty slabs of all heaps whose threads have ended.
    pub(crate) fn tidy_retired(&self) {
        let mut pool = self.pool.lock();
        let mut next = pool.first_retired();
        while let Some(heap) = next {
            self.tidy(&mut pool, heap);
            next = heap.next_retired.get();
        }
    }

    /// Adopts a slab with free slots from a heap whose thread has ended.
    pub(super) fn adopt(&self, owner: &'static ThreadHeap, class: Class) -> Option<&'static Slab> {
        let mut pool = self.pool.lock();
        // Heaps come and go at the front of the list, so one that is retired no more has nobody in front of it.
        let looked_at = pool.heaps.looked_at.map(ThreadHeap::named);
        let mut next = looked_at.filter(|heap| heap.is_retired.get()).or(pool.first_retired());
        let mut adopted = None;
        for _ in 0..ADOPT_TRIES {
            let Some(heap) = next else { break };
            if heap.drain() {
                self.end_empty_slabs_of(&mut pool, heap);
            }
            adopted = heap.give_slab(class);
            if adopted.is_some() {
                break;
            }
            // Behind the last one comes the first, so that each has its turn.
            next = heap.next_retired.get().or(pool.first_retired());
        }
        pool.heaps.looked_at = next.map(ThreadHeap::name);
        let slab = adopted?;
        debug_law!(slab.has_free() && !slab.is_listed.get(), "what is given is off the list");
        slab.give_to(owner.name());
        Some(slab)
    }
}
