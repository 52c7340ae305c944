//! The time, as coarse as the kernel keeps it at hand: a few milliseconds, and a few nanoseconds to read.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since some moment in the past. Never goes back.
#[inline]
pub(crate) fn milliseconds() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec
        .cast_unsigned()
        .wrapping_mul(1000)
        .wrapping_add(now.tv_nsec.cast_unsigned() / 1_000_000)
}
