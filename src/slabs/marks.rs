//! Marks: which free slots of a heap are such that the next block there is sampled, for a profile of who allocates.
//!
//! Not the stream of calls is sampled, but the space: a slot of `s` bytes is marked with probability `1 - exp(-s /
//! mean)` when a refill brings it into a magazine, whatever the program does, and independently of all others. It keeps
//! its mark, or keeps having none, until it leaves the magazine for its slab: freed and handed out a thousand times it
//! is sampled each time, or never. So each live block is sampled with that probability. A magazine hides its marked
//! slots under its floor: the fast paths never meet one, and have no instruction for this.
//!
//! The draws are those of a Poisson process over the bytes of the slots that come by: a heap counts down the bytes to
//! the next mark, so a refill without a mark costs a subtraction. The heap of a region marks every slot.
//!
//! **What must not depend on marks**: which slot is handed out next, and when slots are drawn. If a slot could lose its
//! mark by being used, those without would become all. So the way of a marked slot does nothing else that a slow way
//! does (`refill`), and a sampled block that is freed goes where it would have gone without.

#[cfg(feature = "profile")]
use core::sync::atomic::{AtomicU32, Ordering};

use super::sync::Cell;
use crate::base::random::Random;

/// How a heap draws its marks.
#[derive(Debug)]
pub(crate) struct Marks {
    /// The number of the profile for which it does. Others read it; models do not follow it.
    #[cfg(feature = "profile")]
    profile: AtomicU32,
    /// The mean distance of marks, in bytes; 0 while none are drawn.
    mean: Cell<usize>,
    /// Bytes of slots that come by before the next mark.
    until: Cell<usize>,
    random: Cell<Random>,
    /// The number of the region for which every slot is marked; 0 for none.
    #[cfg(feature = "profile")]
    region: Cell<u32>,
    /// Which thread's stack was found last, and between which addresses.
    #[cfg(feature = "profile")]
    pub(crate) stack: Cell<[usize; 3]>,
}

impl Marks {
    /// None are drawn.
    pub(super) const fn new() -> Self {
        Self {
            #[cfg(feature = "profile")]
            profile: AtomicU32::new(0),
            mean: Cell::new(0),
            until: Cell::new(0),
            random: Cell::new(Random::with_seed(0)),
            #[cfg(feature = "profile")]
            region: Cell::new(0),
            #[cfg(feature = "profile")]
            stack: Cell::new([0; 3]),
        }
    }

    /// The number of the profile for which the heap draws them.
    #[cfg(feature = "profile")]
    #[inline]
    pub(crate) fn profile(&self) -> u32 {
        self.profile.load(Ordering::Relaxed)
    }

    /// The mean distance of marks, in bytes; 0 while none are drawn.
    #[cfg(feature = "profile")]
    pub(crate) fn mean(&self) -> usize {
        self.mean.get()
    }

    /// Whether any are drawn.
    pub(super) fn is_on(&self) -> bool {
        self.mean.get() > 0 || self.is_every()
    }

    /// Whether every slot is marked.
    #[cfg(feature = "profile")]
    pub(super) fn is_every(&self) -> bool {
        self.region.get() > 0
    }

    /// No region can be counted.
    #[cfg(not(feature = "profile"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(super) const fn is_every(&self) -> bool {
        false
    }

    /// The number of the region that the heap serves, if that is counted; 0 for none.
    #[cfg(feature = "profile")]
    pub(crate) fn region(&self) -> u32 {
        self.region.get()
    }

    /// Marks every slot from now on, for a region, or with 0 none, as long as the heap hears of no profile.
    #[cfg(feature = "profile")]
    pub(super) fn set_region(&self, region: u32) {
        self.region.set(region);
        self.mean.set(0);
        self.until.set(0);
        self.profile.store(0, Ordering::Relaxed);
    }

    #[cfg(feature = "profile")]
    pub(super) fn begin(&self, profile: u32, mean: usize, seed: u64) {
        self.mean.set(mean);
        self.random.set(Random::with_seed(seed));
        self.until.set(self.next());
        self.profile.store(profile, Ordering::Relaxed);
    }

    /// Bytes to the next mark.
    fn next(&self) -> usize {
        if self.is_every() {
            return 0;
        }
        let mut random = self.random.get();
        let until = distance(random.fraction(), self.mean.get());
        self.random.set(random);
        until
    }

    /// Lets `count` slots come by, and shows the numbers of those that are to be marked to `mark`.
    #[inline]
    pub(super) fn draw(&self, slot_bytes: usize, count: usize, mark: impl FnMut(usize)) {
        if self.is_on() {
            self.draw_some(slot_bytes, count, mark);
        }
    }

    #[cold]
    fn draw_some(&self, slot_bytes: usize, count: usize, mut mark: impl FnMut(usize)) {
        let mut index = 0;
        loop {
            let (until, free) = (self.until.get(), self.until.get() / slot_bytes);
            if free >= count - index {
                self.until.set(until - (count - index) * slot_bytes);
                return;
            }
            index += free;
            mark(index);
            index += 1;
            self.until.set(self.next());
        }
    }

    /// Whether the next slot, of this many bytes, is to be marked.
    pub(super) fn draw_one(&self, slot_bytes: usize) -> bool {
        let mut is_marked = false;
        self.draw(slot_bytes, 1, |_| is_marked = true);
        is_marked
    }
}

/// A distance of this mean, distributed exponentially, for a number between 0 and 1.
#[cfg(feature = "profile")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is not negative, and a cast saturates"
)]
fn distance(fraction: f64, mean: usize) -> usize {
    (-libm::log(fraction) * mean as f64) as usize
}

/// Nobody begins a profile.
#[cfg(not(feature = "profile"))]
const fn distance(_fraction: f64, _mean: usize) -> usize {
    usize::MAX
}

#[cfg(all(test, feature = "profile"))]
mod tests {
    use super::*;

    /// How many of `count` slots are marked, and the mean and variance that is to be expected.
    fn drawn(slot_bytes: usize, mean: usize, count: usize, at_a_time: usize) -> (f64, f64, f64) {
        let marks = Marks::new();
        marks.begin(1, mean, 7);
        let mut marked = 0;
        for _ in 0..count / at_a_time {
            let mut last = None;
            marks.draw(slot_bytes, at_a_time, |index| {
                assert!(index < at_a_time && last < Some(index), "each once, in order");
                last = Some(index);
                marked += 1;
            });
        }
        let chance = -(-(slot_bytes as f64) / mean as f64).exp_m1();
        (f64::from(marked), chance * count as f64, count as f64 * chance * (1.0 - chance))
    }

    #[test]
    fn slots_are_marked_with_the_probability_of_their_size() {
        let cases =
            [(64, 4096, 32), (64, 512 << 10, 32), (8, 4096, 1), (32 << 10, 4096, 3), (1, 1, 100)];
        for (slot_bytes, mean, at_a_time) in cases {
            let (marked, expected, variance) = drawn(slot_bytes, mean, 600_000, at_a_time);
            assert!((marked - expected).powi(2) <= 9.0 * variance, "{slot_bytes}: {marked}");
        }
        assert_eq!(drawn(64, 0, 1000, 10).0, 0.0, "off");
    }

    #[test]
    fn a_region_has_all_of_them() {
        let marks = Marks::new();
        marks.begin(1, 512 << 10, 7);
        marks.set_region(3);
        marks.begin(2, 512 << 10, 7);
        let mut marked = Vec::new();
        marks.draw(8, 100, |index| marked.push(index));
        assert!(marked.into_iter().eq(0..100) && marks.draw_one(1));
        marks.set_region(0);
        assert!(!marks.draw_one(1 << 20), "before it hears of a profile");
    }
}
