//! Why memory is not used: the sizes of holes, and the few blocks that keep pages and slabs from going.

use super::records::{PlaceState, SegmentState, ThreadState, WORD_SLOTS};
use super::slab::SnapshotSlab;
use super::snapshot::Snapshot;
use crate::base::round::{align_down, align_up};

/// A page or slab of which at most this part (1 / `SPARSE`) is live is *sparse*.
pub(crate) const SPARSE: usize = 8;
/// Slabs that a [`Fragmentation`] names.
const WORST_SLABS: usize = 8;
/// Bins of a histogram: one for each power of two.
const BINS: usize = usize::BITS as usize;

/// Holes of at least a power of two of bytes, and less than the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HoleBin {
    /// Holes, a count.
    pub holes: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// Pages or slabs, and the bytes in them that nobody uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sparse {
    /// Pages or slabs, a count.
    pub count: usize,
    /// Bytes of them that are not live.
    pub idle_bytes: usize,
}

/// Where a heap's unused bytes are, and what keeps them there. Bytes, unless the name says otherwise.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Fragmentation<'snapshot> {
    /// The holes of the free list by size: those of bin `n` have from `2^n` bytes to `2^(n+1) - 1`.
    pub histogram: [HoleBin; BINS],
    /// In the largest hole.
    pub largest_hole: usize,
    /// In holes.
    pub hole_bytes: usize,
    /// In holes whose whole pages have gone back to the system.
    pub given_back: usize,
    /// In free slots that wait in their slab.
    pub free_slots: usize,
    /// In those of them that were never handed out: there is no memory behind their pages.
    pub fresh_slots: usize,
    /// In free slots that some thread's cache holds.
    pub cached: usize,
    /// Behind the last slots of slabs.
    pub tails: usize,
    /// Pages that some block lies on, but of which at most 1/8 is live.
    pub sparse_pages: Sparse,
    /// Slabs of which some slot is live, but at most 1/8.
    pub sparse_slabs: Sparse,
    /// Slabs without a live slot.
    pub empty_slabs: Sparse,
    /// See [`Fragmentation::worst_slabs`].
    worst_slabs: [Option<SnapshotSlab<'snapshot>>; WORST_SLABS],
    /// What [`MemsAlloc::trim`](crate::MemsAlloc::trim) would return to the thread that took the snapshot: exact if
    /// that thread's blocks lie in its own slabs, as they do unless threads hand blocks to each other.
    pub would_trim: usize,
}

impl<'snapshot> Fragmentation<'snapshot> {
    /// The eight slabs with most bytes that are not live although some slot is, those with most of them first.
    pub fn worst_slabs(&self) -> impl Iterator<Item = SnapshotSlab<'snapshot>> + '_ {
        self.worst_slabs.iter().flatten().copied()
    }
}

/// Bytes of a slab that are not live.
fn idle_bytes(slab: &SnapshotSlab<'_>) -> usize {
    slab.size() - slab.live() * slab.slot_bytes()
}

impl Snapshot {
    /// Where the unused bytes are, and what keeps them there. O(slots + segments).
    #[must_use]
    pub fn fragmentation(&self) -> Fragmentation<'_> {
        let mut answer = Fragmentation {
            histogram: [HoleBin::default(); BINS],
            largest_hole: self.stats.largest_hole,
            hole_bytes: 0,
            given_back: 0,
            free_slots: 0,
            fresh_slots: 0,
            cached: 0,
            tails: 0,
            sparse_pages: self.sparse_pages(),
            sparse_slabs: Sparse::default(),
            empty_slabs: Sparse::default(),
            worst_slabs: [None; WORST_SLABS],
            would_trim: self.would_trim(),
        };
        for segment in self.segments().filter(|segment| segment.state.is_hole()) {
            answer.hole_bytes += segment.size;
            if let Some(bin) = answer.histogram.get_mut(segment.size.max(1).ilog2() as usize) {
                bin.holes += 1;
                bin.bytes += segment.size;
            }
            if segment.state == SegmentState::CleanHole {
                answer.given_back += self.whole_page_bytes(segment.start, segment.size);
            }
        }
        self.slabs().for_each(|slab| answer.note_slab(slab));
        answer
    }

    /// Bytes of the whole pages of a run.
    fn whole_page_bytes(&self, start: usize, size: usize) -> usize {
        let first = align_up(start, self.page_size).unwrap_or(usize::MAX);
        align_down(start + size, self.page_size).saturating_sub(first)
    }

    /// Pages that some block lies on and little else.
    fn sparse_pages(&self) -> Sparse {
        let mut sparse = Sparse::default();
        let (mut page, mut live) = (0, 0);
        let mut turn = |live: usize| {
            if live > 0 && live <= self.page_size / SPARSE {
                sparse.count += 1;
                sparse.idle_bytes += self.page_size - live;
            }
        };
        for block in self.places().filter(|place| place.state == PlaceState::Live) {
            let end = block.start + block.size;
            let (first, last) = (block.start / self.page_size, (end - 1) / self.page_size);
            if first != page {
                turn(core::mem::take(&mut live));
            }
            // The pages between the first and the last one are full.
            if first == last {
                live += block.size;
            } else {
                turn(live + ((first + 1) * self.page_size - block.start));
                live = end - last * self.page_size;
            }
            page = last;
        }
        turn(live);
        sparse
    }

    /// What a trim would give back: the whole pages of all holes that are not clean, as they are when the slabs that
    /// can go have gone and have become one with the holes beside them.
    fn would_trim(&self) -> usize {
        let mut sum = 0;
        let mut run = Run { start: 0, end: 0, is_clean: true };
        let mut slabs = self.slabs();
        for segment in self.segments() {
            let slab = if segment.state == SegmentState::Slab { slabs.next() } else { None };
            let is_going = slab.is_some_and(|slab| slab.live() == 0 && self.can_trim(&slab));
            sum += slab.filter(|_| !is_going).map_or(0, |slab| self.free_page_bytes(&slab));
            let is_clean = segment.state == SegmentState::CleanHole;
            let begins_span = self.spans.binary_search_by_key(&segment.start, |span| span.start);
            if run.end != segment.start || begins_span.is_ok() {
                sum += self.run_bytes(&run);
                run = Run { start: segment.start, end: segment.start, is_clean: true };
            }
            if is_going || segment.state.is_hole() {
                // A clean hole that becomes one with another is clean no more.
                run.is_clean &= is_clean && run.start == run.end;
                run.end = segment.start + segment.size;
            } else {
                sum += self.run_bytes(&run);
                let end = segment.start + segment.size;
                run = Run { start: end, end, is_clean: true };
            }
        }
        sum + self.run_bytes(&run)
    }

    /// The bytes that a trim gives back of a run that is one hole.
    fn run_bytes(&self, run: &Run) -> usize {
        let index = self.spans.partition_point(|span| span.start <= run.start);
        let span = index.checked_sub(1).and_then(|index| self.spans.get(index));
        let end = span.map_or(run.end, |span| run.end.min(span.fresh));
        if run.is_clean || end <= run.start {
            return 0;
        }
        self.whole_page_bytes(run.start, end - run.start)
    }

    /// Whether a trim sees to all of this slab: its heap is the calling thread's or nobody's.
    fn can_trim(&self, slab: &SnapshotSlab<'_>) -> bool {
        let is_idle = self
            .thread(slab.thread())
            .is_none_or(|heap| !matches!(heap.state, ThreadState::Running | ThreadState::Sleeping));
        is_idle || slab.thread() == self.taken_by
    }

    /// The bytes that a trim gives back of a slab that stays: whole pages of free slots that were handed out before,
    /// and have not gone back since; of a thread that runs those alone that others have sent home.
    fn free_page_bytes(&self, slab: &SnapshotSlab<'_>) -> usize {
        if !self.can_trim(slab) {
            return slab.sent();
        }
        let end = slab.carved().min(slab.slots());
        let (mut sum, mut behind) = (0, 0);
        for slot in slab.live_slots().take_while(|slot| *slot < end).chain([end]) {
            // What is left behind the last slot goes with it.
            let is_last = slot == slab.slots() && behind < slot;
            let past = if is_last { slab.start() + slab.size() } else { slab.place(slot).start };
            let first = slab.place(behind).start;
            sum += self.whole_page_bytes(first, past.saturating_sub(first));
            behind = slot + 1;
        }
        sum.saturating_sub(slab.given_back())
    }
}

/// A run of bytes that is one hole, or will be.
#[derive(Debug)]
struct Run {
    start: usize,
    end: usize,
    is_clean: bool,
}

impl<'snapshot> Fragmentation<'snapshot> {
    fn note_slab(&mut self, slab: SnapshotSlab<'snapshot>) {
        let (live, idle) = (slab.live(), idle_bytes(&slab));
        let slots = slab.slots() * slab.slot_bytes();
        self.tails += slab.size() - slots;
        self.cached += slab.cached() * slab.slot_bytes();
        self.free_slots += slots - (live + slab.cached()) * slab.slot_bytes();
        self.fresh_slots += (slab.slots() - slab.carved()) * slab.slot_bytes();
        let of_kind = match live {
            0 => &mut self.empty_slabs,
            _ if live <= slab.slots() / SPARSE => &mut self.sparse_slabs,
            _ => return,
        };
        of_kind.count += 1;
        of_kind.idle_bytes += idle;
        if live == 0 {
            return;
        }
        // From the first one that is not worse on, all move down by one.
        let better = self
            .worst_slabs
            .iter_mut()
            .skip_while(|place| place.as_ref().is_some_and(|other| idle_bytes(other) >= idle));
        let mut moving = Some(slab);
        better.for_each(|place| core::mem::swap(place, &mut moving));
    }
}

impl SnapshotSlab<'_> {
    /// The slots that are live, in address order. O(slots).
    pub fn live_slots(&self) -> impl Iterator<Item = usize> + '_ {
        let words = self.live_words();
        (0..self.slots()).filter(move |slot| {
            words.get(slot / WORD_SLOTS).is_some_and(|word| word >> (slot % WORD_SLOTS) & 1 == 1)
        })
    }
}
