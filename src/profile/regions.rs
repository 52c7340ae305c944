//! Regions: closures of which every block is noted, be there a profile or not.

use core::sync::atomic::Ordering;

use super::accounts::RegionSums;
use super::profiler::Profiler;
use super::records::Record;
use crate::base::os::OutOfMemory;

impl Profiler {
    /// Opens an account for a region inside of another one, or of none (0); with `by_stack` it is known who has asked
    /// for how much. The region's heap is to [mark all](crate::slabs::thread_heap::ThreadHeap::mark_all_for) its slots
    /// for its number.
    pub(crate) fn open_region(&self, outer: u32, by_stack: bool) -> Result<u32, OutOfMemory> {
        self.has_records.store(true, Ordering::Relaxed);
        self.accounts.lock().open(outer, by_stack)
    }

    /// Opens an account for the threads that start in a region, and have a token by which they are told: one of these.
    pub(crate) fn open_for_threads(
        &self,
        region: u32,
        tokens: impl Iterator<Item = u64>,
    ) -> Result<(u32, u64), OutOfMemory> {
        self.accounts.lock().open_for_threads(region, tokens)
    }

    /// The account for a thread that has a token, if a region is open that follows it.
    pub(crate) fn account_of_token(&self, token: u64) -> Option<u32> {
        self.accounts.lock_unless_mine()?.of_token(token)
    }

    /// The account for a heap that has served this one: the same while its region is open, then one around it, or 0.
    /// A signal handler that has interrupted its thread in the middle of that is told the same.
    pub(crate) fn successor(&self, account: u32) -> u32 {
        self.accounts.lock_unless_mine().map_or(account, |accounts| accounts.successor(account))
    }

    /// What was counted so far.
    pub(crate) fn region_sums(&self, account: u32) -> RegionSums {
        self.accounts.lock().sums(account)
    }

    /// Shows each live block of an account to `each`: where it starts, and its bytes. O(records).
    pub(crate) fn for_each_counted(&self, account: u32, mut each: impl FnMut(usize, usize)) {
        let mut show = |record: &Record| {
            if record.region == account {
                each(record.address, record.block_bytes);
            }
        };
        self.records.for_each(&mut show);
    }

    /// Closes an account; blocks that are live still are in the one around it from now on, or in none. O(1) if there
    /// are none, else O(records).
    pub(crate) fn close_region(&self, account: u32) {
        // From now on nobody notes a block for it: who has, has entered that before, under the lock of its record.
        let live_goes_to = self.accounts.lock().close(account);
        if let Some(outer) = live_goes_to {
            self.records.change_all(|record| {
                if record.region == account {
                    record.region = outer;
                }
            });
        }
        self.accounts.lock().forget(account);
    }
}
