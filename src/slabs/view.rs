//! A thread's view of the slab map: where the table is and how far it goes, in words of the thread's own.
//!
//! The table grows and never moves, so an old view is right as far as it goes. A heap that has none covers nothing: its
//! thread finds nothing and goes the slow way.
//!
//! Invariant: **I1** the table has an entry for each granule below `base + covered`.
#![allow(unsafe_code, reason = "reads the table by address: this is the fast path")]

use core::hint::assert_unchecked;
use core::ptr;

use super::class::SLAB_GRANULE;
use super::entry::Entry;
use super::slab_map::SlabMap;
use super::sync::Cell;

/// A thread's view of the slab map.
#[derive(Debug)]
pub(crate) struct View {
    base: Cell<usize>,
    covered: Cell<usize>,
    entries: Cell<*const Entry>,
}

impl View {
    /// Of a table that speaks of no address.
    pub(super) const fn new() -> Self {
        Self { base: Cell::new(0), covered: Cell::new(0), entries: Cell::new(ptr::null()) }
    }

    /// Shows the table as it is now.
    pub(super) fn renew(&self, map: &SlabMap) {
        let (base, covered, entries) = map.extent();
        self.base.set(base);
        self.entries.set(entries);
        self.covered.set(covered);
    }

    /// The entry of the granule that has `address`, if the thread knows of it.
    #[inline]
    pub(crate) fn entry(&self, address: usize) -> Option<&'static Entry> {
        let offset = address.wrapping_sub(self.base.get());
        if offset >= self.covered.get() {
            return None;
        }
        // SAFETY: the table has an entry for every granule that it speaks of (I1).
        let entry = unsafe { self.entries.get().add(offset / SLAB_GRANULE) };
        // SAFETY: a table that speaks of something is there. Said here, or the option costs a test.
        unsafe { assert_unchecked(!entry.is_null()) };
        // SAFETY: an entry lies there, which is never unmapped (I1).
        Some(unsafe { &*entry })
    }
}
