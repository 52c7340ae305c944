//! The verbs of the main chain: a span comes, grows, goes.

use super::super::node_arena::Id;
use super::super::segment::Segment;
use super::super::span::Span;
use super::list::FreeList;
use crate::base::fatal::debug_law;

impl FreeList {
    /// Enters a span of `len` bytes at `start`, all hole, whose first byte is at `base` in memory. It takes its
    /// place in the chain by address. The caller has reserved one span.
    pub(crate) fn span_create(&mut self, start: usize, len: usize, base: usize) -> Id<Span> {
        debug_law!(len > 0 && len.is_multiple_of(self.units.granule), "L8");
        let before = self.segments.locate(start);
        let prev = before.map_or(Id::NONE, |path| self.segments.segment(path.cursor()).span);
        let next = match prev.some() {
            Some(prev) => self.spans.get(prev).next,
            None => self.first_span,
        };
        let id = self.spans.create(Span {
            start,
            len,
            base,
            used: 0,
            segment_count: 0,
            fresh: start,
            prev,
            next,
        });
        match prev.some() {
            Some(prev) => self.spans.get_mut(prev).next = id,
            None => self.first_span = id,
        }
        match next.some() {
            Some(next) => self.spans.get_mut(next).prev = id,
            None => self.last_span = id,
        }
        let hole = Segment::hole(start, len, id);
        match before {
            Some(path) => self.segments.insert_behind(&path, &[hole]),
            None if self.totals.span_count == 0 => self.segments.insert_first(hole),
            None => self.segments.insert_in_front(hole),
        }
        self.totals.span_count += 1;
        self.totals.span_bytes += len;
        self.account(id, &[], &[hole]);
        id
    }

    /// Lengthens a span by `extra` bytes of hole. The caller has reserved one change.
    pub(crate) fn span_extend(&mut self, id: Id<Span>, extra: usize) {
        debug_law!(extra > 0 && extra.is_multiple_of(self.units.granule), "L8");
        let end = self.spans.get(id).end();
        let Some(path) = self.segments.locate(end - 1) else { return };
        let last = self.segments.segment(path.cursor());
        if last.is_hole() {
            // The new bytes are not resident, but a hole is clean as a whole or not.
            let longer = Segment::hole(last.start, last.size() + extra, id);
            self.segments.splice(&path, 1, &[longer]);
            self.account(id, &[last], &[longer]);
        } else {
            let hole = Segment::hole(end, extra, id);
            self.segments.insert_behind(&path, &[hole]);
            self.account(id, &[], &[hole]);
        }
        self.spans.get_mut(id).len += extra;
        self.totals.span_bytes += extra;
    }

    /// Takes a span that is all hole out of the chain. What its memory becomes is the owner's affair.
    pub(crate) fn span_destroy(&mut self, id: Id<Span>) {
        let Span { start, len, prev, next, segment_count, used, .. } = *self.spans.get(id);
        debug_law!(used == 0 && segment_count == 1, "only a span that is all hole goes");
        let Some(path) = self.segments.locate(start) else { return };
        let hole = self.segments.segment(path.cursor());
        self.segments.splice(&path, 1, &[]);
        self.account(id, &[hole], &[]);
        match prev.some() {
            Some(prev) => self.spans.get_mut(prev).next = next,
            None => self.first_span = next,
        }
        match next.some() {
            Some(next) => self.spans.get_mut(next).prev = prev,
            None => self.last_span = prev,
        }
        self.spans.destroy(id);
        self.totals.span_count -= 1;
        self.totals.span_bytes -= len;
    }

    /// A span's facts.
    #[inline]
    pub(crate) fn span(&self, id: Id<Span>) -> &Span {
        self.spans.get(id)
    }

    /// The first span of the chain.
    pub(crate) const fn first_span(&self) -> Id<Span> {
        self.first_span
    }

    /// The last span of the chain.
    pub(crate) const fn last_span(&self) -> Id<Span> {
        self.last_span
    }

    /// Where the byte at `address` of a span is in memory.
    #[inline]
    pub(crate) fn memory_of(&self, span: Id<Span>, address: usize) -> usize {
        self.spans.get(span).memory_of(address)
    }
}
