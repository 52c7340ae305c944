//! What a `check()` returns: the first law that does not hold.

use core::fmt;

/// A law of the allocator's own records that does not hold: memory was overwritten, or MeMS has a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BrokenLaw {
    /// The law.
    pub law: &'static str,
    /// The address where it is broken, in the numbering of the heap.
    pub address: usize,
}

impl fmt::Display for BrokenLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken law at {:#x}: {}", self.address, self.law)
    }
}

impl core::error::Error for BrokenLaw {}

/// Goes on if a law holds.
pub(crate) fn law(holds: bool, law: &'static str, address: usize) -> Result<(), BrokenLaw> {
    if holds { Ok(()) } else { Err(BrokenLaw { law, address }) }
}
