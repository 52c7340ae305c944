//! What a thread heap pops off its magazines and pushes onto them, of every class. Large slots are slabs of their own,
//! so their bytes are counted and bounded.

use super::class::Class;
use super::slot::{FreeSlot, LiveSlot};
use super::thread_heap::ThreadHeap;
use crate::base::fatal::debug_law;

/// Bytes of large slots that a thread keeps.
pub(super) const LARGE_BYTES: usize = 8 << 20;

impl ThreadHeap {
    /// Hands out the newest slot of a class that it has cached: its address.
    #[inline]
    pub(crate) fn hand_out(&self, class: Class) -> Option<usize> {
        if class.is_large() { self.hand_out_large(class) } else { self.magazine(class).hand_out() }
    }

    /// Hands out the newest slot of a large class that it has cached: its address.
    #[inline]
    pub(crate) fn hand_out_large(&self, class: Class) -> Option<usize> {
        let slot = self.magazine(class).hand_out()?;
        let (bytes, slot_bytes) = (self.large_bytes.get(), class.shape().slot_bytes);
        debug_law!(bytes >= slot_bytes, "the bytes of large slots are summed up");
        self.large_bytes.set(bytes - slot_bytes);
        Some(slot)
    }

    /// Takes back a live slot of a large class, of an own slab. Nothing has changed where there is no place, or where
    /// the thread would keep more than [`LARGE_BYTES`] of such.
    #[inline]
    pub(crate) fn take_back_large(&self, class: Class, slot: LiveSlot) -> bool {
        let bytes = self.large_bytes.get() + class.shape().slot_bytes;
        let is_done = bytes <= LARGE_BYTES && self.magazine(class).take_back(slot);
        if is_done {
            self.large_bytes.set(bytes);
        }
        is_done
    }

    /// Caches a free slot of an own slab, or gives it back where there is no place, or where it is large and the thread
    /// would keep more than [`LARGE_BYTES`] of such.
    #[inline]
    pub(crate) fn push(&self, class: Class, slot: FreeSlot) -> Result<(), FreeSlot> {
        let large_bytes = self.large_bytes.get() + class.shape().slot_bytes;
        if class.is_large() && large_bytes > LARGE_BYTES {
            return Err(slot);
        }
        self.magazine(class).push(slot)?;
        if class.is_large() {
            self.large_bytes.set(large_bytes);
        }
        Ok(())
    }

    /// Whether the slot that was just handed out has bytes that never were before; asked once.
    pub(crate) fn take_fresh(&self, slot: usize) -> bool {
        self.fresh_slot.replace(0) == slot
    }

    /// Bytes of the slots of these classes in its magazines.
    pub(super) fn cached_bytes_of(&self, classes: impl Iterator<Item = Class>) -> usize {
        classes.map(|class| self.stack(class).len() * class.shape().slot_bytes).sum()
    }

    /// Counts the bytes of large slots anew, after slots of a class went in or out together.
    pub(super) fn count_large(&self) {
        self.large_bytes.set(self.cached_bytes_of(Class::all_large()));
    }
}
