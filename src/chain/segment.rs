//! The sub chain's fact: a run of bytes of one span, handed out or not.
//!
//! Owns: [`SegmentKind`] and [`Extent`], the packed form (size and kind in one word) in which the index stores and
//! compares segments.

use super::node_arena::Id;
use super::span::Span;

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum SegmentKind {
    /// Available.
    Hole = 0,
    /// Handed out.
    Process = 1,
}

/// A segment's size and kind in one word: the top bit says hole, the rest is the size in bytes.
///
/// The order of extents is the order of sizes with every hole above every process, so one comparison asks "is this a
/// hole, and large enough?", and the largest extent of a set is its largest hole, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub(crate) struct Extent(usize);

impl Extent {
    const HOLE_BIT: usize = 1 << (usize::BITS - 1);

    /// Smaller than any hole.
    pub(crate) const NO_HOLE: Self = Self(0);

    /// A hole of `size` bytes.
    #[inline]
    pub(crate) const fn hole(size: usize) -> Self {
        debug_assert!(size < Self::HOLE_BIT, "a size is at most isize::MAX");
        Self(size | Self::HOLE_BIT)
    }

    /// A process of `size` bytes.
    #[inline]
    pub(crate) const fn process(size: usize) -> Self {
        debug_assert!(size < Self::HOLE_BIT, "a size is at most isize::MAX");
        Self(size)
    }

    /// The size in bytes.
    #[inline]
    pub(crate) const fn size(self) -> usize {
        self.0 & !Self::HOLE_BIT
    }

    /// Whether this is a hole.
    #[inline]
    pub(crate) const fn is_hole(self) -> bool {
        self.0 & Self::HOLE_BIT != 0
    }

    /// Itself if it is a hole, else [`Extent::NO_HOLE`].
    #[inline]
    pub(crate) const fn hole_or_none(self) -> Self {
        if self.is_hole() { self } else { Self::NO_HOLE }
    }
}

/// A segment as the index stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The first address.
    pub(crate) start: usize,
    /// Size and kind.
    pub(crate) extent: Extent,
    /// The span it is a part of.
    pub(crate) span: Id<Span>,
}

impl Segment {
    /// A hole.
    #[inline]
    pub(crate) const fn hole(start: usize, size: usize, span: Id<Span>) -> Self {
        Self { start, extent: Extent::hole(size), span }
    }

    /// A process.
    #[inline]
    pub(crate) const fn process(start: usize, size: usize, span: Id<Span>) -> Self {
        Self { start, extent: Extent::process(size), span }
    }

    /// The size in bytes.
    #[inline]
    pub(crate) const fn size(&self) -> usize {
        self.extent.size()
    }

    /// The first address behind it.
    #[inline]
    pub(crate) const fn end(&self) -> usize {
        self.start + self.extent.size()
    }

    /// Whether it is a hole.
    #[inline]
    pub(crate) const fn is_hole(&self) -> bool {
        self.extent.is_hole()
    }

    /// What it is.
    #[inline]
    pub(crate) const fn kind(&self) -> SegmentKind {
        if self.is_hole() { SegmentKind::Hole } else { SegmentKind::Process }
    }

    /// Whether `address` is one of its bytes.
    #[inline]
    pub(crate) const fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.start) < self.extent.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hole_is_above_every_process() {
        let largest_process = Extent::process(isize::MAX as usize);
        assert!(Extent::hole(1) > largest_process);
        assert!(Extent::hole(2) > Extent::hole(1));
        assert!(Extent::NO_HOLE < Extent::hole(0));
        assert_eq!(largest_process.hole_or_none(), Extent::NO_HOLE);
        assert_eq!(Extent::hole(77).size(), 77);
    }
}
