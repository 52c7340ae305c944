//! Pages that go back to the OS, by mapping fresh ones over them.
//!
//! Mapping over leaves no moment in which another thread's `mmap` could take the addresses, and where the kernel merges
//! fresh pages with those beside them the run stays a part of its mapping. Where it does not, see
//! [`inherited`](super::inherited). The run is claimed in the free list meanwhile, so the system call is made without
//! the `chains` lock. Where the system refuses, nothing is lost, and no further run is tried.
//!
//! When: the pages of a block of [`AT_ONCE_BYTES`] or more go when it is freed, or shrinks by as much; all others when
//! they have been idle for a while ([`decay`](super::decay)), or when [`trim`](Heap::trim) is called, which also takes
//! out spans that are all hole.

use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use super::chains::Chains;
use super::handle::Heap;
use super::root::Root;
use super::zone::Use;
use crate::base::addr;
use crate::base::commit;
use crate::base::lock::LockGuard;
use crate::base::os::{Os, Recovered};
use crate::chain::free_list::Claim;
use crate::chain::node_arena::Id;
use crate::chain::segment::Segment;

/// Blocks of at least this size go back when they are freed, and what a block gives up as it shrinks. A judgement: the
/// next user pays for touching the pages anew, about 2 us each, and in return 32 MiB and more never lie idle.
pub(super) const AT_ONCE_BYTES: usize = 32 << 20;

/// Segments looked at under one hold of the lock.
const BATCH: usize = 64;

/// Idle holes that are smaller stay: a system call for each would cost more than the pages are worth.
const MIN_IDLE_BYTES: usize = 256 << 10;
/// The most holes that one tick gives back.
const IDLE_HOLES: usize = 16;
/// A tick that has given back this many bytes gives no further hole back.
const IDLE_BYTES: usize = 64 << 20;
/// Segments that one tick goes over.
const IDLE_STEPS: usize = 512;

/// The system refuses to take pages back, or to give fresh ones for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

impl<O: Os> Heap<O> {
    /// Notes, in the child of a fork, what it has from its parent.
    pub(crate) fn note_inherited(&self) {
        let Some(root) = self.root() else { return };
        let zones = root.zones.lock();
        let all = [Use::Blocks, Use::Nodes].into_iter().flat_map(|what| zones.all(what));
        let committed = all.filter(|zone| zone.committed > 0);
        let ranges = committed.map(|zone| (zone.start, zone.committed_end()));
        root.inherited.note(root.page_size, ranges);
    }

    /// Start and length of the part of a run of whole pages that may go back, if there is any: all of it but in the
    /// child of a fork.
    pub(crate) fn part_to_give_back(&self, first: usize, len: usize) -> Option<(usize, usize)> {
        self.root()?.inherited.part(first, len)
    }

    /// Notes how many bytes are dirty, and opens the lock. Returns how many ought to go back.
    #[inline]
    pub(super) fn note_dirty(&self, root: &Root, mut chains: LockGuard<'_, Chains>) -> usize {
        let live = chains.list.totals().block_bytes;
        let dirty = chains.dirty_bytes(root.page_size);
        let idle = chains.decay.note(dirty, live);
        // A caller that holds another lock leaves the work to the next one that does not.
        let next_tick = if idle > 0 { 0 } else { chains.decay.next_tick() };
        root.next_tick.store(next_tick, Ordering::Relaxed);
        root.waits.store(chains.decay.waits(), Ordering::Relaxed);
        idle
    }

    /// Notes how many bytes are dirty, and gives some of the idle ones back: returns how many. The caller holds no lock
    /// but this one.
    #[inline]
    pub(super) fn tick(&self, root: &Root, chains: LockGuard<'_, Chains>) -> usize {
        let idle = self.note_dirty(root, chains);
        self.give_back_idle(idle)
    }

    /// Ticks if it is time to: for callers that do not use the free list. The caller holds no lock.
    #[inline]
    pub(crate) fn tick_if_due(&self, now: u64) -> usize {
        if let Some(root) = self.root()
            && now >= root.next_tick.load(Ordering::Relaxed)
            && let Some(chains) = root.chains.try_lock()
        {
            self.tick(root, chains)
        } else {
            0
        }
    }

    /// Whether there are dirty bytes that go back when they have been idle for as long as pages wait.
    pub(crate) fn has_waiting(&self) -> bool {
        self.root().is_some_and(|root| root.waits.load(Ordering::Relaxed))
    }

    /// Notes that `bytes` of the holes were idle for as long as pages wait, before they were holes.
    pub(crate) fn count_as_idle(&self, bytes: usize) {
        if let Some(root) = self.root().filter(|_| bytes > 0) {
            root.chains.lock().decay.count_as_idle(bytes);
            root.next_tick.store(0, Ordering::Relaxed);
        }
    }

    /// Gives about `wanted` idle bytes back, from the highest addresses down; the rest the next time. The caller holds
    /// no lock. Returns the bytes that went.
    #[inline]
    pub(super) fn give_back_idle(&self, wanted: usize) -> usize {
        match self.root() {
            Some(root) if wanted > 0 => self.give_back_holes(root, wanted),
            _ => 0,
        }
    }

    #[cold]
    #[inline(never)]
    fn give_back_holes(&self, root: &Root, wanted: usize) -> usize {
        let most = wanted.min(IDLE_BYTES);
        let (mut given_back, mut steps) = (0, IDLE_STEPS);
        for _ in 0..IDLE_HOLES {
            let mut chains = root.chains.lock();
            let hole = chains.dirty_hole_below(chains.decay.below, MIN_IDLE_BYTES, &mut steps);
            let below = hole.map_or_else(|below| below, |hole| hole.start);
            chains.decay.go_on_below(below, hole.is_ok());
            drop(chains);
            match hole {
                Ok(hole) => match self.trim_hole(root, hole.start) {
                    Ok(bytes) => given_back += bytes,
                    Err(Refused) => break,
                },
                Err(_) => break,
            }
            if given_back >= most {
                break;
            }
        }
        self.note_dirty(root, root.chains.lock());
        given_back
    }

    /// Gives every whole page that no block lies on back to the system. Returns their bytes. O(segments), with one
    /// system call for each hole that has such pages; other threads go on meanwhile.
    pub fn trim(&self) -> usize {
        let Some(root) = self.root() else { return 0 };
        self.commit_set_aside(root);
        let mut batch = [Segment::hole(0, 0, Id::NONE); BATCH];
        let (mut address, mut given_back) = (0, 0);
        'holes: loop {
            let count = root.chains.lock().list.copy_segments(address, &mut batch);
            let Some(last) = batch.get(count.wrapping_sub(1)) else { break };
            address = last.end();
            for hole in batch.iter().take(count) {
                if hole.is_hole() && !hole.extent.is_clean_hole() {
                    match self.trim_hole(root, hole.start) {
                        Ok(bytes) => given_back += bytes,
                        Err(Refused) => break 'holes,
                    }
                }
            }
        }
        self.trim_spans(root);
        given_back
    }

    /// After a fork, in the child: gives the runs back that vanished threads had claimed to do so.
    ///
    /// # Safety
    ///
    /// There is no other thread, and the calling one has claimed nothing.
    #[expect(unsafe_code, reason = "takes over what vanished threads had claimed")]
    pub(crate) unsafe fn settle_vanished_claims(&self) {
        let Some(root) = self.root() else { return };
        root.chains.lock().forget_uncommitted();
        let mut batch = [Segment::hole(0, 0, Id::NONE); BATCH];
        let mut address = 0;
        loop {
            let count = root.chains.lock().list.copy_segments(address, &mut batch);
            let Some(last) = batch.get(count.wrapping_sub(1)) else { break };
            address = last.end();
            let is_claimed = |run: &&Segment| {
                run.extent.is_claimed() && !root.lost.touches(run.start, run.end())
            };
            for run in batch.iter().take(count).filter(is_claimed) {
                // SAFETY: by the caller's contract.
                let claim = unsafe { root.chains.lock().list.vanished_claim(run.start) };
                claim.into_iter().for_each(|claim| _ = self.commit_claimed(root, claim));
            }
        }
    }

    /// Takes every span that is all hole out of the chain, with its zone's pages.
    fn trim_spans(&self, root: &Root) {
        let mut zones = root.zones.lock();
        let mut next = 0;
        // By address, as a zone that goes changes the numbers of those behind it.
        while let Some(zone) = zones.next_block_zone(next) {
            next = zone.start + 1;
            if root.chains.lock().remove_empty_span(zone.start) {
                zones.vacate(&self.os, zone.start);
            }
        }
    }

    /// Gives the whole pages of the hole at `address` back, if it still is one. A thread that finds no room meanwhile
    /// waits for the `zones` lock and then finds it: without that the heap would grow while it is trimmed.
    fn trim_hole(&self, root: &Root, address: usize) -> Result<usize, Refused> {
        let _zones = root.zones.lock();
        let claim = root.chains.lock().list.claim_hole(address);
        claim.map_or(Ok(0), |claim| self.give_back_claimed(root, claim))
    }

    /// Gives the whole pages of a claimed run back, or as many as may go back, and makes the run a hole. Returns the
    /// bytes given back.
    #[expect(unsafe_code, reason = "maps over pages that nobody uses")]
    pub(super) fn give_back_claimed(&self, root: &Root, claim: Claim) -> Result<usize, Refused> {
        let pages = claim.pages(root.page_size);
        let part = pages.and_then(|(first, len)| root.inherited.part(first, len));
        // SAFETY: the pages lie in a run of this heap's zones that the caller has claimed, so nobody refers to them.
        let renew = |start, len| unsafe { commit::renew(&self.os, start, len) };
        self.settle(root, claim, part, renew)
    }

    /// Maps fresh pages over all of a claimed run, which may have none, and makes it a hole.
    #[expect(unsafe_code, reason = "maps over pages that nobody uses")]
    fn commit_claimed(&self, root: &Root, claim: Claim) -> Result<usize, Refused> {
        let pages = claim.pages(root.page_size);
        // SAFETY: as in `give_back_claimed`.
        let commit = |start, len| unsafe { commit::commit_for_blocks(&self.os, start, len) };
        self.settle(root, claim, pages, commit)
    }

    /// Maps fresh pages over a part of a claimed run by `map`, and makes the run a hole. Returns that part's bytes.
    #[expect(unsafe_code, reason = "clears bytes that nobody uses")]
    fn settle(
        &self,
        root: &Root,
        claim: Claim,
        part: Option<(usize, usize)>,
        map: impl FnOnce(NonNull<u8>, usize) -> Result<(), Recovered>,
    ) -> Result<usize, Refused> {
        let Some((first, len)) = part else {
            root.chains.lock().list.settle_claim(claim, false, None);
            return Ok(0);
        };
        if let Some(start) = addr::pointer(first) {
            match map(start, len) {
                Ok(()) => {}
                Err(Recovered::Untouched) => {
                    root.chains.lock().list.settle_claim(claim, false, None);
                    return Err(Refused);
                }
                Err(Recovered::Reserved) => {
                    root.chains.lock().set_aside(claim);
                    return Err(Refused);
                }
                Err(Recovered::Lost) => {
                    // The run stays claimed.
                    root.lost.enter(first, len);
                    return Err(Refused);
                }
            }
        }
        let is_whole = claim.pages(root.page_size) == part;
        let tail = claim.used_end() - (first + len);
        if let Some(tail_start) = addr::pointer(first + len).filter(|_| is_whole && tail > 0) {
            // SAFETY: the bytes lie in the claimed run, whose memory is readable and writable.
            unsafe { tail_start.write_bytes(0, tail) };
        }
        root.chains.lock().list.settle_claim(claim, true, is_whole.then_some(first));
        Ok(len)
    }

    /// Commits the runs again whose pages went and did not come back, as far as the system gives any.
    pub(super) fn commit_set_aside(&self, root: &Root) {
        loop {
            let Some(claim) = root.chains.lock().take_uncommitted() else { break };
            if self.commit_claimed(root, claim).is_err() {
                break;
            }
        }
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "writes to blocks")]
mod tests {
    use core::alloc::Layout;

    use super::super::handle::Heap;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 16).expect("a layout")
    }

    /// Found in a child whose parent had a thread that was giving 32 MiB back while another one forked.
    #[test]
    fn a_run_that_a_vanished_thread_had_claimed_is_used_again() {
        const LEN: usize = 40 << 20;
        let heap = Heap::new();
        let blocks = [LEN; 3].map(|len| heap.mems_malloc(len, 16).expect("there is memory"));
        for block in &blocks {
            // SAFETY: the block is live.
            unsafe { block.as_ptr().write_bytes(0xA5, 1 << 20) };
        }
        let root = heap.root().expect("a root");
        let claimed = root.chains.lock().list.release_or_claim(blocks[1].addr().get(), None, LEN);
        assert!(claimed.is_ok_and(|claimed| claimed.is_some()));
        let holes = heap.stats().holes;
        // SAFETY: the claim was dropped, as if its thread had vanished, and nobody else uses the heap.
        unsafe { heap.settle_vanished_claims() };
        assert_eq!(heap.check(), Ok(()));
        assert_eq!(heap.stats().holes, holes);
        let again = heap.allocate(layout(LEN)).expect("there is room");
        assert_eq!(again.start, blocks[1], "the first hole that is large enough");
        // SAFETY: the block is live, and its pages are fresh ones.
        assert_eq!(unsafe { again.start.as_ptr().read() }, 0);
    }

    /// Found by reading: a run given back next to a clean hole joined it, with a page that each had only a part of.
    #[test]
    fn a_page_that_two_clean_runs_share_is_not_zero() {
        const LEN: usize = (40 << 20) + 16;
        let heap = Heap::new();
        let blocks = [LEN; 3].map(|len| heap.mems_malloc(len, 16).expect("there is memory"));
        for block in &blocks {
            // SAFETY: the block is live.
            unsafe { block.as_ptr().write_bytes(0xA5, 4096) };
        }
        for block in &blocks[..2] {
            // SAFETY: the block is live, and nothing refers to it.
            unsafe { heap.mems_free(block.as_ptr()) }.expect("a live block");
        }
        let both = heap.allocate(layout(2 * LEN - 4096)).expect("the holes are one");
        assert_eq!(both.start, blocks[0]);
        // SAFETY: the block was just handed out, and has that many bytes.
        assert!(unsafe { heap.clear(&both, 2 * LEN - 4096) });
        // SAFETY: the byte is the block's, and zero or of the old block there.
        assert_eq!(unsafe { both.start.as_ptr().wrapping_add(LEN).read() }, 0);
    }
}
