//! Large slots in a thread heap's magazines: each is a slab of its own, so their bytes are counted and bounded.

use super::class::Class;
use super::magazine::Entry;
use super::thread_heap::ThreadHeap;

/// Bytes of large slots that a thread keeps.
const LARGE_BYTES: usize = 8 << 20;

impl ThreadHeap {
    /// As [`Magazine::hand_out`], for a class that may be a large one.
    #[inline]
    pub(super) fn hand_out(&self, class: Class) -> Option<usize> {
        let slot = self.magazine(class).hand_out()?;
        if class.is_large() {
            self.large_bytes.update(|bytes| bytes.wrapping_sub(class.shape().slot_bytes));
        }
        Some(slot)
    }

    /// As [`Magazine::push`], for a large class; `false` also where the thread keeps so many bytes already that some have
    /// to go home.
    #[inline]
    pub(super) fn push_large(&self, class: Class, entry: Entry) -> bool {
        let bytes = self.large_bytes.get() + class.shape().slot_bytes;
        let is_in = bytes <= LARGE_BYTES && self.magazine(class).push(entry);
        if is_in {
            self.large_bytes.set(bytes);
        }
        is_in
    }

    /// Whether the slot that was just handed out has bytes that never were before; asked once.
    pub(super) fn take_fresh(&self, slot: usize) -> bool {
        self.fresh_slot.replace(0) == slot
    }

    /// Sends large slots home until half of what a thread may keep is left, those of `spared` last.
    fn shrink_large(&'static self, spared: Class) {
        let others = || Class::all_large().filter(|class| *class != spared);
        for class in others().chain([spared]) {
            if self.large_bytes.get() <= LARGE_BYTES / 2 {
                break;
            }
            self.send_home(self.magazine(class), self.magazine(class).len());
            self.count_large();
        }
    }

    /// Counts the bytes of large slots anew.
    pub(super) fn count_large(&self) {
        let bytes = |class: Class| self.magazine(class).len() * class.shape().slot_bytes;
        self.large_bytes.set(Class::all_large().map(bytes).sum());
    }

    /// As [`ThreadHeap::overflow`]: slots of other sizes make room first.
    pub(super) fn overflow_large(&'static self, class: Class, entry: Entry) {
        self.shrink_large(class);
        let magazine = self.magazine(class);
        if magazine.len() == magazine.capacity() {
            self.send_home(magazine, magazine.capacity().div_ceil(2));
            self.count_large();
        }
        if !self.push_large(class, entry) {
            self.send_entry_home(entry);
        }
    }
}
