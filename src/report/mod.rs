//! Text for people. The floors below return data; only this file writes, and only while it holds no lock.
#![allow(unsafe_code, reason = "the door to file descriptor 1")]

pub(crate) mod files;
mod json;
mod map;

mod metrics;
mod text;

use core::fmt::{self, Write};

use crate::base::os::Os;
use crate::base::text::FdText;
use crate::chain::segment::SegmentKind;
use crate::heap::{Heap, HeapSegment, HeapStats};
use crate::small::process::Process;
use crate::small::walk::{self, SlabSums};

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
        write_chains(self, out, segments_per_span, |_| None)?;
        write_sums(out, &self.stats())
    }
}

impl Process {
    /// As [`Heap::write_stats`]; a slab is shown as `S[first:last] live/slots x size`.
    pub(crate) fn write_stats<W: Write>(&self, out: &mut W, segments: usize) -> fmt::Result {
        write_chains(&self.heap, out, segments, walk::slab_sums)?;
        write_sums(out, &self.stats())
    }
}

fn write_chains<O: Os, W: Write>(
    heap: &Heap<O>,
    out: &mut W,
    segments_per_span: usize,
    slab_sums: impl Fn(&HeapSegment) -> Option<SlabSums>,
) -> fmt::Result {
    out.write_str("----- MeMS SYSTEM STATS -----\n")?;
    for span in heap.spans() {
        let last = span.start + span.total - 1;
        write!(out, "MAIN[{:#x}:{last:#x}]-> ", span.start)?;
        let mut shown = 0;
        let segments = heap.segments_from(span.start).take_while(|s| s.start <= last);
        for segment in segments.take(segments_per_span) {
            let (start, end) = (segment.start, segment.start + segment.size - 1);
            match (segment.kind, slab_sums(&segment)) {
                (SegmentKind::Process, Some(SlabSums { live, slots, slot_bytes })) => {
                    write!(out, "S[{start:#x}:{end:#x}] {live}/{slots} x {slot_bytes} <-> ")?;
                }
                (SegmentKind::Process, None) => write!(out, "P[{start:#x}:{end:#x}] <-> ")?,
                (SegmentKind::Hole, _) => write!(out, "H[{start:#x}:{end:#x}] <-> ")?,
            }
            shown += 1;
        }
        if shown < span.segment_count {
            write!(out, "({} more) <-> ", span.segment_count - shown)?;
        }
        out.write_str("NULL\n")?;
    }
    writeln!(out, "Main Chain Length:\t{}", heap.spans().count())?;
    out.write_str("Sub-chain Length array: [")?;
    for span in heap.spans() {
        write!(out, "{}, ", span.segment_count)?;
    }
    out.write_str("]\n")
}

fn write_sums<W: Write>(out: &mut W, stats: &HeapStats) -> fmt::Result {
    writeln!(out, "Space used:\t{} in {} blocks", stats.allocated, stats.blocks)?;
    writeln!(out, "Space unused:\t{}, of it {} in caches", stats.free, stats.cached)?;
    writeln!(out, "Holes:\t\t{}, the largest {}", stats.holes, stats.largest_hole)?;
    writeln!(out, "Active:\t\t{}, of it {} slabs", stats.active, stats.slabs)?;
    writeln!(out, "Resident:\t{}", stats.resident)?;
    writeln!(out, "Mapped:\t\t{}", stats.mapped)?;
    writeln!(out, "Retained:\t{}", stats.retained)?;
    writeln!(out, "Metadata:\t{}", stats.metadata)?;
    out.write_str("-----------------------------\n")
}
