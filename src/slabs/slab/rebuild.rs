//! What becomes of a slab that others have left in disorder: slots that are lost, and free words made anew.

use super::super::slot::{LIVE, LOST};
use super::super::sync::Ordering;
use super::{Slab, WORD_SLOTS};

impl Slab {
    /// Takes free slots out of the free words for good: their memory is not there any more.
    pub(crate) fn lose(&self, first: usize, count: usize) {
        for slot in first..first + count {
            if let Some(word) = self.free.get(slot / WORD_SLOTS) {
                word.fetch_and(!(1 << (slot % WORD_SLOTS)), Ordering::Relaxed);
                self.free_count.update(|count| count - 1);
            }
            self.state(slot).into_iter().for_each(|state| state.store(LOST, Ordering::Relaxed));
        }
    }

    /// Makes the free words say what the state bytes say, and the remote words nothing: after a fork, when nobody knows
    /// where a vanished thread had its slots.
    pub(crate) fn rebuild(&self) {
        let mut count = 0;
        for (index, word) in self.free.iter().enumerate() {
            let first = index * WORD_SLOTS;
            let slots = (self.slots() - first).min(WORD_SLOTS);
            let free =
                (0..slots).filter(|slot| !matches!(self.state_now(first + slot), LIVE | LOST));
            let bits = free.fold(0_u64, |bits, slot| bits | 1 << slot);
            word.store(bits, Ordering::Relaxed);
            count += bits.count_ones();
        }
        self.remote.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.notice.clear();
        self.free_count.set(count);
        self.hint.set(0);
        #[expect(clippy::cast_possible_truncation, reason = "at most 8 Ki slots")]
        self.carved.store(self.slots() as u32, Ordering::Relaxed);
        self.prev.set(None);
        self.next.set(None);
        self.is_listed.set(false);
    }
}
