//! The sums of a [`Mems`], and the text in which the original prints them.

use core::fmt::{self, Display, Write};

use super::heap::Mems;
use super::walk::MemsSegment;
use crate::base::os::Os;
use crate::chain::segment::SegmentKind;
use crate::report;

/// The sums of a heap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemsStats {
    /// Pages of all spans, in units of the heap's page size, free ones included.
    pub pages_used: usize,
    /// Bytes of all spans.
    pub mapped: usize,
    /// Bytes of all blocks.
    pub allocated: usize,
    /// Bytes of all holes.
    pub free: usize,
    /// Spans, a count.
    pub spans: usize,
    /// Segments of all spans, a count.
    pub segments: usize,
    /// Blocks, a count.
    pub blocks: usize,
    /// Holes, a count.
    pub holes: usize,
    /// The largest hole, in bytes.
    pub largest_hole: usize,
    /// Bytes mapped for nodes, beside the spans.
    pub metadata: usize,
}

/// A segment's letter, and its first and its last address.
struct SegmentText(MemsSegment);

impl Display for SegmentText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.0.kind {
            SegmentKind::Block => 'P',
            SegmentKind::Hole => 'H',
        };
        write!(f, "{letter}[{}:{}]", self.0.start, self.0.last())
    }
}

impl<O: Os> Mems<O> {
    /// The heap's sums. O(1).
    #[must_use]
    pub fn stats(&self) -> MemsStats {
        let totals = self.list.totals();
        MemsStats {
            pages_used: totals.span_bytes / self.page_size,
            mapped: totals.span_bytes,
            allocated: totals.block_bytes,
            free: totals.hole_bytes(),
            spans: totals.span_count,
            segments: totals.segment_count,
            blocks: totals.block_count,
            holes: totals.hole_count(),
            largest_hole: self.list.largest_hole(),
            metadata: self.list.metadata_bytes(),
        }
    }

    /// Writes the chains and their sums as the original does. O(n).
    ///
    /// # Errors
    ///
    /// The error of `out`.
    pub fn write_stats<W: Write>(&self, out: &mut W) -> fmt::Result {
        out.write_str(report::HEAD)?;
        for span in self.spans() {
            let segments = span.segments().map(SegmentText);
            report::write_span(out, [span.start, span.last()], segments, span.segment_count)?;
        }
        let stats = self.stats();
        writeln!(out, "Pages used:\t{}", stats.pages_used)?;
        writeln!(out, "Space unused:\t{}", stats.free)?;
        let counts = self.spans().map(|span| span.segment_count);
        report::write_lengths(out, stats.spans, counts)?;
        out.write_str(report::FOOT)
    }

    /// Prints [`Mems::write_stats`] to standard output, in order with what was printed through `std` before.
    pub fn print_stats(&self) {
        report::print_in_order(|out| self.write_stats(out));
    }
}
