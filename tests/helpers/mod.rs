//! What the tests of the process heap share: random numbers, blocks with contents that can be verified, an operating
//! system that fails on demand, programs run as children, and the cases of binaries without a harness.
#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

pub(crate) mod accounts;
pub(crate) mod browser;
pub(crate) mod child;
pub(crate) mod faulty;
pub(crate) mod folders;
pub(crate) mod load;
pub(crate) mod misuses;
pub(crate) mod piece;
pub(crate) mod proc;
#[cfg(feature = "profile")]
pub(crate) mod server;
pub(crate) mod signed;
pub(crate) mod strict;
pub(crate) mod trials;

/// Where a test does less in a debug build: the first number there, the second in a release build.
pub(crate) const fn scaled(debug: usize, release: usize) -> usize {
    if cfg!(debug_assertions) { debug } else { release }
}

/// Random numbers of a fixed seed, with the few helpers that these tests share.
#[derive(Clone, Debug)]
pub(crate) struct Rng(fastrand::Rng);

impl Rng {
    /// A generator whose seed is printed.
    pub(crate) fn announced(what: &str, seed: u64) -> Self {
        println!("{what}: seed {seed:#x}");
        Self::quiet(seed)
    }

    /// A generator for a thread or a round of a test whose seed is printed.
    pub(crate) fn quiet(seed: u64) -> Self {
        // Threads that run side by side have neighbouring seeds. The numbers of two such generators of `fastrand` are
        // correlated; those of generators that are forked from them are not.
        Self(fastrand::Rng::with_seed(seed).fork())
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// A number from 0 to `limit - 1`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0.usize(..limit)
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
