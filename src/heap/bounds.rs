//! What a heap starts with.

use super::decay::Policy;

/// The bounds of a heap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of addresses that are reserved at first.
    pub(super) reservation: usize,
    /// A first reservation of at least this size has a zone for huge blocks, its upper half: what is small never lands
    /// behind them, so they can grow where they are.
    pub(super) huge_zone_from: usize,
    /// Bytes that may be committed.
    pub(super) limit_bytes: usize,
    /// When pages go back.
    pub(super) policy: Policy,
}

impl Bounds {
    /// Those of a heap of its own.
    pub(super) const fn new(reservation: usize) -> Self {
        Self {
            reservation,
            huge_zone_from: 1 << 40,
            limit_bytes: usize::MAX,
            policy: Policy::DEFAULT,
        }
    }
}
