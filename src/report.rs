//! Text for people. The floors below return data; only this file writes, and only while it holds no lock.
#![allow(unsafe_code, reason = "the door to file descriptor 1")]

use core::fmt::{self, Write};

use crate::base::os::Os;
use crate::base::text::FdText;
use crate::chain::segment::SegmentKind;
use crate::heap::Heap;

/// Segments of a span that a short report shows.
pub(crate) const FEW_SEGMENTS: usize = 8;

/// As [`print`], behind everything printed through `std` before, even if that was no whole line. `std` may allocate a
/// buffer for it.
pub(crate) fn print_in_order(write: impl FnOnce(&mut FdText<'_>) -> fmt::Result) {
    #[cfg(feature = "std")]
    {
        use std::io::Write as _;
        let _ = std::io::stdout().flush();
    }
    print(write);
}

/// Lets `write` write to standard output, without allocating. An error of the descriptor is let go, as there is nobody
/// to tell.
pub(crate) fn print(write: impl FnOnce(&mut FdText<'_>) -> fmt::Result) {
    // SAFETY: nothing here closes descriptor 1; where the program has closed it, the writes fail and are let go.
    let mut out = FdText::new(unsafe { rustix::stdio::stdout() });
    let _ = write(&mut out);
    let _ = out.flush();
}

impl<O: Os> Heap<O> {
    /// Writes the chains and the sums in the manner of the original MeMS, with at most `segments_per_span` segments of
    /// each span. Numbers are addresses. Holds no lock while it writes. O(segments shown).
    ///
    /// # Errors
    ///
    /// That of `out`.
    pub fn write_stats<W: Write>(&self, out: &mut W, segments_per_span: usize) -> fmt::Result {
        out.write_str("----- MeMS SYSTEM STATS -----\n")?;
        for span in self.spans() {
            let last = span.start + span.total - 1;
            write!(out, "MAIN[{:#x}:{last:#x}]-> ", span.start)?;
            let mut shown = 0;
            let segments = self.segments_from(span.start).take_while(|s| s.start <= last);
            for segment in segments.take(segments_per_span) {
                let kind = match segment.kind {
                    SegmentKind::Process => 'P',
                    SegmentKind::Hole => 'H',
                };
                let end = segment.start + segment.size - 1;
                write!(out, "{kind}[{:#x}:{end:#x}] <-> ", segment.start)?;
                shown += 1;
            }
            if shown < span.segment_count {
                write!(out, "({} more) <-> ", span.segment_count - shown)?;
            }
            out.write_str("NULL\n")?;
        }
        let stats = self.stats();
        writeln!(out, "Space used:\t{} in {} blocks", stats.allocated, stats.blocks)?;
        writeln!(out, "Space unused:\t{} in {} holes", stats.free, stats.holes)?;
        writeln!(out, "Largest hole:\t{}", stats.largest_hole)?;
        writeln!(out, "Active:\t\t{}", stats.active)?;
        writeln!(out, "Resident:\t{}", stats.resident)?;
        writeln!(out, "Mapped:\t\t{}", stats.mapped)?;
        writeln!(out, "Retained:\t{}", stats.retained)?;
        writeln!(out, "Metadata:\t{}", stats.metadata)?;
        writeln!(out, "Main Chain Length:\t{}", stats.spans)?;
        out.write_str("Sub-chain Length array: [")?;
        for span in self.spans() {
            write!(out, "{}, ", span.segment_count)?;
        }
        out.write_str("]\n-----------------------------\n")
    }
}
