//! The depot: what all thread heaps draw on. Slabs that come and go, and memory for records.
//!
//! Owns: the heap below, the map from addresses to slabs, and two locks: `looking`, for those who look at others'
//! slabs, and `pool`, which is taken when a slab comes or goes and when a thread does. Both come before the locks of
//! the heap below (`zones`, `chains`), which new slabs need.
//!
//! The name goes back to Bonwick and Adams (2001).
//!
//! Invariants: **I1** records (descriptors, thread heaps, places) are never unmapped, only used again: each for what it
//! was made for. While they wait they are in the pool, and their pages may go back.

use core::alloc::Layout;

use super::class::{CLASS_PLACES, Class, MAX_LARGE, SLAB_GRANULE};
use super::descriptors::Descriptors;
use super::heap_cards::HeapCard;
use super::names::HeapName;
use super::place_runs::{PlaceRun, PlaceRuns};
use super::records::Records;
use super::rounds::OthersRound;
use super::slab::Slab;
use super::slab_map::SlabMap;
use super::sync::{AtomicBool, AtomicU32, AtomicU64, Lock, Ordering};
use crate::base::fatal::debug_law;
use crate::base::os::System;
use crate::heap::{Allocation, HUGE_FROM, Heap};

/// What the process heap reserves at first, unless [`Heap::set_reservation`] says something else.
const RESERVATION: usize = 64 << 30;
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
    /// Where they come from, and those that wait.
    pub(super) records: Records,
    pub(super) descriptors: Descriptors,
    pub(super) place_runs: PlaceRuns,
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
    pub(super) made: Option<&'static HeapCard>,
    /// One whose memory waits, and behind it the others.
    pub(super) vacant: Option<&'static HeapCard>,
    /// Of those whose threads have ended, the one that retired last, and the one that did first.
    pub(super) newest_retired: Option<HeapName>,
    pub(super) oldest_retired: Option<HeapName>,
    /// The one to look at next for slabs to adopt, so that all have their turn.
    pub(super) looked_at: Option<HeapName>,
}

impl Pool {
    const fn new() -> Self {
        Self {
            records: Records::new(),
            descriptors: Descriptors::new(),
            place_runs: PlaceRuns::new(),
            failures: 0,
            heaps: HeapNames {
                count: 0,
                made: None,
                vacant: None,
                newest_retired: None,
                oldest_retired: None,
                looked_at: None,
            },
        }
    }

    /// Bytes committed for records that have no memory: they were never used, or have gone back.
    pub(crate) fn record_bytes_without_memory(&self) -> usize {
        self.records.clean_bytes()
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

    /// A new slab of `class` with `slots` slots for `owner`, and whether its bytes are all zero because they were never
    /// handed out.
    pub(super) fn new_slab(
        &self,
        owner: HeapName,
        class: Class,
        slots: usize,
    ) -> Option<(&'static Slab, bool)> {
        // Held as long as a descriptor is in hand, so that no fork comes between and loses it to the child.
        let pool = &mut *self.pool.lock();
        if !self.is_open_for(pool, class) {
            return None;
        }
        let waiting = pool.descriptors.take(class, slots, owner);
        let slab = match waiting {
            Some(slab) => slab,
            None => Descriptors::make(&mut pool.records, &self.heap, class, slots)?,
        };
        debug_law!(
            slab.start() == 0 && slab.slots() == slots,
            "a descriptor has one slab at a time"
        );
        let run = self.new_run(pool, class, slots);
        let Some(Allocation { start, is_zero }) = run else {
            pool.descriptors.put(slab);
            return None;
        };
        let start = start.addr().get();
        slab.begin(start, class, owner);
        slab.set_fresh(is_zero);
        self.map.set(start, slab.slab_bytes(), Some(slab));
        Some((slab, is_zero))
    }

    /// A run for a slab, of which the map can speak.
    fn new_run(&self, pool: &mut Pool, class: Class, slots: usize) -> Option<Allocation> {
        let (shape, slab_bytes) = (class.shape(), class.shape().slab_bytes(slots));
        let layout = Layout::from_size_align(slab_bytes, shape.slab_align).ok();
        let Some(run) = layout.and_then(|layout| self.heap.allocate_kept(layout)) else {
            if !class.is_large() {
                pool.failures = FAILURES;
            }
            return None;
        };
        let start = run.start.addr().get();
        if !self.cover(start, slab_bytes) {
            // The run lies in a chained zone, or there is no memory for the map: this request is served without a slab.
            pool.failures = FAILURES;
            self.heap.release_kept(start);
            return None;
        }
        Some(run)
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

    /// Gives the run of an empty slab back to the heap. The descriptor waits for another one, of any heap.
    pub(crate) fn end_slab(&self, slab: &'static Slab) {
        self.end_slab_locked(&mut self.pool.lock(), slab);
    }

    /// Does what [`Depot::end_slab`] does. The caller holds the lock.
    pub(super) fn end_slab_locked(&self, pool: &mut Pool, slab: &'static Slab) {
        let (start, len) = (slab.start(), slab.slab_bytes());
        self.map.set(start, len, None);
        slab.end();
        pool.descriptors.put(slab);
        pool.failures = 0;
        self.heap.release_kept(start);
    }

    /// A run of memory for places, of at least `bytes`, all zero.
    pub(super) fn take_place_run(&self, bytes: usize) -> Option<&'static PlaceRun> {
        let pool = &mut *self.pool.lock();
        pool.place_runs.take(&mut pool.records, &self.heap, bytes)
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
