//! Claims: a run of pages that somebody works on without holding the list's lock.
//!
//! A claimed run is neither handed out nor available: no `malloc` takes it, no `free` accepts it, it merges with
//! nothing. So its owner may drop the lock, map over its pages, take the lock again and settle it as a hole.
//!
//! Invariant: **I1** each claimed run has one [`Claim`], which is made here only; its holder is alone with the
//! run's pages.

use super::super::index::Path;
use super::super::segment::{Extent, Segment};
use super::blocks::NotABlock;
use super::list::FreeList;
use crate::base::fatal::debug_law;
use crate::base::round::whole_pages;

/// The right to work on a claimed run. Where it is dropped, the run stays claimed: addresses are lost, nothing else.
#[derive(Debug)]
#[must_use = "what is claimed is nobody's until it is settled"]
pub(crate) struct Claim {
    run: Segment,
    /// Where the bytes end that may be resident.
    used_end: usize,
}

impl Claim {
    /// Of a run of which all bytes may be resident.
    const fn of(run: Segment) -> Self {
        Self { run, used_end: run.end() }
    }

    /// Where the bytes of the run end that may be resident.
    pub(crate) const fn used_end(&self) -> usize {
        self.used_end
    }

    /// Start and length of the whole pages of the run that may be resident, if there are any.
    pub(crate) fn pages(&self, page_size: usize) -> Option<(usize, usize)> {
        whole_pages(self.run.start, self.used_end, page_size)
    }
}

impl FreeList {
    /// Takes back the block at `address`. One of `claim_from` bytes or more is claimed and returned: it is freed as far
    /// as its user is concerned, but not available yet. Needs no nodes. O(log n).
    #[inline]
    pub(crate) fn release_or_claim(
        &mut self,
        address: usize,
        size: Option<usize>,
        claim_from: usize,
    ) -> Result<Option<Claim>, NotABlock> {
        let (path, block) = self.block_at(address, size)?;
        if block.size() < claim_from {
            self.free_segment(&path, block, false);
            return Ok(None);
        }
        self.claim(&path, block);
        Ok(Some(Claim::of(block)))
    }

    /// Claims the hole at `address`, if it is one still and has whole pages that may be resident. Needs no nodes.
    /// O(log n).
    pub(crate) fn claim_hole(&mut self, address: usize) -> Option<Claim> {
        let path = self.segments.locate(address)?;
        let hole = self.segments.segment(path.cursor());
        if !hole.is_hole() || hole.start != address {
            return None;
        }
        // What lies behind `fresh` was never touched, so there is nothing to give back.
        let claim = Claim { run: hole, used_end: hole.end().min(self.span(hole.span).fresh) };
        claim.pages(self.units.page)?;
        self.claim(&path, hole);
        Some(claim)
    }

    /// The claim of the run at `address`, if that is a claimed one.
    ///
    /// # Safety
    ///
    /// The thread that had the claim vanished in a fork (I1).
    #[expect(unsafe_code, reason = "makes a second claim of a run")]
    pub(crate) unsafe fn vanished_claim(&self, address: usize) -> Option<Claim> {
        let run = self.find(address)?;
        (run.start == address && run.extent.is_claimed()).then_some(Claim::of(run))
    }

    fn claim(&mut self, path: &Path, segment: Segment) {
        let claimed = Segment { extent: Extent::claimed(segment.size()), ..segment };
        self.segments.splice(path, 1, &[claimed]);
        self.account(segment.span, &[segment], &[claimed]);
    }

    /// Makes the block at `start`, kept or not, `size` bytes long, fewer than it has, and claims what it gives up,
    /// which is returned. The caller has reserved one change. O(log n).
    pub(crate) fn shrink_and_claim(&mut self, start: usize, size: usize) -> Option<Claim> {
        let path = self.segments.locate(start)?;
        let block = self.segments.segment(path.cursor());
        debug_law!(block.start == start && !block.is_hole(), "a block");
        debug_law!(size < block.size() && size.is_multiple_of(self.units.granule), "L8");
        let extent = if block.extent.is_kept() { Extent::kept(size) } else { Extent::block(size) };
        let shorter = Segment { extent, ..block };
        let given_up = Segment {
            start: shorter.end(),
            extent: Extent::claimed(block.size() - size),
            span: block.span,
        };
        self.segments.splice(&path, 1, &[shorter, given_up]);
        self.account(block.span, &[block], &[shorter, given_up]);
        Some(Claim::of(given_up))
    }

    /// Makes a claimed run a hole, merged with the holes beside it; `is_clean` says that its whole pages have gone
    /// back. `fresh_from`, if given, is an address in it from which on all its bytes are zero. Needs no nodes.
    /// O(log n).
    pub(crate) fn settle_claim(&mut self, claim: Claim, is_clean: bool, fresh_from: Option<usize>) {
        let Some(path) = self.segments.locate(claim.run.start) else { return };
        let claimed = self.segments.segment(path.cursor());
        debug_law!(
            claimed.start == claim.run.start
                && claimed.extent.is_claimed()
                && claimed.size() == claim.run.size(),
            "a claimed run stays as it is (I1)"
        );
        let span = self.spans.get_mut(claimed.span);
        let reaches_fresh = claimed.end() >= span.fresh;
        if let Some(from) = fresh_from.filter(|_| reaches_fresh) {
            span.fresh = span.fresh.min(from);
        }
        // Where the run touches bytes that were never handed out, those are what says that it is not resident.
        self.free_segment(&path, claimed, is_clean && !reaches_fresh);
    }
}
