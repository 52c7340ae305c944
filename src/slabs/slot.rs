//! A slot's state byte, and the right to a slot that is free.
//!
//! Invariant: **I1** a state byte is never unmapped.

use super::sync::{AtomicU8, Ordering};
use crate::base::fatal::debug_law;

/// The state byte of a slot that is handed out. Every other slot's is one of those below.
pub(crate) const LIVE: u8 = 1;
/// The state byte of a slot that was freed, or that was never taken out of its slab. Zero, as fresh memory is.
pub(crate) const FREE: u8 = 0;
/// The state byte of a slot that was taken out of its slab and never handed out.
pub(crate) const NEW: u8 = 2;

/// The state byte of a slot whose memory is not there any more.
pub(crate) const LOST: u8 = 3;

/// The bit of a state byte that marks slots in the child of a fork, while threads that vanished are dealt with. No
/// other state has it.
pub(super) const MARK: u8 = 1 << 7;

/// Why the owner could not make a slot free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotFreed {
    /// No slot starts at the address.
    NoSlot,
    /// The slot is not live, and this is its state byte.
    NotLive(u8),
}

/// Makes a slot free through its state byte, if it is live.
#[inline]
pub(super) fn make_free(state: &AtomicU8, ordering: Ordering) -> Result<(), NotFreed> {
    let before = state.swap(FREE, ordering);
    if before == LIVE { Ok(()) } else { Err(NotFreed::NotLive(before)) }
}

/// Puts the state byte back that [`make_free`] has found where it was not [`LIVE`], unless the slot was handed out
/// since then.
#[inline]
pub(super) fn put_back(state: &AtomicU8, before: u8) {
    let relaxed = Ordering::Relaxed;
    while before != FREE && state.compare_exchange_weak(FREE, before, relaxed, relaxed) == Err(FREE)
    {
    }
}

/// A free slot, and the right to it. It has no `Clone`, as a slot is in one place at a time.
#[derive(Debug)]
#[repr(C)]
#[must_use = "a free slot that is dropped is lost"]
pub(crate) struct FreeSlot {
    address: usize,
    state: &'static AtomicU8,
}

impl FreeSlot {
    /// The slot at `address`, which the caller has made free, or has taken out of where it waited.
    #[inline]
    pub(crate) const fn new(address: usize, state: &'static AtomicU8) -> Self {
        Self { address, state }
    }

    /// Where it starts.
    #[inline]
    pub(super) const fn address(&self) -> usize {
        self.address
    }

    /// Its address and its state byte, to be put where it waits.
    #[inline]
    pub(super) const fn into_parts(self) -> (usize, &'static AtomicU8) {
        (self.address, self.state)
    }

    /// Makes it live: its address.
    #[inline]
    pub(super) fn hand_out(self) -> usize {
        debug_law!(self.state.load(Ordering::Relaxed) != LIVE, "a slot is handed out once");
        self.state.store(LIVE, Ordering::Relaxed);
        self.address
    }
}
