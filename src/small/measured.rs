//! What a closure leaves behind on its thread, without a counter on any fast path.
//!
//! For the time of a region the thread uses another heap, which has no slab when the region begins and takes none from
//! others: it neither adopts slabs nor reuses its outbox. So every slot the thread is handed out lies in a slab that
//! began in the region, and what is live there at the end was left behind. Nobody else's slots are among them, unless
//! another thread freed a slot of the region and was handed it again.
//!
//! Blocks of the free list belong to no thread: while a region lasts, the thread notes those it is handed out and those
//! it frees, in a mapping of its own. That costs all other threads one test of a flag for each such block.
//!
//! Regions nest: the heap of an inner one that left something stays with the outer one, and is counted with it.

use core::cell::Cell;

#[cfg(feature = "std")]
use super::process::PROCESS;
use super::thread_heap::ThreadHeap;
use crate::base::column::Column;
#[cfg(feature = "std")]
use crate::heap::{Block, Found};

/// Notes of the free list's blocks: so many are made before the first tidying.
const FIRST_TIDY: usize = 4096;
/// The bit of a noted address that says that the block was freed. Blocks start at multiples of 16.
const FREED: usize = 1;

/// What a heap notes while it serves a region.
pub(super) struct Measuring {
    is_on: Cell<bool>,
    /// The heap that the thread used before the region.
    outer: Cell<Option<&'static ThreadHeap>>,
    /// The heaps of inner regions that left something, linked by `next_retired`.
    inner: Cell<Option<&'static ThreadHeap>>,
    /// Blocks handed out and freed, each with its turn.
    notes: Cell<Column<[usize; 2]>>,
    /// So many notes are tidied.
    tidy_at: Cell<usize>,
}

impl core::fmt::Debug for Measuring {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Measuring").field("is_on", &self.is_on).finish_non_exhaustive()
    }
}

impl Measuring {
    /// Of a heap that serves no region.
    pub(super) const fn off() -> Self {
        Self {
            is_on: Cell::new(false),
            outer: Cell::new(None),
            inner: Cell::new(None),
            notes: Cell::new(Column::new()),
            tidy_at: Cell::new(FIRST_TIDY),
        }
    }

    /// Whether the heap serves a region.
    pub(super) fn is_on(&self) -> bool {
        self.is_on.get()
    }

    /// Notes that the thread was handed out a block of the free list, if it is in a region.
    #[inline]
    pub(super) fn note_block(&self, address: usize) {
        if self.is_on() {
            self.note(address);
        }
    }

    /// Notes that the thread frees a block of the free list, if it is in a region.
    #[inline]
    pub(super) fn note_free(&self, address: usize) {
        if self.is_on() {
            self.note(address | FREED);
        }
    }

    #[cold]
    fn note(&self, note: usize) {
        let mut notes = self.notes.replace(Column::new());
        if notes.len() >= self.tidy_at.get() {
            tidy(&mut notes);
            self.tidy_at.set(FIRST_TIDY.max(2 * notes.len()));
        }
        let turn = notes.last().map_or(0, |[_, turn]| turn + 1);
        // Without memory for it the block is not counted.
        let noted = notes.push([note, turn]);
        self.notes.set(notes);
        let _ = noted;
    }
}

/// Keeps the notes of blocks that were not freed since.
fn tidy(notes: &mut Column<[usize; 2]>) {
    notes.items_mut().sort_unstable_by_key(|[note, turn]| (note & !FREED, *turn));
    let mut kept = 0;
    for index in 0..notes.len() {
        let (now, next) = (notes.get(index).copied(), notes.get(index + 1).copied());
        let Some([note, _]) = now else { break };
        let is_last = next.is_none_or(|[next, _]| (next ^ note) & !FREED != 0);
        if is_last && note & FREED == 0 {
            notes.items_mut()[kept] = [note, kept];
            kept += 1;
        }
    }
    notes.truncate(kept);
}

impl ThreadHeap {
    /// Whether `other` is this heap, or waits for the end of a region in which this one is used.
    pub(super) fn holds(&'static self, other: &Self) -> bool {
        let outwards =
            core::iter::successors(Some(self), |heap: &&'static Self| heap.measuring.outer.get());
        outwards.into_iter().any(|heap| heap.is(other) || heap.inner().any(|heap| heap.is(other)))
    }

    /// The heaps of inner regions that left something.
    fn inner(&self) -> impl Iterator<Item = &'static Self> {
        core::iter::successors(self.measuring.inner.get(), |heap| heap.next_retired.get())
    }
}

#[cfg(feature = "std")]
pub(crate) use region::Region;

#[cfg(feature = "std")]
mod region {
    use core::marker::PhantomData;
    use core::sync::atomic::Ordering;

    use super::super::pool;
    use super::super::thread;
    use super::{Block, Found, PROCESS, ThreadHeap, tidy};
    use crate::base::column::Column;
    use crate::front;
    use crate::settings::Settings;

    /// A region of the calling thread, which ends when this is dropped, on that thread.
    #[derive(Debug)]
    pub(crate) struct Region {
        heap: &'static ThreadHeap,
        outer: &'static ThreadHeap,
        is_of_one_thread: PhantomData<*const ()>,
    }

    impl Region {
        /// Begins a region. None where there is no memory for a heap, or the thread is ending.
        pub(crate) fn begin() -> Option<Self> {
            // A program whose allocator is another one may not have used the heap yet.
            front::begin(&Settings::DEFAULT);
            let outer = thread::current_or_new()?;
            // Slots of ended regions go home, so that their heaps are empty and serve again.
            outer.flush();
            let heap = pool::acquire_empty_heap()?;
            heap.thread_id.store(outer.thread_id.load(Ordering::Relaxed), Ordering::Relaxed);
            heap.measuring.outer.set(Some(outer));
            heap.measuring.is_on.set(true);
            thread::replace(heap);
            Some(Self { heap, outer, is_of_one_thread: PhantomData })
        }

        /// Ends it, and shows every block that is left of it to `each`, with the bytes of its slot if it has one.
        pub(crate) fn end(self, mut each: impl FnMut(Block, bool)) {
            self.leave();
            let heap = self.heap;
            let is_ours = |slab: &super::super::slab::Slab| {
                slab.owner().is_some_and(|o| o.is(heap) || heap.inner().any(|inner| inner.is(o)))
            };
            for slab in PROCESS.owners.all().filter(|slab| is_ours(slab)) {
                let size = slab.shape().slot_bytes;
                for index in (0..slab.slots()).filter(|index| slab.is_live(*index)) {
                    each(Block { start: slab.slot_start(index), size }, true);
                }
            }
            let mut notes = heap.measuring.notes.replace(Column::new());
            tidy(&mut notes);
            for [start, _] in notes.iter() {
                if let Some(Found::Block(block)) = PROCESS.heap.find_address(*start)
                    && block.start == *start
                {
                    each(block, false);
                }
            }
            heap.measuring.notes.set(notes);
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
            heap.end_empty_slabs(pool::end_slab);
            heap.measuring.is_on.set(false);
            heap.measuring.outer.set(None);
            let notes = heap.measuring.notes.replace(Column::new());
            let has_slabs = || PROCESS.owners.all().any(|s| s.owner().is_some_and(|o| o.is(heap)));
            let stays_with_outer =
                outer.measuring.is_on() && (heap.measuring.inner.get().is_some() || has_slabs());
            let mut inner = heap.measuring.inner.take();
            let mut next = Some(heap);
            while let Some(heap) = next {
                next = inner;
                inner = next.and_then(|heap| heap.next_retired.get());
                if stays_with_outer {
                    heap.next_retired.set(outer.measuring.inner.replace(Some(heap)));
                } else {
                    pool::retire_heap(heap);
                }
            }
            if outer.measuring.is_on() {
                notes.iter().for_each(|[note, _]| outer.measuring.note(*note));
            }
        }
    }
}
