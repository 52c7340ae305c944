//! [`Heap`] as an `allocator-api2` allocator: collections in a heap of their own.
#![allow(unsafe_code, reason = "implements an unsafe trait over blocks")]

use core::alloc::Layout;
use core::ptr::{self, NonNull};

use allocator_api2::alloc::{AllocError, Allocator};

use super::handle::Heap;
use super::misuse::{Misuse, MisuseCall};
use crate::base::fatal;
use crate::base::os::Os;

fn slice(start: NonNull<u8>, len: usize) -> NonNull<[u8]> {
    NonNull::slice_from_raw_parts(start, len)
}

// SAFETY: blocks stay valid until they are freed or the heap goes, and it cannot go while it is borrowed.
unsafe impl<O: Os> Allocator for &Heap<O> {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let start = self.mems_malloc(layout.size(), layout.align()).ok_or(AllocError)?;
        Ok(slice(start, layout.size()))
    }

    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = Heap::allocate(self, layout).ok_or(AllocError)?;
        // SAFETY: the block was just handed out for this layout.
        if unsafe { self.clear(&block, layout.size()) } {
            Ok(slice(block.start, layout.size()))
        } else {
            Err(AllocError)
        }
    }

    unsafe fn deallocate(&self, start: NonNull<u8>, layout: Layout) {
        if let Err(misuse) = self.release(start.addr().get(), Some(layout.size())) {
            fatal::die(format_args!("{misuse}"));
        }
    }

    unsafe fn grow(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's contract is passed on.
        unsafe { self.change(start, old, new) }
    }

    unsafe fn grow_zeroed(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's contract is passed on.
        let grown = unsafe { self.change(start, old, new) }?;
        // SAFETY: the block now has `new.size()` bytes, at least `old.size()`.
        let tail = unsafe { grown.cast::<u8>().add(old.size()) };
        // SAFETY: the bytes behind the old size are the block's, and nobody else's.
        unsafe { tail.write_bytes(0, new.size() - old.size()) };
        Ok(grown)
    }

    unsafe fn shrink(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's contract is passed on.
        unsafe { self.change(start, old, new) }
    }
}

impl<O: Os> Heap<O> {
    /// Makes a block serve another layout, in place where that goes.
    ///
    /// # Safety
    ///
    /// `start` is a live block of `old`.
    unsafe fn change(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let address = start.addr().get();
        let stop = |misuse: Misuse| -> ! { fatal::die(format_args!("{misuse}")) };
        let resized = if address.is_multiple_of(new.align()) {
            self.resize_or_hold(address, old.size(), new.size())
        } else {
            self.hold(address, old.size()).map(|()| false)
        };
        if resized.unwrap_or_else(|misuse| stop(misuse.during(MisuseCall::Realloc))) {
            return Ok(slice(start, new.size()));
        }
        let Ok(moved) = (&self).allocate(new) else {
            self.stop_holding(address);
            return Err(AllocError);
        };
        let kept = old.size().min(new.size());
        // SAFETY: both blocks are live, at least `kept` bytes long, and not the same.
        unsafe { ptr::copy_nonoverlapping(start.as_ptr(), moved.cast().as_ptr(), kept) };
        self.release_held(address, old.size()).unwrap_or_else(|misuse| stop(misuse));
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use allocator_api2::vec::Vec as HeapVec;

    #[test]
    fn collections_live_in_a_heap_of_their_own() {
        let heap = Heap::new();
        {
            let mut numbers = HeapVec::new_in(&heap);
            numbers.extend(0..100_000_u64);
            assert!(heap.find(numbers.as_ptr().cast()).is_some());
            assert_eq!(heap.stats().blocks, 1);
            assert!(numbers.iter().enumerate().all(|(index, number)| index as u64 == *number));
            numbers.truncate(10);
            numbers.shrink_to_fit();
            assert!(heap.stats().allocated < 4096);
        }
        assert_eq!(heap.stats().blocks, 0);
        heap.check().expect("laws");
    }
}
