//! Walking a [`Heap`]: spans, segments, blocks, and the one segment that has an address.
//!
//! A walk copies a few segments at a time under the lock and hands them out without it, so the walking thread may
//! allocate, and other threads go on. What it guarantees: every block that is live during the whole walk is seen
//! exactly once; one that comes or goes meanwhile may be seen or not; nothing is seen twice.

use core::fmt;

use super::handle::Heap;
use super::root::Root;
use crate::base::os::Os;
use crate::chain::node_arena::Id;
use crate::chain::segment::{Extent, Segment, SegmentKind};
use crate::chain::span::Span;

/// Segments copied under one hold of the lock.
const BATCH: usize = 32;

/// A span of a heap, as it was a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapSpan {
    /// Its first address.
    pub start: usize,
    /// Its size in bytes.
    pub size: usize,
    /// Bytes of its blocks.
    pub used: usize,
    /// Bytes of its holes.
    pub free: usize,
    /// Segments in it, a count.
    pub segment_count: usize,
}

/// A segment of a heap, as it was a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapSegment {
    /// Its first address.
    pub start: usize,
    /// Its size in bytes.
    pub size: usize,
    /// Whether it is a block or a hole.
    pub kind: SegmentKind,
}

impl HeapSegment {
    /// What a walk shows of it that has come to `next`. What begins before that took its shape while the walk passed:
    /// of a hole the part behind is shown, a block has not lived during the whole walk.
    pub(crate) fn shown_from(self, next: usize) -> Option<Self> {
        let end = self.start + self.size;
        let start = self.start.max(next);
        let is_shown = start < end && (start == self.start || self.kind == SegmentKind::Hole);
        is_shown.then_some(Self { start, size: end.saturating_sub(start), kind: self.kind })
    }
}

impl From<Segment> for HeapSegment {
    fn from(segment: Segment) -> Self {
        Self { start: segment.start, size: segment.size(), kind: segment.kind() }
    }
}

/// A live block, as it was a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block {
    /// Its first address.
    pub start: usize,
    /// Its size in bytes, a multiple of 8.
    pub size: usize,
}

/// What a heap has at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// A byte of this live block.
    Block(Block),
    /// A byte of this hole.
    Hole(HeapSegment),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(Block { start, size }) => {
                write!(f, "a block of {size} bytes at {start:#x}")
            }
            Self::Hole(hole) => write!(f, "a hole of {} bytes at {:#x}", hole.size, hole.start),
        }
    }
}

/// The segments of a heap, in address order.
pub struct HeapSegments<'heap> {
    root: Option<&'heap Root>,
    batch: [Segment; BATCH],
    len: usize,
    taken: usize,
    next: usize,
}

impl fmt::Debug for HeapSegments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapSegments").field("next", &self.next).finish_non_exhaustive()
    }
}

impl HeapSegments<'_> {
    /// The next segment, and what the free list knows of it beside start and size.
    pub(crate) fn next_with_extent(&mut self) -> Option<(HeapSegment, Extent)> {
        loop {
            if self.taken == self.len {
                let root = self.root?;
                self.len = root.chains.lock().list.copy_segments(self.next, &mut self.batch);
                self.taken = 0;
            }
            if self.len == 0 {
                self.root = None;
            }
            let segment = *self.batch.get(..self.len)?.get(self.taken)?;
            self.taken += 1;
            let shown = HeapSegment::from(segment).shown_from(self.next);
            self.next = self.next.max(segment.end());
            if let Some(shown) = shown {
                return Some((shown, segment.extent));
            }
        }
    }
}

impl Iterator for HeapSegments<'_> {
    type Item = HeapSegment;

    fn next(&mut self) -> Option<HeapSegment> {
        self.next_with_extent().map(|(segment, _)| segment)
    }
}

/// The live blocks of a heap, in address order.
#[derive(Debug)]
pub struct HeapBlocks<'heap>(HeapSegments<'heap>);

impl Iterator for HeapBlocks<'_> {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        let block = self.0.find(|segment| segment.kind == SegmentKind::Block)?;
        Some(Block { start: block.start, size: block.size })
    }
}

/// The spans of a heap, in address order.
#[derive(Debug)]
pub struct HeapSpans<'heap> {
    root: Option<&'heap Root>,
    next: usize,
}

impl HeapSpans<'_> {
    /// The next span, as the free list has it.
    pub(crate) fn next_node(&mut self) -> Option<Span> {
        let chains = self.root?.chains.lock();
        let span = *chains.list.span(chains.list.span_from(self.next)?);
        self.next = span.end();
        Some(span)
    }
}

impl Iterator for HeapSpans<'_> {
    type Item = HeapSpan;

    fn next(&mut self) -> Option<HeapSpan> {
        let span = self.next_node()?;
        Some(HeapSpan {
            start: span.start,
            size: span.len,
            used: span.used,
            free: span.len - span.used,
            segment_count: span.segment_count,
        })
    }
}

impl<O: Os> Heap<O> {
    /// The spans, in address order. O(log n) a step.
    #[must_use]
    pub fn spans(&self) -> HeapSpans<'_> {
        HeapSpans { root: self.root(), next: 0 }
    }

    /// The segments of all spans, in address order. O(1) a step on average.
    #[must_use]
    pub fn segments(&self) -> HeapSegments<'_> {
        self.segments_from(0)
    }

    /// The segments from the one that has `address`, or the first behind it.
    #[must_use]
    pub fn segments_from(&self, address: usize) -> HeapSegments<'_> {
        let batch = [Segment::hole(0, 0, Id::NONE); BATCH];
        let root = self.root();
        let holder = root.and_then(|root| root.chains.lock().list.find(address));
        let next = holder.map_or(address, |segment| segment.start);
        HeapSegments { root, batch, len: 0, taken: 0, next }
    }

    /// The live blocks, in address order. O(1) a step on average.
    #[must_use]
    pub fn blocks(&self) -> HeapBlocks<'_> {
        HeapBlocks(self.segments())
    }

    /// The block or hole that has the byte at `pointer`, or `None` if that is not memory of this heap. The pointer is
    /// not dereferenced. O(log n).
    #[must_use]
    pub fn find(&self, pointer: *const u8) -> Option<Found> {
        self.find_address(pointer.addr())
    }

    /// The block or hole that has the byte at an address, given as a number.
    pub(crate) fn find_address(&self, address: usize) -> Option<Found> {
        let segment = self.root()?.chains.lock().list.find(address)?;
        Some(match segment.kind() {
            SegmentKind::Block => {
                Found::Block(Block { start: segment.start, size: segment.size() })
            }
            SegmentKind::Hole => Found::Hole(segment.into()),
        })
    }
}
