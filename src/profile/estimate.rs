//! What samples say of all blocks: each stands for as many as its probability has it (Horvitz and Thompson 1952).

use core::fmt;
use core::ops::AddAssign;

/// The standard deviations within which a value lies in 95 of 100 cases.
const Z: f64 = 1.96;

/// A sum over blocks, estimated from those that were sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    value: f64,
    variance: f64,
}

impl Estimate {
    /// The sum over no blocks.
    pub const NONE: Self = Self { value: 0.0, variance: 0.0 };

    /// Adds a block of this value, which is in the profile with this probability.
    pub(super) fn add(&mut self, value: f64, chance: f64) {
        let weighted = value / chance;
        self.value += weighted;
        self.variance += weighted * weighted * (1.0 - chance);
    }

    /// Adds what is known.
    pub(super) fn add_exact(&mut self, value: f64) {
        self.value += value;
    }

    /// The sum that is the most likely one. It is unbiased: the mean of many such is the truth.
    #[must_use]
    pub const fn value(&self) -> f64 {
        self.value
    }

    /// Between which values the sum lies, with a probability of 95%: as if equal blocks had been counted whose sum
    /// varies as much as this one does, by the score interval of Poisson's distribution.
    #[must_use]
    pub fn interval(&self) -> (f64, f64) {
        score_interval(self.value, self.unit(), Z)
    }

    /// What each of the equal blocks stands for; 0 if the sum is certain.
    fn unit(&self) -> f64 {
        if self.variance > 0.0 { self.variance / self.value } else { 0.0 }
    }
}

/// Between which values a sum lies of equal blocks that stand for `unit` each, within `z` deviations. If there is none,
/// there may have been some that were not sampled.
fn score_interval(value: f64, unit: f64, z: f64) -> (f64, f64) {
    if unit <= 0.0 {
        return (value, value);
    }
    let count = value / unit;
    let middle = count + z * z / 2.0;
    let half = z * libm::sqrt(count + z * z / 4.0);
    ((middle - half).max(0.0) * unit, (middle + half) * unit)
}

/// Sums of blocks that have none in common.
impl AddAssign for Estimate {
    fn add_assign(&mut self, other: Self) {
        self.value += other.value;
        self.variance += other.variance;
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.interval();
        write!(f, "{:.0} ({low:.0} to {high:.0})", self.value)
    }
}

/// How a sum has changed: what came, and what went.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Change {
    /// What is there now, and was not before.
    pub came: Estimate,
    /// What was there before, and is not now.
    pub went: Estimate,
}

impl Change {
    /// None.
    pub const NONE: Self = Self { came: Estimate::NONE, went: Estimate::NONE };

    /// By how much the sum has grown; less than 0 if it has shrunk.
    #[must_use]
    pub const fn value(&self) -> f64 {
        self.came.value - self.went.value
    }

    /// Between which values that lies, with a probability of 95%: from the intervals of both sums, which have no block
    /// in common (Zou and Donner 2008).
    #[must_use]
    pub fn interval(&self) -> (f64, f64) {
        let units = [self.came.unit(), self.went.unit()];
        difference([self.came.value, self.went.value], units, Z)
    }
}

/// Between which values the difference of two sums lies whose blocks stand for these units. Where one has no sample,
/// the unit of the other one says how much it may be.
fn difference([came, went]: [f64; 2], [one, other]: [f64; 2], z: f64) -> (f64, f64) {
    let came_unit = if came > 0.0 { one } else { other };
    let went_unit = if went > 0.0 { other } else { one };
    let (more, less) = (score_interval(came, came_unit, z), score_interval(went, went_unit, z));
    let low = libm::hypot(came - more.0, less.1 - went);
    let high = libm::hypot(more.1 - came, went - less.0);
    (came - went - low, came - went + high)
}

/// Blocks that came and went, as events of which there is sometimes one more or less by chance, sampled or not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Events {
    sums: [f64; 2],
    squares: [f64; 2],
}

impl Events {
    /// Adds a block that is in the profile with this probability, and came (0) or went (1).
    pub(super) fn add(&mut self, side: usize, chance: f64) {
        self.sums[side] += 1.0 / chance;
        self.squares[side] += 1.0 / (chance * chance);
    }

    /// How many more came than went, at the least: within three standard deviations, of 740 cases one is below.
    pub(super) fn least_growth(&self) -> f64 {
        const DEVIATIONS: f64 = 3.0;
        let unit = |side: usize| {
            if self.sums[side] > 0.0 { self.squares[side] / self.sums[side] } else { 0.0 }
        };
        difference(self.sums, [unit(0), unit(1)], DEVIATIONS).0
    }

    /// How many more came than went.
    #[cfg(feature = "report")]
    pub(super) const fn growth(&self) -> f64 {
        self.sums[0] - self.sums[1]
    }
}

impl AddAssign for Events {
    fn add_assign(&mut self, other: Self) {
        for side in 0..2 {
            self.sums[side] += other.sums[side];
            self.squares[side] += other.squares[side];
        }
    }
}

impl AddAssign for Change {
    fn add_assign(&mut self, other: Self) {
        self.came += other.came;
        self.went += other.went;
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.interval();
        write!(f, "{:+.0} ({low:+.0} to {high:+.0})", self.value())
    }
}

/// The probability with which a block of this many bytes is sampled.
pub(super) fn chance_of(block_bytes: usize, mean: usize) -> f64 {
    -libm::expm1(-(block_bytes as f64) / mean as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_certain_has_no_interval_and_little_has_a_wide_one() {
        let mut estimate = Estimate::default();
        assert_eq!((estimate.value(), estimate.interval()), (0.0, (0.0, 0.0)));
        estimate.add(100.0, 1.0);
        estimate.add_exact(20.0);
        assert_eq!((estimate.value(), estimate.interval()), (120.0, (120.0, 120.0)));
        let mut estimate = Estimate::default();
        (0..4).for_each(|_| estimate.add(1.0, 0.001));
        let (low, high) = estimate.interval();
        assert!((low - 1555.0).abs() < 10.0 && (high - 10286.0).abs() < 20.0, "{estimate}");
    }

    #[test]
    fn a_few_more_blocks_are_chance() {
        let grown = |came, went, chance: f64| {
            let mut events = Events::default();
            (0..came).for_each(|_| events.add(0, chance));
            (0..went).for_each(|_| events.add(1, chance));
            events.least_growth() > 0.0
        };
        for chance in [0.001, 1.0] {
            assert!(!grown(0, 0, chance) && !grown(8, 0, chance) && !grown(30, 12, chance));
            assert!(grown(12, 0, chance) && grown(40, 12, chance));
        }
    }

    #[test]
    fn a_change_is_as_uncertain_as_what_came_and_went() {
        let sum = |samples| {
            let mut estimate = Estimate::default();
            (0..samples).for_each(|_| estimate.add(1.0, 0.001));
            estimate
        };
        let nothing = Change::default();
        assert_eq!((nothing.value(), nothing.interval()), (0.0, (0.0, 0.0)));
        let grown = Change { came: sum(100), went: sum(0) };
        let (low, high) = grown.interval();
        // A sample that went may have been missed.
        assert_eq!((grown.value(), high), (100_000.0, sum(100).interval().1));
        assert!(low < sum(100).interval().0 && low > 75_000.0, "{grown}");
        assert!(Change { came: sum(4), went: sum(0) }.interval().0 < 0.0);
        assert!(Change { came: sum(6), went: sum(0) }.interval().0 > 0.0);
        let both = Change { came: sum(100), went: sum(100) };
        let (low, high) = both.interval();
        // The deviation is the root of 200 samples.
        assert!((high - 1.96 * 14_142.0).abs() < 2000.0, "{both}");
        assert!((low + high).abs() < 1e-6, "{both}");
    }
}
