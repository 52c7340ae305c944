//! What the hardened heap knows of each block: an open-addressing table by address, outside of the heap.
//!
//! Invariants: **I1** at most half of the places are taken, so a search ends; **I2** between an entry and the place its
//! address hashes to all places are taken (linear probing, Knuth 6.4, algorithm R for removal).
#![allow(unsafe_code, reason = "says that zero is an entry")]

use crate::base::array::{Array, Zeroable};
use crate::base::os::OutOfMemory;

/// The first number of places.
const FIRST_PLACES: usize = 1 << 10;

/// What is known of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Where its user's bytes start; 0 in a place that is free.
    pub(super) start: usize,
    /// How many they are.
    pub(super) size: usize,
    /// Behind the last byte that belongs to the block and may be marked.
    pub(super) end: usize,
    /// The heap's block that it lies in, which starts at or before `start`.
    pub(super) block: usize,
    /// Whether it was freed and waits.
    pub(super) is_quarantined: bool,
    /// Whether the page at `end` is untouchable.
    pub(super) is_guarded: bool,
}

// SAFETY: numbers, and two times false.
unsafe impl Zeroable for Known {}

/// The table.
#[derive(Debug)]
pub(super) struct Ledger {
    places: Array<Known>,
    count: usize,
}

impl Ledger {
    /// A table without entries.
    pub(super) const fn new() -> Self {
        Self { places: Array::new(), count: 0 }
    }

    /// The place that an address hashes to (Fibonacci hashing, Knuth 6.4).
    fn home(&self, start: usize) -> usize {
        let mixed = (start >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 20) & (self.places.len() - 1)
    }

    fn next(&self, place: usize) -> usize {
        (place + 1) & (self.places.len() - 1)
    }

    /// The place of the entry for `start`, or the free one where it would be. The table has places.
    fn place(&self, start: usize) -> usize {
        let mut place = self.home(start);
        while self.places[place].start != start && self.places[place].start != 0 {
            place = self.next(place);
        }
        place
    }

    /// Makes sure that one more entry finds its place.
    pub(super) fn reserve(&mut self) -> Result<(), OutOfMemory> {
        let len = self.places.len();
        if (self.count + 1) * 2 <= len {
            return Ok(());
        }
        let places = Array::zeroed((len * 2).max(FIRST_PLACES))?;
        let old = core::mem::replace(&mut self.places, places);
        for known in old.iter().filter(|known| known.start != 0) {
            let place = self.place(known.start);
            self.places.items_mut()[place] = *known;
        }
        Ok(())
    }

    /// Enters a block, or changes what is known of it; a place was reserved.
    pub(super) fn enter(&mut self, known: Known) {
        let place = self.place(known.start);
        self.count += usize::from(self.places[place].start == 0);
        self.places.items_mut()[place] = known;
    }

    /// What is known of the block at `start`.
    pub(super) fn find(&self, start: usize) -> Option<Known> {
        if self.count == 0 || start == 0 {
            return None;
        }
        let known = self.places[self.place(start)];
        (known.start == start).then_some(known)
    }

    /// Forgets the block at `start`.
    pub(super) fn remove(&mut self, start: usize) {
        if self.find(start).is_none() {
            return;
        }
        self.count -= 1;
        let mask = self.places.len() - 1;
        let mut gap = self.place(start);
        let mut place = self.next(gap);
        while self.places[place].start != 0 {
            let known = self.places[place];
            // It may move into the gap unless its home lies behind the gap.
            let distance = place.wrapping_sub(self.home(known.start)) & mask;
            if distance >= place.wrapping_sub(gap) & mask {
                self.places.items_mut()[gap] = known;
                gap = place;
            }
            place = self.next(place);
        }
        self.places.items_mut()[gap].start = 0;
    }

    /// All entries, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Known> {
        self.places.iter().filter(|known| known.start != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn known(start: usize, size: usize) -> Known {
        let (end, block) = (start + size, start);
        Known { start, size, end, block, is_quarantined: false, is_guarded: false }
    }

    #[test]
    fn it_knows_what_a_map_knows() {
        let (mut ledger, mut model) = (Ledger::new(), HashMap::new());
        let mut random = fastrand::Rng::with_seed(0x1ed_6e12);
        for round in 0..100_000_usize {
            let start = 8 * random.usize(1..=3_000);
            if random.bool() || (40_000..60_000).contains(&round) {
                ledger.remove(start);
                model.remove(&start);
            } else {
                ledger.reserve().expect("memory");
                ledger.enter(known(start, round));
                model.insert(start, round);
            }
            let probe = 8 + 8 * (round * 7 % 3_000);
            assert_eq!(ledger.find(probe).map(|known| known.size), model.get(&probe).copied());
        }
        assert_eq!(ledger.all().count(), model.len());
        assert!(ledger.all().all(|known| model.get(&known.start) == Some(&known.size)));
    }
}
