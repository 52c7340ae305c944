//! The laws of the free list, checked by walking both chains from end to end.

use super::free_list::{FreeList, Totals};
use super::node_arena::Id;
use super::order::Cursor;
use super::span::Span;
use crate::base::law::{BrokenLaw, law};

/// Checks L1, L2, L3, L8 and all sums. O(n).
pub(super) fn check_chains(list: &FreeList, live_spans: usize) -> Result<(), BrokenLaw> {
    let (mut at, granule) = list.beginning();
    let mut sums = Totals::default();
    let (mut id, mut prev) = (list.first_span(), Id::NONE);
    let mut last_end = 0;
    while let Some(current) = id.some() {
        let span = list.span(current);
        law(span.prev == prev, "spans are linked in both directions", span.start)?;
        law(span.start >= last_end, "spans are in address order and apart", span.start)?;
        let (behind, processes) = check_span(list, current, at, granule)?;
        sums.span_count += 1;
        sums.span_bytes += span.len;
        sums.segment_count += span.segment_count;
        sums.process_bytes += span.used;
        sums.process_count += processes;
        (at, last_end) = (behind, span.end());
        (prev, id) = (current, span.next);
    }
    law(prev == list.last_span(), "the last span is known", last_end)?;
    law(at.is_none(), "every segment belongs to a span (L3)", last_end)?;
    law(sums.span_count == live_spans, "no span is lost", last_end)?;
    law(sums == list.totals(), "the totals are the sums over all spans", last_end)
}

/// Checks one sub chain; returns the place behind it and the number of its blocks.
fn check_span(
    list: &FreeList,
    id: Id<Span>,
    mut at: Option<Cursor>,
    granule: usize,
) -> Result<(Option<Cursor>, usize), BrokenLaw> {
    let span = list.span(id);
    let (mut end, mut last_was_hole) = (span.start, false);
    let (mut segments, mut used, mut processes) = (0, 0, 0);
    while end < span.end() {
        let here = at.ok_or(BrokenLaw { law: "segments fill their span (L1)", address: end })?;
        let segment = list.segment(here);
        law(segment.start == end, "segments tile their span (L1)", end)?;
        law(segment.span == id, "a segment knows its span (L3)", end)?;
        law(segment.size() > 0, "no segment is empty", end)?;
        law(segment.size().is_multiple_of(granule), "sizes are whole granules (L8)", end)?;
        law(!(last_was_hole && segment.is_hole()), "no two holes are neighbours (L2)", end)?;
        last_was_hole = segment.is_hole();
        if !last_was_hole {
            used += segment.size();
            processes += 1;
        }
        segments += 1;
        end = segment.end();
        at = list.next(here);
    }
    law(end == span.end(), "no segment crosses its span (L3)", end)?;
    law(segments == span.segment_count, "the sub chain's length is known", span.start)?;
    law(used == span.used, "the span's used bytes are known", span.start)?;
    law(
        span.fresh >= span.start && span.fresh <= span.end(),
        "fresh bytes end a span",
        span.start,
    )?;
    Ok((at, processes))
}
