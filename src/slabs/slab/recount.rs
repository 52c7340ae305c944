//! What becomes of a slab that others have left in disorder: slots that are lost, and sums made anew.

use super::super::slot::{self, BUSY, LIVE, LOST};
use super::super::sync::{AtomicU64, Ordering};
use super::{Slab, WORD_SLOTS};

impl Slab {
    /// Takes free slots out of the free words for good: their memory is not there any more.
    pub(crate) fn lose(&self, first: usize, count: usize) {
        self.lose_from(self.free(), first, count);
        #[expect(clippy::cast_possible_truncation, reason = "at most 8 Ki slots")]
        self.free_count.update(|free| free - count as u32);
    }

    /// Does the same with slots that others have sent home. The caller holds the remote words.
    pub(crate) fn lose_sent(&self, first: usize, count: usize) {
        self.lose_from(self.remote(), first, count);
    }

    fn lose_from(&self, words: &[AtomicU64], first: usize, count: usize) {
        for slot in first..first + count {
            self.state(slot).into_iter().for_each(|state| state.store(LOST, Ordering::Relaxed));
            if let Some(word) = words.get(slot / WORD_SLOTS) {
                word.fetch_and(!(1 << (slot % WORD_SLOTS)), Ordering::SeqCst);
            }
        }
        self.mark_used(first, first + count);
    }

    /// Makes slot `index` live again, if it is one on which a realloc worked whose thread has vanished.
    pub(crate) fn stop_holding(&self, index: usize) {
        self.state(index).into_iter().for_each(|state| {
            slot::end_claim(state, BUSY, LIVE);
        });
    }

    /// Whether others have freed slots that the owner has not taken in, or have said so.
    pub(crate) fn has_news(&self) -> bool {
        self.notice.is_sent() || self.remote().iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Whether slot `index`, which some cache has, is neither live nor lost, nor marked, nor home.
    pub(crate) fn is_nowhere(&self, index: usize) -> bool {
        slot::is_nobodys(self.state_now(index)) && !self.is_in_free_words(index)
    }

    /// Puts slot `index` into the free words, be it sent or free.
    pub(crate) fn put_found(&self, index: usize) {
        let (word, bit) = (index / WORD_SLOTS, 1 << (index % WORD_SLOTS));
        if let Some(state) = self.state(index).filter(|_| slot::is_marked(self.state_now(index))) {
            slot::set_marked(state, false);
        }
        self.welcome(word, bit);
        self.put(word, bit);
    }

    /// The slots of word `index` that are home, in the free word or the remote one, and nowhere else.
    fn home_alone(&self, index: usize) -> u64 {
        let home = self.home(index);
        if home == 0 {
            return 0;
        }
        let is_alone = |slot: &usize| {
            home >> slot & 1 == 1 && slot::is_nobodys(self.state_now(index * WORD_SLOTS + slot))
        };
        (0..WORD_SLOTS).filter(is_alone).fold(0, |bits, slot| bits | 1 << slot)
    }

    /// Makes all that the owner says of the slab agree with its free words, and takes in what others freed: after a
    /// fork in which the owner vanished, perhaps in the middle of a change. What is as it should be is not written, so
    /// that the child goes on sharing its page.
    pub(crate) fn recount(&self) {
        let (mut count, mut hint, mut carved) = (0, self.hint.get(), 0);
        for (index, (word, remote)) in (0..).zip(self.free().iter().zip(self.remote())) {
            let bits = self.home_alone(index as usize);
            for (word, right) in [(word, bits), (remote, 0)] {
                if word.load(Ordering::Relaxed) != right {
                    word.store(right, Ordering::Relaxed);
                }
            }
            // Those that others freed.
            self.welcome(index as usize, bits);
            count += bits.count_ones();
            if bits != 0 {
                hint = hint.min(index);
            }
            let first = index as usize * WORD_SLOTS;
            let slots = (self.slots() - first).min(WORD_SLOTS);
            let taken = !bits & u64::MAX >> (WORD_SLOTS - slots);
            if taken != 0 {
                carved = index * u64::BITS + u64::BITS - taken.leading_zeros();
            }
        }
        self.notice.forget();
        self.forget_marks();
        if self.carved.load(Ordering::Relaxed) < carved {
            self.carved.store(carved, Ordering::Relaxed);
        }
        if (self.free_count.get(), self.hint.get()) != (count, hint) {
            self.free_count.set(count);
            self.hint.set(hint);
        }
        if self.is_listed.get() || self.prev.get().is_some() || self.next.get().is_some() {
            self.prev.set(None);
            self.next.set(None);
            self.is_listed.set(false);
        }
    }
}
