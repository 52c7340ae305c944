//! Armed magazines: how a thread that its caches alone serve comes by now and then, while idle bytes wait.
//!
//! A pair of malloc and free leaves no trace that a fast path could count. So a slow way that leaves something to wait
//! *arms* the magazines: each malloc takes the slow way then, looks at the clock and does what is due. In each of a few
//! parts of the decay time that is so for [`OPERATIONS`] calls at the most, and after a burst of frees for
//! [`AFTER_FREE`] at the least. A thread that makes fewer comes by whenever it calls. One that makes more comes by when
//! it misses a slot, or when another thread has armed its magazines: one that looks at what is
//! [others'](super::give_back) does that, once in a decay time.

use super::class::Class;
use super::sync::Ordering;
use super::thread_heap::ThreadHeap;
use crate::settings;

/// Calls that find their magazine armed in a part of the decay time: some ten microseconds.
const OPERATIONS: u32 = 1000;
/// Calls that find it armed after a slow way of free, once in a millisecond: what waits was just freed as a rule, and
/// the last thing that a thread does before it has little to do.
const AFTER_FREE: u32 = 50;
/// Into how many parts a decay time is divided.
const PARTS: u64 = 4;

impl ThreadHeap {
    /// Whether something waits to be given back, now or later, that this thread could give back.
    pub(crate) fn has_waiting(&self) -> bool {
        self.round.waits()
            || self.depot().others_wait.load(Ordering::Relaxed)
            || self.depot().heap.has_waiting()
    }

    /// Lets the next calls come by, once in a millisecond.
    pub(super) fn arm_after_free(&self, now: u64) {
        if self.freed_at.replace(now) != now {
            self.armed_left.set(self.armed_left.get().max(AFTER_FREE));
        }
    }

    /// Arms the magazines if something waits `now`, in milliseconds, and disarms them if not.
    pub(super) fn arm_if_wanted(&self, now: u64) {
        if now >= self.part_ends_at.get() {
            self.part_ends_at.set(now.saturating_add((settings::decay_ms() / PARTS).max(1)));
            self.armed_left.set(OPERATIONS);
        }
        let (waits, may_be) = (self.has_waiting(), self.armed_left.get() > 0);
        self.wants_arming.store(waits && !may_be, Ordering::Relaxed);
        self.arm(waits && may_be);
    }

    /// Counts a call that has found its magazine armed, by this thread or by another one.
    pub(super) fn count_armed(&self) {
        self.is_armed.set(true);
        self.armed_left.update(|left| left.saturating_sub(1));
    }

    fn arm(&self, on: bool) {
        if self.is_armed.replace(on) != on {
            for class in Class::all() {
                if on { self.magazine(class).arm() } else { self.stack(class).disarm() }
            }
        }
    }

    /// Arms the magazines, so that the heap's thread comes by with its next malloc. Any thread may ask.
    #[cfg(feature = "profile")]
    pub(crate) fn ask_to_come_by(&self) {
        Class::all().for_each(|class| self.magazine(class).arm());
    }

    /// Arms the magazines of a heap whose thread does not come by. Any thread may ask.
    pub(super) fn arm_if_it_waits(&self) {
        if self.wants_arming.load(Ordering::Relaxed) {
            Class::all().for_each(|class| self.magazine(class).arm());
        }
    }
}
