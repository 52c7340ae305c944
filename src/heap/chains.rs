//! What the `chains` lock guards: the free list, memory for its nodes, and what is known of its dirty pages.
//!
//! No system call is made under that lock, and every operation takes it in one place.

use core::ops::Range;
use core::ptr::NonNull;

use super::decay::{Decay, Policy};
use super::misuse::Misuse;
use super::sizes::{GRANULE, HUGE_FROM};
use super::zone::Run;
use crate::base::addr;
use crate::base::os::OutOfMemory;
use crate::base::round::{align_down, align_up};
use crate::chain::free_list::{FreeList, NotABlock, Units};
use crate::chain::node_arena::ChunkSource;
use crate::chain::segment::Segment;

/// A block just handed out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allocation {
    pub(crate) start: NonNull<u8>,
    /// Whether all its bytes are zero, because they were never handed out before.
    pub(crate) is_zero: bool,
}

/// What the lock guards.
#[derive(Debug)]
pub(super) struct Chains {
    pub(super) list: FreeList,
    nodes: NodeSpace,
    pub(super) decay: Decay,
    /// Where huge blocks go, and nothing else.
    pub(super) huge: Range<usize>,
}

/// Committed memory for chunks of nodes, taken from the front. Never given back: nodes are recycled.
#[derive(Debug)]
struct NodeSpace {
    next: usize,
    end: usize,
}

impl ChunkSource for NodeSpace {
    fn chunk_create(&mut self, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
        let len = align_up(len, 16).ok_or(OutOfMemory)?;
        if len > self.end - self.next {
            return Err(OutOfMemory);
        }
        let start = addr::pointer(self.next).ok_or(OutOfMemory)?;
        self.next += len;
        Ok(start)
    }

    /// A directory that was outgrown. All of them together are smaller than the one that replaced them.
    fn chunk_destroy(&mut self, _start: NonNull<u8>, _len: usize) {}
}

impl Chains {
    /// No spans; nodes lie in `nodes`, which is committed, and huge blocks in `huge`.
    pub(super) fn new(
        page_size: usize,
        nodes: Range<usize>,
        huge: Range<usize>,
        policy: Policy,
    ) -> Self {
        Self {
            list: FreeList::new(Units { granule: GRANULE, page: page_size }),
            nodes: NodeSpace { next: nodes.start, end: nodes.end },
            decay: Decay::new(policy),
            huge,
        }
    }

    /// Makes sure that one span and two changes find their nodes, without asking the system.
    #[inline]
    pub(super) fn reserve_for_growth(&mut self) -> Result<(), OutOfMemory> {
        self.list.reserve(1, 2, &mut self.nodes)
    }

    /// Makes sure that one change finds its nodes, without asking the system.
    #[inline]
    pub(super) fn reserve_for_change(&mut self) -> Result<(), OutOfMemory> {
        self.list.reserve(0, 1, &mut self.nodes)
    }

    /// Takes committed memory for further nodes.
    pub(super) fn add_node_space(&mut self, run: Run) {
        if run.start == self.nodes.end {
            self.nodes.end = run.end();
        } else {
            (self.nodes.next, self.nodes.end) = (run.start, run.end());
        }
    }

    /// Makes a committed run a part of the main chain: of its zone's span, or the beginning of one. Nodes have been
    /// reserved.
    pub(super) fn add_room(&mut self, run: Run) {
        let before = if run.is_first { None } else { self.list.find(run.start - 1) };
        match before {
            Some(segment) => self.list.span_extend(segment.span, run.len),
            None => {
                self.list.span_create(run.start, run.len, run.start);
            }
        }
    }

    /// Bytes of holes whose pages may be resident. O(spans), and there are few.
    pub(super) fn dirty_bytes(&self, page_size: usize) -> usize {
        let totals = self.list.totals();
        let (mut fresh, mut next) = (0, self.list.first_span());
        while let Some(id) = next.some() {
            let span = self.list.span(id);
            fresh += align_down(span.end(), page_size)
                .saturating_sub(span.fresh.next_multiple_of(page_size));
            next = span.next;
        }
        (totals.hole_page_bytes - totals.clean_page_bytes).saturating_sub(fresh)
    }

    /// The next hole below an address that is not clean and has at least `least` bytes that may be resident. Goes over
    /// `steps` segments at the most and counts them down; an error says below which address to go on.
    pub(super) fn dirty_hole_below(
        &self,
        below: usize,
        least: usize,
        steps: &mut usize,
    ) -> Result<Segment, usize> {
        let mut at = self.list.last_below(below);
        while let Some(here) = at {
            let segment = self.list.segment(here);
            let end = segment.end().min(self.list.span(segment.span).fresh);
            if segment.is_hole()
                && !segment.extent.is_clean_hole()
                && end.saturating_sub(segment.start) >= least
            {
                return Ok(segment);
            }
            if *steps == 0 {
                return Err(segment.start);
            }
            *steps -= 1;
            at = self.list.prev(here);
        }
        Err(usize::MAX)
    }

    /// Takes the span that starts at `start` out of the main chain, if it is all hole.
    pub(super) fn remove_empty_span(&mut self, start: usize) -> bool {
        let Some(hole) = self.list.find(start).filter(Segment::is_hole) else { return false };
        let span = self.list.span(hole.span);
        let is_empty = span.start == start && span.len == hole.size();
        if is_empty {
            self.list.span_destroy(hole.span);
        }
        is_empty
    }

    #[inline]
    pub(super) fn hand_out(&mut self, size: usize, align: usize) -> Option<Allocation> {
        let block = if size >= HUGE_FROM && !self.huge.is_empty() {
            self.list.allocate_in(size, align, &self.huge)?
        } else {
            let (below, above) = (0..self.huge.start, self.huge.end..usize::MAX);
            let block = self.list.allocate_in(size, align, &below);
            block.or_else(|| self.list.allocate_in(size, align, &above))?
        };
        let start = addr::pointer(self.list.memory_of(block.span, block.start))?;
        Some(Allocation { start, is_zero: block.is_fresh })
    }

    /// As `hand_out`, from any zone.
    #[cold]
    pub(super) fn hand_out_anywhere(
        &mut self,
        size: usize,
        align: usize,
        hand_out: fn(&mut Self, usize, usize) -> Option<Allocation>,
    ) -> Option<Allocation> {
        if self.reserve_for_change().is_err() {
            return None;
        }
        let huge = core::mem::replace(&mut self.huge, usize::MAX..usize::MAX);
        let allocation = hand_out(self, size, align);
        self.huge = huge;
        allocation
    }

    /// As [`Chains::hand_out`], under the same hold of the lock a kept block.
    pub(super) fn hand_out_kept(&mut self, size: usize, align: usize) -> Option<Allocation> {
        let allocation = self.hand_out(size, align)?;
        self.list.keep(allocation.start.addr().get());
        Some(allocation)
    }

    #[cold]
    pub(super) fn misuse(&self, why: NotABlock, address: usize, size: Option<usize>) -> Misuse {
        let fresh = |hole: Segment| self.list.span(hole.span).fresh;
        Misuse::new(why, address, size, fresh)
    }
}
