//! Handing out a block of the free list, and growing the heap where there is no room.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::chains::{Allocation, For, Request};
use super::handle::Heap;
use super::root::Root;
use super::sizes::{GRANULE, HUGE_FROM, block_size};
use super::zone::Use;
use crate::base::os::Os;
use crate::chain::free_list::Nodes;

/// Node memory is committed in steps of this many bytes, or more.
const NODE_STEP: usize = 256 << 10;
/// Blocks with this alignment or a larger one lie in zones of their own where the heap has to grow for them, as long as
/// there is room for zones: what lies in front of them elsewhere would have to be committed, too.
const APART_ALIGN: usize = 16 << 20;

impl<O: Os> Heap<O> {
    /// Allocates `size` bytes (at least 16) at an address that is a multiple of `align`, a power of two.
    ///
    /// Returns `None` if memory has run out, or if no block can be that large. O(log n).
    #[must_use]
    pub fn mems_malloc(&self, size: usize, align: usize) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(size, align).ok()?;
        self.allocate(layout).map(|allocation| allocation.start)
    }

    /// Hands out a block, with what is known of its bytes.
    #[inline]
    pub(crate) fn allocate(&self, layout: Layout) -> Option<Allocation> {
        let (allocation, idle) = self.allocate_for(For::User, layout)?;
        self.give_back_idle(idle);
        Some(allocation)
    }

    /// Hands out a block that the heap keeps to itself: from the first moment on [`Heap::release`] refuses it, and only
    /// [`Heap::release_kept`] takes it back. The caller may hold locks that come before those of the heap.
    pub(crate) fn allocate_kept(&self, layout: Layout) -> Option<Allocation> {
        self.allocate_for(For::Slab, layout).map(|(allocation, _)| allocation)
    }

    /// A block, and how many idle bytes ought to go back.
    #[inline]
    fn allocate_for(&self, owner: For, layout: Layout) -> Option<(Allocation, usize)> {
        let request = Request { size: block_size(layout.size())?, align: layout.align(), owner };
        let root = self.root_or_start().ok()?;
        let mut chains = root.chains.lock();
        if chains.reserve(Nodes::CHANGE).is_ok()
            && let Some(allocation) = chains.hand_out(request)
        {
            return Some((allocation, self.note_dirty(root, chains)));
        }
        drop(chains);
        let allocation = self.allocate_slow(root, request)?;
        Some((allocation, self.note_dirty(root, root.chains.lock())))
    }

    /// Grows the heap until the request can be served. One thread at a time grows; the others go on meanwhile.
    #[cold]
    #[inline(never)]
    fn allocate_slow(&self, root: &Root, request: Request) -> Option<Allocation> {
        let Request { size, align, .. } = request;
        let room = size.checked_add(align.saturating_sub(GRANULE))?;
        let mut zones = root.zones.lock();
        self.commit_set_aside(root);
        let mut run = None;
        let mut is_apart = align >= APART_ALIGN;
        loop {
            let mut chains = root.chains.lock();
            chains.set_huge_range(zones.huge_range());
            let is_ready = chains.reserve(Nodes::ROOM_AND_CHANGE).is_ok();
            // Before there is more room than the nodes can tell of, however it is cut up, there are more nodes.
            if !is_ready || (run.is_none() && chains.reserve_spare().is_err()) {
                drop(chains);
                let Ok(nodes) = zones.commit(&self.os, Use::Nodes, NODE_STEP) else {
                    // A run that cannot be entered because there are no nodes is not lost: the next commit maps over
                    // it.
                    run.into_iter().for_each(|run| zones.retreat(Use::Blocks, run));
                    return root.chains.lock().hand_out_anywhere(request);
                };
                root.chains.lock().add_node_space(nodes);
                continue;
            }
            let has_more = run.take().map(|run| chains.add_room(run)).is_some();
            if let Some(allocation) = chains.hand_out(request) {
                return Some(allocation);
            }
            if align >= APART_ALIGN
                && let mut starts = zones.starts_at(align)
                && let Some(allocation) =
                    starts.find_map(|start| chains.hand_out_at(start, request))
            {
                return Some(allocation);
            }
            if has_more {
                // It is not in the zone meant for such a block, since that is full.
                return chains.hand_out_anywhere(request);
            }
            drop(chains);
            if core::mem::take(&mut is_apart) {
                run = zones.commit_apart(&self.os, size, align).ok();
                continue;
            }
            match zones.commit_for(&self.os, Use::Blocks, size >= HUGE_FROM, room) {
                Ok(more) => run = Some(more),
                // The last resort: room that is meant for blocks of another kind.
                Err(_) => return root.chains.lock().hand_out_anywhere(request),
            }
        }
    }
}
