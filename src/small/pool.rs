//! What all thread heaps share, behind one lock: new slabs, memory for records, and the heaps of threads that ended.
//!
//! The lock is taken when a slab comes or goes and when a thread does. It comes before the locks of the heap below
//! (`zones`, `chains`), which new slabs need.
//!
//! Invariants: **I1** records (descriptors, heaps, places) are never given back, only used again; **I2** a retired heap
//! has no thread, and whoever holds the lock may act for it.
#![allow(unsafe_code, reason = "lays out records in fresh memory")]

use core::cell::Cell;
use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::{AtomicU8, AtomicU64};

use super::class::{CLASS_PLACES, Class, MAX_LARGE, SLAB_GRANULE};
use super::magazine::Places;
use super::process::PROCESS;
use super::slab::{Slab, WORD_SLOTS};
use super::thread_heap::ThreadHeap;
use crate::base::addr;
use crate::base::round::align_up;
use crate::heap::{GivenUp, HUGE_FROM};

/// The least memory for records that is asked for at once.
const RECORD_STEP: usize = 256 << 10;
/// The least memory for places that a heap asks for at once.
const PLACES_STEP: usize = 4 << 10;
/// Requests that are refused unheard when there was no memory for a slab: each would cost a few system calls in vain,
/// and a block of the free list serves as well.
const REFUSALS: u32 = 255;
/// Retired heaps that are looked at for one without slabs.
#[cfg(feature = "std")]
const EMPTY_LOOKS: usize = 16;
/// Retired heaps that are looked at for one new slab.
const LOOKS: usize = 4;

/// What the lock guards.
#[derive(Debug)]
pub(super) struct Pool {
    /// Memory for records: next and end.
    next: usize,
    end: usize,
    heap_count: u64,
    /// The heap that was made last.
    pub(super) made: Option<&'static ThreadHeap>,
    /// All heaps whose threads have ended.
    retired: Option<&'static ThreadHeap>,
    /// The one to look at next for slabs to adopt, so that all have their turn.
    looked_at: Option<&'static ThreadHeap>,
    /// Requests for a slab that are still refused unheard, since one could not be met.
    refusals: u32,
}

impl Pool {
    pub(super) const fn new() -> Self {
        Self {
            next: 0,
            end: 0,
            heap_count: 0,
            made: None,
            retired: None,
            looked_at: None,
            refusals: 0,
        }
    }

    /// Zero bytes for a record, never given back.
    fn record(&mut self, len: usize, align: usize) -> Option<NonNull<u8>> {
        let fits = |next: usize, end: usize| {
            let start = align_up(next, align)?;
            (start != 0 && start.checked_add(len)? <= end).then_some(start)
        };
        let start = match fits(self.next, self.end) {
            Some(start) => start,
            None => {
                let (start, end) = PROCESS.heap.commit_records(len.max(RECORD_STEP) + align)?;
                if start != self.end {
                    self.next = start;
                }
                self.end = end;
                fits(self.next, self.end)?
            }
        };
        self.next = start + len;
        addr::pointer(start)
    }

    /// A record of `count` places, all zero.
    fn records<T>(&mut self, count: usize, align: usize) -> Option<&'static [T]> {
        let start = self.record(count * size_of::<T>(), align.max(align_of::<T>()))?;
        // SAFETY: the memory is fresh, zero, aligned, and never given back (I1); the callers' types are valid when zero.
        Some(unsafe { slice::from_raw_parts(start.as_ptr().cast(), count) })
    }

    /// A record that is written now and stays.
    fn place<T>(&mut self, value: T) -> Option<&'static T> {
        let start = self.record(size_of::<T>(), align_of::<T>())?.cast::<T>();
        // SAFETY: the memory is fresh, aligned, and nobody else's.
        unsafe { start.write(value) };
        // SAFETY: it was just initialised and is never given back (I1).
        Some(unsafe { start.as_ref() })
    }

    /// Takes a heap without a thread.
    pub(super) fn retire(&mut self, heap: &'static ThreadHeap) {
        heap.is_retired.set(true);
        heap.next_retired.set(self.retired.replace(heap));
    }

    /// Makes the owner table speak of a run, if it can.
    fn cover(&mut self, start: usize, len: usize) -> bool {
        // A chained zone may lie where the first one gave its tail up, far behind everything the table speaks of so far.
        let is_in_first_zone = PROCESS.heap.block_range().is_some_and(|(first, zone_len)| {
            let offset = start.wrapping_sub(first);
            offset < zone_len && len <= zone_len - offset
        });
        is_in_first_zone && PROCESS.owners.cover(start, len).is_ok()
    }

    /// A new heap.
    fn make_heap(&mut self) -> Option<&'static ThreadHeap> {
        // Number 0 is nobody's, so a key of zero bytes is no slab's.
        let number = self.heap_count + 1;
        let made_before = self.made;
        let heap = self.place(ThreadHeap::new(number, made_before))?;
        self.heap_count = number;
        self.made = Some(heap);
        Some(heap)
    }

    fn new_descriptor(&mut self, class: Class, slots: usize) -> Option<&'static Slab> {
        let words = slots.div_ceil(WORD_SLOTS);
        // Words that others write do not share a cache line with those that only the owner does.
        let states = self.records::<AtomicU8>((slots + 1).next_multiple_of(64), 64)?;
        let free = self.records::<AtomicU64>(words, 64)?;
        let remote = self.records::<AtomicU64>(words, 64)?;
        self.place(Slab::new(class, states.get(..=slots)?, free, remote))
    }
}

/// Places for `count` entries, from a heap's own space.
pub(super) fn places(space: &Cell<(usize, usize)>, count: usize) -> Option<Places> {
    let bytes = count * size_of::<super::magazine::Entry>();
    let (next, end) = space.get();
    if bytes > end - next {
        let len = bytes.max(PLACES_STEP);
        let start = PROCESS.pool.lock().record(len, 64)?.addr().get();
        space.set((start, start + len));
    }
    let (next, end) = space.get();
    space.set((next + bytes, end));
    let start = addr::pointer(next)?;
    // SAFETY: the memory is fresh and zero, which is valid for entries, aligned to 64, and stays (I1).
    Some(unsafe { slice::from_raw_parts(start.as_ptr().cast(), count) })
}

/// A new slab of `class` for `owner`, and whether its bytes are all zero because they were never handed out.
pub(super) fn new_slab(owner: &'static ThreadHeap, class: Class) -> Option<(&'static Slab, bool)> {
    let mut pool = PROCESS.pool.lock();
    if !PROCESS.owners.has_begun() {
        let (start, len) = PROCESS.heap.block_range()?;
        PROCESS.owners.begin(start, len).ok()?;
    }
    if pool.refusals > 0 {
        pool.refusals -= 1;
        return None;
    }
    if class.is_large() && PROCESS.heap.has_limit() {
        // What a large slot leaves unused costs nothing but addresses, and where these are counted that is too much.
        return None;
    }
    let (shape, slots) = (class.shape(), owner.wanted_slots(class));
    let slab = owner.take_waiting(class, slots).or_else(|| pool.new_descriptor(class, slots))?;
    let slab_bytes = shape.slab_bytes(slots);
    let Some(run) = PROCESS.heap.allocate_kept(slab_bytes, shape.slab_align) else {
        owner.put_back_waiting(slab);
        if !class.is_large() {
            pool.refusals = REFUSALS;
        }
        return None;
    };
    let start = run.start.addr().get();
    if !pool.cover(start, slab_bytes) {
        // The run lies in a chained zone, or there is no memory for the table: this request is served without a slab.
        pool.refusals = REFUSALS;
        PROCESS.heap.release_kept(start);
        owner.put_back_waiting(slab);
        return None;
    }
    slab.begin(start, class, owner);
    PROCESS.owners.set(start, slab_bytes, Some(slab));
    Some((slab, run.is_zero))
}

/// Makes the one slot of a slab, which is live, one of another class without moving it. `false` where there is no room.
pub(super) fn resize_slab(slab: &'static Slab, class: Class) -> bool {
    let given_up = resize_slab_locked(&mut PROCESS.pool.lock(), slab, class);
    let is_done = given_up.is_some();
    given_up.into_iter().for_each(|given_up| PROCESS.heap.give_back(given_up));
    is_done
}

fn resize_slab_locked(pool: &mut Pool, slab: &'static Slab, class: Class) -> Option<GivenUp> {
    let (start, old, new) = (slab.start(), slab.slab_bytes(), class.shape().slab_bytes(1));
    if new > old && !pool.cover(start, new) {
        return None;
    }
    // Whoever is handed out what a smaller slab leaves must not find the slab there any more.
    if new < old {
        PROCESS.owners.set(start + new, old - new, None);
    }
    let Some(given_up) = PROCESS.heap.resize_kept(start, old, new) else {
        PROCESS.owners.set(start, old, Some(slab));
        return None;
    };
    slab.change_class(class);
    PROCESS.owners.set(start, new, Some(slab));
    Some(given_up)
}

/// Gives the run of an empty slab back to the heap. The descriptor stays with its owner.
pub(super) fn end_slab(slab: &'static Slab) {
    end_slab_locked(&mut PROCESS.pool.lock(), slab);
}

fn end_slab_locked(pool: &mut Pool, slab: &'static Slab) {
    let (start, len) = (slab.start(), slab.slab_bytes());
    PROCESS.owners.set(start, len, None);
    slab.end();
    pool.refusals = 0;
    PROCESS.heap.release_kept(start);
}

/// A heap for a thread: that of one that ended, or a new one.
pub(super) fn acquire_heap() -> Option<&'static ThreadHeap> {
    let mut pool = PROCESS.pool.lock();
    if let Some(heap) = pool.retired {
        pool.retired = heap.next_retired.take();
        heap.is_retired.set(false);
        return Some(heap);
    }
    pool.make_heap()
}

/// A heap without slabs: the first of a few whose threads have ended that has none, else a new one.
#[cfg(feature = "std")]
pub(super) fn acquire_empty_heap() -> Option<&'static ThreadHeap> {
    let mut pool = PROCESS.pool.lock();
    let (mut before, mut next) = (None::<&ThreadHeap>, pool.retired);
    for _ in 0..EMPTY_LOOKS {
        let Some(heap) = next else { break };
        heap.drain();
        heap.end_empty_slabs(|slab| end_slab_locked(&mut pool, slab));
        if !PROCESS.owners.all().any(|slab| slab.owner().is_some_and(|owner| owner.is(heap))) {
            let behind = heap.next_retired.take();
            match before {
                Some(before) => before.next_retired.set(behind),
                None => pool.retired = behind,
            }
            heap.is_retired.set(false);
            return Some(heap);
        }
        (before, next) = (next, heap.next_retired.get());
    }
    pool.make_heap()
}

/// All heaps whose threads have ended, the caller's until it gives each to [`retire_heap`].
pub(super) fn take_retired() -> Option<&'static ThreadHeap> {
    let mut pool = PROCESS.pool.lock();
    let first = pool.retired.take();
    core::iter::successors(first, |heap| heap.next_retired.get())
        .for_each(|heap| heap.is_retired.set(false));
    first
}

/// Takes the heap of a thread that ended, its caches flushed.
pub(super) fn retire_heap(heap: &'static ThreadHeap) {
    PROCESS.pool.lock().retire(heap);
}

/// Ends the empty slabs of all heaps whose threads have ended.
pub(super) fn tidy_retired() {
    let mut pool = PROCESS.pool.lock();
    let mut next = pool.retired;
    while let Some(heap) = next {
        heap.drain();
        heap.end_empty_slabs(|slab| end_slab_locked(&mut pool, slab));
        next = heap.next_retired.get();
    }
}

/// Adopts a slab with free slots from a heap whose thread has ended.
pub(super) fn adopt(owner: &'static ThreadHeap, class: Class) -> Option<&'static Slab> {
    if owner.measuring.is_on() {
        return None;
    }
    let mut pool = PROCESS.pool.lock();
    // Heaps come and go at the front of the list, so one that is retired no more has nobody in front of it.
    let mut next = pool.looked_at.filter(|heap| heap.is_retired.get()).or(pool.retired);
    let mut adopted = None;
    for _ in 0..LOOKS {
        let Some(heap) = next else { break };
        if heap.drain() {
            heap.end_empty_slabs(|slab| end_slab_locked(&mut pool, slab));
        }
        adopted = heap.give_slab(class);
        if adopted.is_some() {
            break;
        }
        next = heap.next_retired.get();
    }
    pool.looked_at = next;
    let slab = adopted?;
    slab.give_to(owner);
    Some(slab)
}

const _: () = {
    assert!(CLASS_PLACES <= 256 && SLAB_GRANULE.is_power_of_two());
    assert!(MAX_LARGE < HUGE_FROM, "slabs lie in the first zone");
};
