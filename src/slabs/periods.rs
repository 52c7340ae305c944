//! What a thread heap looks at now and then, on slow ways: what is idle, how much is live, and whether it keeps more
//! than its [`budget`](super::budget) has for it.

use super::class::Class;
use super::thread_heap::ThreadHeap;
use crate::base::clock;
use crate::settings;

impl ThreadHeap {
    /// Does what is due: every slow way comes by here. The caller holds no lock but `shared`. Returns the bytes of the
    /// free list that went back.
    pub(crate) fn keep_house(&'static self) -> usize {
        self.keep_house_at(clock::milliseconds())
    }

    /// Does the same on a slow way of free.
    pub(super) fn keep_house_after_free(&'static self) {
        let now = clock::milliseconds();
        self.arm_after_free(now);
        self.keep_house_at(now);
    }

    fn keep_house_at(&'static self, now: u64) -> usize {
        self.flush_if_idle(now);
        self.end_period_if_due(now);
        let given_back = self.depot().heap.tick_if_due(now);
        self.give_back_if_due(now);
        self.flush_if_asked();
        self.arm_if_wanted(now);
        given_back
    }

    /// Notes what is live, if that may be more than ever in this period.
    #[inline]
    pub(super) fn note_live(&self) {
        if self.budget.wants_a_look() {
            self.budget.note_live(self.cached_bytes_of(Class::all_small()));
        }
    }

    /// Ends the period if that is due `now`, in milliseconds. The caller holds no lock but `shared`.
    pub(super) fn end_period_if_due(&'static self, now: u64) {
        if self.budget.next_period(now, settings::decay_ms()) {
            self.end_period();
        }
    }

    /// Brings magazines and empty slabs back to what may be kept.
    #[cold]
    #[inline(never)]
    fn end_period(&'static self) {
        self.note_live();
        self.shrink_magazines();
        self.end_unused_slabs();
        self.draw_waiting_anew();
    }
}
