//! Large slots in a thread heap's magazines: each is a slab of its own, so their bytes are counted and bounded.

use super::class::Class;
use super::magazine::Entry;
use super::thread_heap::ThreadHeap;

/// Bytes of large slots that a thread keeps.
pub(super) const LARGE_BYTES: usize = 8 << 20;

impl ThreadHeap {
    /// As [`Magazine::hand_out`](super::magazine::Magazine::hand_out), for a class that may be a large one.
    #[inline]
    pub(crate) fn hand_out(&self, class: Class) -> Option<usize> {
        let slot = self.magazine(class).hand_out()?;
        if class.is_large() {
            self.large_bytes.update(|bytes| bytes.wrapping_sub(class.shape().slot_bytes));
        }
        Some(slot)
    }

    /// As [`Magazine::push`](super::magazine::Magazine::push), for a large class; `false` also where the thread keeps
    /// so much already that some of it has to go home.
    #[inline]
    pub(crate) fn push_large(&self, class: Class, entry: Entry) -> bool {
        let bytes = self.large_bytes.get() + class.shape().slot_bytes;
        let is_in = bytes <= LARGE_BYTES && self.magazine(class).push(entry);
        if is_in {
            self.large_bytes.set(bytes);
        }
        is_in
    }

    /// Whether the slot that was just handed out has bytes that never were before; asked once.
    pub(crate) fn take_fresh(&self, slot: usize) -> bool {
        self.fresh_slot.replace(0) == slot
    }

    /// Counts the bytes of large slots anew.
    pub(super) fn count_large(&self) {
        let bytes = |class: Class| self.magazine(class).len() * class.shape().slot_bytes;
        self.large_bytes.set(Class::all_large().map(bytes).sum());
    }
}
