//! Random numbers that nobody outside of the process can foretell.

use rustix::rand::GetRandomFlags;

/// A generator (SplitMix64, Steele, Lea and Flood 2014), seeded by the system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator with a seed of its own.
    pub(crate) fn seeded() -> Self {
        let mut seed = [0; 8];
        let got = rustix::rand::getrandom(&mut seed, GetRandomFlags::NONBLOCK);
        // Where the system has nothing random yet, early at boot, the address of the stack must do.
        Self(if got == Ok(8) { u64::from_ne_bytes(seed) } else { (&raw const seed).addr() as u64 })
    }

    /// A generator with this seed.
    pub(crate) const fn with_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `limit - 1`. `limit` is not 0.
    #[expect(clippy::cast_possible_truncation, reason = "less than `limit`, which is a usize")]
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// A number above 0, and at most 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1_u64 << f64::MANTISSA_DIGITS) as f64;
        ((self.next() >> (u64::BITS - f64::MANTISSA_DIGITS)) + 1) as f64 * STEP
    }

    /// A number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
