//! What the `chains` lock guards: the free list, memory for its nodes, and what is known of its dirty pages.
//!
//! No system call is made under that lock, and every operation takes it in one place.

use core::ops::Range;
use core::ptr::NonNull;

use super::decay::{Decay, Policy};
use super::sizes::{GRANULE, HUGE_FROM};
use super::zone::Run;
use crate::base::addr;
use crate::base::bump::Bump;
use crate::base::fatal::debug_law;
use crate::base::os::OutOfMemory;
use crate::base::round::align_down;
use crate::chain::free_list::{Block, Claim, FreeList, Nodes, Units};
use crate::chain::node_arena::ChunkSource;
use crate::chain::segment::Segment;

/// A block just handed out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allocation {
    pub(crate) start: NonNull<u8>,
    /// Whether all its bytes are zero, because they were never handed out before.
    pub(crate) is_zero: bool,
}

/// For whom a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// A user, who frees it.
    User,
    /// The slabs: from the first moment on no user's free takes it.
    Slab,
}

/// What is asked of the free list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// Bytes, whole granules.
    pub(super) size: usize,
    /// A power of two.
    pub(super) align: usize,
    pub(super) owner: For,
}

/// What the lock guards.
#[derive(Debug)]
pub(super) struct Chains {
    pub(super) list: FreeList,
    nodes: NodeSpace,
    pub(super) decay: Decay,
    /// Where huge blocks go, and nothing else: what the zones said when the heap last grew.
    huge: Range<usize>,
    /// Claimed runs whose pages have gone and did not come back: each is committed again before it is handed out.
    uncommitted: [Option<Claim>; MOST_UNCOMMITTED],
    /// How many there are.
    uncommitted_count: usize,
}

/// Runs that wait to be committed again. Further ones stay claimed: addresses are lost, nothing else.
const MOST_UNCOMMITTED: usize = 16;

/// Committed memory for chunks of nodes. Never given back: nodes are recycled.
#[derive(Debug)]
struct NodeSpace(Bump);

impl ChunkSource for NodeSpace {
    fn chunk_create(&mut self, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
        let start = self.0.take(len, 16).ok_or(OutOfMemory)?;
        addr::pointer(start.get()).ok_or(OutOfMemory)
    }

    /// A directory that was outgrown. All of them together are smaller than the one that replaced them.
    fn chunk_destroy(&mut self, _start: NonNull<u8>, _len: usize) {}
}

impl Chains {
    /// No spans; nodes lie in `nodes`, which is committed, and huge blocks in `huge`.
    pub(super) fn new(page_size: usize, nodes: Bump, huge: Range<usize>, policy: Policy) -> Self {
        Self {
            list: FreeList::new(Units { granule: GRANULE, page: page_size }),
            nodes: NodeSpace(nodes),
            decay: Decay::new(policy),
            huge,
            uncommitted: [const { None }; MOST_UNCOMMITTED],
            uncommitted_count: 0,
        }
    }

    /// Keeps a claimed run without pages.
    pub(super) fn set_aside(&mut self, claim: Claim) {
        if let Some(place) = self.uncommitted.get_mut(self.uncommitted_count) {
            *place = Some(claim);
            self.uncommitted_count += 1;
        }
    }

    /// A claimed run without pages.
    pub(super) fn take_uncommitted(&mut self) -> Option<Claim> {
        self.uncommitted_count = self.uncommitted_count.checked_sub(1)?;
        self.uncommitted.get_mut(self.uncommitted_count)?.take()
    }

    /// Forgets them, where they are claimed anew.
    pub(super) fn forget_uncommitted(&mut self) {
        while self.take_uncommitted().is_some() {}
    }

    /// Makes sure that the verbs that follow find their nodes, without asking the system.
    #[inline]
    pub(super) fn reserve(&mut self, nodes: Nodes) -> Result<(), OutOfMemory> {
        self.list.reserve(nodes, &mut self.nodes)
    }

    /// Makes sure that what is freed can be handed out again where no more memory is to be had.
    pub(super) fn reserve_spare(&mut self) -> Result<(), OutOfMemory> {
        self.list.reserve_spare(&mut self.nodes)
    }

    /// Takes committed memory for further nodes.
    pub(super) fn add_node_space(&mut self, run: Run) {
        self.nodes.0.add(&(run.start..run.end()));
    }

    /// Says where huge blocks go from now on, and nothing else.
    pub(super) fn set_huge_range(&mut self, huge: Range<usize>) {
        self.huge = huge;
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

    /// Hands out a block from where such blocks go. The caller has reserved a change.
    #[inline]
    pub(super) fn hand_out(&mut self, request: Request) -> Option<Allocation> {
        let Request { size, align, .. } = request;
        let block = if size >= HUGE_FROM && !self.huge.is_empty() {
            self.list.allocate_in(size, align, &self.huge)?
        } else {
            let (below, above) = (0..self.huge.start, self.huge.end..usize::MAX);
            let block = self.list.allocate_in(size, align, &below);
            block.or_else(|| self.list.allocate_in(size, align, &above))?
        };
        self.hand_over(block, request.owner)
    }

    /// Hands out a block from anywhere, also from where blocks of another kind go.
    #[cold]
    pub(super) fn hand_out_anywhere(&mut self, request: Request) -> Option<Allocation> {
        self.reserve(Nodes::CHANGE).ok()?;
        let block = self.list.allocate(request.size, request.align)?;
        self.hand_over(block, request.owner)
    }

    /// Hands out a block at the start of the hole at `start`, if there is one and it suffices. The caller has reserved
    /// a change.
    #[cold]
    pub(super) fn hand_out_at(&mut self, start: usize, request: Request) -> Option<Allocation> {
        let block = self.list.allocate_in(request.size, request.align, &(start..start + 1))?;
        self.hand_over(block, request.owner)
    }

    /// Makes a block that was just carved its owner's.
    #[inline]
    fn hand_over(&mut self, block: Block, owner: For) -> Option<Allocation> {
        if owner == For::Slab {
            let kept = self.list.keep(block.start, None);
            debug_law!(kept.is_ok(), "it was just handed out");
        }
        let start = addr::pointer(self.list.memory_of(block.span, block.start))?;
        Some(Allocation { start, is_zero: block.is_fresh })
    }
}
