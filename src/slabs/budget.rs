//! How much a thread heap may keep for later: a share of what was live of it lately.
//!
//! A thread that fills and empties a working set is served by its caches alone if these hold all of it; a thread that
//! has little needs little. So one bound holds for all its magazines of small slots together, and one for its empty
//! slabs, instead of one for each class. Both follow the most bytes that were live in the decay period before this one
//! or since: as that goes down, so do they.
//!
//! The fast paths count nothing. What is live is what the slabs have given away less what lies in the magazines, summed
//! up at a refill that finds that more was given away than ever in this period.

use super::class::Class;
use super::slab::Slab;
use super::sync::Cell;
use crate::base::fatal::debug_law;

/// However little was live, magazines may hold this many bytes.
const LEAST_CACHED: usize = 1 << 20;
/// However little was live, empty slabs of this many bytes are kept.
const LEAST_EMPTY: usize = 1 << 20;
/// Of empty slabs this part of what was live is kept.
const EMPTY_PART: usize = 8;
/// What is live is summed up again once this part more has been given away.
const LOOK_PART: usize = 16;

/// The bytes of slots of a class, 0 if that is large: large slots are counted where they are cached.
fn small_bytes(class: Class, count: usize) -> usize {
    if class.is_large() { 0 } else { count * class.shape().slot_bytes }
}

/// What the bounds of a heap are made of.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes of small slots that are not in the free words of its slabs: live, cached, or on their way.
    given_bytes: Cell<usize>,
    /// When more than this are given away, what is live is summed up.
    look_at: Cell<usize>,
    /// The most bytes that were live in this period, as far as was looked, and in the one before.
    peak: Cell<usize>,
    peak_before: Cell<usize>,
    /// When the period ends, in milliseconds.
    ends_at: Cell<u64>,
}

impl Budget {
    /// Of a heap that has given nothing away.
    pub(super) const fn new() -> Self {
        Self {
            given_bytes: Cell::new(0),
            look_at: Cell::new(0),
            peak: Cell::new(0),
            peak_before: Cell::new(0),
            ends_at: Cell::new(0),
        }
    }

    /// Bytes of small slots that are not in the free words of the heap's slabs.
    pub(super) fn given_bytes(&self) -> usize {
        self.given_bytes.get()
    }

    /// The most bytes that were live lately.
    fn recent_peak(&self) -> usize {
        self.peak.get().max(self.peak_before.get())
    }

    /// How many bytes of small slots all magazines together may hold.
    pub(super) fn most_cached(&self) -> usize {
        self.recent_peak().max(LEAST_CACHED)
    }

    /// How many bytes of empty slabs the heap may keep.
    pub(super) fn most_empty(&self) -> usize {
        (self.recent_peak() / EMPTY_PART).max(LEAST_EMPTY)
    }

    /// Counts slots of a class that have left the free words of an own slab.
    pub(super) fn give(&self, class: Class, count: usize) {
        self.given_bytes.update(|given| given + small_bytes(class, count));
    }

    /// Counts slots of a class that are in the free words of an own slab again.
    pub(super) fn take_back(&self, class: Class, count: usize) {
        let bytes = small_bytes(class, count);
        debug_law!(bytes <= self.given_bytes.get(), "what comes back was given away");
        self.given_bytes.update(|given| given - bytes);
    }

    /// Counts the slots of a slab that has become the heap's.
    pub(super) fn give_of(&self, slab: &Slab) {
        self.give(slab.class(), slab.given_count());
    }

    /// Counts the slots of a slab that is no longer the heap's.
    pub(super) fn take_back_of(&self, slab: &Slab) {
        self.take_back(slab.class(), slab.given_count());
    }

    /// Forgets everything: its thread is another one now, or has vanished.
    pub(super) fn begin_anew(&self, given_bytes: usize) {
        self.given_bytes.set(given_bytes);
        self.look_at.set(0);
        self.peak.set(0);
        self.peak_before.set(0);
        self.ends_at.set(0);
    }

    /// Whether more may be live than ever in this period.
    #[inline]
    pub(super) fn wants_a_look(&self) -> bool {
        self.given_bytes.get() > self.look_at.get()
    }

    /// Notes what is live, given the bytes of small slots that are cached.
    pub(super) fn note_live(&self, cached_bytes: usize) {
        let given = self.given_bytes.get();
        self.look_at.set(given + given / LOOK_PART);
        self.peak.set(self.peak.get().max(given.saturating_sub(cached_bytes)));
    }

    /// Whether a period of that many milliseconds is over `now`. Then the next one has begun.
    pub(super) fn next_period(&self, now: u64, period_ms: u64) -> bool {
        let ends_at = self.ends_at.get();
        if now < ends_at {
            return false;
        }
        self.ends_at.set(now.saturating_add(period_ms.max(1)));
        self.peak_before.set(self.peak.replace(0));
        self.look_at.set(0);
        ends_at > 0
    }
}
