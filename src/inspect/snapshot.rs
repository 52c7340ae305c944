//! [`Snapshot`]: what a heap looked like, kept outside of that heap.
//!
//! Invariants (of a snapshot that was taken, and checked of one that is read): **I1** segments are in address order and
//! do not overlap; **I2** the k-th segment that is a slab is described by the k-th slab, which has its size; **I3** a
//! slab's words lie behind those of the slab before it, no slot is both live and cached, and no bit stands for a slot
//! that is none; **I4** threads are in the order of their numbers.

use core::ops::Range;

use super::records::{
    ClassRecord, ClassTotals, MAX_CLASSES, PackedSegment, Place, PlaceState, SegmentState,
    SlabRecord, SnapshotSegment, SnapshotSpan, SnapshotThread,
};
use super::slab::SnapshotSlab;
use crate::base::array::Array;
use crate::heap::HeapStats;

/// What the process heap looked like: spans, segments, slabs with a state for each slot, classes and threads.
///
/// It lies in mappings of its own, so neither taking nor keeping nor dropping it changes the heap. 16 bytes for each
/// segment, and for each slab 48 bytes and 2 bits a slot.
///
/// What it guarantees while other threads run: a block that was live all the while it was taken is in it exactly once;
/// a block that is in it was live at some moment meanwhile. So its number of live blocks differs from that of any
/// moment meanwhile by at most the blocks that came or went while it was taken, and its bytes by theirs. At rest it is
/// exact, and [`stats`](Snapshot::stats) equals [`MemsAlloc::stats`](crate::MemsAlloc::stats).
///
/// ```
/// #[global_allocator]
/// static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();
///
/// let before = mems::snapshot()?;
/// let words = vec![7_u64; 100];
/// let after = mems::snapshot()?;
/// assert!(after.find(words.as_ptr().addr()).is_some_and(|place| place.size >= 800));
/// let (came, went) = before.diff(&after).sums();
/// assert_eq!((came.blocks, went.blocks), (1, 0));
/// # Ok::<(), mems::OutOfMemory>(())
/// ```
#[derive(Debug)]
pub struct Snapshot {
    pub(super) page_size: usize,
    /// The number of the heap of the thread that took it, 0 if it had none.
    pub(super) taken_by: u64,
    /// Of a snapshot that is complete what [`Snapshot::stats`] answers.
    pub(super) stats: HeapStats,
    pub(super) spans: Array<SnapshotSpan>,
    pub(super) segments: Array<PackedSegment>,
    pub(super) slabs: Array<SlabRecord>,
    pub(super) words: Array<u64>,
    pub(super) classes: Array<ClassRecord>,
    pub(super) threads: Array<SnapshotThread>,
}

impl Snapshot {
    pub(super) const fn empty(page_size: usize) -> Self {
        Self {
            page_size,
            taken_by: 0,
            stats: HeapStats::NONE,
            spans: Array::new(),
            segments: Array::new(),
            slabs: Array::new(),
            words: Array::new(),
            classes: Array::new(),
            threads: Array::new(),
        }
    }

    /// The sums. `allocated`, `cached`, `free` and the counts are of what is in the snapshot; the others are what
    /// [`MemsAlloc::stats`](crate::MemsAlloc::stats) said in that moment. O(1).
    #[must_use]
    pub const fn stats(&self) -> HeapStats {
        self.stats
    }

    /// The size of a page, in bytes.
    #[must_use]
    pub const fn page_size(&self) -> usize {
        self.page_size
    }

    /// The number of the heap of the thread that took it; 0 where that had none.
    #[must_use]
    pub const fn taken_by(&self) -> u64 {
        self.taken_by
    }

    /// The spans, in address order.
    #[must_use]
    pub fn spans(&self) -> &[SnapshotSpan] {
        &self.spans
    }

    /// The segments, in address order.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = SnapshotSegment> + '_ {
        self.segments.iter().map(|segment| SnapshotSegment {
            start: segment.start,
            size: segment.size(),
            state: segment.state(),
        })
    }

    /// The slabs, in address order.
    pub fn slabs(&self) -> impl ExactSizeIterator<Item = SnapshotSlab<'_>> + '_ {
        self.slabs.iter().map(|slab| self.slab(slab))
    }

    /// The threads' heaps, in the order of their numbers, those without slabs included.
    #[must_use]
    pub fn threads(&self) -> &[SnapshotThread] {
        &self.threads
    }

    /// The thread heap with this number. O(log n).
    #[must_use]
    pub fn thread(&self, number: u64) -> Option<&SnapshotThread> {
        let index = self.threads.binary_search_by_key(&number, |thread| thread.number).ok()?;
        self.threads.get(index)
    }

    /// The sums of each class, the smallest first, those without slabs included. O(slabs).
    pub fn classes(&self) -> impl ExactSizeIterator<Item = ClassTotals> + use<> {
        let mut totals = [ClassTotals::default(); MAX_CLASSES];
        for (total, class) in totals.iter_mut().zip(self.classes.iter()) {
            total.slot_bytes = class.0;
        }
        for (record, slab) in self.slabs.iter().zip(self.slabs()) {
            let Some(total) = totals.get_mut(record.class as usize) else { continue };
            total.slabs += 1;
            total.slots += slab.slots();
            total.live += slab.live();
            total.cached += slab.cached();
            total.slab_bytes += slab.size();
        }
        totals.into_iter().take(self.classes.len().min(MAX_CLASSES))
    }

    /// Every piece of the heap in address order: blocks, slots and holes. O(1) a step.
    #[must_use]
    pub fn places(&self) -> Places<'_> {
        Places { snapshot: self, segment: 0, slab: 0, slots: None }
    }

    /// Who holds this page? The pieces that have a byte in a range of addresses, in address order. O(log n), and O(1) a
    /// step.
    pub fn places_within(&self, range: Range<usize>) -> impl Iterator<Item = Place> + '_ {
        let segment = self.segments.partition_point(|segment| segment.end() <= range.start);
        let start = self.segments.get(segment).map_or(usize::MAX, |segment| segment.start);
        let slab = self.slabs.partition_point(|slab| slab.start < start);
        let mut places = Places { snapshot: self, segment, slab, slots: None };
        if let Some(record) = self.slabs.get(slab).filter(|record| record.start == start) {
            // Not from its first slot on, but from the one that has the first byte.
            let slab = self.slab(record);
            let slot = range.start.saturating_sub(start) / slab.slot_bytes();
            places.segment += 1;
            places.slab += 1;
            places.slots = Some((slab, slot.min(slab.slots())));
        }
        places.take_while(move |place| place.start < range.end)
    }

    /// The live blocks, in address order. O(1) a step on average.
    pub fn blocks(&self) -> impl Iterator<Item = Place> + '_ {
        self.places().filter(|place| place.state == PlaceState::Live)
    }

    /// The block, slot or hole that has the byte at `address`; `None` where it was not the heap's. O(log n).
    #[must_use]
    pub fn find(&self, address: usize) -> Option<Place> {
        let index = self.segments.partition_point(|segment| segment.start <= address);
        let segment = *self.segments.get(index.checked_sub(1)?)?;
        if address >= segment.end() {
            return None;
        }
        if segment.state() != SegmentState::Slab {
            return Some(whole(segment));
        }
        let index = self.slabs.binary_search_by_key(&segment.start, |slab| slab.start).ok()?;
        let slab = self.slab(self.slabs.get(index)?);
        Some(slab.place((address - segment.start) / slab.slot_bytes()))
    }

    pub(super) fn slab(&self, record: &SlabRecord) -> SnapshotSlab<'_> {
        let slot_bytes = self.classes.get(record.class as usize).map_or(1, |class| class.0);
        let words = self.words.get(record.first_word..).unwrap_or_default();
        SnapshotSlab::new(*record, slot_bytes, words)
    }

    /// Counts the sums that the records tell, those of threads, too. O(segments + slabs).
    pub(super) fn count(&mut self) {
        // A slab of one slot is not called one: it is a large block.
        let slabs = self.slabs.iter().filter(|slab| slab.slots > 1).count();
        let mut sums = HeapStats { spans: self.spans.len(), slabs, ..self.stats };
        (sums.allocated, sums.blocks, sums.holes) = (0, 0, 0);
        (sums.free, sums.largest_hole, sums.cached) = (0, 0, 0);
        for segment in self.segments.iter() {
            match segment.state() {
                SegmentState::Hole | SegmentState::CleanHole => {
                    sums.holes += 1;
                    sums.free += segment.size();
                    sums.largest_hole = sums.largest_hole.max(segment.size());
                }
                SegmentState::Block => {
                    sums.blocks += 1;
                    sums.allocated += segment.size();
                }
                SegmentState::Slab | SegmentState::Between => {}
            }
        }
        let mut threads = core::mem::replace(&mut self.threads, Array::new());
        for slab in self.slabs() {
            let (live, live_bytes) = (slab.live(), slab.live() * slab.slot_bytes());
            let cached_bytes = slab.cached() * slab.slot_bytes();
            sums.blocks += live;
            sums.allocated += live_bytes;
            sums.free += slab.size() - live_bytes;
            sums.cached += cached_bytes;
            let owner = threads.binary_search_by_key(&slab.thread(), |thread| thread.number);
            if let Some(thread) = owner.ok().and_then(|index| threads.items_mut().get_mut(index)) {
                thread.slabs += 1;
                thread.slab_bytes += slab.size();
                thread.live += live;
                thread.live_bytes += live_bytes;
                thread.cached_bytes += cached_bytes;
            }
        }
        self.threads = threads;
        self.stats = sums;
    }
}

/// A segment that is one piece.
fn whole(segment: PackedSegment) -> Place {
    let state = match segment.state() {
        SegmentState::Hole => PlaceState::Hole,
        SegmentState::CleanHole => PlaceState::CleanHole,
        SegmentState::Block => PlaceState::Live,
        SegmentState::Slab | SegmentState::Between => PlaceState::Between,
    };
    Place { start: segment.start, size: segment.size(), state, slot_bytes: None, thread: None }
}

/// The pieces of a snapshot, in address order.
#[derive(Debug)]
pub struct Places<'snapshot> {
    snapshot: &'snapshot Snapshot,
    segment: usize,
    slab: usize,
    slots: Option<(SnapshotSlab<'snapshot>, usize)>,
}

impl Iterator for Places<'_> {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        loop {
            if let Some((slab, index)) = &mut self.slots {
                let place = slab.place(*index);
                *index += 1;
                if place.size > 0 {
                    return Some(place);
                }
                self.slots = None;
            }
            let segment = *self.snapshot.segments.get(self.segment)?;
            self.segment += 1;
            if segment.state() != SegmentState::Slab {
                return Some(whole(segment));
            }
            let slab = self.snapshot.slabs.get(self.slab)?;
            self.slab += 1;
            self.slots = Some((self.snapshot.slab(slab), 0));
        }
    }
}
