//! What a closure leaves behind on its thread, without a counter on any fast path.
//!
//! For the time of a region the thread uses another heap, which has no slab when the region begins and adopts none. So
//! every slot the thread is handed out lies in a slab that began in the region, and what is live there at the end was
//! left behind. Nobody else's slots are among them: what other threads free of it comes home first.
//!
//! Blocks of the free list belong to no thread: see [`notes`](crate::slabs::notes). What is handed out meanwhile, and
//! what other threads leave that start there, is [`counting`](super::counting)'s.
//!
//! Regions nest: the heap of an inner one that left something stays with the outer one, and is counted with it.

use core::error::Error;
use core::fmt;
use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use super::begin::begin;
use super::counting::{Counting, Wishes};
use super::sampling;
use super::thread;
use crate::base::os::OutOfMemory;
use crate::heap::{Block, Found};
use crate::settings::{self, Settings};
use crate::slabs::depot::DEPOT;
use crate::slabs::slab::Slab;
use crate::slabs::thread_heap::ThreadHeap;

/// Why a region cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RegionError {
    /// There is no memory for its heap.
    OutOfMemory,
    /// The settings in force give no thread a heap of its own: `MEMS_HARDEN`, each of its parts, or
    /// `MEMS_MISUSE=report`.
    NoThreadHeaps,
    /// The thread is ending, and has given its heap away; or a signal handler has interrupted it inside of that.
    ThreadEnds,
    /// The system does not let a region follow threads: `prctl` is not permitted, or the thread runs in real time and
    /// so has no timer slack.
    NoFollowing,
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfMemory => "out of memory",
            Self::NoThreadHeaps => {
                "a region needs a heap for the thread, and under the settings in force no thread has one: run \
                 without MEMS_HARDEN, its parts, and MEMS_MISUSE=report"
            }
            Self::ThreadEnds => "the thread is ending, or was interrupted inside of its heap",
            Self::NoFollowing => "threads cannot be followed: the system keeps no timer slack for them",
        })
    }
}

impl Error for RegionError {}

/// For callers with one answer to all: the reason is lost.
impl From<RegionError> for OutOfMemory {
    fn from(_: RegionError) -> Self {
        Self
    }
}

/// A region of the calling thread, which ends when this is dropped, on that thread.
#[derive(Debug)]
pub(crate) struct Region {
    heap: &'static ThreadHeap,
    outer: &'static ThreadHeap,
    counting: Counting,
    /// It begins and ends on one thread.
    not_send: PhantomData<*const ()>,
}

impl Region {
    /// Begins a region.
    pub(crate) fn begin(wishes: Wishes) -> Result<Self, RegionError> {
        // A program whose allocator is another one may not have used the heap yet.
        begin(&Settings::DEFAULT);
        if !settings::is_plain() {
            return Err(RegionError::NoThreadHeaps);
        }
        let outer = match thread::current_or_new() {
            Some(heap) => heap,
            None if thread::is_gone() => return Err(RegionError::ThreadEnds),
            None => return Err(RegionError::OutOfMemory),
        };
        let begun = thread::inside(outer, |outer| {
            // Slots of ended regions go home, so that their heaps are empty and serve again.
            outer.flush();
            let heap = DEPOT.acquire_empty_heap()?;
            heap.thread_id.store(outer.thread_id.load(Ordering::Relaxed), Ordering::Relaxed);
            let Ok(counting) = Counting::begin(heap, outer, wishes) else {
                sampling::retire(heap);
                return None;
            };
            heap.outer.set(Some(outer));
            heap.notes.begin();
            Some((heap, counting))
        });
        let (heap, counting) = begun.ok_or(RegionError::OutOfMemory)?;
        thread::replace(heap);
        let mut region = Self { heap, outer, counting, not_send: PhantomData };
        if wishes.threads && !region.counting.follow_threads() {
            return Err(RegionError::NoFollowing);
        }
        Ok(region)
    }

    /// What it counts.
    #[cfg(feature = "profile")]
    pub(crate) const fn counting(&self) -> &Counting {
        &self.counting
    }

    /// Shows every block that is left of it to `each`, and whether that has a slot. The thread uses its own heap again.
    /// O(map) if there are any.
    pub(crate) fn for_each_left(&self, mut each: impl FnMut(Block, bool)) {
        self.leave();
        let heap = self.heap;
        let has_slabs = heap.has_slabs() || heap.inner().any(ThreadHeap::has_slabs);
        let is_ours = |slab: &Slab| heap.owns(slab) || heap.inner().any(|inner| inner.owns(slab));
        let slabs = has_slabs.then(|| DEPOT.map.all()).into_iter().flatten();
        for slab in slabs.filter(|slab| is_ours(slab)) {
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
        self.counting.for_each_of_threads(|start, size| {
            each(Block { start, size }, DEPOT.map.find(start).is_some());
        });
    }

    /// Lets the thread use its own heap again, and sends home what the region has cached.
    fn leave(&self) {
        if thread::current().is(self.heap) {
            thread::replace(self.outer);
        }
        thread::inside(self.heap, ThreadHeap::flush_and_end_slabs);
    }

    /// Retires its heap, and those of inner regions, or leaves them to the outer region.
    fn retire(&mut self) {
        let (heap, outer) = (self.heap, self.outer);
        self.counting.end(heap);
        heap.outer.set(None);
        let notes = heap.notes.end();
        let has_left = heap.inner.get().is_some() || heap.has_slabs();
        let stays_with_outer = outer.notes.is_on() && has_left;
        let mut inner = heap.inner.take();
        let mut next = Some(heap);
        while let Some(heap) = next {
            next = inner;
            inner = next.and_then(|heap| heap.next_inner.take());
            if stays_with_outer {
                // Else its blocks would be older than a profile that has them.
                sampling::draw_if_due(heap);
                heap.next_inner.set(outer.inner.replace(Some(heap)));
            } else {
                sampling::retire(heap);
            }
        }
        if outer.notes.is_on() {
            outer.notes.add(&notes);
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.leave();
        let outer = self.outer;
        thread::inside(outer, |_| self.retire());
    }
}
