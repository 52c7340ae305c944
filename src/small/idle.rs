//! What a thread has cached and not needed for long goes home.
//!
//! A few slots in a magazine keep their slabs, which can be many times their size: after random frees a thread that had
//! 300 MiB kept 82 MiB of slabs for 9 MiB of cached slots. So a thread that comes to a slow way sends everything home if
//! it has not been at one for as long as idle pages wait. Either it did nothing meanwhile, or its caches alone served
//! it, and then it fills them again in a few microseconds.

#[cfg(feature = "std")]
use super::pool;
use super::process::{PROCESS, Process};
use super::thread;
use super::thread_heap::ThreadHeap;
use crate::base::clock;
use crate::settings::{self, Settings};

impl ThreadHeap {
    /// Notes that its thread takes a slow way `now`, in milliseconds, and sends everything home if that is the first one
    /// for long. The caller holds no lock but `shared`.
    pub(super) fn flush_if_idle(&'static self, now: u64) {
        let decay_ms = settings::in_force().unwrap_or(&Settings::DEFAULT).decay_ms as u64;
        let idle_at = self.idle_at.replace(now.saturating_add(decay_ms.max(1)));
        if idle_at > 0 && now >= idle_at {
            self.flush_idle();
        }
    }

    #[cold]
    #[inline(never)]
    fn flush_idle(&'static self) {
        PROCESS.heap.were_idle(self.let_go());
    }
}

impl Process {
    /// As [`ThreadHeap::flush_if_idle`], for the calling thread's heap, or the one that it shares with others.
    pub(super) fn flush_idle_caches(&self) {
        let heap = thread::current();
        if !heap.is_nobody() {
            heap.flush_if_idle(clock::milliseconds());
        } else if let Some(shared) = self.shared.try_lock()
            && let Some(heap) = *shared
        {
            heap.flush_if_idle(clock::milliseconds());
        }
    }
}

/// Looks that a scavenger takes at a time; each gives back 64 MiB or a little more at the most.
#[cfg(feature = "std")]
const LOOKS_AT_A_TIME: usize = 64;

#[cfg(feature = "std")]
impl Process {
    /// Looks whether bytes are idle, as those do who need memory, and gives them back. The slabs that threads left behind
    /// when they ended go first.
    pub(crate) fn scavenge(&self) {
        // A thread that has a heap is one that the child of a fork misses, and then it settles what was being given back.
        let _ = thread::current_or_new();
        pool::tidy_retired();
        for _ in 0..LOOKS_AT_A_TIME {
            if self.heap.look_now_and_then(clock::milliseconds()) == 0 {
                break;
            }
        }
    }
}
