//! The distributions of the rows. Every generator is seeded, so that all contestants get the same work.

use fastrand::Rng;

/// Sizes of one [`realistic_sizes`] table; a power of two. 2 in 10,000 of them are above 64 KiB.
pub const SIZE_TABLE_LEN: usize = 1 << 16;

/// A size drawn evenly on the logarithmic scale of `low..=high`.
pub fn log_uniform(rng: &mut Rng, low: f64, high: f64) -> u32 {
    whole((low.ln() + rng.f64() * (high / low).ln()).exp())
}

/// Block sizes as programs ask for them: 85% skewed over 8-256 in steps of 8, 15% log-normal (median 512,
/// sigma 1.5) up to 64 Ki, and 2 in 10,000 between 64 Ki and 1 Mi.
pub fn realistic_sizes(seed: u64) -> Vec<u32> {
    let mut rng = Rng::with_seed(seed);
    (0..SIZE_TABLE_LEN).map(|_| realistic_size(&mut rng)).collect()
}

fn realistic_size(rng: &mut Rng) -> u32 {
    match rng.u32(0..10_000) {
        0..2 => rng.u32(65_536..=1_048_576),
        2..8_500 => {
            let skewed = rng.f64();
            8 * (1 + whole(31.999 * skewed * skewed))
        }
        _ => log_normal(rng, 512.0, 1.5, 1.0, 65_536.0),
    }
}

/// A size whose logarithm is normally distributed around that of `median`, within `low..=high`.
pub fn log_normal(rng: &mut Rng, median: f64, sigma: f64, low: f64, high: f64) -> u32 {
    whole((median * (sigma * standard_normal(rng)).exp()).clamp(low, high))
}

/// Box and Muller's transform (1958), one of its two values.
fn standard_normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (core::f64::consts::TAU * rng.f64()).cos()
}

/// The whole part of a number that is known to fit 32 bits.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the distributions above stay below 4 Gi; `as` saturates"
)]
const fn whole(value: f64) -> u32 {
    value as u32
}

/// The numbers 0..`len` in a random order.
pub fn permutation(len: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    Rng::with_seed(seed).shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realistic_sizes_follow_their_description() {
        let sizes = realistic_sizes(1);
        let share = |wanted: fn(&&u32) -> bool| {
            f64::from(u32::try_from(sizes.iter().filter(wanted).count()).unwrap()) / 65_536.0
        };
        assert!(sizes.iter().all(|&size| (1..=1_048_576).contains(&size)));
        assert!(share(|&&size| size <= 256) > 0.85);
        let large = share(|&&size| size > 65_536);
        assert!((0.0001..0.0004).contains(&large), "{large}");
    }

    #[test]
    fn log_uniform_stays_in_its_range() {
        let mut rng = Rng::with_seed(2);
        assert!((0..10_000).all(|_| (16..=1_048_576).contains(&log_uniform(
            &mut rng,
            16.0,
            1_048_576.0
        ))));
    }
}
