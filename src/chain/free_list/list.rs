//! The free list: the main chain of spans, each with its sub chain of segments, and the verbs that keep their laws.
//!
//! Owns: which bytes are handed out. One type serves both heaps of MeMS; they differ in the granule, in where spans
//! come from, and in when they go. A free list maps nothing and takes no lock: its owner does, and hands it a
//! [`ChunkSource`] where nodes may have to be made.
//!
//! Invariants: **L1** segments tile their span without gap or overlap; **L2** no two neighbouring segments of a span
//! are both holes; **L3** a segment never crosses a span; **L7** every verb that adds nodes is preceded by
//! [`FreeList::reserve`] and cannot fail half-way; **L8** sizes and starts are multiples of the granule.
//!
//! Complexity: every verb is O(log n) in the number of segments, with one descent of the index and one walk back up;
//! one verb in as many as a leaf has entries meets a neighbour in another leaf and descends once more.

use super::super::index::{Cursor, Index};
use super::super::node_arena::{ChunkSource, Id, NodeArena};
use super::super::segment::Segment;
use super::super::span::Span;
use crate::base::os::OutOfMemory;
use crate::base::round::align_down;

/// Sums over all spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) span_count: usize,
    pub(crate) span_bytes: usize,
    pub(crate) segment_count: usize,
    pub(crate) block_count: usize,
    pub(crate) block_bytes: usize,
    /// Bytes of whole pages inside holes.
    pub(crate) hole_page_bytes: usize,
    /// Bytes of whole pages inside clean holes.
    pub(crate) clean_page_bytes: usize,
}

impl Totals {
    /// The sums of nothing, for constants.
    const NONE: Self = Self {
        span_count: 0,
        span_bytes: 0,
        segment_count: 0,
        block_count: 0,
        block_bytes: 0,
        hole_page_bytes: 0,
        clean_page_bytes: 0,
    };

    /// Holes of all sub chains.
    pub(crate) const fn hole_count(&self) -> usize {
        self.segment_count - self.block_count
    }

    /// Bytes of all holes.
    pub(crate) const fn hole_bytes(&self) -> usize {
        self.span_bytes - self.block_bytes
    }
}

/// What a free list is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Units {
    /// The power of two that divides every size and start.
    pub(crate) granule: usize,
    /// The unit in which memory is resident or not, a power of two.
    pub(crate) page: usize,
}

/// How many nodes the verbs that follow may need at the most: see [`FreeList::reserve`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nodes {
    /// Spans that are created.
    pub(super) spans: usize,
    /// Other verbs, each of which replaces segments by more of them in one place.
    pub(super) changes: usize,
}

impl Nodes {
    /// A block is handed out, or changes its size: one hole becomes a block with a hole on either side at the most.
    pub(crate) const CHANGE: Self = Self { spans: 0, changes: 1 };
    /// Room comes, as a span or at the end of one, which takes as many segments, and then there is a change in it.
    pub(crate) const ROOM_AND_CHANGE: Self = Self { spans: 1, changes: 1 };
}

/// What a replacement of segments adds to the sums.
#[derive(Default)]
struct Change {
    block_bytes: isize,
    blocks: isize,
    hole_page_bytes: isize,
    clean_page_bytes: isize,
}

impl Change {
    /// Counts one segment, `sign` times.
    #[inline]
    fn add(&mut self, page: usize, segment: &Segment, sign: isize) {
        if segment.is_hole() {
            let pages = sign * page_bytes(page, segment.start, segment.end()).cast_signed();
            self.hole_page_bytes += pages;
            if segment.extent.is_clean_hole() {
                self.clean_page_bytes += pages;
            }
        } else if segment.is_block() {
            self.block_bytes += sign * segment.size().cast_signed();
            self.blocks += sign;
        }
    }
}

/// Bytes of the whole pages between two addresses, both below the top half of all numbers.
#[inline]
pub(super) fn page_bytes(page: usize, start: usize, end: usize) -> usize {
    align_down(end, page).saturating_sub(align_down(start.wrapping_add(page - 1), page))
}

/// Spans and segments.
#[derive(Debug)]
pub(crate) struct FreeList {
    pub(super) units: Units,
    pub(super) spans: NodeArena<Span>,
    pub(super) segments: Index,
    pub(super) first_span: Id<Span>,
    pub(super) last_span: Id<Span>,
    pub(super) totals: Totals,
}

impl FreeList {
    /// An empty free list without memory.
    pub(crate) const fn new(units: Units) -> Self {
        Self {
            units,
            spans: NodeArena::new(),
            segments: Index::new(),
            first_span: Id::NONE,
            last_span: Id::NONE,
            totals: Totals::NONE,
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

    /// Makes sure that the verbs that follow find all the nodes they need (L7).
    #[inline]
    pub(crate) fn reserve(
        &mut self,
        nodes: Nodes,
        source: &mut dyn ChunkSource,
    ) -> Result<(), OutOfMemory> {
        self.spans.reserve(nodes.spans, source)?;
        self.segments.reserve(nodes.spans + nodes.changes, source)
    }

    /// Makes sure that blocks which come and go find nodes without further memory, as long as no room comes.
    pub(crate) fn reserve_spare(
        &mut self,
        source: &mut dyn ChunkSource,
    ) -> Result<(), OutOfMemory> {
        self.segments.reserve_spare(source)
    }

    /// Gives the nodes' memory back; the free list is as new. The spans' memory is the owner's affair.
    pub(crate) fn release_nodes(&mut self, source: &mut dyn ChunkSource) {
        self.spans.release(source);
        self.segments.release(source);
        *self = Self::new(self.units);
    }

    /// Brings the sums up to date after the segments `gone` of a span were replaced by `come`; returns the span.
    #[inline]
    pub(super) fn account(
        &mut self,
        id: Id<Span>,
        gone: &[Segment],
        come: &[Segment],
    ) -> &mut Span {
        let mut more = Change::default();
        for segment in gone {
            more.add(self.units.page, segment, -1);
        }
        for segment in come {
            more.add(self.units.page, segment, 1);
        }
        let add = |sum: &mut usize, more: isize| *sum = sum.wrapping_add_signed(more);
        let segments = come.len().cast_signed() - gone.len().cast_signed();
        add(&mut self.totals.segment_count, segments);
        add(&mut self.totals.block_bytes, more.block_bytes);
        add(&mut self.totals.block_count, more.blocks);
        add(&mut self.totals.hole_page_bytes, more.hole_page_bytes);
        add(&mut self.totals.clean_page_bytes, more.clean_page_bytes);
        let span = self.spans.get_mut(id);
        add(&mut span.segment_count, segments);
        add(&mut span.used, more.block_bytes);
        span
    }

    /// The place of the segment that has `address`.
    pub(crate) fn cursor_at(&self, address: usize) -> Option<Cursor> {
        let path = self.segments.locate(address)?;
        self.segments.segment(path.cursor()).contains(address).then(|| path.cursor())
    }

    /// Where a block ends, or the hole behind it. O(log n).
    pub(crate) fn end_with_hole(&self, block: Segment) -> usize {
        let behind = self.find(block.end());
        let hole = behind.filter(|behind| behind.is_hole() && behind.span == block.span);
        hole.map_or(block.end(), |hole| hole.end())
    }

    /// The place of the last segment that starts below `address`. O(log n).
    pub(crate) fn last_below(&self, address: usize) -> Option<Cursor> {
        self.segments.locate(address.checked_sub(1)?).map(|path| path.cursor())
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

    /// Copies segments, from the one that has `address` or the first behind it, into `out`; returns how many.
    /// O(log n + number).
    pub(crate) fn copy_segments(&self, address: usize, out: &mut [Segment]) -> usize {
        let mut at = match self.segments.locate(address).map(|path| path.cursor()) {
            Some(here) if self.segment(here).contains(address) => Some(here),
            Some(before) => self.next(before),
            None => self.segments.first(),
        };
        let mut count = 0;
        for slot in out {
            let Some(here) = at else { break };
            *slot = self.segment(here);
            count += 1;
            at = self.next(here);
        }
        count
    }

    /// The first span that starts at or behind `address`. O(log n).
    pub(crate) fn span_from(&self, address: usize) -> Option<Id<Span>> {
        let Some(path) = self.segments.locate(address) else { return self.first_span.some() };
        let id = self.segments.segment(path.cursor()).span;
        let span = self.spans.get(id);
        if span.start >= address { Some(id) } else { span.next.some() }
    }
}
