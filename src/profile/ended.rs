//! The sampled blocks that were freed last: who had allocated each, and who freed it.
//!
//! For an address that is freed again. A block takes the place that its address points to, and overwrites what is
//! there. A table in mappings of its own, a lock for each part; a part takes no memory before a block of it is freed.

use super::records::Record;
use super::walk::Frames;
use crate::base::array::{Array, Zeroable};
use crate::base::lock::Lock;
use crate::base::os::OutOfMemory;

/// Parts, so that threads seldom meet.
const PARTS: usize = 16;
/// Blocks of a part.
const PLACES: usize = 64;
/// Frames that are noted of a free.
pub(super) const FREE_FRAMES: usize = 24;

/// A sampled block that was freed.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndedBlock {
    /// What was noted of it while it was live.
    pub(super) record: Record,
    /// When it was freed, in milliseconds.
    pub(super) at: u64,
    /// What the system calls the thread that freed it.
    pub(super) thread: u32,
    /// Where.
    pub(super) frames: Frames<FREE_FRAMES>,
}

// SAFETY: numbers, and zero is where a walk ends.
#[expect(unsafe_code, reason = "says that zero bytes are a place without a block")]
unsafe impl Zeroable for EndedBlock {}

/// All that are noted.
#[derive(Debug)]
pub(super) struct EndedBlocks([Lock<Array<EndedBlock>>; PARTS]);

impl EndedBlocks {
    pub(super) const fn new() -> Self {
        Self([const { Lock::new(Array::new()) }; PARTS])
    }

    /// The part of an address, and the place there.
    fn place_of(&self, address: usize) -> Option<(&Lock<Array<EndedBlock>>, usize)> {
        let mixed = ((address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        self.0.get(mixed % PARTS).map(|part| (part, mixed / PARTS % PLACES))
    }

    /// Notes a block that is being freed, unless another thread is at that part: nobody waits, as a signal handler may
    /// have interrupted its thread with any lock of the profile held.
    pub(super) fn note(&self, block: &EndedBlock) -> Result<(), OutOfMemory> {
        let Some((part, place)) = self.place_of(block.record.address) else { return Ok(()) };
        let Some(mut blocks) = part.try_lock() else { return Ok(()) };
        if blocks.is_empty() {
            *blocks = Array::zeroed(PLACES)?;
        }
        blocks.items_mut().get_mut(place).into_iter().for_each(|known| *known = *block);
        Ok(())
    }

    /// Forgets a block whose free was refused.
    pub(super) fn forget(&self, address: usize) {
        let Some((part, place)) = self.place_of(address) else { return };
        let Some(mut blocks) = part.try_lock() else { return };
        let known = blocks.items_mut().get_mut(place);
        let known = known.filter(|known| known.record.address == address);
        known.into_iter().for_each(|known| known.record.address = 0);
    }

    /// What is noted of an address, if the lock for that is open soon.
    pub(super) fn find_soon(&self, address: usize) -> Option<EndedBlock> {
        let (part, place) = self.place_of(address)?;
        let blocks = part.lock_soon()?;
        blocks.get(place).filter(|known| known.record.address == address).copied()
    }

    /// Takes all locks for the time of a fork: see [`Lock::hold_for_fork`].
    pub(super) fn hold_for_fork(&self, is_interrupted: bool) {
        self.0.iter().for_each(|part| part.hold_for_fork(is_interrupted));
    }

    /// Ends [`EndedBlocks::hold_for_fork`].
    pub(super) fn release_after_fork(&self, is_child: bool) {
        self.0.iter().for_each(|part| part.release_after_fork(is_child));
    }

    /// Whether the calling thread holds one of the locks.
    pub(super) fn is_mine(&self) -> bool {
        self.0.iter().any(Lock::is_mine)
    }
}
