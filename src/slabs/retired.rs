//! Thread heaps: how they are made, what becomes of them when their threads end, and how others adopt their slabs.
//!
//! A thread that ends leaves its heap, slabs and all, to the next thread that starts. Until then threads that need a
//! slab adopt single ones from it. When nothing is left of it, it is vacated.
//!
//! Invariant: **I1** a retired heap has no thread, and whichever thread holds the `pool` lock may act for it.

use super::class::Class;
use super::depot::{Depot, Pool};
use super::heap_cards::HeapCard;
use super::slab::Slab;
use super::sync::Ordering;
use super::thread_heap::ThreadHeap;
use crate::base::fatal::debug_law;

/// Retired heaps that are looked at for one without slabs.
#[cfg(feature = "std")]
const EMPTY_TRIES: usize = 16;
/// Retired heaps that are looked at for one new slab.
const ADOPT_TRIES: usize = 4;

impl Pool {
    /// All heaps but the vacant ones, the last one that was made first. The caller holds the lock as long as it goes
    /// over them, or is the only thread.
    pub(crate) fn all_heaps(&self) -> impl Iterator<Item = &'static ThreadHeap> + Clone + use<> {
        let cards = HeapCard::all_from(self.heaps.made).filter(|card| !card.is_vacant());
        cards.map(|card| ThreadHeap::named(card.heap))
    }

    /// The same, for a caller that opens the lock in between: each is looked up with it.
    pub(crate) fn all_cards(&self) -> impl Iterator<Item = &'static HeapCard> + use<> {
        HeapCard::all_from(self.heaps.made)
    }

    /// The heap of a card, unless it is vacant. It stays as long as the caller holds the lock.
    pub(crate) fn heap_of(&self, card: &HeapCard) -> Option<&'static ThreadHeap> {
        (!card.is_vacant()).then(|| ThreadHeap::named(card.heap))
    }

    /// The heap that retired last. Behind it come, by `next_retired`, those that did before.
    fn newest_retired(&self) -> Option<&'static ThreadHeap> {
        self.heaps.newest_retired.map(ThreadHeap::named)
    }

    /// The heaps whose threads have ended.
    pub(crate) fn all_retired(&self) -> impl Iterator<Item = &'static ThreadHeap> + use<> {
        core::iter::successors(self.newest_retired(), |heap| heap.next_retired.get())
    }

    /// Takes a heap without a thread.
    pub(crate) fn retire(&mut self, heap: &'static ThreadHeap) {
        debug_law!(!heap.is_retired() && !heap.is_nobody(), "a heap retires once");
        heap.is_retired.store(true, Ordering::Relaxed);
        let next = self.newest_retired();
        heap.next_retired.set(next);
        self.heaps.newest_retired = Some(heap.name());
        match next {
            Some(next) => next.prev_retired.set(Some(heap)),
            None => self.heaps.oldest_retired = Some(heap.name()),
        }
    }

    /// Takes a heap off the list: it is the caller's.
    fn revive(&mut self, heap: &'static ThreadHeap) {
        debug_law!(heap.is_retired(), "what comes off a list is there");
        heap.is_retired.store(false, Ordering::Relaxed);
        let (prev, next) = (heap.prev_retired.take(), heap.next_retired.take());
        match prev {
            Some(prev) => prev.next_retired.set(next),
            None => self.heaps.newest_retired = next.map(ThreadHeap::name),
        }
        match next {
            Some(next) => next.prev_retired.set(prev),
            None => self.heaps.oldest_retired = prev.map(ThreadHeap::name),
        }
    }
}

impl Depot {
    /// A heap for a thread: that of one that ended, or a new one.
    pub(crate) fn acquire_heap(&'static self) -> Option<&'static ThreadHeap> {
        let heap = {
            let mut pool = self.pool.lock();
            let Some(heap) = pool.newest_retired() else { return self.make_heap(&mut pool) };
            pool.revive(heap);
            heap
        };
        heap.start_small();
        Some(heap)
    }

    /// A heap without slabs: the first of a few whose threads have ended that has none, else a new one.
    #[cfg(feature = "std")]
    pub(crate) fn acquire_empty_heap(&'static self) -> Option<&'static ThreadHeap> {
        let heap = {
            let mut pool = self.pool.lock();
            let mut tried = pool.all_retired().take(EMPTY_TRIES);
            let empty = tried.find(|heap| {
                self.tidy(&mut pool, heap);
                !heap.has_slabs()
            });
            let Some(heap) = empty else { return self.make_heap(&mut pool) };
            pool.revive(heap);
            heap
        };
        heap.start_small();
        Some(heap)
    }

    /// Takes in what others sent to a retired heap, and ends its empty slabs.
    fn tidy(&self, pool: &mut Pool, heap: &'static ThreadHeap) {
        heap.drain();
        self.end_empty_slabs_of(pool, heap);
    }

    fn end_empty_slabs_of(&self, pool: &mut Pool, heap: &'static ThreadHeap) {
        heap.end_empty_slabs(|slab| self.end_slab_locked(pool, slab));
    }

    /// Does something with each heap whose thread has ended, the longest ago first, and vacates those of which nothing
    /// is left. Each is the caller's meanwhile, and all others can be had by threads that start.
    pub(crate) fn with_each_retired(&self, mut action: impl FnMut(&'static ThreadHeap)) {
        let count = self.pool.lock().all_retired().count();
        for _ in 0..count {
            let Some(heap) = self.take_oldest_retired(|_| true) else { break };
            action(heap);
            // To the other end, so that the next one is one that was not done yet.
            self.retire_or_vacate(heap);
        }
    }

    /// The heap whose thread ended the longest ago, if it `is_wanted`: it is the caller's until he retires it. If not,
    /// it is the newest now.
    pub(super) fn take_oldest_retired(
        &self,
        is_wanted: impl Fn(&'static ThreadHeap) -> bool,
    ) -> Option<&'static ThreadHeap> {
        let mut pool = self.pool.lock();
        let heap = ThreadHeap::named(pool.heaps.oldest_retired?);
        pool.revive(heap);
        if is_wanted(heap) {
            return Some(heap);
        }
        pool.retire(heap);
        None
    }

    /// Takes the heap of a thread that ended, its caches flushed.
    pub(crate) fn retire_heap(&self, heap: &'static ThreadHeap) {
        self.pool.lock().retire(heap);
    }

    /// Ends the empty slabs of all heaps whose threads have ended.
    pub(crate) fn tidy_retired(&self) {
        let mut pool = self.pool.lock();
        for heap in pool.all_retired() {
            self.tidy(&mut pool, heap);
        }
    }

    /// Adopts a slab with free slots from a heap whose thread has ended.
    pub(super) fn adopt(&self, owner: &'static ThreadHeap, class: Class) -> Option<&'static Slab> {
        let mut pool = self.pool.lock();
        // One that is retired no more may have been anywhere on the list.
        let looked_at = pool.heaps.looked_at.map(ThreadHeap::named);
        let mut next = looked_at.filter(|heap| heap.is_retired()).or(pool.newest_retired());
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
            next = heap.next_retired.get().or(pool.newest_retired());
        }
        pool.heaps.looked_at = next.map(ThreadHeap::name);
        let slab = adopted?;
        debug_law!(slab.has_free() && !slab.is_listed.get(), "what is given is off the list");
        slab.give_to(owner.name());
        self.map.set(slab.start(), slab.slab_bytes(), Some(slab));
        Some(slab)
    }
}
