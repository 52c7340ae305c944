//! Addresses as numbers, and the one way back to a pointer.
//!
//! Owns: the conversion between pointers and the numbers that nodes, tables and records hold.
//! Invariants: **I1** every mapping that MeMS obtains passes [`expose`] before a number derived from it is stored;
//! **I2** no other file turns an integer into a pointer. A pointer made here carries the provenance of the mapping,
//! never that of a pointer a user handed in.

use core::num::NonZeroUsize;
use core::ptr::{self, NonNull};

/// The number of `start`, remembered as one that [`pointer()`] may return to.
#[inline]
pub(crate) fn expose(start: NonNull<u8>) -> usize {
    start.expose_provenance().get()
}

/// The pointer to an address, null for 0.
#[inline]
pub(crate) fn raw_pointer(address: usize) -> *mut u8 {
    ptr::with_exposed_provenance_mut(address)
}

/// The pointer to `address` inside a mapping that was exposed, or `None` for address 0.
#[inline]
pub(crate) fn pointer(address: usize) -> Option<NonNull<u8>> {
    NonZeroUsize::new(address).map(NonNull::with_exposed_provenance)
}
