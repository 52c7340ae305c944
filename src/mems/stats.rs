//! The sums of a [`Mems`], and the text in which the original prints them.

use core::fmt::{self, Display, Write};

use super::heap::Mems;
use super::walk::MemsSegment;
use crate::base::os::Os;
use crate::chain::segment::SegmentKind;
use crate::report;

/// The sums of a heap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemsStats {
    /// Pages of all spans, in units of the heap's page size, free ones included.
    pub pages_used: usize,
    /// Bytes of all spans.
    pub total: usize,
    /// Bytes of all PROCESS segments.
    pub used: usize,
    /// Bytes of all holes.
    pub space_unused: usize,
    /// Spans of the main chain.
    pub span_count: usize,
    /// Segments of all sub chains.
    pub segment_count: usize,
    /// PROCESS segments.
    pub block_count: usize,
    /// Holes.
    pub hole_count: usize,
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
            SegmentKind::Process => 'P',
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
            total: totals.span_bytes,
            used: totals.process_bytes,
            space_unused: totals.hole_bytes(),
            span_count: totals.span_count,
            segment_count: totals.segment_count,
            block_count: totals.process_count,
            hole_count: totals.hole_count(),
            largest_hole: self.list.largest_hole(),
            metadata: self.list.metadata_bytes(),
        }
    }

    /// Writes the chains and their sums as the original does. O(n).
    ///
    /// # Errors
    ///
    /// That of `out`.
    pub fn write_stats<W: Write>(&self, out: &mut W) -> fmt::Result {
        out.write_str(report::HEAD)?;
        for span in self.spans() {
            let segments = span.segments().map(SegmentText);
            report::write_span(out, [span.start, span.last()], segments, span.segment_count)?;
        }
        let stats = self.stats();
        writeln!(out, "Pages used:\t{}", stats.pages_used)?;
        writeln!(out, "Space unused:\t{}", stats.space_unused)?;
        let counts = self.spans().map(|span| span.segment_count);
        report::write_lengths(out, stats.span_count, counts)?;
        out.write_str(report::FOOT)
    }

    /// Prints [`Mems::write_stats`] to standard output, in order with what was printed through `std` before.
    pub fn print_stats(&self) {
        report::print_in_order(|out| self.write_stats(out));
    }
}
