//! The sub chain's fact: a run of bytes of one span, handed out or not.
//!
//! Owns: [`SegmentKind`] and [`Extent`], the packed form (size and kind in one word) in which the index stores and
//! compares segments.

use super::node_arena::Id;
use super::span::Span;

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[non_exhaustive]
pub enum SegmentKind {
    /// Available. The original calls it HOLE.
    Hole = 0,
    /// Handed out. The original calls it PROCESS.
    Block = 1,
}

/// A segment's size and state in one word: the top bit says hole, the next says kept, the lowest is a mark, the rest is
/// the size in bytes.
///
/// The mark means *clean* on a hole (its whole pages have gone back to the OS and are not resident) and *claimed* on
/// what is no hole (neither handed out nor available: some thread works on its pages without a lock). A *kept* block
/// is one that the heap has handed out to itself: no user's free takes it.
///
/// The order of extents is the order of sizes with every hole above everything else, so one comparison asks "is this
/// a hole, and large enough?", and the largest extent of a set is its largest hole, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub(crate) struct Extent(usize);

impl Extent {
    const HOLE_BIT: usize = 1 << (usize::BITS - 1);
    const KEPT_BIT: usize = Self::HOLE_BIT >> 1;
    const MARK_BIT: usize = 1;

    /// The largest size of a segment. No 64-bit machine has more addresses.
    pub(crate) const MAX_SIZE: usize = (Self::KEPT_BIT >> 1) - 1;

    /// Smaller than any hole.
    pub(crate) const NO_HOLE: Self = Self(0);

    #[inline]
    const fn pack(size: usize, bits: usize) -> Self {
        debug_assert!(size <= Self::MAX_SIZE, "no segment is larger");
        Self(size << 1 | bits)
    }

    /// A hole of `size` bytes.
    #[inline]
    pub(crate) const fn hole(size: usize) -> Self {
        Self::pack(size, Self::HOLE_BIT)
    }

    /// A block of `size` bytes.
    #[inline]
    pub(crate) const fn block(size: usize) -> Self {
        Self::pack(size, 0)
    }

    /// A claimed run of `size` bytes.
    #[inline]
    pub(crate) const fn claimed(size: usize) -> Self {
        Self::pack(size, Self::MARK_BIT)
    }

    /// A kept block of `size` bytes.
    #[inline]
    pub(crate) const fn kept(size: usize) -> Self {
        Self::pack(size, Self::KEPT_BIT)
    }

    /// The same hole, clean or not.
    #[inline]
    pub(crate) const fn with_clean(self, is_clean: bool) -> Self {
        debug_assert!(self.is_hole(), "only a hole is clean");
        Self(self.0 & !Self::MARK_BIT | is_clean as usize)
    }

    /// The size in bytes.
    #[inline]
    pub(crate) const fn size(self) -> usize {
        (self.0 & !(Self::HOLE_BIT | Self::KEPT_BIT)) >> 1
    }

    /// Whether this is a hole.
    #[inline]
    pub(crate) const fn is_hole(self) -> bool {
        self.0 & Self::HOLE_BIT != 0
    }

    /// Whether this is a block, kept or not.
    #[inline]
    pub(crate) const fn is_block(self) -> bool {
        self.0 & (Self::HOLE_BIT | Self::MARK_BIT) == 0
    }

    /// Whether this is a kept block.
    #[inline]
    pub(crate) const fn is_kept(self) -> bool {
        self.0 & Self::KEPT_BIT != 0
    }

    /// Whether this is a hole whose whole pages have gone back.
    #[inline]
    pub(crate) const fn is_clean_hole(self) -> bool {
        self.is_hole() && self.0 & Self::MARK_BIT != 0
    }

    /// Whether this is claimed.
    #[inline]
    pub(crate) const fn is_claimed(self) -> bool {
        !self.is_hole() && self.0 & Self::MARK_BIT != 0
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

    /// A block.
    #[inline]
    pub(crate) const fn block(start: usize, size: usize, span: Id<Span>) -> Self {
        Self { start, extent: Extent::block(size), span }
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

    /// Whether it is handed out.
    #[inline]
    pub(crate) const fn is_block(&self) -> bool {
        self.extent.is_block()
    }

    /// What it is to people: a claimed run is not handed out, so it is shown as a hole.
    #[inline]
    pub(crate) const fn kind(&self) -> SegmentKind {
        if self.is_block() { SegmentKind::Block } else { SegmentKind::Hole }
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
    fn every_hole_is_above_everything_else() {
        let largest = Extent::block(Extent::MAX_SIZE);
        assert!(Extent::hole(1) > largest && Extent::hole(1) > Extent::claimed(Extent::MAX_SIZE));
        assert!(Extent::hole(2) > Extent::hole(1).with_clean(true));
        assert!(Extent::hole(1).with_clean(true) >= Extent::hole(1));
        assert!(Extent::NO_HOLE < Extent::hole(0));
        assert_eq!(largest.hole_or_none(), Extent::NO_HOLE);
        assert_eq!(Extent::hole(77).with_clean(true).size(), 77);
        assert_eq!(Extent::hole(Extent::MAX_SIZE).size(), Extent::MAX_SIZE);
    }

    #[test]
    fn the_states_are_apart() {
        let states = [
            Extent::block(16),
            Extent::claimed(16),
            Extent::hole(16),
            Extent::hole(16).with_clean(true),
            Extent::kept(16),
        ];
        assert!(states.iter().all(|extent| extent.size() == 16));
        assert!(states.iter().all(|extent| extent.is_kept() == (*extent == Extent::kept(16))));
        let seen = states.map(|e| (e.is_block(), e.is_claimed(), e.is_hole(), e.is_clean_hole()));
        assert_eq!(seen[0], (true, false, false, false));
        assert_eq!(seen[1], (false, true, false, false));
        assert_eq!(seen[2], (false, false, true, false));
        assert_eq!(seen[3], (false, false, true, true));
        assert_eq!(seen[4], (true, false, false, false));
    }
}
