//! The root record: everything a heap knows hangs off it, and it lies near the start of the first zone for nodes.
//!
//! Locks, in the order in which they may be taken: `zones` (growing; system calls are made under it) before `chains`
//! (spans, segments and their nodes; no system call is made under it, every operation takes it in one place).

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64};

use super::bounds::Bounds;
use super::chains::Chains;
use super::inherited::Inherited;
use super::lost::LostRuns;
use super::misuse::Misuse;
use super::zones::Zones;
use crate::base::addr;
use crate::base::lock::Lock;
use crate::base::os::{Os, OutOfMemory};
use crate::chain::free_list::NotABlock;

/// The record.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) page_size: usize,
    pub(super) zones: Lock<Zones>,
    pub(super) chains: Lock<Chains>,
    /// What of the zones is lost.
    pub(super) lost: LostRuns,
    /// What of the zones a parent has left to this process.
    pub(super) inherited: Inherited,
    /// When the decay ticks next, in milliseconds: see [`Decay`](super::decay::Decay).
    pub(super) next_tick: AtomicU64,
    /// Whether there is something that may go back then, or later.
    pub(super) waits: AtomicBool,
}

impl Root {
    /// Reserves a heap's first zones and puts its root record into them.
    #[expect(unsafe_code, reason = "places the record in memory that was just committed")]
    pub(super) fn create(os: &impl Os, bounds: &Bounds) -> Result<NonNull<Self>, OutOfMemory> {
        let (zones, mut memory) = Zones::new(os, bounds, size_of::<Self>() + align_of::<Self>())?;
        let place = memory.take(size_of::<Self>(), align_of::<Self>()).ok_or(OutOfMemory)?;
        let place = addr::pointer(place.get()).ok_or(OutOfMemory)?.cast::<Self>();
        let page_size = os.page_size();
        let chains = Chains::new(page_size, memory, zones.huge_range(), bounds.policy);
        let root = Self {
            page_size,
            zones: Lock::new(zones),
            chains: Lock::new(chains),
            lost: LostRuns::new(),
            inherited: Inherited::new(),
            next_tick: AtomicU64::new(0),
            waits: AtomicBool::new(false),
        };
        // SAFETY: the place was just committed, is aligned, as long as the record, and nobody else's.
        unsafe { place.write(root) };
        Ok(place)
    }

    /// What is wrong with an address at which no block of `size` bytes was found. The caller has no lock.
    #[cold]
    pub(super) fn misuse(&self, why: NotABlock, address: usize, size: Option<usize>) -> Misuse {
        let is_ours = || self.zones.lock().reserves_block_address(address);
        match why {
            // There was a block if a span has gone from there.
            NotABlock::Outside if is_ours() => Misuse::because(NotABlock::InHole, address, size),
            _ => Misuse::because(why, address, size),
        }
    }
}
