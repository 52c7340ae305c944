//! Claims: a run of pages that somebody works on without holding the list's lock.
//!
//! A claimed run is neither handed out nor available: no `malloc` takes it, no `free` accepts it, it merges with
//! nothing. So its owner may drop the lock, map over its pages, take the lock again and settle it as a hole.

use super::super::node_arena::Id;
use super::super::segment::{Extent, Segment};
use super::super::span::Span;
use super::{FreeList, NotABlock};

impl FreeList {
    /// Claims the block at `address`, which has `size` bytes where that is given: it is freed as far as its user is
    /// concerned. Needs no nodes. O(log n).
    pub(crate) fn claim_block(
        &mut self,
        address: usize,
        size: Option<usize>,
    ) -> Result<Segment, NotABlock> {
        let block = self.block(address, size)?;
        self.claim(block);
        Ok(block)
    }

    /// Claims the hole at `address`, if it is one still. Needs no nodes. O(log n).
    pub(crate) fn claim_hole(&mut self, address: usize) -> Option<Segment> {
        let hole = self.find(address).filter(|hole| hole.is_hole() && hole.start == address)?;
        self.claim(hole);
        Some(hole)
    }

    fn claim(&mut self, segment: Segment) {
        let Some(path) = self.segments.locate(segment.start) else { return };
        let claimed = Segment { extent: Extent::claimed(segment.size()), ..segment };
        self.segments.splice(&path, 1, &[claimed]);
        self.account(segment.span, &[segment], &[claimed]);
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
        let Span { fresh, .. } = *self.spans.get(claimed.span);
        let reaches_fresh = claimed.end() >= fresh;
        if let Some(from) = fresh_from.filter(|_| reaches_fresh) {
            self.set_fresh(claimed.span, from.min(fresh));
        }
        // Where the run touches bytes that were never handed out, those are what says that it is not resident.
        self.free_segment(&path, claimed, is_clean && !reaches_fresh);
    }

    fn set_fresh(&mut self, id: Id<Span>, address: usize) {
        self.spans.get_mut(id).fresh = address;
    }
}
