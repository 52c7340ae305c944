//! Checked blocks: what the rows allocate, mark, check and free.
//!
//! * I1: a block's first and last byte carry its tag from its birth to its free.
//! * I2: every block is freed once, with the layout it was allocated with.
//! * I3: accesses are volatile, so no compiler removes an allocation or a check.
//!
//! A contestant that breaks I1 (writes into a live block, hands memory out twice) is reported through
//! [`broken`], which ends the worker with [`EXIT_BROKEN`]. Tags of neighbouring births differ, so two live
//! blocks at one address are seen unless their tags agree by chance (1 in 256).

#![allow(unsafe_code, reason = "the rows call the global allocator and touch its memory directly")]

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;
use std::alloc::{alloc, alloc_zeroed, dealloc, realloc};

/// Exit code of a worker that caught its allocator at a mistake.
pub const EXIT_BROKEN: i32 = 86;

/// Alignment of every block of the rows: what Rust's own collections ask for most.
pub const ALIGN_BYTES: usize = 8;

/// Reports a mistake of the allocator under test on stderr and ends the process with [`EXIT_BROKEN`].
#[cold]
#[inline(never)]
pub fn broken(what: fmt::Arguments<'_>) -> ! {
    eprintln!("broken: {what}");
    // SAFETY: `_exit` takes any number and never returns; no destructor runs on a heap known to be broken.
    unsafe { libc::_exit(EXIT_BROKEN) }
}

/// The value of `result`, or [`broken`] with `what` and the error.
pub fn or_broken<T, E: fmt::Display>(result: Result<T, E>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => broken(format_args!("{what}: {error}")),
    }
}

/// One live block of the global allocator. It has no `Drop`: a row frees its blocks itself.
#[derive(Debug)]
pub struct Block {
    start: NonNull<u8>,
    size_bytes: u32,
    tag: u8,
}

// SAFETY: a block is plain memory owned by the thread that holds the value; `GlobalAlloc` lets any thread free it.
unsafe impl Send for Block {}

impl Block {
    /// Allocates `size_bytes` (at least 1, below 4 GiB) and writes the tag into the first and last byte.
    #[inline(always)]
    pub fn new(size_bytes: u32, tag: u8) -> Self {
        let block = Self::unmarked(size_bytes, tag);
        block.mark();
        block
    }

    /// Allocates a block and marks its first byte alone, so that only one page is touched.
    #[inline(always)]
    pub fn with_first_byte(size_bytes: u32, tag: u8) -> Self {
        let block = Self::unmarked(size_bytes, tag);
        block.write(0, tag);
        block
    }

    /// Allocates and nothing else; [`Block::mark`] must follow before the block is checked.
    #[inline(always)]
    pub fn unmarked(size_bytes: u32, tag: u8) -> Self {
        debug_assert!(size_bytes > 0, "a block has a first byte");
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc(layout(size_bytes)) };
        match NonNull::new(start) {
            Some(start) => Self { start, size_bytes, tag },
            None => broken(format_args!("alloc({size_bytes}) returned null")),
        }
    }

    /// Allocates a block by `alloc_zeroed`, whose first and last byte must be zero, and marks its first byte alone.
    #[inline(always)]
    pub fn zeroed(size_bytes: u32, tag: u8) -> Self {
        debug_assert!(size_bytes > 0, "a block has a first byte");
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout(size_bytes)) };
        let Some(start) = NonNull::new(start) else {
            broken(format_args!("alloc_zeroed({size_bytes}) returned null"))
        };
        let zeroed = Self { start, size_bytes, tag: 0 };
        zeroed.check();
        let block = Self { tag, ..zeroed };
        block.write(0, tag);
        block
    }

    /// Makes it larger or smaller by `realloc`; its first byte must come along.
    #[inline(always)]
    pub fn resize(&mut self, size_bytes: u32) {
        debug_assert!(size_bytes > 0, "a block has a first byte");
        // SAFETY: the block is live with this layout, this value owns it, and the new size is not zero.
        let start =
            unsafe { realloc(self.start.as_ptr(), layout(self.size_bytes), size_bytes as usize) };
        match NonNull::new(start) {
            Some(start) => (self.start, self.size_bytes) = (start, size_bytes),
            None => broken(format_args!("realloc({size_bytes}) returned null")),
        }
        self.check_byte(0);
    }

    /// Writes to each of its pages.
    pub fn touch_all(&self) {
        (0..self.size_bytes).step_by(4_096).for_each(|offset| self.write(offset, self.tag));
    }

    /// Writes the tag into the first and last byte.
    #[inline(always)]
    pub fn mark(&self) {
        self.write(0, self.tag);
        self.write(self.last(), self.tag);
    }

    /// Checks first and last byte and frees the block. Returns what it adds to the row's checksum.
    #[inline(always)]
    pub fn check_and_free(self) -> u64 {
        self.check();
        let sum = self.sum();
        self.free();
        sum
    }

    /// Checks the first byte and frees the block. Returns what it adds to the row's checksum.
    #[inline(always)]
    pub fn check_first_and_free(self) -> u64 {
        self.check_byte(0);
        let sum = self.sum();
        self.free();
        sum
    }

    /// Checks first and last byte.
    #[inline(always)]
    pub fn check(&self) {
        self.check_byte(self.last());
        self.check_byte(0);
    }

    /// Frees and nothing else.
    #[inline(always)]
    pub fn free(self) {
        // SAFETY: the block came from `alloc` with this layout and is freed once, since `self` is consumed (I2).
        unsafe { dealloc(self.start.as_ptr(), layout(self.size_bytes)) };
    }

    #[inline(always)]
    fn check_byte(&self, offset: u32) {
        let found = self.read(offset);
        if found != self.tag {
            self.report(offset, found);
        }
    }

    #[inline(always)]
    fn sum(&self) -> u64 {
        u64::from(self.tag) + u64::from(self.size_bytes)
    }

    /// The block's size as it was asked for.
    pub const fn size_bytes(&self) -> u32 {
        self.size_bytes
    }

    #[inline(always)]
    const fn last(&self) -> u32 {
        self.size_bytes - 1
    }

    #[inline(always)]
    fn write(&self, offset: u32, value: u8) {
        // SAFETY: offset < size_bytes, so the result stays inside the block.
        let byte = unsafe { self.start.add(offset as usize) };
        // SAFETY: `byte` lies in a live block that this value owns.
        unsafe { byte.write_volatile(value) };
    }

    #[inline(always)]
    fn read(&self, offset: u32) -> u8 {
        // SAFETY: offset < size_bytes, so the result stays inside the block.
        let byte = unsafe { self.start.add(offset as usize) };
        // SAFETY: `byte` lies in a live block that this value owns, and was written when it was marked.
        unsafe { byte.read_volatile() }
    }

    #[cold]
    #[inline(never)]
    fn report(&self, offset: u32, found: u8) -> ! {
        broken(format_args!(
            "byte {offset} of a live block of {} bytes at {:p} is {found:#04x}, {:#04x} was written",
            self.size_bytes, self.start, self.tag
        ))
    }
}

/// Allocates a block of `size_bytes` at a multiple of `align_bytes`, a power of two, writes to its first byte, checks
/// it, and frees it. Returns what it adds to the row's checksum.
#[inline(always)]
pub fn aligned_pair(size_bytes: u32, align_bytes: u32, tag: u8) -> u64 {
    let layout = or_broken(
        Layout::from_size_align(size_bytes as usize, align_bytes as usize),
        "a layout of the row",
    );
    // SAFETY: the rows ask for more than zero bytes.
    let start = unsafe { alloc(layout) };
    if start.is_null() || !start.addr().is_multiple_of(align_bytes as usize) {
        broken(format_args!("alloc({layout:?}) returned {start:p}"));
    }
    // SAFETY: the block was just handed out, and has a first byte.
    unsafe { start.write_volatile(tag) };
    // SAFETY: as above, and it was just written.
    let found = unsafe { start.read_volatile() };
    if found != tag {
        broken(format_args!("the first byte of a block at {start:p} is {found:#04x}"));
    }
    // SAFETY: the block is live with this layout, and nothing refers to it.
    unsafe { dealloc(start, layout) };
    u64::from(tag) + u64::from(size_bytes)
}

/// The layout of a block of `size_bytes`.
#[inline(always)]
const fn layout(size_bytes: u32) -> Layout {
    // SAFETY: the alignment is a power of two and a 32-bit size cannot overflow `isize` on a 64-bit target.
    unsafe { Layout::from_size_align_unchecked(size_bytes as usize, ALIGN_BYTES) }
}

/// The tag of the `birth`-th block: neighbours differ, and so do blocks 256 births apart.
#[inline(always)]
pub const fn tag_of(birth: u64) -> u8 {
    // 2^64 divided by the golden ratio, Knuth's multiplicative hash: the top byte depends on all of `birth`.
    (birth.wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_be_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_adds_its_tag_and_size_to_the_checksum() {
        assert_eq!(Block::new(100, 7).check_and_free(), 107);
        assert_eq!(Block::with_first_byte(1, 9).check_first_and_free(), 10);
    }

    #[test]
    fn neighbouring_births_have_different_tags() {
        assert!((0..10_000).all(|birth| tag_of(birth) != tag_of(birth + 1)));
    }
}
