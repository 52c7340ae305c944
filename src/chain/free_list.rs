//! The free list: the main chain of spans, each with its sub chain of segments, and the verbs that keep their laws.
//!
//! Owns: which bytes are handed out. One type serves both heaps of MeMS; they differ in the granule, in where spans come
//! from, and in when they go. A free list maps nothing and takes no lock: its owner does, and hands it a
//! [`ChunkSource`] where nodes may have to be made.
//!
//! Invariants: **L1** segments tile their span without gap or overlap; **L2** no two neighbouring segments of a span
//! are both holes; **L3** a segment never crosses a span; **L7** every verb that adds nodes is preceded by
//! [`FreeList::reserve`] and cannot fail half-way; **L8** sizes and starts are multiples of the granule.
//!
//! Complexity: every verb is O(log n) in the number of segments, with one descent of the index and one walk back up;
//! one verb in [`FANOUT`](super::order::FANOUT) meets a neighbour in another leaf and descends once more.

use super::node_arena::{ChunkSource, Id, NodeArena};
use super::order::{Cursor, Order, Path};
use super::segment::{Extent, Segment};
use super::span::Span;
use crate::base::law::BrokenLaw;
use crate::base::os::OutOfMemory;
use crate::base::round::align_up;

/// Sums over all spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) span_count: usize,
    pub(crate) span_bytes: usize,
    pub(crate) segment_count: usize,
    pub(crate) process_count: usize,
    pub(crate) process_bytes: usize,
}

impl Totals {
    /// Holes of all sub chains.
    pub(crate) const fn hole_count(&self) -> usize {
        self.segment_count - self.process_count
    }

    /// Bytes of all holes.
    pub(crate) const fn hole_bytes(&self) -> usize {
        self.span_bytes - self.process_bytes
    }
}

/// Spans and segments.
#[derive(Debug)]
pub(crate) struct FreeList {
    anchor: usize,
    granule: usize,
    spans: NodeArena<Span>,
    segments: Order,
    first_span: Id<Span>,
    last_span: Id<Span>,
    totals: Totals,
}

/// A block that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Its first address.
    pub(crate) start: usize,
    /// Where that byte is in memory.
    pub(crate) memory: usize,
    /// Whether none of its bytes was ever handed out before.
    pub(crate) is_fresh: bool,
}

/// Why an address is not that of a live block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotABlock {
    /// No span has it.
    Outside,
    /// It lies in a hole.
    InHole(Segment),
    /// It lies in a block, but not at its start.
    Interior(Segment),
    /// It is the start of a block of another size.
    OtherSize(Segment),
}

impl FreeList {
    /// An empty free list without memory. `granule` is a power of two that divides every size; `anchor` is what
    /// spans' bases are counted from.
    pub(crate) const fn new(granule: usize, anchor: usize) -> Self {
        Self {
            anchor,
            granule,
            spans: NodeArena::new(anchor),
            segments: Order::new(anchor),
            first_span: Id::NONE,
            last_span: Id::NONE,
            totals: Totals {
                span_count: 0,
                span_bytes: 0,
                segment_count: 0,
                process_count: 0,
                process_bytes: 0,
            },
        }
    }

    /// Sums over all spans. O(1).
    pub(crate) const fn totals(&self) -> Totals {
        self.totals
    }

    /// Bytes that nodes take.
    pub(crate) fn metadata_bytes(&self) -> usize {
        self.spans.mapped_bytes() + self.segments.mapped_bytes()
    }

    /// The largest hole, in bytes.
    pub(crate) fn largest_hole(&self) -> usize {
        self.segments.largest_hole()
    }

    /// Makes sure that the next `spans` span creations and `changes` other verbs find all the nodes they need (L7).
    #[inline]
    pub(crate) fn reserve(
        &mut self,
        spans: usize,
        changes: usize,
        source: &mut dyn ChunkSource,
    ) -> Result<(), OutOfMemory> {
        self.spans.reserve(spans, source)?;
        self.segments.reserve(spans + changes, source)
    }

    /// Gives the nodes' memory back; the free list is as new. The spans' memory is the owner's affair.
    pub(crate) fn release_nodes(&mut self, source: &mut dyn ChunkSource) {
        self.spans.release(source);
        self.segments.release(source);
        *self = Self::new(self.granule, self.anchor);
    }

    // ---- spans -------------------------------------------------------------------------------------------------

    /// Enters a span of `len` bytes at `start`, all hole, whose first byte is `base` bytes behind the anchor. It
    /// takes its place in the chain by address. The caller has reserved one span.
    pub(crate) fn span_create(&mut self, start: usize, len: usize, base: usize) -> Id<Span> {
        debug_assert!(len > 0 && len.is_multiple_of(self.granule), "L8");
        let before = self.segments.locate(start);
        let prev = before.map_or(Id::NONE, |path| self.segments.segment(path.cursor()).span);
        let next = match prev.some() {
            Some(prev) => self.spans.get(prev).next,
            None => self.first_span,
        };
        let id = self.spans.create(Span {
            start,
            len,
            base,
            used: 0,
            segment_count: 1,
            fresh: start,
            prev,
            next,
        });
        match prev.some() {
            Some(prev) => self.spans.get_mut(prev).next = id,
            None => self.first_span = id,
        }
        match next.some() {
            Some(next) => self.spans.get_mut(next).prev = id,
            None => self.last_span = id,
        }
        let hole = Segment::hole(start, len, id);
        match before {
            Some(path) => self.segments.insert_behind(&path, &[hole]),
            None if self.totals.span_count == 0 => self.segments.insert_first(hole),
            None => self.segments.insert_in_front(hole),
        }
        self.totals.span_count += 1;
        self.totals.span_bytes += len;
        self.totals.segment_count += 1;
        id
    }

    /// Lengthens a span by `extra` bytes of hole. The caller has reserved one change.
    pub(crate) fn span_extend(&mut self, id: Id<Span>, extra: usize) {
        debug_assert!(extra > 0 && extra.is_multiple_of(self.granule), "L8");
        let end = self.spans.get(id).end();
        let Some(path) = self.segments.locate(end - 1) else { return };
        let last = self.segments.segment(path.cursor());
        if last.is_hole() {
            let extent = Extent::hole(last.size() + extra);
            self.segments.splice(&path, 1, &[Segment { extent, ..last }]);
        } else {
            self.segments.insert_behind(&path, &[Segment::hole(end, extra, id)]);
            self.count_segments(id, 1);
        }
        self.spans.get_mut(id).len += extra;
        self.totals.span_bytes += extra;
    }

    /// Takes a span that is all hole out of the chain. What its memory becomes is the owner's affair.
    pub(crate) fn span_destroy(&mut self, id: Id<Span>) {
        let Span { start, len, prev, next, segment_count, used, .. } = *self.spans.get(id);
        debug_assert!(used == 0 && segment_count == 1, "only a span that is all hole goes");
        let Some(path) = self.segments.locate(start) else { return };
        self.segments.splice(&path, 1, &[]);
        match prev.some() {
            Some(prev) => self.spans.get_mut(prev).next = next,
            None => self.first_span = next,
        }
        match next.some() {
            Some(next) => self.spans.get_mut(next).prev = prev,
            None => self.last_span = prev,
        }
        self.spans.destroy(id);
        self.totals.span_count -= 1;
        self.totals.span_bytes -= len;
        self.totals.segment_count -= 1;
    }

    /// A span's facts.
    #[inline]
    pub(crate) fn span(&self, id: Id<Span>) -> &Span {
        self.spans.get(id)
    }

    /// The first span of the chain.
    pub(crate) const fn first_span(&self) -> Id<Span> {
        self.first_span
    }

    /// The last span of the chain.
    pub(crate) const fn last_span(&self) -> Id<Span> {
        self.last_span
    }

    /// Where the byte at `address` of a span is in memory.
    #[inline]
    pub(crate) fn memory_of(&self, span: Id<Span>, address: usize) -> usize {
        self.anchor.wrapping_add(self.spans.get(span).offset_of(address))
    }

    /// Says that the bytes of a span from `address` on are as fresh as if they had never been handed out.
    pub(crate) fn span_refresh(&mut self, id: Id<Span>, address: usize) {
        let span = self.spans.get_mut(id);
        span.fresh = span.fresh.min(address);
    }

    // ---- blocks ------------------------------------------------------------------------------------------------

    /// Hands out the front of the first hole, in address order, that has room for `size` bytes at a memory address
    /// aligned to `align`; the padding in front of it and the remainder behind it stay holes. The caller has reserved
    /// one change. O(log n).
    #[inline]
    pub(crate) fn allocate(&mut self, size: usize, align: usize) -> Option<Block> {
        debug_assert!(size > 0 && size.is_multiple_of(self.granule), "L8");
        let slack = align.saturating_sub(self.granule);
        let path = self.segments.first_fit(size.checked_add(slack)?)?;
        let hole = self.segments.segment(path.cursor());
        let memory = self.memory_of(hole.span, hole.start);
        let padding = if slack == 0 { 0 } else { align_up(memory, align)?.wrapping_sub(memory) };
        let start = hole.start + padding;
        self.carve(&path, hole, start, size);
        let span = self.spans.get_mut(hole.span);
        let is_fresh = start >= span.fresh;
        span.fresh = span.fresh.max(start + size);
        Some(Block { start, memory: memory.wrapping_add(padding), is_fresh })
    }

    /// Makes `size` bytes at `start` of a hole a block.
    #[inline]
    fn carve(&mut self, path: &Path, hole: Segment, start: usize, size: usize) {
        debug_assert!(hole.start <= start && start + size <= hole.end(), "a block fits its hole");
        let Segment { span, .. } = hole;
        let front = Segment::hole(hole.start, start - hole.start, span);
        let block = Segment::process(start, size, span);
        let back = Segment::hole(block.end(), hole.end() - block.end(), span);
        match (front.size() > 0, back.size() > 0) {
            (false, false) => self.segments.splice(path, 1, &[block]),
            (false, true) => self.segments.splice(path, 1, &[block, back]),
            (true, false) => self.segments.splice(path, 1, &[front, block]),
            (true, true) => self.segments.splice(path, 1, &[front, block, back]),
        }
        self.count_segments(span, isize::from(front.size() > 0) + isize::from(back.size() > 0));
        self.count_process(span, size.cast_signed(), 1);
    }

    /// The segment that has `address`, if a span does. O(log n).
    #[inline]
    pub(crate) fn find(&self, address: usize) -> Option<Segment> {
        self.segments.find(address).filter(|segment| segment.contains(address))
    }

    /// The way to the block that starts at `address`, which has `size` bytes where that is given.
    #[inline]
    fn block_at(&self, address: usize, size: Option<usize>) -> Result<(Path, Segment), NotABlock> {
        let path = self.segments.locate(address).ok_or(NotABlock::Outside)?;
        let segment = self.segments.segment(path.cursor());
        if !segment.contains(address) {
            Err(NotABlock::Outside)
        } else if segment.is_hole() {
            Err(NotABlock::InHole(segment))
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
        let left = self.hole_beside(self.segments.prev(path.cursor()), block.span);
        let right = self.hole_beside(self.segments.next(path.cursor()), block.span);
        let hole = self.coalesce(&path, block, left, right);
        let merged = isize::from(left.is_some()) + isize::from(right.is_some());
        self.count_segments(block.span, -merged);
        self.count_process(block.span, -block.size().cast_signed(), -1);
        Ok(hole)
    }

    /// The segment at a place, if it is a hole of `span`.
    #[inline]
    fn hole_beside(&self, at: Option<Cursor>, span: Id<Span>) -> Option<Segment> {
        let segment = self.segments.segment(at?);
        (segment.is_hole() && segment.span == span).then_some(segment)
    }

    /// Replaces a block and the holes beside it by one hole.
    #[inline]
    fn coalesce(
        &mut self,
        path: &Path,
        block: Segment,
        left: Option<Segment>,
        right: Option<Segment>,
    ) -> Segment {
        let start = left.map_or(block.start, |left| left.start);
        let end = right.map_or(block.end(), |right| right.end());
        let hole = Segment::hole(start, end - start, block.span);
        let lefts = usize::from(left.is_some());
        let count = 1 + lefts + usize::from(right.is_some());
        match path.back(lefts) {
            Some(path) if self.segments.in_one_leaf(&path, count) => {
                self.segments.splice(&path, count, &[hole]);
            }
            _ => self.coalesce_across(block, left, right, hole),
        }
        hole
    }

    /// As [`FreeList::coalesce`], where the segments stand in more than one leaf: all but the first go one by one,
    /// then the first becomes the hole.
    #[cold]
    fn coalesce_across(
        &mut self,
        block: Segment,
        left: Option<Segment>,
        right: Option<Segment>,
        hole: Segment,
    ) {
        let gone = [right, left.map(|_| block)];
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
        debug_assert!(size > 0 && size.is_multiple_of(self.granule), "L8");
        let (mut path, block) = self.block_at(address, None)?;
        let right = self.hole_beside(self.segments.next(path.cursor()), block.span);
        let end = right.map_or(block.end(), |right| right.end());
        if size > end - block.start {
            return Ok(false);
        }
        let mut removed = 1 + usize::from(right.is_some());
        if let Some(right) = right
            && !self.segments.in_one_leaf(&path, removed)
        {
            if let Some(path) = self.segments.locate(right.start) {
                self.segments.splice(&path, 1, &[]);
            }
            (path, _) = self.block_at(address, None)?;
            removed = 1;
        }
        let block_after = Segment::process(address, size, block.span);
        let rest = Segment::hole(block_after.end(), end - block_after.end(), block.span);
        if rest.size() > 0 {
            self.segments.splice(&path, removed, &[block_after, rest]);
        } else {
            self.segments.splice(&path, removed, &[block_after]);
        }
        self.count_segments(
            block.span,
            isize::from(rest.size() > 0) - isize::from(right.is_some()),
        );
        self.count_process(block.span, size.cast_signed() - block.size().cast_signed(), 0);
        let span = self.spans.get_mut(block.span);
        span.fresh = span.fresh.max(block_after.end());
        Ok(true)
    }

    #[inline]
    fn count_segments(&mut self, span: Id<Span>, more: isize) {
        let span = self.spans.get_mut(span);
        span.segment_count = span.segment_count.wrapping_add_signed(more);
        self.totals.segment_count = self.totals.segment_count.wrapping_add_signed(more);
    }

    #[inline]
    fn count_process(&mut self, span: Id<Span>, bytes: isize, blocks: isize) {
        let span = self.spans.get_mut(span);
        span.used = span.used.wrapping_add_signed(bytes);
        self.totals.process_bytes = self.totals.process_bytes.wrapping_add_signed(bytes);
        self.totals.process_count = self.totals.process_count.wrapping_add_signed(blocks);
    }

    // ---- walking -----------------------------------------------------------------------------------------------

    /// The place of the segment that has `address`.
    pub(crate) fn cursor_at(&self, address: usize) -> Option<Cursor> {
        let path = self.segments.locate(address)?;
        self.segments.segment(path.cursor()).contains(address).then(|| path.cursor())
    }

    /// The segment at a place.
    pub(crate) fn segment(&self, at: Cursor) -> Segment {
        self.segments.segment(at)
    }

    /// The place behind.
    pub(crate) fn next(&self, at: Cursor) -> Option<Cursor> {
        self.segments.next(at)
    }

    /// The place in front.
    pub(crate) fn prev(&self, at: Cursor) -> Option<Cursor> {
        self.segments.prev(at)
    }

    /// Checks all laws. O(n).
    pub(crate) fn check(&self) -> Result<(), BrokenLaw> {
        self.segments.check()?;
        super::check::check_chains(self, self.spans.live_count())
    }

    /// The place of the first segment, the granule: what [`check`](super::check) needs beside the verbs.
    pub(super) fn beginning(&self) -> (Option<Cursor>, usize) {
        (self.segments.first(), self.granule)
    }
}

#[cfg(test)]
mod tests;
