//! [`Builder`]: settings that a program is compiled with.

use core::ffi::CStr;

use super::allocator::MemsAlloc;
#[cfg(all(feature = "std", feature = "report"))]
use crate::settings::Occasions;
use crate::settings::{OnMisuse, Settings};

/// Builds a [`MemsAlloc`] with settings of your own. Settings you do not name keep their defaults, and environment
/// variables of the same names override yours when the program runs.
///
/// ```
/// use mems::{MemsAlloc, OnMisuse};
///
/// #[global_allocator]
/// static GLOBAL: MemsAlloc =
///     MemsAlloc::builder().limit_bytes(512 << 20).on_misuse(OnMisuse::Report).build();
///
/// assert_eq!(GLOBAL.settings().limit_bytes, 512 << 20);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Builder(Settings);

impl MemsAlloc {
    /// Starts a builder with the default settings.
    pub const fn builder() -> Builder {
        Builder(Settings::DEFAULT)
    }
}

impl Builder {
    /// Builds the handle.
    #[must_use]
    pub const fn build(self) -> MemsAlloc {
        MemsAlloc::with_settings(self.0)
    }

    /// Sets [`Settings::retained_bytes`].
    pub const fn retained_bytes(mut self, bytes: usize) -> Self {
        self.0.retained_bytes = Some(bytes);
        self
    }

    /// Sets [`Settings::decay_ms`].
    pub const fn decay_ms(mut self, milliseconds: usize) -> Self {
        self.0.decay_ms = milliseconds;
        self
    }

    /// Sets [`Settings::background`]. The thread is started by the first call of all, blocks all signals, and looks a
    /// few times in a decay time, once a second where nothing is idle. The child of a fork starts one of its own when
    /// it takes a slow way, a decay time after the fork. Needs the feature `std`.
    pub const fn background(mut self, on: bool) -> Self {
        self.0.background = on;
        self
    }

    /// Sets [`Settings::cache_bytes`].
    pub const fn cache_bytes(mut self, bytes: usize) -> Self {
        self.0.cache_bytes = bytes;
        self
    }

    /// Sets [`Settings::limit_bytes`].
    pub const fn limit_bytes(mut self, bytes: usize) -> Self {
        self.0.limit_bytes = bytes;
        self
    }

    /// Sets [`Settings::reserve_bytes`].
    pub const fn reserve_bytes(mut self, bytes: usize) -> Self {
        self.0.reserve_bytes = Some(bytes);
        self
    }

    /// Sets [`Settings::on_misuse`].
    pub const fn on_misuse(mut self, action: OnMisuse) -> Self {
        self.0.on_misuse = action;
        self
    }

    /// Sets [`Settings::huge_pages`].
    pub const fn huge_pages(mut self, allowed: bool) -> Self {
        self.0.huge_pages = allowed;
        self
    }

    /// Sets [`Settings::want_huge_pages`]. Fewer page faults and misses where much memory is in use, for more of it: 2
    /// MiB where a program touches a byte, and `madvise` is called beside `mmap`.
    pub const fn want_huge_pages(mut self, on: bool) -> Self {
        self.0.want_huge_pages = on;
        self
    }

    /// Sets [`Settings::log`]. The file is appended to, or made with mode 0600, and opened for each line: it has them
    /// in a program that has closed standard error. `%p` in the path is the number of the process.
    pub const fn log(mut self, path: &'static CStr) -> Self {
        self.0.log = Some(path);
        self
    }

    /// Sets [`Settings::profile_bytes`]: the profile begins with the first call of all. See
    /// [`MemsAlloc::profile`].
    #[cfg(feature = "profile")]
    pub const fn profile(mut self, mean_bytes: usize) -> Self {
        self.0.profile_bytes = mean_bytes;
        self
    }

    /// Sets [`Settings::stats_at_exit`].
    pub const fn stats_at_exit(mut self, on: bool) -> Self {
        self.0.stats_at_exit = on;
        self
    }

    /// Sets [`Settings::heapmap_at_exit`]. `%p` in the path is the number of the process; where there is none, a dot
    /// and the number are appended, as a program may start others. The file has mode 0600, and appears as a whole.
    #[cfg(feature = "report")]
    pub const fn heapmap_at_exit(mut self, path: &'static CStr) -> Self {
        self.0.heapmap_at_exit = Some(path);
        self
    }

    /// Sets [`Settings::snapshot_at_exit`], with a path as for [`heapmap_at_exit`](Builder::heapmap_at_exit).
    #[cfg(feature = "report")]
    pub const fn snapshot_at_exit(mut self, path: &'static CStr) -> Self {
        self.0.snapshot_at_exit = Some(path);
        self
    }

    /// Sets [`Settings::profile_at_exit`]. The path's ending says what is written: `.txt` a line for each stack with
    /// its live bytes, `.pb.gz` the form of pprof, `.json` that of DHAT, `.html` the heap map's page; another one costs
    /// a line on standard error at exit. `%p` is the number of the process; where there is none, a dot and the number
    /// are put before the ending. Functions have the names that the files' symbol tables have. Where
    /// [`profile`](Builder::profile) is not set, the profile has a sample for every 512 KiB.
    #[cfg(all(feature = "report", feature = "profile"))]
    pub const fn profile_at_exit(mut self, path: &'static CStr) -> Self {
        self.0.profile_at_exit = Some(path);
        self
    }

    /// Sets [`Settings::snapshot_on`]: on these occasions MeMS looks at the heap by itself, and writes a snapshot, the
    /// heap map's page, and the profile for pprof if there is one. The [background](Builder::background) thread does
    /// it, within a tenth of a second, and says so in a line on standard error. Occasions that come meanwhile are one
    /// look.
    ///
    /// A signal is taken only if the program has its default action when the heap is first used; a handler that the
    /// program installs later replaces MeMS's. System calls are restarted, but for those that never are, such as
    /// poll(2). A thread whose request is refused by the limit waits for that look, at most 3 s, as many a program ends
    /// over it.
    #[cfg(all(feature = "std", feature = "report"))]
    pub const fn snapshot_on(mut self, occasions: Occasions) -> Self {
        self.0.snapshot_on = occasions;
        self
    }

    /// Sets [`Settings::snapshot_path`]: the files are the path with `.mems`, `.html` and `.pb.gz` behind it. `%p`
    /// is the number of the process, `%n` that of the look, from 1 on; those that are missing are appended, each behind
    /// a dot. The files have mode 0600, and appear as a whole.
    #[cfg(all(feature = "std", feature = "report"))]
    pub const fn snapshot_path(mut self, path: &'static CStr) -> Self {
        self.0.snapshot_path = Some(path);
        self
    }

    /// Sets [`Settings::zero_on_free`].
    pub const fn zero_on_free(mut self, on: bool) -> Self {
        self.0.zero_on_free = on;
        self
    }

    /// Sets [`Settings::check_every`].
    pub const fn check_every(mut self, calls: usize) -> Self {
        self.0.check_every = calls;
        self
    }

    /// Sets [`Settings::guard`].
    pub const fn guard(mut self, on: bool) -> Self {
        self.0.guard = on;
        self
    }

    /// Sets [`Settings::canary`].
    pub const fn canary(mut self, on: bool) -> Self {
        self.0.canary = on;
        self
    }

    /// Sets [`Settings::quarantine_bytes`].
    pub const fn quarantine_bytes(mut self, bytes: usize) -> Self {
        self.0.quarantine_bytes = bytes;
        self
    }

    /// Sets [`Settings::random_slots`].
    pub const fn random_slots(mut self, on: bool) -> Self {
        self.0.random_slots = on;
        self
    }

    /// Turns on every check that finds mistakes: see `MEMS_HARDEN` in the README.
    pub const fn harden(self) -> Self {
        Self(self.0.hardened())
    }
}
