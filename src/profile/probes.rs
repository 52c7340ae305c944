//! Probe points for tracers, such as bpftrace and perf: `otel_memory:alloc` and `otel_memory:free`, USDT notes in the
//! program's file. A point where nobody listens is one instruction that does nothing, on the ways of sampled blocks.
#![allow(unsafe_code, reason = "the macro of the crate `probe` is inline assembly")]

/// A sample begins: the address, the bytes that were asked for, and those that it stands for among all that is
/// allocated.
#[inline]
pub(super) fn allocated(address: usize, requested: usize, weight_bytes: f64) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let weight_bytes = weight_bytes as usize;
    probe::probe!(otel_memory, alloc, address, requested, weight_bytes);
}

/// A sample ends, as its block is freed.
#[inline]
pub(super) fn freed(address: usize) {
    probe::probe!(otel_memory, free, address);
}
