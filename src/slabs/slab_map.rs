//! The slab map: from an address to the slab it lies in, without a lock.
//!
//! One [`Entry`] for each [`SLAB_GRANULE`] of the heap's first zone for blocks.
//! Invariant: **I1** the table is committed for all addresses below `base + covered` before `covered` says so, so no
//! address makes a lookup fault; it is never unmapped.
#![allow(unsafe_code, reason = "reads the table by address")]

use core::ptr::{self, NonNull};

use super::class::SLAB_GRANULE;
use super::entry::Entry;
use super::slab::Slab;
use super::sync::{AtomicPtr, AtomicUsize, Ordering};
use crate::base::commit;
use crate::base::fatal::debug_law;
use crate::base::guarded;
use crate::base::os::{OutOfMemory, Recovered, System};
use crate::base::round::align_up;

/// The table grows by this many bytes at the least: entries for 32 MiB.
const STEP: usize = 64 << 10;
/// Bytes of a granule's entry.
const ENTRY_BYTES: usize = size_of::<Entry>();

/// The table. Free's slow ways read these words, so they share no cache line with what is written when slabs come and
/// go: beside a thread that made and ended slabs a pair took 8 ns instead of 6 where every free did (Zen 4).
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct SlabMap {
    /// The first address it speaks of.
    base: AtomicUsize,
    /// Bytes of addresses it speaks of now.
    covered: AtomicUsize,
    /// Where its entries are.
    entries: AtomicPtr<Entry>,
    /// Bytes of addresses it may ever speak of.
    limit: AtomicUsize,
}

impl SlabMap {
    /// A table that speaks of no address.
    pub(crate) const fn new() -> Self {
        Self {
            base: AtomicUsize::new(0),
            covered: AtomicUsize::new(0),
            entries: AtomicPtr::new(ptr::null_mut()),
            limit: AtomicUsize::new(0),
        }
    }

    /// Reserves the table for `len` bytes of addresses from `base` on, somewhere in a run that is longer by `spread`
    /// bytes. One thread at a time, once.
    pub(super) fn begin(&self, base: usize, len: usize, spread: usize) -> Result<(), OutOfMemory> {
        let bytes = align_up(len / SLAB_GRANULE * ENTRY_BYTES, STEP).ok_or(OutOfMemory)?;
        let entries = guarded::reserve(&System, bytes, spread)
            .or_else(|OutOfMemory| guarded::reserve(&System, bytes, 0))?;
        self.entries.store(entries.cast().as_ptr(), Ordering::Relaxed);
        self.base.store(align_up(base, SLAB_GRANULE).ok_or(OutOfMemory)?, Ordering::Relaxed);
        self.limit.store(bytes / ENTRY_BYTES * SLAB_GRANULE, Ordering::Relaxed);
        Ok(())
    }

    /// Whether [`SlabMap::begin`] has been called.
    pub(super) fn has_begun(&self) -> bool {
        self.limit.load(Ordering::Relaxed) > 0
    }

    /// What a limit on all bytes leaves beside the table, which is never larger than the rest of it here.
    pub(crate) const fn share_left_of(limit_bytes: usize) -> usize {
        if limit_bytes == usize::MAX {
            return limit_bytes;
        }
        limit_bytes.saturating_sub(limit_bytes / SLAB_GRANULE * ENTRY_BYTES + STEP)
    }

    /// Bytes that the table takes.
    pub(crate) fn mapped_bytes(&self) -> usize {
        self.covered.load(Ordering::Relaxed) / SLAB_GRANULE * ENTRY_BYTES
    }

    /// Makes the table speak of `len` bytes from `start` on. One thread at a time.
    pub(super) fn cover(&self, start: usize, len: usize) -> Result<(), OutOfMemory> {
        let covered = self.covered.load(Ordering::Relaxed);
        // A chained zone may lie below the table's first address, which is as good as far above it.
        let offset = start.wrapping_sub(self.base.load(Ordering::Relaxed));
        let limit = self.limit.load(Ordering::Relaxed);
        if offset >= limit || len > limit - offset {
            return Err(OutOfMemory);
        }
        let end = offset + len;
        if end <= covered {
            return Ok(());
        }
        let old = covered / SLAB_GRANULE * ENTRY_BYTES;
        let new = end.div_ceil(SLAB_GRANULE) * ENTRY_BYTES;
        let new = align_up(new, STEP).ok_or(OutOfMemory)?;
        let entries = NonNull::new(self.entries.load(Ordering::Relaxed)).ok_or(OutOfMemory)?;
        // SAFETY: the table's reservation reaches at least to the limit (I1).
        let place = unsafe { entries.cast::<u8>().add(old) };
        // SAFETY: the run is the untouched tail of the table's own reservation (I1).
        if let Err(refused) = unsafe { commit::commit(&System, place, new - old) } {
            if refused == Recovered::Lost {
                self.limit.store(covered, Ordering::Relaxed);
            }
            return Err(OutOfMemory);
        }
        self.covered.store(new / ENTRY_BYTES * SLAB_GRANULE, Ordering::Release);
        Ok(())
    }

    /// The first address it speaks of, the bytes of addresses from there on, and the entry of the first.
    #[inline]
    pub(super) fn extent(&self) -> (usize, usize, *const Entry) {
        // A thread that sees the first slab's `covered` has to see where the table is, too: it may look up the address
        // of a large block that is older than the table.
        let covered = self.covered.load(Ordering::Acquire);
        let entries = self.entries.load(Ordering::Relaxed);
        (self.base.load(Ordering::Relaxed), covered, entries)
    }

    /// The entry of the granule that has `address`, if the table speaks of it.
    #[inline]
    fn entry(&self, address: usize) -> Option<&'static Entry> {
        let (base, covered, entries) = self.extent();
        let offset = address.wrapping_sub(base);
        let entry = entries.wrapping_add(offset / SLAB_GRANULE);
        // SAFETY: the entry lies in the committed part of the table, which is never unmapped (I1). Zero bytes are one.
        (offset < covered).then(|| unsafe { &*entry })
    }

    /// The slab whose granule has `address`. It may end at any moment unless the caller holds a slot of it.
    #[inline]
    pub(crate) fn find(&self, address: usize) -> Option<&'static Slab> {
        self.entry(address)?.slab()
    }

    /// The slab with a slot that starts at `address`, and the slot's number.
    #[inline]
    pub(crate) fn find_slot(&self, address: usize) -> Option<(&'static Slab, usize)> {
        let slab = self.find(address)?;
        Some((slab, slab.slot_index(address)?))
    }

    /// Enters `slab`, as it is now, or nothing, for all granules of a run. The caller acts for the owner of what is
    /// entered there, and holds the pool's lock.
    pub(super) fn set(&self, start: usize, len: usize, slab: Option<&'static Slab>) {
        debug_law!(len.is_multiple_of(SLAB_GRANULE), "a slab has whole granules");
        for address in (start..start + len).step_by(SLAB_GRANULE) {
            if let Some(entry) = self.entry(address) {
                entry.enter(slab);
            }
        }
    }

    /// Gives the table back.
    ///
    /// # Safety
    ///
    /// Nobody looks anything up any more.
    #[cfg(test)]
    pub(super) unsafe fn end(&self) {
        let bytes = self.limit.load(Ordering::Relaxed) / SLAB_GRANULE * ENTRY_BYTES;
        let Some(entries) = NonNull::new(self.entries.load(Ordering::Relaxed)) else { return };
        // SAFETY: it is the table's own reservation, of which by the caller's contract nobody knows any more.
        let result = unsafe { guarded::unmap(&System, entries.cast(), bytes) };
        assert!(result.is_ok(), "it goes back");
    }

    /// All slabs there are, in address order. O(table).
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static Slab> + '_ {
        let base = self.base.load(Ordering::Relaxed);
        let granules = self.covered.load(Ordering::Acquire) / SLAB_GRANULE;
        (0..granules).filter_map(move |granule| {
            let start = base + granule * SLAB_GRANULE;
            self.find(start).filter(|slab| slab.start() == start)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found where a chained zone lay right below the first one: its last slab was entered nowhere, and every free of
    /// its slots was taken for a double one.
    #[test]
    fn a_run_that_ends_where_the_table_begins_is_not_covered() {
        let map = SlabMap::new();
        let base = 1 << 40;
        map.begin(base, 1 << 30, 0).expect("a table");
        assert_eq!(map.cover(base - SLAB_GRANULE, SLAB_GRANULE), Err(OutOfMemory));
        assert_eq!(map.cover(base - 2 * SLAB_GRANULE, 4 * SLAB_GRANULE), Err(OutOfMemory));
        assert_eq!(map.cover(0, SLAB_GRANULE), Err(OutOfMemory));
        assert_eq!(map.cover(base, SLAB_GRANULE), Ok(()));
        assert_eq!(map.cover(base + (1 << 30) - SLAB_GRANULE, SLAB_GRANULE), Ok(()));
        assert_eq!(map.cover(base + (1 << 30), SLAB_GRANULE), Err(OutOfMemory));
        assert!(map.find(base - 1).is_none() && map.find(base).is_none());
    }
}
