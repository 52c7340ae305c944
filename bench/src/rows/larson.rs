//! Larson and Krishnan's server simulation (ISMM 1998): threads come and go, their blocks stay.
//!
//! Each of T chains owns 1,000 blocks. A thread replaces some at random, then starts its successor, hands the
//! array over and ends; so blocks are freed by other threads than those that allocated them, often dead ones.
//! The random numbers travel with the array: the work does not depend on how threads are scheduled.

use core::sync::atomic::{AtomicU64, Ordering};
use std::thread::Scope;

use fastrand::Rng;

use super::{Done, Slots};
use crate::measure::Meter;

/// Blocks of one chain.
const CHAIN_SLOTS: usize = 1_000;

/// Replacements a thread makes before it hands over.
const PER_THREAD: u64 = 20_000;

/// `larson-T`: one operation replaces one block.
pub(super) fn larson(threads: u64, scale: u64, meter: &mut Meter) -> Done {
    let generations = (6_000_000 / PER_THREAD / threads / scale).max(2);
    let mut rng = Rng::with_seed(0x1A);
    let sizes: Vec<u32> = (0..1 << 14).map(|_| rng.u32(16..=1_024)).collect();
    let sum = AtomicU64::new(0);
    meter.time(|| {
        std::thread::scope(|scope| {
            for chain in 0..threads {
                let slots = Slots::fill(CHAIN_SLOTS, &sizes, chain << 20);
                serve(scope, slots, generations, &sum);
            }
        });
    });
    Done { operations: threads * generations * PER_THREAD, checksum: sum.into_inner() }
}

/// Starts the thread that serves the next generation of a chain.
fn serve<'scope>(
    scope: &'scope Scope<'scope, '_>,
    mut slots: Slots<'scope>,
    left: u64,
    sum: &'scope AtomicU64,
) {
    scope.spawn(move || {
        let part = (0..PER_THREAD).fold(0_u64, |part, _| part.wrapping_add(slots.replace()));
        sum.fetch_add(part, Ordering::Relaxed);
        if left > 1 {
            serve(scope, slots, left - 1, sum);
        } else {
            sum.fetch_add(slots.free_all(), Ordering::Relaxed);
        }
    });
}
