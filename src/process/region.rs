//! What a closure leaves behind on its thread, without a counter on any fast path.
//!
//! For the time of a region the thread uses another heap, which has no slab when the region begins and takes none from
//! others: it neither adopts slabs nor reuses its outbox. So every slot the thread is handed out lies in a slab that
//! began in the region, and what is live there at the end was left behind. Nobody else's slots are among them, unless
//! another thread freed a slot of the region and was handed it again.
//!
//! Blocks of the free list belong to no thread: see [`notes`](crate::slabs::notes).
//!
//! Regions nest: the heap of an inner one that left something stays with the outer one, and is counted with it.

use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use super::begin::begin;
use super::thread;
use crate::heap::{Block, Found};
use crate::settings::Settings;
use crate::slabs::depot::DEPOT;
use crate::slabs::slab::Slab;
use crate::slabs::thread_heap::ThreadHeap;

/// A region of the calling thread, which ends when this is dropped, on that thread.
#[derive(Debug)]
pub(crate) struct Region {
    heap: &'static ThreadHeap,
    outer: &'static ThreadHeap,
    /// It begins and ends on one thread.
    not_send: PhantomData<*const ()>,
}

impl Region {
    /// Begins a region. None where there is no memory for a heap, or the thread is ending.
    pub(crate) fn begin() -> Option<Self> {
        // A program whose allocator is another one may not have used the heap yet.
        begin(&Settings::DEFAULT);
        let outer = thread::current_or_new()?;
        // Slots of ended regions go home, so that their heaps are empty and serve again.
        outer.flush();
        let heap = DEPOT.acquire_empty_heap()?;
        heap.thread_id.store(outer.thread_id.load(Ordering::Relaxed), Ordering::Relaxed);
        heap.outer.set(Some(outer));
        heap.notes.begin();
        thread::replace(heap);
        Some(Self { heap, outer, not_send: PhantomData })
    }

    /// Ends it, and shows every block that is left of it to `each`, with the bytes of its slot if it has one.
    pub(crate) fn end(self, mut each: impl FnMut(Block, bool)) {
        self.leave();
        let heap = self.heap;
        let is_ours = |slab: &Slab| heap.owns(slab) || heap.inner().any(|inner| inner.owns(slab));
        for slab in DEPOT.map.all().filter(|slab| is_ours(slab)) {
            let size = slab.shape().slot_bytes;
            for index in (0..slab.slots()).filter(|index| slab.is_live(*index)) {
                each(Block { start: slab.slot_start(index), size }, true);
            }
        }
        heap.notes.for_each_kept(|start| {
            if let Some(Found::Block(block)) = DEPOT.heap.find_address(start)
                && block.start == start
            {
                each(block, false);
            }
        });
        // What is left to do is done by `drop`.
    }

    /// Lets the thread use its own heap again.
    fn leave(&self) {
        if thread::current().is(self.heap) {
            thread::replace(self.outer);
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.leave();
        let (heap, outer) = (self.heap, self.outer);
        heap.flush();
        heap.end_empty_slabs(|slab| DEPOT.end_slab(slab));
        heap.outer.set(None);
        let notes = heap.notes.end();
        let has_slabs = || DEPOT.map.all().any(|slab| heap.owns(slab));
        let stays_with_outer = outer.notes.is_on() && (heap.inner.get().is_some() || has_slabs());
        let mut inner = heap.inner.take();
        let mut next = Some(heap);
        while let Some(heap) = next {
            next = inner;
            inner = next.and_then(|heap| heap.next_inner.take());
            if stays_with_outer {
                heap.next_inner.set(outer.inner.replace(Some(heap)));
            } else {
                DEPOT.retire_heap(heap);
            }
        }
        if outer.notes.is_on() {
            outer.notes.add(&notes);
        }
    }
}
