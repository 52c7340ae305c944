//! Claims: a run of pages that somebody works on without holding the list's lock.
//!
//! A claimed run is neither handed out nor available: no `malloc` takes it, no `free` accepts it, it merges with
//! nothing. So its owner may drop the lock, map over its pages, take the lock again and settle it as a hole.

use super::super::index::Path;
use super::super::segment::{Extent, Segment};
use super::blocks::NotABlock;
use super::list::FreeList;

impl FreeList {
    /// As [`FreeList::release`], but a block of `claim_from` bytes or more is claimed instead, and returned: it is
    /// freed as far as its user is concerned, but not available yet. Needs no nodes. O(log n).
    #[inline]
    pub(crate) fn release_or_claim(
        &mut self,
        address: usize,
        size: Option<usize>,
        claim_from: usize,
    ) -> Result<Option<Segment>, NotABlock> {
        let (path, block) = self.block_at(address, size)?;
        if block.size() < claim_from {
            self.free_segment(&path, block, false);
            return Ok(None);
        }
        self.claim(&path, block);
        Ok(Some(block))
    }

    /// Claims the hole at `address`, if it is one still. Needs no nodes. O(log n).
    pub(crate) fn claim_hole(&mut self, address: usize) -> Option<Segment> {
        let path = self.segments.locate(address)?;
        let hole = self.segments.segment(path.cursor());
        if !hole.is_hole() || hole.start != address {
            return None;
        }
        self.claim(&path, hole);
        Some(hole)
    }

    fn claim(&mut self, path: &Path, segment: Segment) {
        let claimed = Segment { extent: Extent::claimed(segment.size()), ..segment };
        self.segments.splice(path, 1, &[claimed]);
        self.account(segment.span, &[segment], &[claimed]);
    }

    /// Makes the block at `start`, kept or not, `size` bytes long, fewer than it has, and claims what it gives up,
    /// which is returned. The caller has reserved one change. O(log n).
    pub(crate) fn shrink_and_claim(&mut self, start: usize, size: usize) -> Option<Segment> {
        let path = self.segments.locate(start)?;
        let block = self.segments.segment(path.cursor());
        debug_assert!(block.start == start && !block.is_hole(), "a block");
        debug_assert!(size < block.size() && size.is_multiple_of(self.units.granule), "L8");
        let extent =
            if block.extent.is_kept() { Extent::kept(size) } else { Extent::process(size) };
        let shorter = Segment { extent, ..block };
        let given_up = Segment {
            start: shorter.end(),
            extent: Extent::claimed(block.size() - size),
            span: block.span,
        };
        self.segments.splice(&path, 1, &[shorter, given_up]);
        self.account(block.span, &[block], &[shorter, given_up]);
        Some(given_up)
    }

    /// Makes the claimed run at `address` a hole, merged with the holes beside it; `is_clean` says that its whole
    /// pages have gone back. `fresh_from`, if given, is an address in it from which on all its bytes are zero.
    /// Needs no nodes. O(log n).
    pub(crate) fn settle_claim(
        &mut self,
        address: usize,
        is_clean: bool,
        fresh_from: Option<usize>,
    ) {
        let Some(path) = self.segments.locate(address) else { return };
        let claimed = self.segments.segment(path.cursor());
        debug_assert!(claimed.start == address && claimed.extent.is_claimed(), "claimed before");
        let span = self.spans.get_mut(claimed.span);
        let reaches_fresh = claimed.end() >= span.fresh;
        if let Some(from) = fresh_from.filter(|_| reaches_fresh) {
            span.fresh = span.fresh.min(from);
        }
        // Where the run touches bytes that were never handed out, those are what says that it is not resident.
        self.free_segment(&path, claimed, is_clean && !reaches_fresh);
    }
}
