//! Blocks that grow and shrink where they are.
//!
//! What grows takes the hole behind it, or, where the zone's committed addresses end there, further ones. What shrinks
//! by [`GIVE_UP_BYTES`] or more gives its pages back now: a program that shrinks a block does not expect to need them
//! soon. The part given up is claimed under the same hold of the `chains` lock that makes the block shorter, so the
//! system call is made without it.

use super::give_back::GIVE_UP_BYTES;
use super::handle::Heap;
use super::misuse::Misuse;
use super::root::Root;
use super::sizes::{HUGE_FROM, block_size};
use super::zone::Use;
use crate::base::fatal::debug_law;
use crate::base::os::Os;
use crate::chain::free_list::{Claim, Nodes};
use crate::chain::segment::Segment;

/// What a block gave up as it shrank, if its pages are to go back: [`Heap::give_back`] takes it.
#[derive(Debug)]
#[must_use = "what is claimed is nobody's until it is given back"]
pub(crate) struct GivenUp(Option<Claim>);

impl<O: Os> Heap<O> {
    /// Gives the pages back that a block gave up, and makes them a hole. The caller holds no lock.
    pub(crate) fn give_back(&self, given_up: GivenUp) {
        if let Some(root) = self.root()
            && let Some(claim) = given_up.0
        {
            // Where the system refuses, it is a hole all the same.
            let _ = self.give_back_claimed(root, claim);
        }
    }

    /// Makes a block that [`Heap::allocate_kept`] gave `size` bytes long where it is, and says what it gave up. `None`
    /// where there is no room.
    pub(crate) fn resize_kept(
        &self,
        start: usize,
        old_size: usize,
        size: usize,
    ) -> Option<GivenUp> {
        let mut chains = self.root()?.chains.lock();
        chains.reserve(Nodes::CHANGE).ok()?;
        if old_size.saturating_sub(size) >= GIVE_UP_BYTES {
            return Some(GivenUp(chains.list.shrink_and_claim(start, size)));
        }
        chains.list.resize_kept(start, size).then_some(GivenUp(None))
    }

    /// Makes the block at `address`, asked for with `old_size` bytes, serve `new_size` without moving it. `false`
    /// where there is no room behind it: then it is held, as by [`Heap::hold`], so that its bytes can be moved.
    /// O(log n).
    pub(crate) fn resize_or_hold(
        &self,
        address: usize,
        old_size: usize,
        new_size: usize,
    ) -> Result<bool, Misuse> {
        let Some(root) = self.root() else {
            return Err(Misuse::foreign(address, Some(old_size)));
        };
        let expected = block_size(old_size).unwrap_or(0);
        let mut chains = root.chains.lock();
        let block = match chains.list.block(address, Some(expected)) {
            Ok(block) => block,
            Err(why) => {
                drop(chains);
                return Err(root.misuse(why, address, Some(old_size)));
            }
        };
        let size = block_size(new_size);
        if size == Some(block.size()) {
            return Ok(true);
        }
        if let Some(size) = size
            && chains.reserve(Nodes::CHANGE).is_ok()
        {
            if block.size().saturating_sub(size) >= GIVE_UP_BYTES {
                let given_up = GivenUp(chains.list.shrink_and_claim(address, size));
                drop(chains);
                self.give_back(given_up);
                return Ok(true);
            }
            if chains.list.resize(address, size) == Ok(true) {
                return Ok(true);
            }
        }
        let kept = chains.list.keep(address, None);
        debug_law!(kept.is_ok(), "it is a block");
        drop(chains);
        let larger = size.filter(|size| *size > block.size() && *size >= HUGE_FROM);
        Ok(larger.is_some_and(|size| self.extend_behind(root, block, size)))
    }

    /// Makes a block that is held larger whose zone has no committed addresses behind it but a hole, if that is so, and
    /// holds it no more.
    #[cold]
    fn extend_behind(&self, root: &Root, block: Segment, size: usize) -> bool {
        let mut zones = root.zones.lock();
        let mut chains = root.chains.lock();
        if chains.reserve(Nodes::ROOM_AND_CHANGE).is_err() {
            return false;
        }
        let end = chains.list.end_with_hole(block);
        let missing = (block.start + size).saturating_sub(end);
        drop(chains);
        let Ok(run) = zones.commit_behind(&self.os, end, missing) else { return false };
        let mut chains = root.chains.lock();
        if chains.reserve(Nodes::ROOM_AND_CHANGE).is_err() {
            zones.retreat(Use::Blocks, run);
            return false;
        }
        chains.add_room(run);
        let is_done = chains.list.resize_kept(block.start, size);
        if is_done {
            chains.list.stop_keeping(block.start);
        }
        is_done
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "writes to blocks")]
mod tests {
    use super::super::handle::Heap;

    const MIB: usize = 1 << 20;

    #[test]
    fn what_a_block_gives_up_is_a_hole_of_fresh_pages() {
        let heap = Heap::new();
        let block = heap.mems_malloc(8 * MIB, 16).expect("there is memory");
        let behind = heap.mems_malloc(MIB, 16).expect("there is memory");
        // SAFETY: the block is live.
        unsafe { block.as_ptr().write_bytes(0xA5, 8 * MIB) };
        let (start, holes) = (block.addr().get(), heap.stats().holes);
        let odd = 2 * MIB + 16;
        assert_eq!(heap.resize_or_hold(start, 8 * MIB, odd), Ok(true));
        assert_eq!(heap.check(), Ok(()));
        assert_eq!(heap.usable_size(block.as_ptr()), Some(odd));
        assert_eq!(heap.stats().holes, holes + 1);
        assert!(heap.stats().resident < 6 * MIB, "{}", heap.stats());
        assert_eq!(heap.resize_or_hold(start, odd, 8 * MIB), Ok(true), "the hole serves");
        assert_eq!(heap.check(), Ok(()));
        let page = odd.next_multiple_of(4096);
        for (offset, wanted) in [(odd - 1, 0xA5), (page, 0), (8 * MIB - 1, 0)] {
            // SAFETY: the byte lies in the block, which is live.
            assert_eq!(unsafe { block.as_ptr().wrapping_add(offset).read() }, wanted, "{offset}");
        }
        for block in [block, behind] {
            // SAFETY: the block is live, and nothing refers to it.
            assert_eq!(unsafe { heap.mems_free(block.as_ptr()) }, Ok(()));
        }
        assert_eq!(heap.check(), Ok(()));
    }
}
