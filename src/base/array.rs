//! An array in a mapping of its own, between guards: memory for what is noted about a heap, out of reach of its blocks.
//!
//! Invariants: **I1** the first `len` items are initialised and the mapping has room for `capacity`; **I2** nothing
//! here touches the heap, so an array may grow while a walk is under way, though not under one of the heap's locks.
#![allow(unsafe_code, reason = "an array in a mapping of its own")]

#[cfg(feature = "profile")]
use core::cmp::Ordering;
use core::fmt;
use core::ops::Deref;
use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::{AtomicU8, AtomicU64};

use super::guarded;
use super::os::{Os, OutOfMemory, System};
use super::round::round_up;

/// The first mapping, in bytes.
const FIRST_BYTES: usize = 64 << 10;

/// Types of which all bytes zero are a value.
///
/// # Safety
///
/// Just that, and the type needs no drop.
pub(crate) unsafe trait Zeroable {}

// SAFETY: 0 is a number.
unsafe impl Zeroable for usize {}
// SAFETY: as above.
#[cfg(feature = "profile")]
unsafe impl Zeroable for u8 {}
// SAFETY: as above.
unsafe impl Zeroable for AtomicU8 {}
// SAFETY: as above.
unsafe impl Zeroable for AtomicU64 {}

/// An array that grows at its end. Appending takes O(1) on average.
pub(crate) struct Array<T: Copy> {
    start: NonNull<T>,
    len: usize,
    capacity: usize,
}

// SAFETY: an array is the only one that refers to its mapping, and its items may be sent.
unsafe impl<T: Copy + Send> Send for Array<T> {}
// SAFETY: a shared array is only read.
unsafe impl<T: Copy + Sync> Sync for Array<T> {}

impl<T: Copy> Array<T> {
    const ITEM_BYTES: usize = {
        assert!(size_of::<T>() > 0 && align_of::<T>() <= 4096, "an item fits a page");
        size_of::<T>()
    };

    /// An empty array, without memory.
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

    /// An array without items that has room for `capacity` of them.
    fn with_capacity(capacity: usize) -> Result<Self, OutOfMemory> {
        let (start, bytes) = map_items(capacity, Self::ITEM_BYTES)?;
        Ok(Self { start: start.cast(), len: 0, capacity: bytes / Self::ITEM_BYTES })
    }

    /// Moves to a mapping twice as large.
    #[cold]
    fn grow(&mut self) -> Result<(), OutOfMemory> {
        let wish = self.capacity.checked_mul(2).ok_or(OutOfMemory)?;
        let mut larger = Self::with_capacity(wish.max(FIRST_BYTES / Self::ITEM_BYTES))?;
        // SAFETY: both mappings have room for `len` items, and they are not the same.
        unsafe { ptr::copy_nonoverlapping(self.start.as_ptr(), larger.start.as_ptr(), self.len) };
        larger.len = self.len;
        *self = larger;
        Ok(())
    }

    /// The items, to be changed.
    pub(crate) fn items_mut(&mut self) -> &mut [T] {
        // SAFETY: the first `len` items are initialised (I1), and the array is borrowed.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(feature = "profile")]
impl<T: Copy> Array<T> {
    /// Sorts the items, equal ones in no particular order. O(n log n), by Heapsort (Williams 1964): core's sort is
    /// twice as fast, and takes 7 KiB for each type, which was 90 KiB in every program.
    pub(crate) fn sort_by(&mut self, compare: impl Fn(&T, &T) -> Ordering) {
        let items = self.items_mut();
        (0..items.len() / 2).rev().for_each(|top| sink(items, top, &compare));
        for end in (1..items.len()).rev() {
            items.swap(0, end);
            sink(&mut items[..end], 0, &compare);
        }
    }

    /// Sorts the items, and merges those that are equal into one. O(n log n).
    pub(crate) fn sort_and_merge(
        &mut self,
        compare: impl Fn(&T, &T) -> Ordering,
        merge: impl Fn(&mut T, &T),
    ) {
        self.sort_by(&compare);
        let items = self.items_mut();
        let mut kept = 0;
        for index in 0..items.len() {
            let item = items[index];
            if kept > 0 && compare(&items[kept - 1], &item).is_eq() {
                merge(&mut items[kept - 1], &item);
            } else {
                items[kept] = item;
                kept += 1;
            }
        }
        self.truncate(kept);
    }

    /// Sorts the items, and keeps each one once. O(n log n).
    #[cfg(feature = "report")]
    pub(crate) fn sort_and_dedup(&mut self)
    where
        T: Ord,
    {
        self.sort_and_merge(T::cmp, |_, _| {});
    }
}

/// Lets an item of a heap, in which none is larger than the one above it, sink to its place.
#[cfg(feature = "profile")]
fn sink<T>(items: &mut [T], mut top: usize, compare: &impl Fn(&T, &T) -> Ordering) {
    loop {
        let mut below = 2 * top + 1;
        if below + 1 < items.len() && compare(&items[below], &items[below + 1]).is_lt() {
            below += 1;
        }
        if below >= items.len() || compare(&items[top], &items[below]).is_ge() {
            return;
        }
        items.swap(top, below);
        top = below;
    }
}

impl<T: Copy + Zeroable> Array<T> {
    /// An array of `len` items, all zero.
    pub(crate) fn zeroed(len: usize) -> Result<Self, OutOfMemory> {
        let mut array = Self::with_capacity(len)?;
        // The mapping is fresh, so its bytes are zero, and zero is an item (I1).
        array.len = len;
        Ok(array)
    }
}

impl<T: Copy> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` items are initialised (I1), and stay as long as the array is borrowed.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Copy> Drop for Array<T> {
    fn drop(&mut self) {
        if self.capacity > 0 {
            // SAFETY: the mapping came from `map_items`, and nobody refers to it any more.
            unsafe { unmap_items(self.start.cast(), self.capacity * Self::ITEM_BYTES) };
        }
    }
}

/// Memory for a number of items: where it begins, and its bytes. One function for all types.
#[cold]
#[inline(never)]
fn map_items(items: usize, item_bytes: usize) -> Result<(NonNull<u8>, usize), OutOfMemory> {
    let bytes = items.checked_mul(item_bytes).ok_or(OutOfMemory)?;
    // Whole pages, so that less than an item's bytes of the last one stay unused.
    let bytes = round_up(bytes, System.page_size()).ok_or(OutOfMemory)?;
    Ok((guarded::map(&System, bytes)?, bytes))
}

/// Gives memory for items back.
///
/// # Safety
///
/// It came from [`map_items`], for as many items as have these bytes, and nobody refers to it any more.
#[cold]
#[inline(never)]
unsafe fn unmap_items(start: NonNull<u8>, bytes: usize) {
    let bytes = bytes.next_multiple_of(System.page_size());
    // SAFETY: by the caller's contract.
    let unmapped = unsafe { guarded::unmap(&System, start, bytes) };
    // Where the system refuses, the memory stays mapped until the process ends.
    let _ = unmapped;
}

impl<T: Copy> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "profile")]
    #[test]
    fn items_are_put_in_order() {
        let mut random = fastrand::Rng::with_seed(11);
        for len in (0..70).chain([1000, 20_000]) {
            let mut array = Array::new();
            let most = random.usize(1..=2 * len + 1);
            (0..len).for_each(|_| array.push(random.usize(0..most)).expect("memory"));
            let mut wanted = array.to_vec();
            wanted.sort_unstable();
            array.sort_by(usize::cmp);
            assert_eq!(*array, wanted);
            array.sort_by(|one, other| other.cmp(one));
            assert!(array.iter().rev().eq(&wanted));
        }
    }

    #[test]
    fn an_array_keeps_its_items_while_it_grows() {
        let mut array = Array::new();
        assert!(array.is_empty());
        for number in 0..200_000_usize {
            array.push([number, !number, 7]).expect("there is memory");
        }
        assert!(array.iter().enumerate().all(|(index, item)| *item == [index, !index, 7]));
        array.items_mut()[1] = [0; 3];
        array.truncate(2);
        assert_eq!(*array, [[0, !0, 7], [0; 3]]);
    }

    #[test]
    #[cfg(all(feature = "report", feature = "profile"))]
    fn each_item_is_kept_once() {
        let mut array = Array::new();
        array.sort_and_dedup();
        assert!(array.is_empty());
        (0..1000).try_for_each(|number: usize| array.push(number * 7 % 13)).expect("memory");
        array.sort_and_dedup();
        assert!(array.iter().copied().eq(0..13));
    }

    #[test]
    #[cfg(all(feature = "report", feature = "profile"))]
    fn equal_items_are_merged() {
        let mut sums = Array::new();
        (0..1000).try_for_each(|number: usize| sums.push((number % 7, number))).expect("memory");
        sums.sort_and_merge(|one, other| one.0.cmp(&other.0), |sum, other| sum.1 += other.1);
        let wanted = (0..7).map(|rest| (rest, (rest..1000).step_by(7).sum()));
        assert!(sums.iter().copied().eq(wanted));
    }

    #[test]
    fn a_zeroed_array_has_its_items_from_the_start() {
        let mut array = Array::<usize>::zeroed(100_000).expect("there is memory");
        assert!(array.len() == 100_000 && array.iter().all(|item| *item == 0));
        array.push(7).expect("there is memory");
        assert_eq!((array.len(), array[99_999], array[100_000]), (100_001, 0, 7));
        assert_eq!(Array::<usize>::zeroed(usize::MAX).map(|_| ()), Err(OutOfMemory));
    }
}
