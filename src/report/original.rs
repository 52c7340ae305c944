//! The chains and their sums as the original MeMS prints them.

use core::fmt::{self, Display, Write};

use crate::base::os::Os;
use crate::chain::segment::SegmentKind;
use crate::heap::{Heap, HeapSegment, HeapStats};
use crate::process::plain::PROCESS_HEAP;
use crate::process::walk::{SlabSums, slab_sums};

/// Segments of a span that a short report shows.
pub(crate) const FEW_SEGMENTS: usize = 8;

/// The first line.
pub(crate) const HEAD: &str = "----- MeMS SYSTEM STATS -----\n";
/// The last line.
pub(crate) const FOOT: &str = "-----------------------------\n";

/// Writes one line for a span from `first` to `last`: what it is made of, and how many segments more it has.
pub(crate) fn write_span<W: Write, N: Display>(
    out: &mut W,
    [first, last]: [N; 2],
    segments: impl Iterator<Item = impl Display>,
    segment_count: usize,
) -> fmt::Result {
    write!(out, "MAIN[{first}:{last}]-> ")?;
    let mut shown = 0;
    for segment in segments {
        write!(out, "{segment} <-> ")?;
        shown += 1;
    }
    if shown < segment_count {
        write!(out, "({} more) <-> ", segment_count - shown)?;
    }
    out.write_str("NULL\n")
}

/// Writes the lengths of the main chain and of each sub chain.
pub(crate) fn write_lengths<W: Write>(
    out: &mut W,
    span_count: usize,
    segment_counts: impl Iterator<Item = usize>,
) -> fmt::Result {
    write!(out, "Main Chain Length:\t{span_count}\nSub-chain Length array: [")?;
    for count in segment_counts {
        write!(out, "{count}, ")?;
    }
    out.write_str("]\n")
}

/// A segment's letter, its first and its last address, and what a slab holds.
struct SegmentText(HeapSegment, Option<SlabSums>);

impl Display for SegmentText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(HeapSegment { start, size, kind }, slab) = self;
        let end = start + size - 1;
        match (kind, slab) {
            (SegmentKind::Block, Some(SlabSums { live, slots, slot_bytes })) => {
                write!(f, "S[{start:#x}:{end:#x}] {live}/{slots} x {slot_bytes}")
            }
            (SegmentKind::Block, None) => write!(f, "P[{start:#x}:{end:#x}]"),
            (SegmentKind::Hole, _) => write!(f, "H[{start:#x}:{end:#x}]"),
        }
    }
}

impl<O: Os> Heap<O> {
    /// Writes the chains and the sums in the manner of the original MeMS, with at most `segments_per_span` segments of
    /// each span. Numbers are addresses. Holds no lock while it writes. O(segments shown).
    ///
    /// # Errors
    ///
    /// That of `out`.
    pub fn write_stats<W: Write>(&self, out: &mut W, segments_per_span: usize) -> fmt::Result {
        write_heap(self, out, segments_per_span, |_| None)?;
        write_sums(out, &self.stats())
    }
}

/// Writes the sums and chains of the process heap; a slab is shown as `S[first:last] live/slots x size`.
pub(crate) fn write_process_heap<W: Write>(out: &mut W, segments_per_span: usize) -> fmt::Result {
    write_heap(PROCESS_HEAP.free_list(), out, segments_per_span, slab_sums)?;
    write_sums(out, &PROCESS_HEAP.stats())
}

fn write_heap<O: Os, W: Write>(
    heap: &Heap<O>,
    out: &mut W,
    segments_per_span: usize,
    slab_sums: impl Fn(&HeapSegment) -> Option<SlabSums>,
) -> fmt::Result {
    out.write_str(HEAD)?;
    for span in heap.spans() {
        let last = span.start + span.size - 1;
        let segments = heap.segments_from(span.start).take_while(|s| s.start <= last);
        let texts = segments.map(|segment| SegmentText(segment, slab_sums(&segment)));
        let ends = [format_args!("{:#x}", span.start), format_args!("{last:#x}")];
        write_span(out, ends, texts.take(segments_per_span), span.segment_count)?;
    }
    write_lengths(out, heap.spans().count(), heap.spans().map(|span| span.segment_count))
}

fn write_sums<W: Write>(out: &mut W, stats: &HeapStats) -> fmt::Result {
    writeln!(out, "Space used:\t{} in {} blocks", stats.allocated, stats.blocks)?;
    writeln!(out, "Space unused:\t{}, of it {} in caches", stats.free, stats.cached)?;
    writeln!(out, "Holes:\t\t{}, the largest {}", stats.holes, stats.largest_hole)?;
    writeln!(out, "Active:\t\t{}, of it {} slabs", stats.active, stats.slabs)?;
    writeln!(out, "Resident:\t{}", stats.resident)?;
    writeln!(out, "Mapped:\t\t{}", stats.mapped)?;
    writeln!(out, "Reserved:\t{}", stats.reserved)?;
    writeln!(out, "Metadata:\t{}", stats.metadata)?;
    out.write_str(FOOT)
}
