//! Names: numbers that stand for a thread heap or a slab, in descriptors, keys, tables and lists.
//!
//! A slab knows its owner by name, so it knows nothing of what a thread heap is made of. And a list of slabs that many
//! threads change is a word, which holds a name.
#![allow(unsafe_code, reason = "vouches for what a number names")]

use core::num::NonZeroUsize;

use super::class::Class;

/// The name of a thread heap: its address, where its magazine of the first class is, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct HeapName(NonZeroUsize);

impl HeapName {
    /// The name of the heap at an address.
    ///
    /// # Safety
    ///
    /// A `ThreadHeap` lies there, which is never unmapped.
    pub(super) const unsafe fn at(address: NonZeroUsize) -> Self {
        Self(address)
    }

    /// The name that [`HeapName::number`] gave a number for, if there is one.
    ///
    /// # Safety
    ///
    /// The number is 0 or came from [`HeapName::number`].
    #[inline]
    pub(super) unsafe fn from_number(number: usize) -> Option<Self> {
        NonZeroUsize::new(number).map(Self)
    }

    /// The name as a number, never 0.
    #[inline]
    pub(super) const fn number(self) -> usize {
        self.0.get()
    }

    /// The key of the heap's slabs of a class: where its magazine for them is, which no other heap and class have.
    #[inline]
    pub(super) const fn key(self, class: Class) -> usize {
        self.0.get() + class.distance() as usize
    }
}

/// The name of a slab's descriptor: its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct SlabName(NonZeroUsize);

impl SlabName {
    /// The name of the descriptor at an address.
    ///
    /// # Safety
    ///
    /// A `Slab` lies there, which is never unmapped.
    pub(super) const unsafe fn at(address: NonZeroUsize) -> Self {
        Self(address)
    }

    /// The name that [`SlabName::number`] gave a number for, if there is one.
    ///
    /// # Safety
    ///
    /// The number is 0 or came from [`SlabName::number`].
    #[inline]
    pub(super) unsafe fn from_number(number: usize) -> Option<Self> {
        NonZeroUsize::new(number).map(Self)
    }

    /// The name as a number, never 0.
    #[inline]
    pub(super) const fn number(self) -> usize {
        self.0.get()
    }
}
