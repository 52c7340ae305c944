//! Blocks whose bytes are all zero.
#![allow(unsafe_code, reason = "clears blocks that were just handed out")]

use core::ptr::NonNull;

use super::chains::Allocation;
use super::handle::Heap;
use crate::base::addr;
use crate::base::os::Os;
use crate::base::round::whole_pages;

/// Dirty blocks of at least this size get fresh pages instead of being cleared. Clearing a page costs 0.1 us, touching
/// a fresh one 0.5 us and more (measured on Zen 4), but a program that asks for that many zero bytes rarely touches all
/// of them soon.
const FRESH_FROM: usize = 1 << 20;

impl<O: Os> Heap<O> {
    /// Makes the first `len` bytes of a block that was just handed out zero. `false` where its pages are lost because
    /// memory ran out: the block must not be used then, nor freed.
    pub(crate) fn clear(&self, block: &Allocation, len: usize) -> bool {
        if block.is_zero {
            return true;
        }
        let start = block.start.addr().get();
        if len < FRESH_FROM {
            fill_with_zeros(block.start, len);
            return true;
        }
        let Some((pages, pages_len)) = whole_pages(start, start + len, self.os.page_size()) else {
            fill_with_zeros(block.start, len);
            return true;
        };
        let end = pages + pages_len;
        for (from, to) in [(start, pages), (end, start + len)] {
            if let Some(from_start) = addr::pointer(from).filter(|_| from < to) {
                fill_with_zeros(from_start, to - from);
            }
        }
        let Some(pages) = addr::pointer(pages) else { return false };
        // SAFETY: the pages are the block's, which nobody uses yet.
        (0..2).any(|_| unsafe { self.os.commit(pages, pages_len) }.is_ok())
    }
}

/// Clears bytes of a block that nobody uses yet.
fn fill_with_zeros(start: NonNull<u8>, len: usize) {
    // SAFETY: the callers pass bytes of a block that was just handed out.
    unsafe { start.write_bytes(0, len) };
}
