//! The arrays of a descriptor, one behind another in a piece of memory: states, free words, remote words, marks.
//!
//! Invariant: **I1** from `first` on there are as many bytes as [`Arrays::bytes`] says, aligned to [`LINE`], never
//! unmapped, and nobody else's.
#![allow(unsafe_code, reason = "finds arrays in a piece of memory")]

use core::ops::Range;
use core::ptr::NonNull;
use core::slice;

use super::super::class::{MAX_SMALL_SLAB_BYTES, Shape};
use super::super::sync::{AtomicU8, AtomicU64};
use super::WORD_SLOTS;
use crate::base::array::Zeroable;

/// Words that others write do not share a cache line with those that only the owner does.
pub(in crate::slabs) const LINE: usize = 64;
/// The smallest page that any system has, in bytes.
const LEAST_PAGE: usize = 4096;
/// Words with a bit for each page of a slab.
pub(super) const MOST_MARK_WORDS: usize = MAX_SMALL_SLAB_BYTES / LEAST_PAGE / WORD_SLOTS;

const WORD_BYTES: usize = size_of::<AtomicU64>();

/// How many there are, and where.
#[derive(Clone, Copy, Debug)]
pub(in crate::slabs) struct Arrays {
    first: NonNull<AtomicU8>,
    slots: u32,
    /// Words with a mark for each page.
    mark_words: u32,
}

impl Arrays {
    /// Those of a slab with that many slots, at zero bytes.
    ///
    /// # Safety
    ///
    /// As many zero bytes start there as [`Arrays::bytes`] says, aligned to [`LINE`], never unmapped, and nobody
    /// else's.
    pub(in crate::slabs) unsafe fn at(start: NonNull<u8>, shape: &Shape, slots: usize) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "at most 8 Ki slots, and 4 words")]
        let (slots, mark_words) = (slots as u32, mark_words(shape, slots) as u32);
        Self { first: start.cast(), slots, mark_words }
    }

    /// The bytes that the arrays take of a slab with that many slots.
    pub(in crate::slabs) fn bytes(shape: &Shape, slots: usize) -> usize {
        marks_at(slots) + 2 * mark_words(shape, slots) * WORD_BYTES
    }

    /// Slots of the slab.
    #[inline]
    pub(super) const fn slots(&self) -> usize {
        self.slots as usize
    }

    /// The addresses.
    pub(super) fn range(&self) -> Range<usize> {
        let (start, marks) = (self.first.addr().get(), self.mark_words as usize);
        start..start + marks_at(self.slots()) + 2 * marks * WORD_BYTES
    }

    /// The state byte of each slot, and one more.
    #[inline]
    pub(super) const fn states(&self) -> &'static [AtomicU8] {
        // SAFETY: they come first (I1), and zero is a state.
        unsafe { slice::from_raw_parts(self.first.as_ptr(), self.slots() + 1) }
    }

    /// A bit for each slot that is free.
    #[inline]
    pub(super) fn free(&self) -> &'static [AtomicU64] {
        self.words(states_bytes(self.slots()), self.slots().div_ceil(WORD_SLOTS))
    }

    /// A bit for each slot that others have sent home.
    #[inline]
    pub(super) fn remote(&self) -> &'static [AtomicU64] {
        let distance = states_bytes(self.slots()) + words_bytes(self.slots());
        self.words(distance, self.slots().div_ceil(WORD_SLOTS))
    }

    /// A bit for each page on which there were free slots only at the last look.
    pub(super) fn seen(&self) -> &'static [AtomicU64] {
        self.words(marks_at(self.slots()), self.mark_words as usize)
    }

    /// A bit for each page that has gone back.
    pub(super) fn clean(&self) -> &'static [AtomicU64] {
        let marks = self.mark_words as usize;
        self.words(marks_at(self.slots()) + marks * WORD_BYTES, marks)
    }

    #[inline]
    fn words(&self, distance: usize, count: usize) -> &'static [AtomicU64] {
        // SAFETY: the distance is that of an array (I1).
        let words = unsafe { self.first.byte_add(distance) }.cast::<AtomicU64>();
        const { is_zeroable::<AtomicU64>() };
        // SAFETY: it has as many words, and zero is a value of one.
        unsafe { slice::from_raw_parts(words.as_ptr(), count) }
    }
}

const fn is_zeroable<T: Zeroable>() {}

/// Bytes of the states, with one more than there are slots.
const fn states_bytes(slots: usize) -> usize {
    (slots + 1).next_multiple_of(LINE)
}

/// Bytes of words with a bit for each slot.
const fn words_bytes(slots: usize) -> usize {
    (slots.div_ceil(WORD_SLOTS) * WORD_BYTES).next_multiple_of(LINE)
}

/// The distance of the marks.
const fn marks_at(slots: usize) -> usize {
    states_bytes(slots) + 2 * words_bytes(slots)
}

/// How many words have a bit for each page of a slab. A slab of one slot has one page, which is all of it.
const fn mark_words(shape: &Shape, slots: usize) -> usize {
    if slots == 1 { 1 } else { shape.slab_bytes(slots).div_ceil(LEAST_PAGE * WORD_SLOTS) }
}
