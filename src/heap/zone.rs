//! A zone: addresses that are reserved at once and committed from the front, step by step.
//!
//! Owns: one run of reserved addresses. Invariants: **I1** `start..start + committed` is readable and writable (but for
//! runs a failed map removed), the rest is untouchable; **I2** nothing inside is ever unmapped while it belongs to the
//! zone, only the untouched tail may be given away for good: in a gap another thread's `mmap` could land, and a later
//! commit would destroy it.
#![allow(unsafe_code, reason = "commits and gives back what it owns")]

use crate::base::addr;
use crate::base::fatal::debug_law;
use crate::base::os::{Os, OutOfMemory};
use crate::base::round::align_up;

/// A run of reserved addresses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Zone {
    pub(super) start: usize,
    pub(super) reserved: usize,
    pub(super) committed: usize,
    /// Whether it is for huge blocks alone.
    pub(super) is_huge: bool,
}

/// A run of committed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: usize,
    pub(super) len: usize,
    /// Whether it is the beginning of its zone.
    pub(super) is_first: bool,
}

impl Run {
    /// The first address behind it.
    pub(super) const fn end(&self) -> usize {
        self.start + self.len
    }
}

impl Zone {
    /// No addresses.
    pub(super) const NONE: Self = Self { start: 0, reserved: 0, committed: 0, is_huge: false };

    /// Whether it has addresses at all.
    pub(super) const fn is_none(&self) -> bool {
        self.reserved == 0
    }

    /// Whether `address` is committed.
    pub(super) const fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.start) < self.committed
    }

    /// The first address behind the committed ones.
    pub(super) const fn committed_end(&self) -> usize {
        self.start + self.committed
    }

    /// Bytes that can still be committed.
    pub(super) const fn room(&self) -> usize {
        self.reserved - self.committed
    }

    /// Commits `need` bytes more, or up to `wish` if the system gives them; both are whole pages.
    pub(super) fn commit(
        &mut self,
        os: &impl Os,
        need: usize,
        wish: usize,
    ) -> Result<Run, OutOfMemory> {
        let wish = wish.min(self.room());
        if wish > need
            && let Ok(run) = self.commit_exactly(os, wish)
        {
            return Ok(run);
        }
        self.commit_exactly(os, need)
    }

    fn commit_exactly(&mut self, os: &impl Os, len: usize) -> Result<Run, OutOfMemory> {
        if len == 0 || len > self.room() {
            return Err(OutOfMemory);
        }
        let is_first = self.committed == 0;
        let run = Run { start: self.start + self.committed, len, is_first };
        let start = addr::pointer(run.start).ok_or(OutOfMemory)?;
        // SAFETY: the run is the untouched tail of this zone's own reservation (I1).
        unsafe { os.commit(start, len) }?;
        self.committed += len;
        Ok(run)
    }

    /// Forgets the last commit, which nobody has used: the next one maps over it.
    pub(super) fn retreat(&mut self, run: Run) {
        debug_law!(run.end() == self.start + self.committed, "the last run goes first");
        self.committed -= run.len;
    }

    /// Drops all pages; the addresses stay reserved. The caller vouches that nobody uses the memory any more.
    pub(super) fn vacate(&mut self, os: &impl Os) {
        if let Some(start) = addr::pointer(self.start).filter(|_| self.committed > 0) {
            // SAFETY: the run is this zone's own, and by the caller nobody refers to it.
            let dropped = unsafe { os.decommit(start, self.committed) };
            // Where the system refuses, the next commit maps over what is left.
            let _ = dropped;
        }
        self.committed = 0;
    }

    /// Gives the addresses behind the committed ones, but for `keep` bytes, back for good. Returns whether there were
    /// any. Helps where a limit on the address space was lowered while the program ran.
    pub(super) fn give_up_tail(&mut self, os: &impl Os, keep: usize) -> bool {
        let Some(kept) = align_up(self.committed.saturating_add(keep), os.page_size()) else {
            return false;
        };
        if kept >= self.reserved {
            return false;
        }
        let Some(tail) = addr::pointer(self.start + kept) else { return false };
        // SAFETY: the tail lies behind everything committed (I1), so nothing refers to it.
        let gone = unsafe { os.unmap(tail, self.reserved - kept) }.is_ok();
        if gone {
            self.reserved = kept;
        }
        gone
    }

    /// Gives all addresses back.
    pub(super) fn release(self, os: &impl Os) {
        if let Some(start) = addr::pointer(self.start).filter(|_| !self.is_none()) {
            // SAFETY: the zone is given up as a whole; the caller vouches that nobody uses its memory any more.
            let unmapped = unsafe { os.unmap(start, self.reserved) };
            // The kernel refuses only where it cannot note one more gap; the addresses stay reserved then.
            let _ = unmapped;
        }
    }
}
