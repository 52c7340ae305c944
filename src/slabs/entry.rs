//! An entry of the slab map: what a free has to know of a slab, so that it need not read the descriptor.
//!
//! Anybody may read the key and the slab. The rest is for the thread that has found a key of its own heap here: only
//! that thread, or who acts for a heap without one, changes such an entry, so it finds all of it whole. To all others
//! the key says that the slab is not theirs.
//!
//! Invariants: **I1** `slab` names a descriptor, which is never unmapped, so a stale entry is harmless: the
//! descriptor's `start` tells; **I2** while there is a key, `start` and `states` are what the slab with that key has.
#![allow(unsafe_code, reason = "finds a state byte by address: this is the fast path")]

use core::hint::assert_unchecked;

use super::class;
use super::names::SlabName;
use super::slab::Slab;
use super::slot::LiveSlot;
use super::sync::{AtomicU8, AtomicUsize, Cell, Ordering};

/// What the slab map says of a granule. Zero bytes are an entry without a slab.
#[derive(Debug)]
#[repr(C, align(32))]
pub(crate) struct Entry {
    /// The slab's owner and class: see [`HeapName::key`](super::names::HeapName::key). 0 where there is no slab.
    key: AtomicUsize,
    /// Where the slab starts.
    start: Cell<usize>,
    /// Where the state byte of its first slot is.
    states: Cell<*const AtomicU8>,
    /// The name of its descriptor, 0 where there is no slab.
    slab: AtomicUsize,
}

impl Entry {
    /// An entry without a slab.
    #[cfg(test)]
    pub(super) const fn empty() -> Self {
        Self {
            key: AtomicUsize::new(0),
            start: Cell::new(0),
            states: Cell::new(core::ptr::null()),
            slab: AtomicUsize::new(0),
        }
    }

    /// Owner and class in one word.
    #[inline]
    pub(crate) fn key(&self) -> usize {
        self.key.load(Ordering::Relaxed)
    }

    /// The slab. It may end at any moment unless the caller holds a slot of it.
    #[inline]
    pub(crate) fn slab(&self) -> Option<&'static Slab> {
        // A walk, or a free of an address that is not the caller's, has no other edge to what the descriptor holds.
        let number = self.slab.load(Ordering::Acquire);
        // SAFETY: the words are zero at first, and then `enter` puts names' numbers there (I1).
        unsafe { SlabName::from_number(number) }.map(Slab::named)
    }

    /// The slot that starts at `address`, if it is live. Asked by the slab's owner, of an address of this granule,
    /// after he has found his key here. `magic` is that of the class.
    #[inline]
    pub(crate) fn own_slot(&self, address: usize, magic: u64) -> Option<LiveSlot> {
        let index = class::slot_index(address.wrapping_sub(self.start.get()), magic)?;
        // SAFETY: the address lies in the slab, so the index is at most the number of slots, and there is one byte more
        // than there are slots (I2; I3 of `slab`).
        let state = unsafe { self.states.get().add(index) };
        // SAFETY: where there is a key there are states (I2). Said here, or the answer costs a test.
        unsafe { assert_unchecked(!state.is_null()) };
        // SAFETY: state bytes are never unmapped.
        LiveSlot::new(address, unsafe { &*state })
    }

    /// The one slot of a slab of a large class, if it starts at `address` and is live. Asked as [`Entry::own_slot`] is.
    #[inline]
    pub(crate) fn own_only_slot(&self, address: usize) -> Option<LiveSlot> {
        if address != self.start.get() {
            return None;
        }
        // SAFETY: where there is a key there are states, of which none is ever unmapped (I2).
        LiveSlot::new(address, unsafe { &*self.states.get() })
    }

    /// Enters a slab, or none. The caller acts for the owner that the entry had, and for the one that it gets.
    pub(super) fn enter(&self, slab: Option<&'static Slab>) {
        match slab {
            Some(slab) => {
                self.start.set(slab.start());
                self.states.set(slab.first_state());
                self.slab.store(slab.name().number(), Ordering::Release);
                self.key.store(slab.key(), Ordering::Release);
            }
            None => {
                self.key.store(0, Ordering::Relaxed);
                self.slab.store(0, Ordering::Release);
            }
        }
    }
}
