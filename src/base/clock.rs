//! The time, as coarse as the kernel keeps it at hand: a few milliseconds, and a few nanoseconds to read.

#[cfg(not(all(test, mems_loom)))]
use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since some moment in the past. Never goes back.
#[inline]
#[cfg(not(all(test, mems_loom)))]
pub(crate) fn milliseconds() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec
        .cast_unsigned()
        .wrapping_mul(1000)
        .wrapping_add(now.tv_nsec.cast_unsigned() / 1_000_000)
}

/// Time stands still in a model, which does the same each time it is run.
#[cfg(all(test, mems_loom))]
pub(crate) fn milliseconds() -> u64 {
    0
}
