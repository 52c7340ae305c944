//! The main chain's fact: one run of pages obtained from the OS, and the sums of its sub chain.

use super::node_arena::{Id, Node};

/// A span of the main chain.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Span {
    /// The first address.
    pub(crate) start: usize,
    /// Length in bytes.
    pub(crate) len: usize,
    /// Where its first byte is in memory.
    pub(crate) base: usize,
    /// Bytes of its PROCESS segments.
    pub(crate) used: usize,
    /// Segments of its sub chain.
    pub(crate) segment_count: usize,
    /// From this address on nothing was handed out since its pages were fresh, so all bytes are zero.
    pub(crate) fresh: usize,
    /// The span before it in the chain.
    pub(crate) prev: Id<Span>,
    /// The span behind it in the chain.
    pub(crate) next: Id<Span>,
}

// SAFETY: integers only, 64 bytes.
#[expect(unsafe_code, reason = "promises that all bit patterns are valid")]
unsafe impl Node for Span {}

impl Span {
    /// The first address behind it.
    #[inline]
    pub(crate) const fn end(&self) -> usize {
        self.start + self.len
    }

    /// Where the byte at `address` is in memory.
    #[inline]
    pub(crate) const fn memory_of(&self, address: usize) -> usize {
        self.base.wrapping_add(address.wrapping_sub(self.start))
    }
}
