//! The locks of the profile: who may wait for them, and that all of them are open in the child of a fork.

use super::profiler::Profiler;

impl Profiler {
    /// Asks the loader something under its own lock, so that no fork comes in between. None where a signal handler has
    /// interrupted its thread in the middle of that.
    #[cfg(feature = "report")]
    pub(crate) fn with_loader<R>(&self, ask: impl FnOnce() -> R) -> Option<R> {
        let _guard = self.loader.lock_unless_mine()?;
        Some(ask())
    }

    /// Waits until nobody asks the loader any more, and takes the lock for that for the time of a fork: before all
    /// others, since the loader's lock may be held by who waits for the heap.
    pub(crate) fn hold_loader_for_fork(&self) {
        self.loader.hold_for_fork(self.loader.is_mine());
    }

    /// Ends [`Profiler::hold_loader_for_fork`].
    pub(crate) fn release_loader_after_fork(&self, is_child: bool) {
        self.loader.release_after_fork(is_child);
    }

    /// Takes all locks for the time of a fork: see [`hold_for_fork`](crate::base::lock::Lock::hold_for_fork).
    pub(crate) fn hold_for_fork(&self, is_interrupted: bool) {
        self.stacks.hold_for_fork(is_interrupted);
        self.records.hold_for_fork(is_interrupted);
        self.ended.hold_for_fork(is_interrupted);
        self.accounts.hold_for_fork(is_interrupted);
        self.labels.hold_for_fork(is_interrupted);
    }

    /// Ends [`Profiler::hold_for_fork`].
    pub(crate) fn release_after_fork(&self, is_child: bool) {
        self.labels.release_after_fork(is_child);
        self.accounts.release_after_fork(is_child);
        self.ended.release_after_fork(is_child);
        self.records.release_after_fork(is_child);
        self.stacks.release_after_fork(is_child);
    }

    /// Whether the caller is a signal handler whose thread holds one of the locks: others may wait for that.
    pub(super) fn is_interrupted(&self) -> bool {
        self.stacks.is_in_use()
            || self.records.is_in_use()
            || self.accounts.is_in_use()
            || self.labels.is_in_use()
    }

    /// Whether the calling thread holds one of the locks.
    pub(crate) fn is_mine(&self) -> bool {
        self.stacks.is_mine()
            || self.records.is_mine()
            || self.ended.is_mine()
            || self.accounts.is_mine()
            || self.labels.is_mine()
    }
}
