//! What regions count: all that their threads are handed out, and on request what threads are that start meanwhile.
//!
//! The heap of a region marks every slot, so that each malloc and free of its blocks takes a slow way and is noted.
//!
//! **Whom a thread was started by** nobody tells an allocator. But a new thread has its parent's timer slack, a number
//! of nanoseconds by which the system may be late: so a region that follows threads gives its own thread a value that
//! no other region has, and a thread that asks for its first block looks which it has. Only while there is such a
//! region. A value serves again after 49,999 regions.

#[cfg(not(feature = "profile"))]
pub(super) use off::*;
#[cfg(feature = "profile")]
pub(super) use on::*;

/// What is to be counted beside the sums.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(
    not(feature = "profile"),
    expect(dead_code, reason = "nothing is counted without the feature")
)]
pub(crate) struct Wishes {
    /// Which stack has asked for how much.
    pub(crate) stacks: bool,
    /// What threads ask for that start in the region.
    pub(crate) threads: bool,
}

#[cfg(feature = "profile")]
mod on {
    use core::num::NonZeroU64;
    use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use rustix::thread::{current_timer_slack, set_current_timer_slack};

    use super::Wishes;
    use crate::base::os::OutOfMemory;
    use crate::profile::RegionSums;
    #[cfg(feature = "report")]
    use crate::profile::Sites;
    use crate::profile::profiler::PROFILER;
    use crate::slabs::depot::DEPOT;
    use crate::slabs::thread_heap::ThreadHeap;

    /// Regions that follow threads.
    static FOLLOWING: AtomicUsize = AtomicUsize::new(0);
    /// How many there were.
    static FOLLOWED: AtomicU64 = AtomicU64::new(0);
    /// The timer slacks that they have: from the system's own default to twice that, in nanoseconds.
    const FIRST_SLACK: u64 = 50_001;
    const SLACKS: u64 = 49_999;

    /// What a region counts.
    #[derive(Debug)]
    pub(crate) struct Counting {
        account: u32,
        /// The profile that there was at the beginning.
        #[cfg(feature = "report")]
        profile: u32,
        threads: Option<Threads>,
    }

    /// The threads of a region.
    #[derive(Debug)]
    struct Threads {
        account: u32,
        /// The timer slack that the region's own thread had before.
        slack: u64,
    }

    impl Counting {
        /// Lets a heap that has no slots yet count for a region, inside of that which the other one counts for.
        pub(in crate::process) fn begin(
            heap: &ThreadHeap,
            outer: &ThreadHeap,
            wishes: Wishes,
        ) -> Result<Self, OutOfMemory> {
            #[cfg(feature = "report")]
            let profile = PROFILER.newest();
            let account = PROFILER.open_region(outer.marks.region(), wishes.stacks)?;
            heap.mark_all_for(account);
            Ok(Self {
                account,
                #[cfg(feature = "report")]
                profile,
                threads: None,
            })
        }

        /// Counts for threads as well that start from now on. Whether that is possible here.
        pub(in crate::process) fn follow_threads(&mut self) -> bool {
            let Ok(slack) = current_timer_slack() else { return false };
            let number = FOLLOWED.fetch_add(1, Ordering::Relaxed);
            let tokens = (number..number + SLACKS).map(|number| FIRST_SLACK + number % SLACKS);
            let Ok((account, token)) = PROFILER.open_for_threads(self.account, tokens) else {
                return false;
            };
            if set_slack(token) {
                FOLLOWING.fetch_add(1, Ordering::Relaxed);
                self.threads = Some(Threads { account, slack });
                return true;
            }
            set_slack(slack);
            PROFILER.close_region(account);
            false
        }

        /// What was counted so far.
        pub(crate) fn sums(&self) -> RegionSums {
            PROFILER.region_sums(self.account)
        }

        /// What is live of the region, by the stack that asked for it, and what each stack has asked for.
        #[cfg(feature = "report")]
        pub(crate) fn sites(&self) -> Result<Sites, OutOfMemory> {
            let threads = self.threads.as_ref().map_or(0, |threads| threads.account);
            Sites::of_region([self.account, threads], self.profile)
        }

        /// Shows live blocks that its threads were handed out to `each`.
        pub(in crate::process) fn for_each_of_threads(&self, each: impl FnMut(usize, usize)) {
            if let Some(threads) = &self.threads {
                PROFILER.for_each_counted(threads.account, each);
            }
        }

        /// Counts no more for the region, whose heap this was.
        pub(in crate::process) fn end(&mut self, heap: &ThreadHeap) {
            if let Some(threads) = self.threads.take() {
                set_slack(threads.slack);
                FOLLOWING.fetch_sub(1, Ordering::Relaxed);
                PROFILER.close_region(threads.account);
            }
            heap.mark_all_for(0);
            PROFILER.close_region(self.account);
        }
    }

    /// Sets the calling thread's timer slack. Whether it has that now.
    fn set_slack(slack: u64) -> bool {
        let set = set_current_timer_slack(NonZeroU64::new(slack));
        set.is_ok() && current_timer_slack() == Ok(slack)
    }

    /// Whether there is a region that follows threads.
    #[inline]
    pub(in crate::process) fn is_following() -> bool {
        FOLLOWING.load(Ordering::Relaxed) > 0
    }

    /// An empty heap for the calling thread, which has none yet, if a region follows it.
    pub(in crate::process) fn heap_of_followed() -> Option<&'static ThreadHeap> {
        if !is_following() {
            return None;
        }
        let account = PROFILER.account_of_token(current_timer_slack().ok()?)?;
        let heap = DEPOT.acquire_empty_heap()?;
        heap.mark_all_for(account);
        Some(heap)
    }

    /// Lets a heap that has followed a region count for another one, or for none, where that has ended. Its thread is
    /// inside of it, or has left it.
    #[inline]
    pub(in crate::process) fn leave_if_over(heap: &'static ThreadHeap) {
        let account = heap.marks.region();
        if account > 0 {
            let successor = PROFILER.successor(account);
            if successor != account {
                heap.mark_all_for(successor);
            }
        }
    }

    /// Lets a heap count for no region, as its thread ends.
    pub(in crate::process) fn leave(heap: &'static ThreadHeap) {
        if heap.marks.region() > 0 {
            heap.mark_all_for(0);
        }
    }

    /// Whether a heap counts for a region.
    #[inline]
    pub(in crate::process) fn is_on_for(heap: &ThreadHeap) -> bool {
        heap.marks.region() > 0
    }
}

#[cfg(not(feature = "profile"))]
mod off {
    #[cfg(feature = "std")]
    use super::Wishes;
    #[cfg(feature = "std")]
    use crate::base::os::OutOfMemory;
    use crate::slabs::thread_heap::ThreadHeap;

    /// Nothing is counted.
    #[cfg(feature = "std")]
    #[derive(Debug)]
    pub(crate) struct Counting;

    #[cfg(feature = "std")]
    impl Counting {
        #[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
        pub(in crate::process) const fn begin(
            _: &ThreadHeap,
            _: &ThreadHeap,
            _: Wishes,
        ) -> Result<Self, OutOfMemory> {
            Ok(Self)
        }

        pub(in crate::process) const fn follow_threads(&mut self) -> bool {
            false
        }

        pub(in crate::process) fn for_each_of_threads(&self, _: impl FnMut(usize, usize)) {}

        pub(in crate::process) const fn end(&mut self, _: &ThreadHeap) {}
    }

    #[cfg(feature = "std")]
    pub(in crate::process) const fn heap_of_followed() -> Option<&'static ThreadHeap> {
        None
    }

    pub(in crate::process) const fn is_following() -> bool {
        false
    }

    pub(in crate::process) const fn leave_if_over(_: &'static ThreadHeap) {}

    #[cfg(feature = "std")]
    pub(in crate::process) const fn leave(_: &'static ThreadHeap) {}

    pub(in crate::process) const fn is_on_for(_: &ThreadHeap) -> bool {
        false
    }
}
