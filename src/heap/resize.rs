//! Blocks that grow and shrink where they are.
//!
//! What grows takes the hole behind it, or, where the zone's committed addresses end there, further ones. What a block
//! gives up as it shrinks is to the pages what a freed block is: they go back once they have been idle for a while, so
//! that a buffer that grows and shrinks in turns costs no system call, or at once from [`AT_ONCE_BYTES`] on. Such a
//! part is claimed under the same hold of the `chains` lock that makes the block shorter, so the system call is made
//! without it.

use super::give_back::AT_ONCE_BYTES;
use super::handle::Heap;
use super::misuse::Misuse;
use super::root::Root;
use super::sizes::{HUGE_FROM, block_size};
use super::zone::Use;
use crate::base::fatal::debug_law;
use crate::base::os::Os;
use crate::chain::free_list::Nodes;
use crate::chain::segment::Segment;

impl<O: Os> Heap<O> {
    /// Makes a block that [`Heap::allocate_kept`] gave `size` bytes long where it is. `false` where there is no room.
    /// The caller may hold locks that come before those of the heap.
    pub(crate) fn resize_kept(&self, start: usize, size: usize) -> bool {
        let Some(root) = self.root() else { return false };
        let mut chains = root.chains.lock();
        chains.reserve(Nodes::CHANGE).is_ok() && chains.list.resize_kept(start, size)
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
            if block.size().saturating_sub(size) >= AT_ONCE_BYTES {
                let claim = chains.list.shrink_and_claim(address, size);
                drop(chains);
                // Where the system refuses, it is a hole all the same.
                claim.into_iter().for_each(|claim| _ = self.give_back_claimed(root, claim));
                return Ok(true);
            }
            if chains.list.resize(address, size) == Ok(true) {
                self.tick(root, chains);
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
    use core::time::Duration;

    use super::super::decay::Policy;
    use super::super::handle::Heap;

    const MIB: usize = 1 << 20;

    /// Resizes the block at `start` to each of these sizes in turn, and says how many bytes are resident after each.
    fn resize_all<const N: usize>(heap: &Heap, start: usize, sizes: [usize; N]) -> [usize; N] {
        let mut before = heap.usable_size_at(start).expect("a live block");
        sizes.map(|size| {
            assert_eq!(heap.resize_or_hold(start, before, size), Ok(true));
            assert_eq!(heap.check(), Ok(()));
            assert_eq!(heap.usable_size_at(start), Some(size));
            before = size;
            heap.stats().resident
        })
    }

    #[test]
    fn what_a_block_gives_up_is_a_hole_of_fresh_pages() {
        let heap = Heap::new();
        let block = heap.mems_malloc(64 * MIB, 16).expect("there is memory");
        let behind = heap.mems_malloc(MIB, 16).expect("there is memory");
        // SAFETY: the block is live.
        unsafe { block.as_ptr().write_bytes(0xA5, 64 * MIB) };
        let (start, holes) = (block.addr().get(), heap.stats().holes);
        let odd = 20 * MIB + 16;
        let [resident, _] = resize_all(&heap, start, [odd, 64 * MIB]);
        assert!(resident < 24 * MIB, "{resident}");
        assert_eq!(heap.stats().holes, holes, "the hole serves");
        let page = odd.next_multiple_of(4096);
        for (offset, wanted) in [(odd - 1, 0xA5), (page, 0), (64 * MIB - 1, 0)] {
            // SAFETY: the byte lies in the block, which is live.
            assert_eq!(unsafe { block.as_ptr().wrapping_add(offset).read() }, wanted, "{offset}");
        }
        for block in [block, behind] {
            // SAFETY: the block is live, and nothing refers to it.
            assert_eq!(unsafe { heap.mems_free(block.as_ptr()) }, Ok(()));
        }
        assert_eq!(heap.check(), Ok(()));
    }

    #[test]
    fn what_a_smaller_block_gave_up_goes_once_it_was_idle() {
        let heap = Heap::new();
        heap.set_policy(Policy { decay_ms: 0, retained_bytes: Some(0) });
        let block = heap.mems_malloc(24 * MIB, 16).expect("there is memory");
        // SAFETY: the block is live.
        unsafe { block.as_ptr().write_bytes(0xA5, 24 * MIB) };
        let start = block.addr().get();
        let [resident] = resize_all(&heap, start, [8 * MIB]);
        assert!(resident > 20 * MIB, "it has just become idle: {resident}");
        for size in (0..1_000).map(|round| 7 * MIB + 16 * (round % 2)) {
            std::thread::sleep(Duration::from_millis(2));
            let [resident] = resize_all(&heap, start, [size]);
            if resident < 9 * MIB {
                return;
            }
        }
        panic!("{}", heap.stats());
    }
}
