//! What the tests of the process heap share: random numbers, blocks with contents that can be verified, an operating
//! system that fails on demand, programs run as children, and a tally for binaries without a harness.
#![allow(dead_code, reason = "each test binary uses a part of this")]

pub(crate) mod child;
pub(crate) mod faulty;
pub(crate) mod piece;
pub(crate) mod proc;
pub(crate) mod strict;
pub(crate) mod tally;

/// Where a test does less in a debug build: the first number there, the second in a release build.
pub(crate) const fn scaled(debug: usize, release: usize) -> usize {
    if cfg!(debug_assertions) { debug } else { release }
}

/// Random numbers of a fixed seed (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// A generator whose seed is printed.
    pub(crate) fn announced(what: &str, seed: u64) -> Self {
        println!("{what}: seed {seed:#x}");
        Self(seed)
    }

    /// A generator for a thread or a round of a test whose seed is printed.
    pub(crate) const fn quiet(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `limit - 1`.
    #[expect(clippy::cast_possible_truncation, reason = "less than `limit`, which is a usize")]
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A size: as many of each power of two up to `2^bits`, and some odd bytes.
    pub(crate) fn size(&mut self, bits: usize) -> usize {
        let power = 1 << self.below(bits);
        power + self.below(power)
    }
}
