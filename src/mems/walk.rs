//! Walking a [`Mems`]: spans in chain order, segments in address order, both from either end.

use core::ptr::NonNull;

use super::heap::{Mems, VirtAddr};
use crate::base::addr;
use crate::base::os::Os;
use crate::chain::free_list::FreeList;
use crate::chain::index::Cursor;
use crate::chain::node_arena::Id;
use crate::chain::segment::SegmentKind;
use crate::chain::span::Span;

/// A span of the main chain.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MemsSpan<'a> {
    list: &'a FreeList,
    id: Id<Span>,
    /// Its first address.
    pub start: VirtAddr,
    /// Where its first byte is in memory.
    pub physical: Option<NonNull<u8>>,
    /// Its length in units of the heap's page size.
    pub pages: usize,
    /// Its length in bytes.
    pub size: usize,
    /// Bytes of its PROCESS segments.
    pub used: usize,
    /// Bytes of its holes.
    pub free: usize,
    /// Segments of its sub chain.
    pub segment_count: usize,
}

impl<'a> MemsSpan<'a> {
    fn new(list: &'a FreeList, id: Id<Span>, page_size: usize) -> Self {
        let span = list.span(id);
        Self {
            list,
            id,
            start: VirtAddr(span.start),
            physical: addr::pointer(span.base),
            pages: span.len / page_size,
            size: span.len,
            used: span.used,
            free: span.len - span.used,
            segment_count: span.segment_count,
        }
    }

    /// Its last address.
    #[must_use]
    pub fn last(&self) -> VirtAddr {
        VirtAddr(self.start.0 + self.size - 1)
    }

    /// The segments of its sub chain, in address order. O(log n) to begin, O(1) a step.
    #[must_use]
    pub fn segments(&self) -> MemsSegments<'a> {
        MemsSegments {
            list: self.list,
            span: self.id,
            front: self.list.cursor_at(self.start.0),
            back: self.list.cursor_at(self.last().0),
            remaining: self.segment_count,
        }
    }
}

/// The spans of a heap, in chain order.
#[derive(Clone, Debug)]
pub struct MemsSpans<'a> {
    list: &'a FreeList,
    page_size: usize,
    front: Id<Span>,
    back: Id<Span>,
    remaining: usize,
}

impl<'a> Iterator for MemsSpans<'a> {
    type Item = MemsSpan<'a>;

    fn next(&mut self) -> Option<MemsSpan<'a>> {
        self.remaining = self.remaining.checked_sub(1)?;
        let id = self.front;
        self.front = self.list.span(id).next;
        Some(MemsSpan::new(self.list, id, self.page_size))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl DoubleEndedIterator for MemsSpans<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        let id = self.back;
        self.back = self.list.span(id).prev;
        Some(MemsSpan::new(self.list, id, self.page_size))
    }
}

impl ExactSizeIterator for MemsSpans<'_> {}

/// A segment of a sub chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemsSegment {
    /// Its size in bytes.
    pub size: usize,
    /// PROCESS or HOLE.
    pub kind: SegmentKind,
    /// Its first address.
    pub start: VirtAddr,
    /// Where its first byte is in memory.
    pub physical: Option<NonNull<u8>>,
}

impl MemsSegment {
    /// Its last address.
    #[must_use]
    pub fn last(&self) -> VirtAddr {
        VirtAddr(self.start.0 + self.size - 1)
    }
}

/// The segments of a span, in address order.
#[derive(Clone, Debug)]
pub struct MemsSegments<'a> {
    list: &'a FreeList,
    span: Id<Span>,
    front: Option<Cursor>,
    back: Option<Cursor>,
    remaining: usize,
}

impl MemsSegments<'_> {
    fn segment(&self, at: Cursor) -> MemsSegment {
        let segment = self.list.segment(at);
        MemsSegment {
            size: segment.size(),
            kind: segment.kind(),
            start: VirtAddr(segment.start),
            physical: addr::pointer(self.list.memory_of(self.span, segment.start)),
        }
    }
}

impl Iterator for MemsSegments<'_> {
    type Item = MemsSegment;

    fn next(&mut self) -> Option<MemsSegment> {
        self.remaining = self.remaining.checked_sub(1)?;
        let at = self.front?;
        self.front = self.list.next(at);
        Some(self.segment(at))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl DoubleEndedIterator for MemsSegments<'_> {
    fn next_back(&mut self) -> Option<MemsSegment> {
        self.remaining = self.remaining.checked_sub(1)?;
        let at = self.back?;
        self.back = self.list.prev(at);
        Some(self.segment(at))
    }
}

impl ExactSizeIterator for MemsSegments<'_> {}

impl<O: Os> Mems<O> {
    /// The spans in chain order, which is the order of their addresses. O(1) a step, in both directions.
    #[must_use]
    pub fn spans(&self) -> MemsSpans<'_> {
        MemsSpans {
            list: &self.list,
            page_size: self.page_size,
            front: self.list.first_span(),
            back: self.list.last_span(),
            remaining: self.list.totals().span_count,
        }
    }

    /// All segments of all spans, in address order.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = MemsSegment> + '_ {
        self.spans().flat_map(|span| span.segments())
    }
}
