//! The verbs of the sub chain: a block comes, changes its size, goes.

use core::ops::Range;

use super::super::index::{Cursor, Path};
use super::super::node_arena::Id;
use super::super::segment::{Extent, Segment};
use super::super::span::Span;
use super::list::FreeList;
use crate::base::fatal::debug_law;
use crate::base::round::{align_down, align_up};

/// A block that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Its first address.
    pub(crate) start: usize,
    /// The span it is a part of.
    pub(crate) span: Id<Span>,
    /// Whether none of its bytes was handed out since its pages came from the OS.
    pub(crate) is_fresh: bool,
}

/// Why an address is not that of a live block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotABlock {
    /// No span has it.
    Outside,
    /// It lies in a hole, or in a block that the heap keeps to itself.
    InHole,
    /// It is the start of a block that the heap keeps to itself.
    Held,
    /// It lies in a block, but not at its start.
    Interior(Segment),
    /// It is the start of a block of another size.
    OtherSize(Segment),
}

/// Holes of the size alone that are looked at for an aligned block before one is taken that is large enough wherever it
/// begins. Without them the hole that an aligned block leaves between two others would not serve another of its kind.
pub(super) const ALIGNED_TRIES: usize = 16;

impl FreeList {
    /// Hands out the front of the first hole, in address order, that has room for `size` bytes at a memory address
    /// aligned to `align` (but see [`ALIGNED_TRIES`]); the padding in front of it and the remainder behind it stay
    /// holes. The caller has reserved one change. O(log n).
    #[inline]
    pub(crate) fn allocate(&mut self, size: usize, align: usize) -> Option<Block> {
        self.allocate_in(size, align, &(0..usize::MAX))
    }

    /// Hands out `size` bytes from the first hole that is large enough and begins in a range of addresses. O(log n).
    #[inline]
    pub(crate) fn allocate_in(
        &mut self,
        size: usize,
        align: usize,
        range: &Range<usize>,
    ) -> Option<Block> {
        debug_law!(size > 0 && size.is_multiple_of(self.units.granule), "L8");
        if align > self.units.granule {
            return self.allocate_aligned(size, align, range);
        }
        let path = self.first_fit_in(size, range)?;
        let hole = self.segments.segment(path.cursor());
        Some(self.hand_out(&path, hole, hole.start, size))
    }

    /// Hands out an aligned block, for alignments that not every hole begins at.
    #[inline(never)]
    fn allocate_aligned(
        &mut self,
        size: usize,
        align: usize,
        range: &Range<usize>,
    ) -> Option<Block> {
        let wanted = size.checked_add(align - self.units.granule)?;
        let (path, hole, padding) = self.aligned_fit(size, wanted, align, range)?;
        Some(self.hand_out(&path, hole, hole.start + padding, size))
    }

    /// The first hole of at least `size` bytes that begins in a range.
    #[inline]
    fn first_fit_in(&self, size: usize, range: &Range<usize>) -> Option<Path> {
        if size > Extent::MAX_SIZE {
            return None;
        }
        let from = if range.start == 0 { None } else { self.segments.locate(range.start) };
        let path = match from {
            None => self.segments.first_fit(size)?,
            Some(path) => {
                let here = self.segments.segment(path.cursor());
                let is_fit = here.is_hole() && here.start >= range.start && here.size() >= size;
                if is_fit { path } else { self.segments.next_fit(&path, size)? }
            }
        };
        (self.segments.segment(path.cursor()).start < range.end).then_some(path)
    }

    /// Makes `size` bytes at `start` of a hole a block that is handed out.
    #[inline]
    fn hand_out(&mut self, path: &Path, hole: Segment, start: usize, size: usize) -> Block {
        let page = self.units.page;
        // The whole pages of a clean hole have gone back, and come anew.
        let is_clean = hole.extent.is_clean_hole()
            && align_up(hole.start, page).is_some_and(|first| first <= start)
            && start + size <= align_down(hole.end(), page);
        let span = self.carve(path, hole, start, size);
        let is_fresh = is_clean || start >= span.fresh;
        span.fresh = span.fresh.max(start + size);
        Block { start, span: hole.span, is_fresh }
    }

    /// A hole with room for `size` aligned bytes, and the padding in front of them; `wanted` bytes are enough wherever
    /// a hole begins.
    fn aligned_fit(
        &self,
        size: usize,
        wanted: usize,
        align: usize,
        range: &Range<usize>,
    ) -> Option<(Path, Segment, usize)> {
        let fit = |path: Path| {
            let hole = self.segments.segment(path.cursor());
            if hole.start >= range.end {
                return None;
            }
            let memory = self.memory_of(hole.span, hole.start);
            let padding = align_up(memory, align)?.wrapping_sub(memory);
            (padding.checked_add(size)? <= hole.size()).then_some((path, hole, padding))
        };
        let mut next = self.first_fit_in(size, range);
        for _ in 0..ALIGNED_TRIES {
            let path = next?;
            if let Some(fit) = fit(path) {
                return Some(fit);
            }
            next = self.segments.next_fit(&path, size);
        }
        fit(self.first_fit_in(wanted, range)?)
    }

    /// Makes `size` bytes at `start` of a hole a block. Returns the span.
    #[inline]
    fn carve(&mut self, path: &Path, hole: Segment, start: usize, size: usize) -> &mut Span {
        debug_law!(hole.start <= start && start + size <= hole.end(), "a block fits its hole");
        let Segment { span, .. } = hole;
        let rest = |start, end| Segment {
            start,
            extent: Extent::hole(end - start).with_clean(hole.extent.is_clean_hole()),
            span,
        };
        let block = Segment::block(start, size, span);
        let (front, back) = (rest(hole.start, start), rest(block.end(), hole.end()));
        let all = [front, block, back];
        let parts = match (front.size() > 0, back.size() > 0) {
            (false, false) => &all[1..2],
            (false, true) => &all[1..],
            (true, false) => &all[..2],
            (true, true) => &all[..],
        };
        self.segments.splice(path, 1, parts);
        self.account(span, &[hole], parts)
    }

    /// The segment that has `address`, if a span does. O(log n).
    #[inline]
    pub(crate) fn find(&self, address: usize) -> Option<Segment> {
        self.segments.find(address).filter(|segment| segment.contains(address))
    }

    /// The way to the block that starts at `address`, which has `size` bytes where that is given.
    #[inline]
    pub(super) fn block_at(
        &self,
        address: usize,
        size: Option<usize>,
    ) -> Result<(Path, Segment), NotABlock> {
        let path = self.segments.locate(address).ok_or(NotABlock::Outside)?;
        let segment = self.segments.segment(path.cursor());
        if !segment.contains(address) {
            Err(NotABlock::Outside)
        } else if segment.extent.is_kept() && segment.start == address {
            Err(NotABlock::Held)
        } else if !segment.is_block() || segment.extent.is_kept() {
            Err(NotABlock::InHole)
        } else if segment.start != address {
            Err(NotABlock::Interior(segment))
        } else if size.is_some_and(|size| size != segment.size()) {
            Err(NotABlock::OtherSize(segment))
        } else {
            Ok((path, segment))
        }
    }

    /// The block that starts at `address`, which has `size` bytes where that is given. O(log n).
    #[inline]
    pub(crate) fn block(&self, address: usize, size: Option<usize>) -> Result<Segment, NotABlock> {
        self.block_at(address, size).map(|(_, segment)| segment)
    }

    /// Makes the block at `address` a hole, merged with the holes on its left and right. Returns that hole.
    /// Needs no nodes. O(log n).
    #[inline]
    pub(crate) fn release(
        &mut self,
        address: usize,
        size: Option<usize>,
    ) -> Result<Segment, NotABlock> {
        let (path, block) = self.block_at(address, size)?;
        Ok(self.free_segment(&path, block, false))
    }

    /// Makes the block at `start`, which has `size` bytes where that is given, a kept one, which no free takes. Needs
    /// no nodes. O(log n).
    pub(crate) fn keep(&mut self, start: usize, size: Option<usize>) -> Result<(), NotABlock> {
        let (path, block) = self.block_at(start, size)?;
        let kept = Segment { extent: Extent::kept(block.size()), ..block };
        self.segments.splice(&path, 1, &[kept]);
        Ok(())
    }

    /// Makes the kept block at `start`, if there is one, one that a free takes. Needs no nodes. O(log n).
    pub(crate) fn stop_keeping(&mut self, start: usize) {
        let Some(path) = self.segments.locate(start) else { return };
        let kept = self.segments.segment(path.cursor());
        if kept.start == start && kept.extent.is_kept() {
            let block = Segment { extent: Extent::block(kept.size()), ..kept };
            self.segments.splice(&path, 1, &[block]);
        }
    }

    /// Makes the kept block at `start` a hole. Needs no nodes. O(log n).
    pub(crate) fn release_kept(&mut self, start: usize) {
        let Some(path) = self.segments.locate(start) else { return };
        let block = self.segments.segment(path.cursor());
        debug_law!(block.start == start && block.extent.is_kept(), "a kept block");
        self.free_segment(&path, block, false);
    }

    /// Makes a segment that is no hole one, merged with the holes beside it. The result is clean if all parts are and
    /// no page is shared by two: such a page has not gone back with either.
    #[inline]
    pub(super) fn free_segment(
        &mut self,
        path: &Path,
        segment: Segment,
        is_clean: bool,
    ) -> Segment {
        let [left, right] = self.segments.beside(path);
        let is_hole = |beside: &Segment| beside.is_hole() && beside.span == segment.span;
        let (left, right) = (left.filter(is_hole), right.filter(is_hole));
        let page = self.units.page;
        let is_clean_from = |start: usize, hole: Option<Segment>| {
            hole.is_none_or(|hole| hole.extent.is_clean_hole() && start.is_multiple_of(page))
        };
        let all_clean =
            is_clean && is_clean_from(segment.start, left) && is_clean_from(segment.end(), right);
        let start = left.map_or(segment.start, |left| left.start);
        let end = right.map_or(segment.end(), |right| right.end());
        let extent = Extent::hole(end - start).with_clean(all_clean);
        let hole = Segment { start, extent, span: segment.span };
        self.coalesce(path, segment, [left, right], hole);
        let gone = [left.unwrap_or(segment), segment, right.unwrap_or(segment)];
        let gone = match (left.is_some(), right.is_some()) {
            (false, false) => &gone[1..2],
            (false, true) => &gone[1..],
            (true, false) => &gone[..2],
            (true, true) => &gone[..],
        };
        self.account(segment.span, gone, &[hole]);
        hole
    }

    /// The segment at a place, if it is a hole of `span`.
    #[inline]
    fn hole_beside(&self, at: Option<Cursor>, span: Id<Span>) -> Option<Segment> {
        let segment = self.segments.segment(at?);
        (segment.is_hole() && segment.span == span).then_some(segment)
    }

    /// Replaces a segment and the holes beside it by one hole.
    #[inline]
    fn coalesce(
        &mut self,
        path: &Path,
        segment: Segment,
        beside: [Option<Segment>; 2],
        hole: Segment,
    ) {
        let lefts = usize::from(beside[0].is_some());
        let count = 1 + lefts + usize::from(beside[1].is_some());
        match path.back(lefts) {
            Some(path) if self.segments.in_one_leaf(&path, count) => {
                self.segments.splice(&path, count, &[hole]);
            }
            _ => self.coalesce_across(segment, beside, hole),
        }
    }

    /// Merges segments that stand in more than one leaf: all but the first go one by one, then the first becomes the
    /// hole.
    #[cold]
    fn coalesce_across(
        &mut self,
        segment: Segment,
        [left, right]: [Option<Segment>; 2],
        hole: Segment,
    ) {
        let gone = [right, left.map(|_| segment)];
        for segment in gone.into_iter().flatten() {
            if let Some(path) = self.segments.locate(segment.start) {
                self.segments.splice(&path, 1, &[]);
            }
        }
        if let Some(path) = self.segments.locate(hole.start) {
            self.segments.splice(&path, 1, &[hole]);
        }
    }

    /// Makes the block at `address` `size` bytes long without moving it: what it gives up joins the hole behind it,
    /// what it gains comes from there. Returns whether there was room; nothing has changed if not. The caller has
    /// reserved one change. O(log n).
    pub(crate) fn resize(&mut self, address: usize, size: usize) -> Result<bool, NotABlock> {
        let (path, block) = self.block_at(address, None)?;
        Ok(self.resize_segment(path, block, Extent::block(size)))
    }

    /// Makes the kept block at `start` another size where it is, if there is room.
    pub(crate) fn resize_kept(&mut self, start: usize, size: usize) -> bool {
        let Some(path) = self.segments.locate(start) else { return false };
        let block = self.segments.segment(path.cursor());
        debug_law!(block.start == start && block.extent.is_kept(), "a kept block");
        self.resize_segment(path, block, Extent::kept(size))
    }

    fn resize_segment(&mut self, mut path: Path, block: Segment, extent: Extent) -> bool {
        let size = extent.size();
        debug_law!(size > 0 && size.is_multiple_of(self.units.granule), "L8");
        let right = self.hole_beside(self.segments.next(path.cursor()), block.span);
        let end = right.map_or(block.end(), |right| right.end());
        if size > end - block.start {
            return false;
        }
        let mut removed = 1 + usize::from(right.is_some());
        if let Some(right) = right
            && !self.segments.in_one_leaf(&path, removed)
        {
            if let Some(path) = self.segments.locate(right.start) {
                self.segments.splice(&path, 1, &[]);
            }
            let Some(again) = self.segments.locate(block.start) else { return false };
            (path, removed) = (again, 1);
        }
        let block_after = Segment { extent, ..block };
        let is_clean =
            right.is_some_and(|right| right.extent.is_clean_hole()) && size >= block.size();
        let rest = Segment {
            start: block_after.end(),
            extent: Extent::hole(end - block_after.end()).with_clean(is_clean),
            span: block.span,
        };
        let all = [block_after, rest];
        let parts = if rest.size() > 0 { &all[..] } else { &all[..1] };
        self.segments.splice(&path, removed, parts);
        if let Some(right) = right {
            self.account(block.span, &[right], &[]);
        }
        let span = self.account(block.span, &[block], parts);
        span.fresh = span.fresh.max(block_after.end());
        true
    }
}
