//! Arrays in mappings of their own, outside of the heap: what the front knows is out of reach of what it watches.
#![allow(unsafe_code, reason = "an array in memory that was mapped for it")]

use core::ptr::NonNull;
use core::slice;

use crate::base::os::{Os, OutOfMemory};

/// Plain values for which all bytes zero is one.
///
/// # Safety
///
/// Just that, and the type has no destructor.
pub(super) unsafe trait Plain: Copy {}

// SAFETY: 0 is a number.
unsafe impl Plain for usize {}

/// An array, all zero at first. It is unmapped by [`Mapped::unmap`] alone.
#[derive(Debug)]
pub(super) struct Mapped<T> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: it owns its values, as a box of them would.
unsafe impl<T: Send> Send for Mapped<T> {}

impl<T: Plain> Mapped<T> {
    /// An array without elements.
    pub(super) const fn empty() -> Self {
        Self { start: NonNull::dangling(), len: 0 }
    }

    /// An array of `len` zero elements.
    pub(super) fn new(os: &impl Os, len: usize) -> Result<Self, OutOfMemory> {
        let bytes = len.checked_mul(size_of::<T>()).ok_or(OutOfMemory)?;
        Ok(Self { start: os.map(bytes)?.cast(), len })
    }

    /// The elements.
    pub(super) const fn all(&self) -> &[T] {
        // SAFETY: as many elements were mapped, and zero is a value of them; no elements need no memory.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The elements, to be changed.
    pub(super) const fn all_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `all`, and the borrow is exclusive.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Gives the memory back.
    pub(super) fn unmap(self, os: &impl Os) {
        if self.len > 0 {
            // SAFETY: the mapping is this array's own, which goes.
            let unmapped = unsafe { os.unmap(self.start.cast(), self.len * size_of::<T>()) };
            // The system refuses only where it cannot note one more gap; the pages stay mapped then.
            let _ = unmapped;
        }
    }
}
