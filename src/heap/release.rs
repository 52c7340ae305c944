//! Taking a block back, and the questions that every free asks first.
//!
//! Invariant: **I1** an address is compared, never dereferenced, until the free list knows it as a live block.
#![allow(unsafe_code, reason = "takes back memory whose user promises to be done with it")]

use core::alloc::Layout;

use super::chains::Chains;
use super::give_back::AT_ONCE_BYTES;
use super::handle::Heap;
use super::misuse::Misuse;
use super::root::Root;
use super::sizes::block_size;
use crate::base::lock::LockGuard;
use crate::base::os::Os;

impl<O: Os> Heap<O> {
    /// Frees a block of any size.
    ///
    /// # Errors
    ///
    /// [`Misuse`] if `pointer` is not the start of a live block. Nothing has changed then, and the pointer was not
    /// dereferenced.
    ///
    /// # Safety
    ///
    /// You must not use the block afterwards.
    pub unsafe fn mems_free(&self, pointer: *mut u8) -> Result<(), Misuse> {
        self.release(pointer.addr(), None)
    }

    /// Frees a block that was allocated with this layout; a block of another size is refused.
    ///
    /// # Errors
    ///
    /// See [`Heap::mems_free`].
    ///
    /// # Safety
    ///
    /// See [`Heap::mems_free`].
    pub unsafe fn mems_free_sized(&self, pointer: *mut u8, layout: Layout) -> Result<(), Misuse> {
        self.release(pointer.addr(), Some(layout.size()))
    }

    /// Takes the block at `address` back, if it is one (and of a request of `size` bytes).
    #[inline]
    pub(crate) fn release(&self, address: usize, size: Option<usize>) -> Result<(), Misuse> {
        let Some(root) = self.root() else {
            return Err(Misuse::foreign(address, size));
        };
        self.release_locked(root, root.chains.lock(), address, size)
    }

    /// Takes the block at `address` back. The pages of one of [`AT_ONCE_BYTES`] or more go back now.
    #[inline]
    pub(super) fn release_locked(
        &self,
        root: &Root,
        mut chains: LockGuard<'_, Chains>,
        address: usize,
        size: Option<usize>,
    ) -> Result<(), Misuse> {
        // A size that no block can have is answered as a wrong size.
        let expected = size.map(|size| block_size(size).unwrap_or(0));
        match chains.list.release_or_claim(address, expected, AT_ONCE_BYTES) {
            Ok(None) => {
                self.tick(root, chains);
                Ok(())
            }
            Ok(Some(claim)) => {
                drop(chains);
                // Where the system refuses, it is a hole all the same.
                let _ = self.give_back_claimed(root, claim);
                Ok(())
            }
            Err(why) => {
                drop(chains);
                Err(root.misuse(why, address, size))
            }
        }
    }

    /// Takes a block back that [`Heap::allocate_kept`] gave.
    pub(crate) fn release_kept(&self, start: usize) {
        if let Some(root) = self.root() {
            let mut chains = root.chains.lock();
            chains.list.release_kept(start);
            self.note_dirty(root, chains);
        }
    }

    /// Checks whether [`Heap::mems_free_sized`] would free the block, without freeing it. O(log n).
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn validate(&self, pointer: *const u8, layout: Layout) -> Result<(), Misuse> {
        self.validate_address(pointer.addr(), Some(layout.size()))
    }

    /// Whether `address` is the start of a live block, which serves a request of `size` bytes if that is given.
    pub(crate) fn validate_address(
        &self,
        address: usize,
        size: Option<usize>,
    ) -> Result<(), Misuse> {
        let Some(root) = self.root() else {
            return Err(Misuse::foreign(address, size));
        };
        let expected = size.map(|size| block_size(size).unwrap_or(0));
        let block = root.chains.lock().list.block(address, expected);
        block.map(|_| ()).map_err(|why| root.misuse(why, address, size))
    }

    /// The size of the block at `pointer` in bytes, at least what was asked for, or `None` if that is not the start of
    /// a live block. O(log n).
    #[must_use]
    pub fn usable_size(&self, pointer: *const u8) -> Option<usize> {
        self.usable_size_at(pointer.addr())
    }

    /// The bytes of the block at an address, given as a number.
    pub(crate) fn usable_size_at(&self, address: usize) -> Option<usize> {
        let chains = self.root()?.chains.lock();
        chains.list.block(address, None).ok().map(|block| block.size())
    }
}
