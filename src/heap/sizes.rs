//! How large a block is, and where huge ones begin.

use crate::base::round::align_up;

/// Every block of the free list starts at a multiple of this, and its size is one.
pub(super) const GRANULE: usize = 16;

/// Blocks of at least this size lie in a zone of their own, if there is one. No slab is as large: what finds slabs by
/// their addresses knows the first zone only.
pub(crate) const HUGE_FROM: usize = (4 << 20) + GRANULE;

/// The size of the block that serves a request of `size` bytes: whole granules, and at least one.
#[inline]
pub(crate) const fn block_size(size: usize) -> Option<usize> {
    match align_up(size, GRANULE) {
        Some(0) => Some(GRANULE),
        Some(whole) if whole <= isize::MAX.cast_unsigned() => Some(whole),
        _ => None,
    }
}
