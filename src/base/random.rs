//! Random numbers that nobody outside of the process can foretell.

use rustix::rand::GetRandomFlags;

/// A generator (SplitMix64, Steele, Lea and Flood 2014), seeded by the system.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator with a seed of its own.
    pub(crate) fn seeded() -> Self {
        let mut seed = [0; 8];
        let got = rustix::rand::getrandom(&mut seed, GetRandomFlags::NONBLOCK);
        // Where the system has nothing random yet, early at boot, the address of the stack must do.
        Self(if got == Ok(8) { u64::from_ne_bytes(seed) } else { (&raw const seed).addr() as u64 })
    }

    /// A number from 0 to `limit - 1`. `limit` is not 0.
    #[expect(clippy::cast_possible_truncation, reason = "less than `limit`, which is a usize")]
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}
