//! Handing out a block of the free list, and growing the heap where there is no room.

use core::ptr::NonNull;

use super::chains::{Allocation, Chains};
use super::handle::Heap;
use super::root::Root;
use super::sizes::{GRANULE, HUGE_FROM, block_size};
use super::zones::Use;
use crate::base::os::Os;

/// Node memory is committed in steps of this many bytes, or more.
const NODE_STEP: usize = 256 << 10;

impl<O: Os> Heap<O> {
    /// Hands out `size` bytes (at least one granule of 16) at an address that is a multiple of `align`, a power of
    /// two. `None` where the system gives no more memory, or nothing can be that large. O(log n).
    #[must_use]
    pub fn mems_malloc(&self, size: usize, align: usize) -> Option<NonNull<u8>> {
        self.allocate(size, align).map(|allocation| allocation.start)
    }

    /// As [`Heap::mems_malloc`], with what is known of the bytes.
    #[inline]
    pub(crate) fn allocate(&self, size: usize, align: usize) -> Option<Allocation> {
        let (allocation, idle) = self.allocate_as(size, align, Chains::hand_out)?;
        self.give_back_idle(idle);
        Some(allocation)
    }

    /// As [`Heap::allocate`], a block that the heap keeps to itself: from the first moment on [`Heap::release`] refuses
    /// it, and only [`Heap::release_kept`] takes it back.
    pub(crate) fn allocate_kept(&self, size: usize, align: usize) -> Option<Allocation> {
        self.allocate_as(size, align, Chains::hand_out_kept).map(|(allocation, _)| allocation)
    }

    /// A block, and how many idle bytes ought to go back.
    #[inline]
    fn allocate_as(
        &self,
        size: usize,
        align: usize,
        hand_out: fn(&mut Chains, usize, usize) -> Option<Allocation>,
    ) -> Option<(Allocation, usize)> {
        if !align.is_power_of_two() {
            return None;
        }
        let size = block_size(size)?;
        let root = self.root_or_start().ok()?;
        let mut chains = root.chains.lock();
        if chains.reserve_for_change().is_ok()
            && let Some(allocation) = hand_out(&mut chains, size, align)
        {
            return Some((allocation, self.note_dirty(root, chains)));
        }
        drop(chains);
        Some((self.allocate_slow(root, size, align, hand_out)?, 0))
    }

    /// Grows the heap until the request can be served. One thread at a time grows; the others go on meanwhile.
    #[cold]
    #[inline(never)]
    fn allocate_slow(
        &self,
        root: &Root,
        size: usize,
        align: usize,
        hand_out: fn(&mut Chains, usize, usize) -> Option<Allocation>,
    ) -> Option<Allocation> {
        let room = size.checked_add(align.saturating_sub(GRANULE))?;
        let mut zones = root.zones.lock();
        let mut run = None;
        loop {
            let mut chains = root.chains.lock();
            chains.huge = zones.huge_range();
            if chains.reserve_for_growth().is_err() {
                drop(chains);
                let Ok(nodes) = zones.commit(&self.os, Use::Nodes, NODE_STEP) else {
                    // A run that cannot be entered because there are no nodes is not lost: the next commit maps over
                    // it.
                    run.into_iter().for_each(|run| zones.retreat(Use::Blocks, run));
                    return None;
                };
                root.chains.lock().add_node_space(nodes);
                continue;
            }
            let has_more = run.take().map(|run| chains.add_room(run)).is_some();
            if let Some(allocation) = hand_out(&mut chains, size, align) {
                return Some(allocation);
            }
            if has_more {
                // It is not in the zone meant for such a block, since that is full.
                return chains.hand_out_anywhere(size, align, hand_out);
            }
            drop(chains);
            match zones.commit_for(&self.os, Use::Blocks, size >= HUGE_FROM, room) {
                Ok(more) => run = Some(more),
                // The last resort: room that is meant for blocks of another kind.
                Err(_) => return root.chains.lock().hand_out_anywhere(size, align, hand_out),
            }
        }
    }
}
