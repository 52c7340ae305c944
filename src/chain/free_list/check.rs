//! The laws of the free list, checked by walking both chains from end to end.

use super::super::index::Cursor;
use super::super::node_arena::Id;
use super::super::span::Span;
use super::list::{FreeList, Totals, page_bytes};
use crate::base::law::{BrokenLaw, law};

impl FreeList {
    /// Checks all laws. O(n).
    pub(crate) fn check(&self) -> Result<(), BrokenLaw> {
        self.segments.check()?;
        check_chains(self)
    }
}

/// Checks L1, L2, L3, L8 and all sums.
fn check_chains(list: &FreeList) -> Result<(), BrokenLaw> {
    let mut at = list.segments.first();
    let mut sums = Totals::default();
    let (mut id, mut prev) = (list.first_span(), Id::NONE);
    let mut last_end = 0;
    while let Some(current) = id.some() {
        let span = list.span(current);
        law(span.prev == prev, "spans are linked in both directions", span.start)?;
        law(span.start >= last_end, "spans are in address order and apart", span.start)?;
        at = check_span(list, current, at, &mut sums)?;
        sums.span_count += 1;
        sums.span_bytes += span.len;
        last_end = span.end();
        (prev, id) = (current, span.next);
    }
    law(prev == list.last_span(), "the last span is known", last_end)?;
    law(at.is_none(), "every segment belongs to a span (L3)", last_end)?;
    law(sums.span_count == list.spans.live_count(), "no span is lost", last_end)?;
    law(sums == list.totals, "the totals are the sums over all spans", last_end)
}

/// Checks one sub chain, adds it to the sums and returns the place behind it.
fn check_span(
    list: &FreeList,
    id: Id<Span>,
    mut at: Option<Cursor>,
    sums: &mut Totals,
) -> Result<Option<Cursor>, BrokenLaw> {
    let span = list.span(id);
    let (mut end, mut last_was_hole) = (span.start, false);
    let before = *sums;
    while end < span.end() {
        let here = at.ok_or(BrokenLaw { law: "segments fill their span (L1)", address: end })?;
        let segment = list.segment(here);
        law(segment.start == end, "segments tile their span (L1)", end)?;
        law(segment.span == id, "a segment knows its span (L3)", end)?;
        law(segment.size() > 0, "no segment is empty", end)?;
        let whole = segment.size().is_multiple_of(list.units.granule);
        law(whole, "sizes are whole granules (L8)", end)?;
        law(!(last_was_hole && segment.is_hole()), "no two holes are neighbours (L2)", end)?;
        last_was_hole = segment.is_hole();
        sums.segment_count += 1;
        if segment.is_block() {
            sums.block_bytes += segment.size();
            sums.block_count += 1;
        } else if last_was_hole {
            let pages = page_bytes(list.units.page, segment.start, segment.end());
            let is_clean = segment.extent.is_clean_hole();
            sums.hole_page_bytes += pages;
            sums.clean_page_bytes += if is_clean { pages } else { 0 };
            law(
                !is_clean || segment.end() <= span.fresh,
                "fresh bytes are not clean, but new",
                end,
            )?;
        }
        end = segment.end();
        at = list.next(here);
    }
    law(end == span.end(), "no segment crosses its span (L3)", end)?;
    let segments = sums.segment_count - before.segment_count;
    law(segments == span.segment_count, "the sub chain's length is known", span.start)?;
    let used = sums.block_bytes - before.block_bytes;
    law(used == span.used, "the span's used bytes are known", span.start)?;
    let ends = span.fresh >= span.start && span.fresh <= span.end();
    law(ends, "fresh bytes end a span", span.start)?;
    Ok(at)
}
