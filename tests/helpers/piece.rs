//! A block of the process heap whose contents are a pattern of its own, and the pattern.
//!
//! Short blocks are written as a whole; of those above [`DENSE_BYTES`] the head, one word in a page or more, and the
//! last word, so that a test can have many of them. The word at an offset is a function of the offset and the stamp
//! alone, so what a realloc keeps can be told.
#![allow(unsafe_code, reason = "calls the allocator under test and writes to its blocks")]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use mems::MemsAlloc;

/// The heap under test, whatever the binary's global allocator is.
pub(crate) const MEMS: MemsAlloc = MemsAlloc::new();

/// Blocks up to this size are written as a whole.
const DENSE_BYTES: usize = super::scaled(512, 4096);
/// The part at the front that is written of any other.
const HEAD_BYTES: usize = 128;
const WORD: usize = 8;
/// Blocks up to this size are written on each page, others once in as many bytes: touching pages is what costs.
const STRIDE_BYTES: usize = 64 << 10;
const PAGE: usize = 4096;

/// The pattern's word at a multiple of 8.
const fn word(offset: usize, stamp: u64) -> [u8; WORD] {
    let mixed = (offset as u64).wrapping_add(stamp).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).to_le_bytes()
}

/// Calls `each` with offset and length of what a pattern of `written` bytes has within its first `kept` bytes, while
/// it returns true.
fn each_word(written: usize, kept: usize, mut each: impl FnMut(usize, usize) -> bool) -> bool {
    let dense = if written <= DENSE_BYTES { written } else { HEAD_BYTES }.min(kept);
    let mut at = (0..dense).step_by(WORD);
    if !at.all(|offset| each(offset, WORD.min(dense - offset))) {
        return false;
    }
    if written <= DENSE_BYTES {
        return true;
    }
    let stride = if written <= STRIDE_BYTES { PAGE } else { STRIDE_BYTES };
    let mut pages = (stride..kept.saturating_sub(WORD - 1)).step_by(stride);
    let last = (written - 1) / WORD * WORD;
    pages.all(|offset| each(offset, WORD)) && (kept < written || each(last, written - last))
}

/// Writes the pattern.
///
/// # Safety
///
/// `len` bytes at `start` may be written.
pub(crate) unsafe fn write_pattern(start: NonNull<u8>, len: usize, stamp: u64) {
    each_word(len, len, |offset, bytes| {
        let target = start.as_ptr().wrapping_add(offset);
        // SAFETY: the word lies within the `len` bytes that the caller vouches for.
        unsafe { ptr::copy_nonoverlapping(word(offset, stamp).as_ptr(), target, bytes) };
        true
    });
}

/// Whether the first `kept` bytes of a pattern of `written` bytes are as they were written.
///
/// # Safety
///
/// `kept` bytes at `start` may be read, and the pattern was written there.
pub(crate) unsafe fn has_pattern(
    start: NonNull<u8>,
    written: usize,
    kept: usize,
    stamp: u64,
) -> bool {
    each_word(written, kept, |offset, bytes| {
        let mut found = [0_u8; WORD];
        let source = start.as_ptr().wrapping_add(offset);
        // SAFETY: the word lies within the bytes that the caller vouches for; `found` has 8 bytes.
        unsafe { ptr::copy_nonoverlapping(source, found.as_mut_ptr(), bytes) };
        word(offset, stamp)[..bytes] == found[..bytes]
    })
}

/// Whether `len` bytes at `start` are all zero.
///
/// # Safety
///
/// The bytes may be read and are initialised.
pub(crate) unsafe fn is_zero(start: NonNull<u8>, len: usize) -> bool {
    // SAFETY: by the caller's contract.
    let bytes = unsafe { core::slice::from_raw_parts(start.as_ptr(), len) };
    // SAFETY: every bit pattern is a u64.
    let (head, words, tail) = unsafe { bytes.align_to::<u64>() };
    words.iter().all(|word| *word == 0) && head.iter().chain(tail).all(|byte| *byte == 0)
}

/// A layout that is known to be one.
pub(crate) fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a layout")
}

/// A live block of the process heap that holds its pattern.
#[derive(Debug)]
pub(crate) struct Piece {
    start: NonNull<u8>,
    layout: Layout,
    stamp: u64,
}

// SAFETY: a piece is the only one that refers to its block, and the heap may be used from every thread.
unsafe impl Send for Piece {}

impl Piece {
    /// A new block, or `None` where memory has run out.
    pub(crate) fn new(size: usize, align: usize, stamp: u64) -> Option<Self> {
        let layout = layout(size, align);
        // SAFETY: MeMS serves a size of 0, too.
        Self::stamped(unsafe { MEMS.alloc(layout) }, layout, stamp)
    }

    /// A new piece by `alloc_zeroed`, which is verified.
    pub(crate) fn zeroed(size: usize, align: usize, stamp: u64) -> Option<Self> {
        let layout = layout(size, align);
        // SAFETY: as in `new`.
        let start = unsafe { MEMS.alloc_zeroed(layout) };
        if let Some(start) = NonNull::new(start) {
            // SAFETY: the block is live and `size` bytes long; the allocator has initialised it.
            assert!(unsafe { is_zero(start, size) }, "alloc_zeroed of {size} bytes is not zero");
        }
        Self::stamped(start, layout, stamp)
    }

    fn stamped(start: *mut u8, layout: Layout, stamp: u64) -> Option<Self> {
        let start = NonNull::new(start)?;
        assert_eq!(start.addr().get() % layout.align(), 0, "{start:p} is not aligned: {layout:?}");
        // SAFETY: the block is live and ours.
        unsafe { write_pattern(start, layout.size(), stamp) };
        Some(Self { start, layout, stamp })
    }

    pub(crate) fn address(&self) -> usize {
        self.start.addr().get()
    }

    pub(crate) fn pointer(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    pub(crate) const fn size(&self) -> usize {
        self.layout.size()
    }

    pub(crate) const fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn is_intact(&self) -> bool {
        // SAFETY: the block is live, its pattern was written when it was made or resized.
        unsafe { has_pattern(self.start, self.size(), self.size(), self.stamp) }
    }

    /// Reallocates, verifies what was kept, and writes the pattern of the new size. `false`: no memory, all as before.
    pub(crate) fn resize(&mut self, size: usize) -> bool {
        let old = self.layout;
        // SAFETY: the block is live with this layout.
        let moved = unsafe { MEMS.realloc(self.start.as_ptr(), old, size) };
        let Some(start) = NonNull::new(moved) else {
            assert!(self.is_intact(), "a realloc that failed changed its block: {self:?}");
            return false;
        };
        let kept = old.size().min(size);
        // SAFETY: the block is live and has at least `kept` bytes of the old one.
        let is_kept = unsafe { has_pattern(start, old.size(), kept, self.stamp) };
        assert!(is_kept, "realloc from {} to {size} bytes lost contents", old.size());
        let stamped = Self::stamped(start.as_ptr(), layout(size, old.align()), self.stamp);
        stamped.into_iter().for_each(|piece| *self = piece);
        true
    }

    /// Verifies the contents and frees the block.
    pub(crate) fn free(self) {
        assert!(self.is_intact(), "contents of a live block changed: {self:?}");
        self.discard();
    }

    /// A new block that is full of a byte, for one that is to be discarded.
    pub(crate) fn full(size: usize, byte: u8) -> Option<Self> {
        let piece = Self::new(size, 8, 0)?;
        // SAFETY: the block is live, and has that many bytes.
        unsafe { piece.start.as_ptr().write_bytes(byte, size) };
        Some(piece)
    }

    /// Frees the block without a look at its contents.
    pub(crate) fn discard(self) {
        // SAFETY: the block is live with this layout, and this was the only reference.
        unsafe { MEMS.dealloc(self.start.as_ptr(), self.layout) };
    }
}
