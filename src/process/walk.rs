//! Looking into the process heap: the free list's segments, and in place of each slab its slots.
//!
//! What a walk guarantees while other threads run: a block that is live during the whole walk is seen exactly once; one
//! that comes or goes meanwhile may be seen or not.

use core::sync::atomic::Ordering;

use super::plain::ProcessHeap;
use super::thread;
use crate::base::law::{BrokenLaw, law};
use crate::base::os::System;
use crate::chain::segment::SegmentKind;
use crate::heap::{Block, Found, Heap, HeapSegment, HeapSegments, HeapStats};
use crate::slabs::depot::DEPOT;
use crate::slabs::slab::Slab;
use crate::slabs::thread_heap::ThreadHeap;

/// How often a check looks at what seems to be broken while other threads run.
const CHECK_TRIES: usize = 4;

/// The segments of the process heap in address order: blocks, and holes between them. Slots of a slab that are not
/// handed out and lie side by side are one hole.
#[derive(Debug)]
pub struct ProcessSegments {
    inner: HeapSegments<'static>,
    slab: Option<SlabWalk>,
    /// Where the last one that was shown ended.
    next: usize,
}

/// A slab whose slots are being walked.
#[derive(Debug)]
struct SlabWalk {
    slab: &'static Slab,
    start: usize,
    index: usize,
}

impl SlabWalk {
    /// The next block or run of free slots. Nothing more once the slab has ended.
    fn next(&mut self) -> Option<HeapSegment> {
        let (shape, slots) = (self.slab.shape(), self.slab.slots());
        if self.index >= slots || self.slab.start() != self.start {
            return None;
        }
        let first = self.index;
        let start = self.start + first * shape.slot_bytes;
        if self.slab.is_live(first) {
            self.index += 1;
            return Some(HeapSegment { start, size: shape.slot_bytes, kind: SegmentKind::Block });
        }
        while self.index < slots && !self.slab.is_live(self.index) {
            self.index += 1;
        }
        let end = if self.index == slots {
            self.slab.slab_bytes()
        } else {
            self.index * shape.slot_bytes
        };
        Some(HeapSegment { start, size: self.start + end - start, kind: SegmentKind::Hole })
    }
}

impl Iterator for ProcessSegments {
    type Item = HeapSegment;

    fn next(&mut self) -> Option<HeapSegment> {
        loop {
            // A slab may have become larger since the free list's segments were copied, or another one.
            if let Some(shown) = self.next_unlimited()?.shown_from(self.next) {
                self.next = shown.start + shown.size;
                return Some(shown);
            }
        }
    }
}

impl ProcessSegments {
    /// The next segment as it is now, which may reach back behind what was shown.
    fn next_unlimited(&mut self) -> Option<HeapSegment> {
        loop {
            if let Some(segment) = self.slab.as_mut().and_then(SlabWalk::next) {
                return Some(segment);
            }
            self.slab = None;
            let segment = self.inner.next()?;
            match slab_of(&segment) {
                Some(slab) => {
                    self.slab = Some(SlabWalk { slab, start: segment.start, index: 0 });
                }
                None => return Some(segment),
            }
        }
    }
}

/// The slab that a segment of the free list is.
fn slab_of(segment: &HeapSegment) -> Option<&'static Slab> {
    let slab = DEPOT.map.find(segment.start)?;
    (segment.kind == SegmentKind::Block && slab.start() == segment.start).then_some(slab)
}

/// The live blocks of the process heap, in address order.
#[derive(Debug)]
pub struct ProcessBlocks(ProcessSegments);

impl Iterator for ProcessBlocks {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        let block = self.0.find(|segment| segment.kind == SegmentKind::Block)?;
        Some(Block { start: block.start, size: block.size })
    }
}

/// Whose a thread heap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThreadState {
    /// A running thread's.
    Running,
    /// Its thread has ended: other threads adopt its slabs, and the next thread that starts takes it over.
    Ended,
    /// The one that all threads share which have no thread-local storage any more.
    Shared,
    /// That of a thread which had not come by for longer than the decay time when another one looked, nor since.
    Sleeping,
}

impl ThreadState {
    /// All states, in the order of the numbers that files have for them.
    pub(crate) const ALL: [Self; 4] = [Self::Running, Self::Ended, Self::Shared, Self::Sleeping];

    /// Its word in text.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::Ended => "ended",
            Self::Shared => "shared",
        }
    }
}

/// Whose a thread heap is that is not shared.
fn state_of(heap: &ThreadHeap) -> ThreadState {
    if heap.is_retired() {
        ThreadState::Ended
    } else if heap.is_asleep() && !heap.is(thread::current()) {
        ThreadState::Sleeping
    } else {
        ThreadState::Running
    }
}

/// The number of the thread heap that a slab belongs to; 0 if it never belonged to any.
pub(crate) fn owner_number(slab: &Slab) -> u64 {
    slab.owner().map_or(0, |owner| ThreadHeap::named(owner).number)
}

/// What a slab holds, for a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlabSums {
    pub(crate) live: usize,
    pub(crate) slots: usize,
    pub(crate) slot_bytes: usize,
}

/// The sums of the slab that a segment of the free list is, if it is one.
pub(crate) fn slab_sums(segment: &HeapSegment) -> Option<SlabSums> {
    let slab = slab_of(segment)?;
    let shape = slab.shape();
    Some(SlabSums { live: slab.live_count(), slots: slab.slots(), slot_bytes: shape.slot_bytes })
}

impl ProcessHeap {
    /// The free list below the slabs.
    pub(crate) fn free_list(&self) -> &'static Heap<System> {
        &DEPOT.heap
    }

    /// The segments, in address order.
    pub(crate) fn segments(&'static self) -> ProcessSegments {
        ProcessSegments { inner: DEPOT.heap.segments(), slab: None, next: 0 }
    }

    /// The live blocks, in address order.
    pub(crate) fn blocks(&'static self) -> ProcessBlocks {
        ProcessBlocks(self.segments())
    }

    /// The block or hole that has `address`.
    pub(crate) fn find(&self, address: usize) -> Option<Found> {
        let Some(slab) = DEPOT.map.find(address).filter(|slab| slab.start() != 0) else {
            return DEPOT.heap.find_address(address);
        };
        let shape = slab.shape();
        Some(match slab.slot_with(address) {
            Some((index, _)) => {
                let (start, size) = (slab.slot_start(index), shape.slot_bytes);
                if slab.is_live(index) {
                    Found::Block(Block { start, size })
                } else {
                    Found::Hole(HeapSegment { start, size, kind: SegmentKind::Hole })
                }
            }
            None => {
                let tail = slab.slots() * shape.slot_bytes;
                Found::Hole(HeapSegment {
                    start: slab.start() + tail,
                    size: slab.slab_bytes() - tail,
                    kind: SegmentKind::Hole,
                })
            }
        })
    }

    /// The number of the calling thread's heap, from 1 on in the order in which heaps were made; 0 if it has none.
    pub(crate) fn current_heap_number(&self) -> u64 {
        thread::current().number
    }

    /// All thread heaps of which something is left, the one that was made last first: number, thread id, state.
    pub(crate) fn thread_heaps(&self) -> impl Iterator<Item = (u64, u32, ThreadState)> {
        let shared = *self.shared.lock();
        let made = DEPOT.pool.lock().all_cards();
        made.filter_map(move |card| {
            // Under this lock threads take their heaps and leave them.
            let pool = DEPOT.pool.lock();
            let heap = pool.heap_of(card)?;
            let is_shared = shared.is_some_and(|shared| shared.is(heap));
            let state = if is_shared { ThreadState::Shared } else { state_of(heap) };
            Some((heap.number, heap.thread_id.load(Ordering::Relaxed), state))
        })
    }

    /// The sums. O(slots), a byte each.
    pub(crate) fn stats(&self) -> HeapStats {
        let mut stats = {
            // Under this lock no slab begins, ends or changes its class, so what the list has of them is all of it.
            let pool = DEPOT.pool.lock();
            let mut stats = DEPOT.heap.stats();
            let clean = pool.record_bytes_without_memory();
            stats.metadata -= clean;
            stats.resident -= clean;
            stats.clean += clean;
            for slab in DEPOT.map.all() {
                stats.slabs += usize::from(!slab.class().is_large());
                stats.blocks -= 1;
                stats.allocated -= slab.slab_bytes();
            }
            stats
        };
        stats.metadata += DEPOT.map.mapped_bytes();
        stats.resident += DEPOT.map.mapped_bytes();
        stats.mapped += DEPOT.map.mapped_bytes();
        let mut clean_in_slabs = 0;
        for slab in DEPOT.map.all() {
            let (shape, live) = (slab.shape(), slab.live_count());
            let [live_bytes, cached_bytes] =
                [live, slab.cached_count(live)].map(|slots| slots * shape.slot_bytes);
            let free = shape.slab_bytes(slab.slots()) - live_bytes;
            let home = free.saturating_sub(cached_bytes);
            let clean = slab.clean_bytes().min(home);
            stats.blocks += live;
            stats.allocated += live_bytes;
            stats.free += free;
            stats.cached += cached_bytes;
            clean_in_slabs += clean;
            let state = slab.owner().map(|owner| state_of(ThreadHeap::named(owner)));
            *match state.unwrap_or(ThreadState::Ended) {
                ThreadState::Running | ThreadState::Shared => &mut stats.free_running,
                ThreadState::Sleeping => &mut stats.free_sleeping,
                ThreadState::Ended => &mut stats.free_ended,
            } += home - clean;
        }
        stats.clean += clean_in_slabs;
        // Slabs may have come since their spans were counted.
        stats.resident = stats.resident.saturating_sub(clean_in_slabs);
        stats
    }

    /// Checks the laws of the free list, of all slabs, and of the thread heaps that nobody uses meanwhile: the calling
    /// thread's, the shared one, and those of threads that ended. O(n).
    pub(crate) fn check(&self) -> Result<(), BrokenLaw> {
        let shared = self.shared.lock();
        // Under this lock no slab begins, ends or changes its class.
        let pool = DEPOT.pool.lock();
        DEPOT.heap.check()?;
        pool.check()?;
        for slab in DEPOT.map.all() {
            check_slab(slab)?;
        }
        let own = core::iter::successors(Some(thread::current()), |heap| heap.outer.get());
        let own = own.flat_map(|heap| core::iter::once(heap).chain(heap.inner()));
        let mut alone =
            own.chain(*shared).chain(pool.all_retired()).filter(|heap| !heap.is_nobody());
        alone.try_for_each(ThreadHeap::check)
    }
}

/// Checks a slab's laws, while anybody uses it.
fn check_slab(slab: &Slab) -> Result<(), BrokenLaw> {
    let (start, shape, slots) = (slab.start(), slab.shape(), slab.slots());
    let run = DEPOT.heap.find_address(start);
    let is_block = run == Some(Found::Block(Block { start, size: slab.slab_bytes() }));
    law(is_block, "a slab is a block of the free list", start)?;
    for index in 0..slots {
        // A slot may be handed out and come home between two looks: only what stays so is broken.
        let is_both = (0..CHECK_TRIES).all(|_| {
            slab.is_in_free_words(index) && slab.is_live(index) && slab.is_in_free_words(index)
        });
        law(!is_both, "a slot is live or free", start + index * shape.slot_bytes)?;
    }
    law(!slab.is_live(slots), "the place behind the last slot is never live", start)
}
