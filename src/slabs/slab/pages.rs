//! A slab's pages: on which of them all slots are free, which of these were seen so before, and which have gone back.
//!
//! Two bits a page say the latter, *seen* and *clean*. A thread that may give a page back sets them; the owner, who
//! alone takes slots out of a slab, ends both where he does so. A thread may give a page back if all of its slots are
//! its to take: the owner's are those at home in the free words, and those in the remote words are the thread's that
//! holds these ([`Notice::hold`]). A slab of one slot has one page, which is all of it.
//!
//! [`Notice::hold`]: super::super::handover::Notice::hold

use super::super::slot::SENT;
use super::super::sync::{AtomicU64, Ordering};
use super::Slab;
use super::arrays::MOST_MARK_WORDS;
use crate::base::bits::{ones_within, runs};
use crate::base::os::{Os, System};
use crate::base::round::align_up;

/// Which pages go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// All on which there are free slots only.
    All,
    /// Those of which that was seen before.
    SeenBefore,
}

/// Some pages of a slab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pages([u64; MOST_MARK_WORDS]);

impl Pages {
    /// Adds the pages of a range.
    fn add(&mut self, first: usize, end: usize) {
        for (bits, index) in self.0.iter_mut().zip(0..) {
            *bits |= ones_within(first, end, index);
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0 == [0; MOST_MARK_WORDS]
    }

    /// The runs of neighbouring pages: the first one, and how many there are.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (usize, usize)> {
        let words = self.0;
        runs(move |index| words.get(index).copied())
    }

    /// How many there are.
    fn count(&self) -> usize {
        self.0.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    /// Those that have a bit in these words.
    fn marked(words: &[AtomicU64]) -> Self {
        let mut pages = Self::default();
        for (bits, word) in pages.0.iter_mut().zip(words) {
            *bits = word.load(Ordering::Acquire);
        }
        pages
    }

    /// These, but for the others.
    fn without(mut self, others: &Self) -> Self {
        for (bits, others) in self.0.iter_mut().zip(others.0) {
            *bits &= !others;
        }
        self
    }
}

impl Slab {
    /// Where the first whole page starts, and the bytes of a page.
    fn frame(&self) -> (usize, usize) {
        let start = self.start();
        if self.slots() == 1 {
            return (start, self.slab_bytes());
        }
        let page = System.page_size();
        (align_up(start, page).unwrap_or(start), page)
    }

    /// The whole pages on which there are only slots of which `word` has the bits.
    fn pages_of(&self, word: impl Fn(usize) -> u64) -> Pages {
        let page = self.frame().1;
        let mut pages = Pages::default();
        for (first, count) in runs(|index| (index < self.free().len()).then(|| word(index))) {
            let [start, end] = self.bytes_of(first, first + count);
            pages.add(start.div_ceil(page), end / page);
        }
        pages
    }

    /// Where slots from `first` up to `end` start and end, in bytes from the start of the first whole page. What is
    /// left behind the last slot is taken for a part of that.
    fn bytes_of(&self, first: usize, end: usize) -> [usize; 2] {
        let (slot_bytes, before) = (self.shape().slot_bytes, self.frame().0 - self.start());
        let end = if end == self.slots() { self.slab_bytes() } else { end * slot_bytes };
        [first * slot_bytes, end].map(|offset| offset.saturating_sub(before))
    }

    /// The pages whose slots are all in the free words and were taken before. Asked by the owner.
    pub(crate) fn free_pages(&self) -> Pages {
        let carved = self.carved();
        self.pages_of(|index| load(self.free(), index) & ones_within(0, carved, index))
    }

    /// The pages whose slots have all been sent home. Asked by who holds the remote words.
    pub(in crate::slabs) fn sent_pages(&self) -> Pages {
        self.pages_of(|index| load(self.remote(), index))
    }

    /// Bytes of pages that have gone back.
    pub(crate) fn given_back(&self) -> usize {
        self.frame().1 * Pages::marked(self.arrays.clean()).count()
    }

    /// Bytes of pages that have not gone back, and whose slots have all been sent home.
    pub(crate) fn sent(&self) -> usize {
        self.frame().1 * self.sent_pages().without(&Pages::marked(self.arrays.clean())).count()
    }

    /// Bytes of pages without memory: they have gone back, or were never touched. Those of pages that are touched in
    /// this moment may be among them.
    pub(crate) fn clean_bytes(&self) -> usize {
        let (carved, page) = (self.carved(), self.frame().1);
        // What is left behind the last slot may have gone back with that.
        let is_untouched = self.is_fresh.load(Ordering::Relaxed) && carved < self.slots();
        let [from, end] = self.bytes_of(carved, self.slots());
        let untouched = (end / page * page).saturating_sub(from.next_multiple_of(page));
        self.given_back() + if is_untouched { untouched } else { 0 }
    }

    /// Of the pages, on which there are free slots only, those that go back now; the others count as seen from now
    /// on. And whether there are any others.
    pub(crate) fn due(&self, pages: &Pages, which: Which) -> (Pages, bool) {
        let dirty = pages.without(&Pages::marked(self.arrays.clean()));
        if which == Which::All {
            return (dirty, false);
        }
        let new = dirty.without(&Pages::marked(self.arrays.seen()));
        for (seen, bits) in self.arrays.seen().iter().zip(new.0).filter(|(_, bits)| *bits != 0) {
            seen.fetch_or(bits, Ordering::Relaxed);
        }
        (dirty.without(&new), !new.is_empty())
    }

    /// Start and length of a run of pages.
    pub(crate) fn page_run(&self, first: usize, count: usize) -> (usize, usize) {
        let (frame, page) = self.frame();
        (frame + first * page, count * page)
    }

    /// The slots that have bytes in a run of bytes, or end where it starts: the first one, and how many there are.
    pub(crate) fn slots_within(&self, start: usize, len: usize) -> (usize, usize) {
        let (offset, slot_bytes) = (start - self.start(), self.shape().slot_bytes);
        let first = (offset / slot_bytes).min(self.slots() - 1);
        let end = (offset + len).div_ceil(slot_bytes).min(self.slots());
        (first, end - first)
    }

    /// Notes that a run of whole pages has gone back.
    pub(crate) fn mark_clean(&self, start: usize, len: usize) {
        let (frame, page) = self.frame();
        let first = (start - frame) / page;
        for (index, (seen, clean)) in self.arrays.seen().iter().zip(self.arrays.clean()).enumerate()
        {
            let bits = ones_within(first, first + len / page, index);
            if bits != 0 {
                clean.fetch_or(bits, Ordering::Relaxed);
                seen.fetch_and(!bits, Ordering::Relaxed);
            }
        }
    }

    /// Notes that slots from `first` up to `end` have been taken, so that their pages are not free any more.
    #[inline]
    pub(in crate::slabs) fn mark_used(&self, first: usize, end: usize) {
        let mut marks = self.arrays.seen().iter().chain(self.arrays.clean());
        if first < end && marks.any(|word| word.load(Ordering::Relaxed) != 0) {
            self.end_marks(first, end);
        }
    }

    #[cold]
    #[inline(never)]
    fn end_marks(&self, first: usize, end: usize) {
        let ([start, end], page) = (self.bytes_of(first, end), self.frame().1);
        let (from, to) = (start / page, end.div_ceil(page));
        for (index, (seen, clean)) in self.arrays.seen().iter().zip(self.arrays.clean()).enumerate()
        {
            let bits = ones_within(from, to, index);
            for word in [seen, clean] {
                // Who gives other pages back meanwhile sets their bits.
                if word.load(Ordering::Relaxed) & bits != 0 {
                    word.fetch_and(!bits, Ordering::Relaxed);
                }
            }
        }
    }

    /// Forgets all marks: what was there has gone, or is not known.
    pub(super) fn forget_marks(&self) {
        for word in self.arrays.seen().iter().chain(self.arrays.clean()) {
            if word.load(Ordering::Relaxed) != 0 {
                word.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Of pages whose slots have all been sent home, the address of one that is not in that state, if there is any: two
    /// frees of it were accepted, or it is lost.
    pub(in crate::slabs) fn not_sent_on(&self, pages: &Pages) -> Option<usize> {
        let mut slots = pages.runs().flat_map(|(first, count)| {
            let (start, len) = self.page_run(first, count);
            let (first, count) = self.slots_within(start, len);
            first..first + count
        });
        slots.find(|slot| self.state_now(*slot) != SENT).map(|slot| self.slot_start(slot))
    }

    /// Whether each page that has gone back has slots only that are home. The caller is the owner, or acts for it.
    pub(super) fn are_clean_pages_free(&self) -> bool {
        // Looked at first: others send slots home meanwhile, and give their pages back.
        let clean = Pages::marked(self.arrays.clean());
        clean.without(&self.pages_of(|index| self.home(index))).is_empty()
    }
}

fn load(words: &[AtomicU64], index: usize) -> u64 {
    words.get(index).map_or(0, |word| word.load(Ordering::Acquire))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_a_range_are_those_from_the_first_to_the_last() {
        for first in (0..=256).step_by(3) {
            for end in (0..=256).step_by(5) {
                let mut pages = Pages::default();
                pages.add(first, end);
                let expected = if first < end { vec![(first, end - first)] } else { vec![] };
                assert_eq!(pages.runs().collect::<Vec<_>>(), expected);
            }
        }
    }
}
