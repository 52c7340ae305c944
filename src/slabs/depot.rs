//! The depot: what all thread heaps draw on. Slabs that come and go, and memory for records.
//!
//! Owns: the heap below, the map from addresses to slabs, and two locks: `looking`, for those who look at others'
//! slabs, and `pool`, which is taken when a slab comes or goes and when a thread does. Both come before the locks of
//! the heap below (`zones`, `chains`), which new slabs need.
//!
//! The name goes back to Bonwick and Adams (2001).
//!
//! Invariants: **I1** records (descriptors, thread heaps, places) are never given back, only used again.
#![allow(unsafe_code, reason = "lays out records in fresh memory")]

use core::alloc::Layout;
use core::ptr::NonNull;
use core::slice;

use super::class::{CLASS_PLACES, Class, MAX_LARGE, SLAB_GRANULE};
use super::names::HeapName;
use super::rounds::OthersRound;
use super::slab::pages::page_words;
use super::slab::{Slab, WORD_SLOTS};
use super::slab_map::SlabMap;
use super::sync::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Cell, Lock, Ordering};
use crate::base::addr;
use crate::base::array::Zeroable;
use crate::base::bump::Bump;
use crate::base::fatal::debug_law;
use crate::base::os::System;
use crate::heap::{HUGE_FROM, Heap};

/// What the process heap reserves at first, unless [`Heap::set_reservation`] says something else.
const RESERVATION: usize = 64 << 30;
/// The least memory for records that is asked for at once.
const RECORD_STEP: usize = 256 << 10;
/// The least memory for places that a thread heap asks for at once.
const PLACES_STEP: usize = 4 << 10;
/// Requests for a slab that fail without a try after one for which there was no memory: each would cost a few system
/// calls in vain, and a block of the free list serves as well.
const FAILURES: u32 = 255;

/// The depot of the process heap. A debugger finds everything from here. The fast paths name it; a thread heap knows
/// its own.
#[used]
pub(crate) static DEPOT: Depot = Depot::new(RESERVATION);

/// What all thread heaps draw on.
#[derive(Debug)]
pub(crate) struct Depot {
    pub(crate) heap: Heap<System>,
    pub(crate) map: SlabMap,
    pub(crate) pool: Lock<Pool>,
    /// How often all threads were asked to send their caches home.
    pub(super) flushes: AtomicU32,
    /// How far it was looked for pages to give back in slabs that need not be the calling thread's.
    pub(crate) looking: Lock<OthersRound>,
    /// When that goes on, in milliseconds.
    pub(super) look_at: AtomicU64,
    /// Whether there are such pages that wait.
    pub(super) others_wait: AtomicBool,
}

/// What the lock guards. It is written when slabs come and go, so it shares no cache line with what every refill reads:
/// where it did, the rows of 4 to 16 threads that churn took 3 to 5% longer (Zen 4).
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Pool {
    /// Memory for records that is not used yet.
    records: Bump,
    /// Requests for a slab that still fail without a try.
    failures: u32,
    pub(super) heaps: HeapNames,
}

/// The thread heaps, by name. What the lists are for: see [`retired`](super::retired).
#[derive(Debug)]
pub(super) struct HeapNames {
    /// How many were made.
    pub(super) count: u64,
    /// The one that was made last.
    pub(super) made: Option<HeapName>,
    /// Of those whose threads have ended, the one that retired last, and the one that did first.
    pub(super) newest_retired: Option<HeapName>,
    pub(super) oldest_retired: Option<HeapName>,
    /// The one to look at next for slabs to adopt, so that all have their turn.
    pub(super) looked_at: Option<HeapName>,
}

impl Pool {
    const fn new() -> Self {
        Self {
            records: Bump::EMPTY,
            failures: 0,
            heaps: HeapNames {
                count: 0,
                made: None,
                newest_retired: None,
                oldest_retired: None,
                looked_at: None,
            },
        }
    }

    /// Zero bytes for a record, never given back.
    pub(super) fn record(
        &mut self,
        heap: &Heap<System>,
        len: usize,
        align: usize,
    ) -> Option<NonNull<u8>> {
        let start = match self.records.take(len, align) {
            Some(start) => start,
            None => {
                self.records.add(&heap.commit_records(len.max(RECORD_STEP) + align)?);
                self.records.take(len, align)?
            }
        };
        addr::pointer(start.get())
    }

    /// A record of `count` items, all zero.
    fn zeroed<T: Zeroable>(
        &mut self,
        heap: &Heap<System>,
        count: usize,
        align: usize,
    ) -> Option<&'static [T]> {
        let align = align.max(align_of::<T>());
        let start = self.record(heap, count * size_of::<T>(), align)?;
        // SAFETY: the memory is fresh, zero, which is a value of `T`, aligned, and never given back (I1).
        Some(unsafe { slice::from_raw_parts(start.as_ptr().cast(), count) })
    }

    /// A descriptor for slabs of `class` with `slots` slots.
    fn new_descriptor(
        &mut self,
        heap: &Heap<System>,
        class: Class,
        slots: usize,
    ) -> Option<&'static Slab> {
        let words = slots.div_ceil(WORD_SLOTS);
        // Words that others write do not share a cache line with those that only the owner does.
        let states = self.zeroed::<AtomicU8>(heap, (slots + 1).next_multiple_of(64), 64)?;
        let free = self.zeroed::<AtomicU64>(heap, words, 64)?;
        let remote = self.zeroed::<AtomicU64>(heap, words, 64)?;
        let pages = page_words(slots, class.shape().slab_bytes(slots));
        let seen = self.zeroed::<AtomicU64>(heap, pages, 8)?;
        let clean = self.zeroed::<AtomicU64>(heap, pages, 8)?;
        let start = self.record(heap, size_of::<Slab>(), align_of::<Slab>())?.cast();
        let slab = Slab::new(class, states.get(..=slots)?, [free, remote], [seen, clean]);
        // SAFETY: the memory is fresh, aligned, and nobody else's.
        unsafe { start.write(slab) };
        // SAFETY: it was just initialised and is never given back (I1).
        Some(unsafe { start.as_ref() })
    }
}

impl Depot {
    /// An empty depot, which reserves `reservation` bytes of addresses at its first use.
    pub(super) const fn new(reservation: usize) -> Self {
        Self {
            heap: Heap::with_os(System, reservation),
            map: SlabMap::new(),
            pool: Lock::new(Pool::new()),
            flushes: AtomicU32::new(0),
            looking: Lock::new(OthersRound::new()),
            look_at: AtomicU64::new(0),
            others_wait: AtomicBool::new(false),
        }
    }

    /// `count` places for slots, all zero, from a thread heap's own `space`.
    pub(super) fn places<P: Zeroable>(
        &self,
        space: &Cell<Bump>,
        count: usize,
    ) -> Option<&'static [P]> {
        let (bytes, align) = (count * size_of::<P>(), align_of::<P>());
        let mut left = space.get();
        let start = match left.take(bytes, align) {
            Some(start) => start,
            None => {
                let len = bytes.max(PLACES_STEP);
                let start = self.pool.lock().record(&self.heap, len, 64)?.addr().get();
                left = Bump::of(&(start..start + len));
                left.take(bytes, align)?
            }
        };
        space.set(left);
        let start = addr::pointer(start.get())?;
        // SAFETY: the memory is fresh and zero, which is a value of `P`, aligned, and stays (I1).
        Some(unsafe { slice::from_raw_parts(start.as_ptr().cast(), count) })
    }

    /// A new slab of `class` with `slots` slots for `owner`, and whether its bytes are all zero because they were never
    /// handed out. `waiting` becomes its descriptor; where there is none, one is made. On failure the descriptor is
    /// the caller's again. The caller holds the lock.
    pub(super) fn new_slab(
        &self,
        pool: &mut Pool,
        owner: HeapName,
        class: Class,
        slots: usize,
        waiting: Option<&'static Slab>,
    ) -> Result<(&'static Slab, bool), Option<&'static Slab>> {
        if !self.is_open_for(pool, class) {
            return Err(waiting);
        }
        let descriptor = waiting.or_else(|| pool.new_descriptor(&self.heap, class, slots));
        let slab = descriptor.ok_or(None)?;
        debug_law!(
            slab.start() == 0 && slab.slots() == slots,
            "a descriptor has one slab at a time"
        );
        let (shape, slab_bytes) = (class.shape(), class.shape().slab_bytes(slots));
        let layout = Layout::from_size_align(slab_bytes, shape.slab_align).ok();
        let Some(run) = layout.and_then(|layout| self.heap.allocate_kept(layout)) else {
            if !class.is_large() {
                pool.failures = FAILURES;
            }
            return Err(Some(slab));
        };
        let start = run.start.addr().get();
        if !self.cover(start, slab_bytes) {
            // The run lies in a chained zone, or there is no memory for the map: this request is served without a slab.
            pool.failures = FAILURES;
            self.heap.release_kept(start);
            return Err(Some(slab));
        }
        slab.begin(start, class, owner);
        self.map.set(start, slab_bytes, Some(slab));
        Ok((slab, run.is_zero))
    }

    /// Whether it is worth a try to make a slab of a class.
    fn is_open_for(&self, pool: &mut Pool, class: Class) -> bool {
        if !self.map.has_begun() {
            let Some((start, len)) = self.heap.block_range() else { return false };
            if self.map.begin(start, len, self.heap.spread()).is_err() {
                return false;
            }
        }
        if pool.failures > 0 {
            pool.failures -= 1;
            return false;
        }
        // What a large slot leaves unused costs nothing but addresses, and where these are counted that is too much.
        !(class.is_large() && self.heap.has_limit())
    }

    /// Makes the map speak of a run, if it can.
    fn cover(&self, start: usize, len: usize) -> bool {
        // A chained zone may lie where the first one gave its tail up, far behind everything the map speaks of so far.
        let is_in_first_zone = self.heap.block_range().is_some_and(|(first, zone_len)| {
            let offset = start.wrapping_sub(first);
            offset < zone_len && len <= zone_len - offset
        });
        is_in_first_zone && self.map.cover(start, len).is_ok()
    }

    /// Makes the one slot of a slab, which is live, one of another class without moving it. `false` where there is no
    /// room.
    pub(crate) fn resize_slab(&self, slab: &'static Slab, class: Class) -> bool {
        let _pool = self.pool.lock();
        debug_law!(
            slab.slots() == 1 && class.is_large(),
            "only a slab of one slot changes its class"
        );
        let (start, old, new) = (slab.start(), slab.slab_bytes(), class.shape().slab_bytes(1));
        if new > old && !self.cover(start, new) {
            return false;
        }
        // Another slab that is made of what a smaller one leaves must not find that one there any more.
        if new < old {
            self.map.set(start + new, old - new, None);
        }
        let is_done = self.heap.resize_kept(start, new);
        if is_done {
            slab.change_class(class);
        }
        self.map.set(start, if is_done { new } else { old }, Some(slab));
        is_done
    }

    /// Gives the run of an empty slab back to the heap. The descriptor stays with its owner.
    pub(crate) fn end_slab(&self, slab: &'static Slab) {
        self.end_slab_locked(&mut self.pool.lock(), slab);
    }

    /// Does what [`Depot::end_slab`] does. The caller holds the lock.
    pub(super) fn end_slab_locked(&self, pool: &mut Pool, slab: &'static Slab) {
        let (start, len) = (slab.start(), slab.slab_bytes());
        self.map.set(start, len, None);
        slab.end();
        pool.failures = 0;
        self.heap.release_kept(start);
    }

    /// Asks all threads to send their caches home; each does at its next slow step.
    pub(crate) fn ask_for_flush(&self) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
    }
}

const _: () = {
    assert!(CLASS_PLACES <= 256 && SLAB_GRANULE.is_power_of_two());
    assert!(MAX_LARGE < HUGE_FROM, "slabs lie in the first zone");
};
