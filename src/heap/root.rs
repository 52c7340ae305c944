//! The root record: everything a heap knows hangs off it, and it lies at the very start of the heap's reservation.
//!
//! A debugger, another process or a program that reads a core file finds the record of the process heap from the
//! symbol `mems::global::PROCESS_HEAP` or from [`MAGIC`] at the start of a reservation, and can walk the
//! nodes from there: whatever it holds is an id or an address inside the reservations that the record lists.
//!
//! Locks, in the order in which they may be taken: `zones` (growing; system calls are made under it) before `chains`
//! (spans, segments and their nodes; no system call is made under it, every operation takes it in one place).

use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;

use super::decay::{Decay, Policy};
use super::zone::Run;
use super::zones::{Use, Zones};
use crate::base::addr;
use crate::base::lock::Lock;
use crate::base::os::{Os, OutOfMemory};
use crate::base::round::{align_down, align_up};
use crate::chain::free_list::{FreeList, Measures};
use crate::chain::node_arena::ChunkSource;
use crate::chain::segment::Segment;

/// The first bytes of a root record.
const MAGIC: [u8; 8] = *b"MeMSroot";
/// The layout of the record. A reader refuses any other.
const VERSION: u32 = 3;

/// Every block of the process heap starts at a multiple of this, and its size is one.
pub(super) const GRANULE: usize = 16;

/// What a heap starts with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes that may be committed.
    pub(super) limit_bytes: usize,
    /// When pages go back.
    pub(super) policy: Policy,
}

/// The record.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Root {
    magic: [u8; 8],
    version: u32,
    record_bytes: u32,
    pub(super) page_size: usize,
    /// Where the [`Zones`] and the [`FreeList`] are, whatever the locks around them look like.
    zones_at: usize,
    list_at: usize,
    pub(super) zones: Lock<Zones>,
    pub(super) chains: Lock<Chains>,
    /// When somebody ought to look whether bytes are idle: see [`Decay`].
    pub(super) next_look: AtomicU64,
}

/// What the second lock guards.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Chains {
    pub(super) list: FreeList,
    nodes: NodeSpace,
    pub(super) decay: Decay,
    /// Where huge blocks go, and nothing else.
    pub(super) huge: Range<usize>,
}

/// Committed memory for chunks of nodes, taken from the front. Never given back: nodes are recycled.
#[derive(Debug)]
#[repr(C)]
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
}

impl Root {
    /// Reserves a heap's first zones and puts its root record at their start.
    #[expect(unsafe_code, reason = "places the record in memory that was just committed")]
    pub(super) fn create(
        os: &impl Os,
        reservation: usize,
        bounds: Bounds,
    ) -> Result<NonNull<Self>, OutOfMemory> {
        let mut zones = Zones::new(os, reservation, bounds.limit_bytes)?;
        let run = match zones.commit(os, Use::Nodes, size_of::<Self>()) {
            Ok(run) => run,
            Err(error) => {
                zones.release(os);
                return Err(error);
            }
        };
        let place = addr::pointer(run.start).ok_or(OutOfMemory)?.cast::<Self>();
        let page_size = os.page_size();
        let huge = zones.huge_range();
        let measures = Measures { granule: GRANULE, page: page_size, anchor: 0 };
        let next = run.start + size_of::<Self>().next_multiple_of(64);
        let root = Self {
            magic: MAGIC,
            version: VERSION,
            #[expect(clippy::cast_possible_truncation, reason = "a few pages")]
            record_bytes: size_of::<Self>() as u32,
            page_size,
            zones_at: 0,
            list_at: 0,
            next_look: AtomicU64::new(0),
            zones: Lock::new(zones),
            chains: Lock::new(Chains {
                list: FreeList::new(measures),
                nodes: NodeSpace { next, end: run.end() },
                decay: Decay::new(bounds.policy),
                huge,
            }),
        };
        // SAFETY: the run was just committed, is page-aligned, at least as long as the record, and nobody else's.
        unsafe { place.write(root) };
        // SAFETY: the record is initialised, and nobody else knows of it yet.
        let root = unsafe { &mut *place.as_ptr() };
        root.zones_at = (&raw const *root.zones.get_mut()).addr();
        root.list_at = (&raw const root.chains.get_mut().list).addr();
        Ok(place)
    }
}

const _: () = assert!(align_of::<Root>() <= 4096, "a record fits the start of a page");
