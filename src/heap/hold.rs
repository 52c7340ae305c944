//! Blocks that are held while a realloc moves their bytes, so that no free takes them meanwhile.
//!
//! A block that is held is kept, as the runs of slabs are: to a walk it is a block, to a free it is a mistake.

use super::handle::Heap;
use super::misuse::Misuse;
use super::sizes::block_size;
use crate::base::os::Os;

impl<O: Os> Heap<O> {
    /// Holds the block at `address`, of `size` bytes, for a realloc: nobody else can free it meanwhile.
    pub(crate) fn hold(&self, address: usize, size: usize) -> Result<(), Misuse> {
        let Some(root) = self.root() else {
            return Err(Misuse::foreign(address, Some(size)));
        };
        let held = root.chains.lock().list.keep(address, Some(block_size(size).unwrap_or(0)));
        held.map_err(|why| root.misuse(why, address, Some(size)))
    }

    /// Makes a block that is held one that can be freed.
    pub(crate) fn stop_holding(&self, address: usize) {
        if let Some(root) = self.root() {
            root.chains.lock().list.stop_keeping(address);
        }
    }

    /// Takes back a block that is held, whose bytes have moved elsewhere.
    pub(crate) fn release_held(&self, address: usize, size: usize) -> Result<(), Misuse> {
        let Some(root) = self.root() else {
            return Err(Misuse::foreign(address, Some(size)));
        };
        let mut chains = root.chains.lock();
        chains.list.stop_keeping(address);
        self.release_locked(root, chains, address, Some(size))
    }
}
