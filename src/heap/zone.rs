//! A zone: addresses that are reserved at once and committed from the front, step by step.
//!
//! Owns: one run of reserved addresses. Invariants: **I1** `start..start + committed` is readable and writable (but for
//! runs that wait to be committed again), the rest is untouchable; **I2** nothing inside is ever unmapped while it
//! belongs to the zone, only the untouched tail may be given away for good: in a gap another thread's `mmap` could
//! land, and a later commit would destroy it. Where a failed commit leaves a gap and somebody is in it, the zone ends.
#![allow(unsafe_code, reason = "commits and gives back what it owns")]

use core::ops::Range;

use super::lost::LostRuns;
use crate::base::addr;
use crate::base::commit;
use crate::base::fatal::debug_law;
use crate::base::os::{Os, OutOfMemory, Recovered};
use crate::base::round::align_up;

/// What a zone is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Use {
    /// Spans, and so blocks.
    Blocks,
    /// Nodes and the root record.
    Nodes,
}

/// A run of reserved addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zone {
    pub(super) start: usize,
    pub(super) reserved: usize,
    pub(super) committed: usize,
    /// Bytes of addresses in front of it that are never committed, so that nothing else lies there.
    before: usize,
    /// The same, behind it.
    behind: usize,
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
    /// A zone that starts at `start`, within a run of reserved addresses, and ends `behind` bytes before the run does.
    pub(super) const fn within(run: Range<usize>, start: usize, behind: usize) -> Self {
        let (reserved, before) = (run.end - behind - start, start - run.start);
        Self { start, reserved, committed: 0, before, behind, is_huge: false }
    }

    /// The same zone, for huge blocks alone.
    pub(super) const fn for_huge(self) -> Self {
        Self { is_huge: true, ..self }
    }

    /// The addresses that it owns.
    pub(super) const fn owned(&self) -> Range<usize> {
        self.start - self.before..self.start + self.reserved + self.behind
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

    /// Bytes of addresses in front of it that it can do without: there are guards on both sides or on none.
    const fn spare_front(&self) -> usize {
        self.before.saturating_sub(self.behind)
    }

    /// Bytes of addresses that it can do without.
    pub(super) const fn spare(&self) -> usize {
        self.spare_front() + self.room()
    }

    /// Commits `need` bytes more, or up to `wish` if the system gives them; both are whole pages.
    pub(super) fn commit(
        &mut self,
        os: &impl Os,
        what: Use,
        need: usize,
        wish: usize,
    ) -> Result<Run, OutOfMemory> {
        let wish = wish.min(self.room());
        if wish > need
            && let Ok(run) = self.commit_exactly(os, what, wish)
        {
            return Ok(run);
        }
        self.commit_exactly(os, what, need)
    }

    fn commit_exactly(&mut self, os: &impl Os, what: Use, len: usize) -> Result<Run, OutOfMemory> {
        if len == 0 || len > self.room() {
            return Err(OutOfMemory);
        }
        let is_first = self.committed == 0;
        let run = Run { start: self.start + self.committed, len, is_first };
        let start = addr::pointer(run.start).ok_or(OutOfMemory)?;
        let committed = match what {
            // SAFETY: the run is the untouched tail of this zone's own reservation (I1).
            Use::Blocks => unsafe { commit::commit_for_blocks(os, start, len) },
            // SAFETY: as above.
            Use::Nodes => unsafe { commit::commit(os, start, len) },
        };
        match committed {
            Ok(()) => {
                self.committed += len;
                Ok(run)
            }
            Err(refused) => {
                if refused == Recovered::Lost {
                    self.end_before(os, run);
                }
                Err(OutOfMemory)
            }
        }
    }

    /// Ends the zone for good before a run that is lost, the one behind what is committed. What is reserved behind the
    /// run goes back.
    #[cold]
    fn end_before(&mut self, os: &impl Os, lost: Run) {
        let behind = self.owned().end - lost.end();
        if let Some(start) = addr::pointer(lost.end()).filter(|_| behind > 0) {
            // SAFETY: the bytes lie behind everything committed (I1), so nothing refers to them.
            let unmapped = unsafe { os.unmap(start, behind) };
            // Where the system refuses, the addresses stay reserved until the process ends.
            let _ = unmapped;
        }
        (self.reserved, self.behind) = (self.committed, 0);
    }

    /// Forgets the last commit, which nobody has used: the next one maps over it.
    pub(super) fn retreat(&mut self, run: Run) {
        debug_law!(run.end() == self.start + self.committed, "the last run goes first");
        self.committed -= run.len;
    }

    /// Drops all pages; the addresses stay reserved, unless they are lost. The caller vouches that nobody uses the
    /// memory any more.
    pub(super) fn vacate(&mut self, os: &impl Os) {
        if let Some(start) = addr::pointer(self.start).filter(|_| self.committed > 0) {
            // SAFETY: the run is this zone's own, and by the caller nobody refers to it.
            let dropped = unsafe { commit::decommit(os, start, self.committed) };
            // What is untouched the next commit maps over.
            if dropped == Err(Recovered::Lost) {
                // What lies in front of it stays reserved until the process ends.
                self.start += self.committed;
                self.reserved -= self.committed;
                self.before = 0;
            }
        }
        self.committed = 0;
    }

    /// Gives what it can do without back for good: the addresses in front of it, and those behind the committed ones
    /// but for `keep` bytes. Guards stay. Returns whether there were any. Helps where a limit on the address space was
    /// lowered while the program ran.
    pub(super) fn give_up_rest(&mut self, os: &impl Os, keep: usize) -> bool {
        let front = self.give_up_front(os);
        self.give_up_tail(os, keep) || front
    }

    fn give_up_front(&mut self, os: &impl Os) -> bool {
        let len = self.spare_front();
        let Some(front) = addr::pointer(self.owned().start).filter(|_| len > 0) else {
            return false;
        };
        // SAFETY: the addresses are the zone's own, and nothing is ever committed there.
        let gone = unsafe { os.unmap(front, len) }.is_ok();
        if gone {
            self.before -= len;
        }
        gone
    }

    fn give_up_tail(&mut self, os: &impl Os, keep: usize) -> bool {
        let Some(kept) = align_up(self.committed.saturating_add(keep), os.page_size()) else {
            return false;
        };
        if kept >= self.reserved {
            return false;
        }
        let Some(tail) = addr::pointer(self.start + kept + self.behind) else { return false };
        // SAFETY: the tail lies behind everything committed (I1), so nothing refers to it.
        let gone = unsafe { os.unmap(tail, self.reserved - kept) }.is_ok();
        if gone {
            self.reserved = kept;
        }
        gone
    }

    /// Gives all addresses back but those of runs that are lost.
    pub(super) fn release(&self, os: &impl Os, lost: &LostRuns) {
        let Range { mut start, end } = self.owned();
        while let Some((kept, next)) = lost.next_piece(start, end) {
            if let Some(piece) = addr::pointer(start).filter(|_| start < kept) {
                // SAFETY: the zone is given up as a whole; the caller vouches that nobody uses its memory any more.
                let unmapped = unsafe { os.unmap(piece, kept - start) };
                // The kernel refuses only where it cannot note one more gap; the addresses stay reserved then.
                let _ = unmapped;
            }
            start = next;
        }
    }
}
