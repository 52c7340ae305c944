//! What can be set, and what holds where nothing is set.

use core::ffi::CStr;

use super::occasions::Occasions;

/// The mean distance of samples that serves in production, in bytes.
pub(super) const PROFILE_MEAN: usize = 512 << 10;

/// What happens when a free or realloc names no live block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnMisuse {
    /// One line on standard error, then `SIGABRT`.
    Abort,
    /// One line on standard error; the call is refused and the program goes on. A free has changed nothing then, and a
    /// realloc returns null.
    Report,
}

/// The settings of the process heap, as [`MemsAlloc::settings`](crate::MemsAlloc::settings) tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Settings {
    /// Bytes of free pages that are kept when others go back to the system; `None` for the larger of 4 MiB and 1/8 of
    /// what is live. Pages of slabs do not count.
    pub retained_bytes: Option<usize>,
    /// Milliseconds that a free page is kept for its next user.
    pub decay_ms: usize,
    /// Whether a thread of MeMS's own gives idle memory back for threads that make no calls; see
    /// [`Builder::background`](crate::Builder::background).
    pub background: bool,
    /// Bytes of slots that the caches of one thread have places for. Each size in use has at least two.
    pub cache_bytes: usize,
    /// Bytes that may be mapped for blocks and records at the most; see
    /// [`MemsAlloc::set_limit`](crate::MemsAlloc::set_limit).
    pub limit_bytes: usize,
    /// Bytes of addresses that are reserved at first; `None` for what the machine could use. They are no memory.
    pub reserve_bytes: Option<usize>,
    /// What happens on misuse.
    pub on_misuse: OnMisuse,
    /// Whether the kernel may back the heap by huge pages.
    pub huge_pages: bool,
    /// Whether it is asked to, by `madvise`, where it may.
    pub want_huge_pages: bool,
    /// A file to which each line on standard error goes as well; see [`Builder::log`](crate::Builder::log).
    pub log: Option<&'static CStr>,
    /// The mean distance of samples in bytes where a profile of who allocates begins with the first call, if the
    /// feature `profile` is on; 0 for none.
    pub profile_bytes: usize,
    /// Whether the sums are written to standard error at exit.
    pub stats_at_exit: bool,
    /// Where the heap map's page is written at exit, if the feature `report` is on: a path as
    /// `Builder::heapmap_at_exit` takes it.
    pub heapmap_at_exit: Option<&'static CStr>,
    /// Where a snapshot of the heap is written at exit, as [`heapmap_at_exit`](Settings::heapmap_at_exit) is.
    pub snapshot_at_exit: Option<&'static CStr>,
    /// Where the profile is written at exit, if the features `report` and `profile` are on: a path as
    /// `Builder::profile_at_exit` takes it.
    pub profile_at_exit: Option<&'static CStr>,
    /// When the heap is looked at, if the features `std` and `report` are on; see `Builder::snapshot_on`.
    pub snapshot_on: Occasions,
    /// Where such looks are written; `None` for `mems` in the working folder. See `Builder::snapshot_path`.
    pub snapshot_path: Option<&'static CStr>,
    /// Whether the bytes of a block are cleared when it is freed.
    pub zero_on_free: bool,
    /// The whole heap is checked at exit, and each time after this number of calls; 0 for never.
    pub check_every: usize,
    /// Whether blocks above 32 KiB end at a page that nobody can touch.
    pub guard: bool,
    /// Whether the bytes behind a block are filled, and verified when it is freed.
    pub canary: bool,
    /// Bytes of freed blocks that wait, filled, before they are used again; 0 for none.
    pub quarantine_bytes: usize,
    /// Whether a slab's slots are handed out in random order.
    pub random_slots: bool,
}

impl Settings {
    /// What holds where nothing is set.
    pub(crate) const DEFAULT: Self = Self {
        retained_bytes: None,
        decay_ms: 100,
        background: false,
        cache_bytes: usize::MAX,
        limit_bytes: usize::MAX,
        reserve_bytes: None,
        on_misuse: OnMisuse::Abort,
        huge_pages: true,
        want_huge_pages: false,
        log: None,
        profile_bytes: 0,
        stats_at_exit: false,
        heapmap_at_exit: None,
        snapshot_at_exit: None,
        profile_at_exit: None,
        snapshot_on: Occasions::NONE,
        snapshot_path: None,
        zero_on_free: false,
        check_every: 0,
        guard: false,
        canary: false,
        quarantine_bytes: 0,
        random_slots: false,
    };

    /// These, with everything on that finds mistakes.
    pub(crate) const fn hardened(self) -> Self {
        Self {
            zero_on_free: true,
            check_every: 1 << 16,
            guard: true,
            canary: true,
            quarantine_bytes: 1 << 20,
            random_slots: true,
            ..self
        }
    }

    /// These, with what they imply: a profile that is written begins, and looks need the background thread.
    pub(super) const fn completed(mut self) -> Self {
        if self.profile_at_exit.is_some() && self.profile_bytes == 0 {
            self.profile_bytes = PROFILE_MEAN;
        }
        self.background |= !self.snapshot_on.is_none();
        self
    }

    /// Whether something is on for which each block has to be known beside the heap.
    pub(crate) const fn is_hardened(&self) -> bool {
        self.zero_on_free
            || self.check_every > 0
            || self.guard
            || self.canary
            || self.quarantine_bytes > 0
            || self.random_slots
    }
}
