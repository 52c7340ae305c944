//! Random numbers that nobody outside of the process can foretell.
#![allow(unsafe_code, reason = "asks the system for random bytes")]

/// A generator (SplitMix64, Steele, Lea and Flood 2014), seeded by the system.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator with a seed of its own.
    pub(crate) fn seeded() -> Self {
        let mut seed = 0_u64;
        // SAFETY: the 8 bytes of `seed` may be written; the call does not wait.
        let got = unsafe {
            libc::getrandom((&raw mut seed).cast(), size_of::<u64>(), libc::GRND_NONBLOCK)
        };
        // Where the system has nothing random yet, early at boot, the address of the stack must do.
        Self(if got == 8 { seed } else { (&raw const seed).addr() as u64 })
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
