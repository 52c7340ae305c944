//! Questions about a block, under whatever settings are in force.

use core::alloc::Layout;

use super::hardened::hardened;
use super::plain::PROCESS_HEAP;
use crate::base::law::BrokenLaw;
use crate::heap::Misuse;

/// Whether a free would be accepted.
pub(crate) fn validate(address: usize, layout: Option<Layout>) -> Result<(), Misuse> {
    match hardened() {
        Some((heap, _)) => heap.validate(address, layout),
        None => PROCESS_HEAP.validate(address, layout),
    }
}

/// The bytes of the block at `address` that its user may use.
pub(crate) fn usable_size(address: usize) -> Option<usize> {
    match hardened() {
        Some((heap, _)) => heap.usable_size(address),
        None => PROCESS_HEAP.usable_size(address),
    }
}

/// Checks the heap's records, and the bytes that nobody may change.
pub(crate) fn check() -> Result<(), BrokenLaw> {
    match hardened() {
        Some((heap, settings)) => heap.check(settings),
        None => PROCESS_HEAP.check(),
    }
}
