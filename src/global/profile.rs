//! [`Profile`]: a program's own switch for the profile of its heap, and its view of that.

use super::allocator::MemsAlloc;
use crate::base::os::OutOfMemory;
use crate::base::random::Random;
use crate::process::profiling;
use crate::profile::Sites;
use crate::settings::Settings;

/// Who allocated what: the sampled profile of the process heap.
///
/// ```
/// # #[global_allocator]
/// # static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();
/// GLOBAL.profile().start(4 << 10);
/// let kept = vec![[0_u8; 1000]; 1000];
/// let sites = GLOBAL.profile().sites().unwrap();
/// let largest = sites.iter().max_by(|one, other| {
///     one.bytes().value().total_cmp(&other.bytes().value())
/// });
/// println!("{} bytes, allocated by {:x?}", largest.unwrap().bytes(), largest.unwrap().frames());
/// # drop(kept);
/// ```
///
/// Of blocks of `s` bytes the part `1 - exp(-s / mean)` is sampled, each one whatever the program does, with the stack
/// that asked for it. All others cost what they cost without a profile, to the instruction. docs/profile.md in the
/// repository says how, and what it costs.
#[derive(Clone, Copy, Debug)]
pub struct Profile<'a> {
    settings: &'a Settings,
}

impl MemsAlloc {
    /// The profile of the process heap: who allocated what.
    #[must_use]
    pub const fn profile(&self) -> Profile<'_> {
        Profile { settings: self.settings_built() }
    }
}

impl Profile<'_> {
    /// A mean distance of samples, in bytes, that serves a program in production: 512 KiB.
    pub const DEFAULT_MEAN: usize = 512 << 10;

    /// Begins a profile with a sample for every `mean_bytes` that are allocated, on average, and forgets the one
    /// before.
    ///
    /// Blocks that are live by now are [older](Sites::older), and nobody's. Every thread goes over its own blocks once,
    /// with its next allocation: O(slots), 7 milliseconds for a million blocks. A fork's child goes on with the
    /// profile.
    pub fn start(&self, mean_bytes: usize) {
        self.start_with_seed(mean_bytes, Random::seeded().next());
    }

    /// Does the same with the random numbers of a seed, so that a program that does the same on one thread is sampled
    /// in the same way.
    pub fn start_with_seed(&self, mean_bytes: usize, seed: u64) {
        profiling::start(self.settings, mean_bytes, seed);
    }

    /// Samples no more blocks. What is known of live ones can be [asked for](Profile::sites) until another profile
    /// begins.
    pub fn stop(&self) {
        profiling::stop();
    }

    /// Whether blocks are sampled.
    #[must_use]
    pub fn is_on(&self) -> bool {
        profiling::is_on()
    }

    /// What the profile knows of the live blocks, by the stack that asked for them. O(slots). It allocates nothing on
    /// the heap.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn sites(&self) -> Result<Sites, OutOfMemory> {
        profiling::sites()
    }
}
