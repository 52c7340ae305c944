//! What becomes of a slab that others have left in disorder: slots that are lost, and sums made anew.

use super::super::slot::{FREE, LOST, NEW};
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

    /// Whether others have freed slots that the owner has not taken in, or have said so.
    pub(crate) fn has_news(&self) -> bool {
        self.notice.is_sent() || self.remote.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Whether slot `index`, which some cache has, is neither live nor lost, nor marked, nor home.
    pub(crate) fn is_nowhere(&self, index: usize) -> bool {
        matches!(self.state_now(index), FREE | NEW) && !self.is_in_free_words(index)
    }

    /// Makes all that the owner says of the slab agree with its free words, and takes in what others freed: after a
    /// fork in which the owner vanished, perhaps in the middle of a change.
    pub(crate) fn recount(&self) {
        let (mut count, mut hint) = (0, self.free.len());
        let mut carved = self.carved.load(Ordering::Relaxed) as usize;
        for (index, (word, remote)) in self.free.iter().zip(self.remote).enumerate() {
            let before = word.load(Ordering::Relaxed);
            let freed = remote.load(Ordering::Relaxed);
            if freed != 0 {
                remote.store(0, Ordering::Relaxed);
            }
            let mut bits = before | freed;
            let first = index * WORD_SLOTS;
            let is_elsewhere = |slot: &usize| !matches!(self.state_now(first + slot), FREE | NEW);
            let mut left = bits;
            while left != 0 {
                let slot = left.trailing_zeros() as usize;
                left &= left - 1;
                if is_elsewhere(&slot) {
                    bits &= !(1 << slot);
                }
            }
            if bits != before {
                word.store(bits, Ordering::Relaxed);
            }
            count += bits.count_ones();
            if bits != 0 {
                hint = hint.min(index);
            }
            let slots = (self.slots() - first).min(WORD_SLOTS);
            let taken = !bits & u64::MAX >> (WORD_SLOTS - slots);
            if taken != 0 {
                carved = carved.max(first + (u64::BITS - taken.leading_zeros()) as usize);
            }
        }
        self.notice.clear();
        self.is_purged.store(false, Ordering::Relaxed);
        self.free_count.set(count);
        #[expect(clippy::cast_possible_truncation, reason = "at most 128 words")]
        self.hint.set(hint as u32);
        #[expect(clippy::cast_possible_truncation, reason = "at most 8 Ki slots")]
        self.carved.store(carved as u32, Ordering::Relaxed);
        self.prev.set(None);
        self.next.set(None);
        self.is_listed.set(false);
    }
}
