//! The zones of one use, in memory of the heap's own: too many for a small stack, and most places stay untouched.
//!
//! Invariant: **I1** `zones` has room for [`MAX_ZONES`], which are initialised, as zero is one.
#![allow(unsafe_code, reason = "an array in the heap's own memory")]

use core::ptr::NonNull;
use core::slice;

use super::zone::Zone;
use crate::base::addr;
use crate::base::bump::Bump;
use crate::base::os::OutOfMemory;

/// Each further zone has as many addresses as all before it, or what the limits leave, so this is ample.
const MAX_ZONES: usize = 128;

/// The table.
#[derive(Debug)]
pub(super) struct ZoneTable {
    zones: NonNull<Zone>,
    count: usize,
}

// SAFETY: a table is the only one that refers to its memory, and zones are numbers.
unsafe impl Send for ZoneTable {}

impl ZoneTable {
    /// Bytes of memory that a table takes.
    pub(super) const BYTES: usize = MAX_ZONES * size_of::<Zone>();

    /// An empty table, in memory that it takes.
    ///
    /// # Safety
    ///
    /// `memory` is zero, committed, and nobody else's as long as the table is.
    pub(super) unsafe fn within(memory: &mut Bump) -> Result<Self, OutOfMemory> {
        let start = memory.take(Self::BYTES, align_of::<Zone>()).ok_or(OutOfMemory)?;
        let zones = addr::pointer(start.get()).ok_or(OutOfMemory)?.cast();
        Ok(Self { zones, count: 0 })
    }

    /// All zones.
    pub(super) fn all(&self) -> &[Zone] {
        // SAFETY: there are more than `count` (I1), and the table is borrowed.
        unsafe { slice::from_raw_parts(self.zones.as_ptr(), self.count) }
    }

    /// All zones, to be changed.
    pub(super) fn all_mut(&mut self) -> &mut [Zone] {
        // SAFETY: there are more than `count` (I1), and the table is borrowed.
        unsafe { slice::from_raw_parts_mut(self.zones.as_ptr(), self.count) }
    }

    /// Whether there is no place for a further zone.
    pub(super) const fn is_full(&self) -> bool {
        self.count == MAX_ZONES
    }

    /// Whether half of the places are free, so that some can be had for other reasons than that a zone is full.
    pub(super) const fn is_roomy(&self) -> bool {
        self.count <= MAX_ZONES / 2
    }

    /// Appends a zone.
    pub(super) fn push(&mut self, zone: Zone) -> Result<(), OutOfMemory> {
        if self.is_full() {
            return Err(OutOfMemory);
        }
        self.count += 1;
        if let Some(last) = self.all_mut().last_mut() {
            *last = zone;
        }
        Ok(())
    }

    /// Takes a zone out.
    pub(super) fn remove(&mut self, index: usize) -> Option<Zone> {
        let zone = self.all().get(index).copied()?;
        self.all_mut().copy_within(index + 1.., index);
        self.count -= 1;
        Some(zone)
    }
}
