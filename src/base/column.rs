//! An array in a mapping of its own: memory for what is noted about a heap, outside of that heap.
//!
//! Invariants: **I1** the first `len` items are initialised and the mapping has room for `capacity`; **I2** nothing here
//! touches the heap, so a column may grow while a walk is under way, though not under one of the heap's locks.
#![allow(unsafe_code, reason = "an array in a mapping of its own")]

use core::fmt;
use core::ops::Deref;
use core::ptr::{self, NonNull};
use core::slice;

use super::os::{Os, OutOfMemory, System};

/// The first mapping, in bytes.
const FIRST_BYTES: usize = 64 << 10;

/// An array that grows at its end. Appending takes O(1) on average.
pub(crate) struct Column<T: Copy> {
    start: NonNull<T>,
    len: usize,
    capacity: usize,
}

// SAFETY: a column is the only one that refers to its mapping, and its items may be sent.
unsafe impl<T: Copy + Send> Send for Column<T> {}
// SAFETY: a shared column is only read.
unsafe impl<T: Copy + Sync> Sync for Column<T> {}

impl<T: Copy> Column<T> {
    const ITEM_BYTES: usize = {
        assert!(size_of::<T>() > 0 && align_of::<T>() <= 4096, "an item fits a page");
        size_of::<T>()
    };

    /// An empty column, without memory.
    pub(crate) const fn new() -> Self {
        Self { start: NonNull::dangling(), len: 0, capacity: 0 }
    }

    /// Appends an item.
    pub(crate) fn push(&mut self, item: T) -> Result<(), OutOfMemory> {
        if self.len == self.capacity {
            self.grow()?;
        }
        // SAFETY: `len` is below the capacity (I1).
        let end = unsafe { self.start.add(self.len) };
        // SAFETY: the place lies in the mapping, and nobody else refers to it.
        unsafe { end.write(item) };
        self.len += 1;
        Ok(())
    }

    /// Drops all items behind the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Moves to a mapping twice as large.
    #[cold]
    fn grow(&mut self) -> Result<(), OutOfMemory> {
        let wish = (self.capacity * Self::ITEM_BYTES).checked_mul(2).ok_or(OutOfMemory)?;
        // Whole pages, so that less than an item's bytes of the last one stay unused.
        let bytes = wish.max(FIRST_BYTES).next_multiple_of(System.page_size());
        let start = System.map(bytes)?.cast::<T>();
        // SAFETY: both mappings have room for `len` items, and they are not the same.
        unsafe { ptr::copy_nonoverlapping(self.start.as_ptr(), start.as_ptr(), self.len) };
        self.release();
        self.start = start;
        self.capacity = bytes / Self::ITEM_BYTES;
        Ok(())
    }

    /// The items, to be changed.
    pub(crate) fn items_mut(&mut self) -> &mut [T] {
        // SAFETY: the first `len` items are initialised (I1), and the column is borrowed.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    fn release(&mut self) {
        if self.capacity > 0 {
            let page = System.page_size();
            let bytes = (self.capacity * Self::ITEM_BYTES).next_multiple_of(page);
            // SAFETY: the mapping came from `System`, this long, and nobody refers to it any more.
            let unmapped = unsafe { System.unmap(self.start.cast(), bytes) };
            // Where the system refuses, the memory stays mapped until the process ends.
            let _ = unmapped;
        }
    }
}

impl<T: Copy> Deref for Column<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` items are initialised (I1), and stay as long as the column is borrowed.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Copy> Drop for Column<T> {
    fn drop(&mut self) {
        self.release();
    }
}

impl<T: Copy> fmt::Debug for Column<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Column").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_keeps_its_items_while_it_grows() {
        let mut column = Column::new();
        assert!(column.is_empty());
        for number in 0..200_000_usize {
            column.push([number, !number, 7]).expect("there is memory");
        }
        assert!(column.iter().enumerate().all(|(index, item)| *item == [index, !index, 7]));
        column.items_mut()[1] = [0; 3];
        column.truncate(2);
        assert_eq!(*column, [[0, !0, 7], [0; 3]]);
    }
}
