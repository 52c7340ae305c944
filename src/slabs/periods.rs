//! What a thread heap looks at now and then, on slow ways: how much is live, and whether it keeps more than its
//! [`budget`](super::budget) has for it.

use super::class::Class;
use super::thread_heap::ThreadHeap;
use crate::settings;

impl ThreadHeap {
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
    }
}
