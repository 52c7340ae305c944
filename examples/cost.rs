//! What a malloc and its free cost under the settings in force: nanoseconds a pair, the least of several rounds.
//!
//! ```sh
//! cargo run --release --example cost
//! MEMS_CANARY=1 cargo run --release --example cost
//! ```

use core::hint::black_box;
use std::time::Instant;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// Rounds of each kind of work.
const ROUNDS: usize = 7;

/// The least time of a round of `pairs` pairs, in nanoseconds a pair.
fn least(pairs: u32, mut round: impl FnMut()) -> f64 {
    let times = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        round();
        start.elapsed().as_secs_f64() * 1e9 / f64::from(pairs)
    });
    times.fold(f64::INFINITY, f64::min)
}

/// One block at a time.
fn pairs(size: usize, count: u32) -> f64 {
    least(count, || {
        for _ in 0..count {
            black_box(Vec::<u8>::with_capacity(black_box(size)));
        }
    })
}

/// A thousand texts of different lengths at a time.
fn texts() -> f64 {
    const TEXTS: u32 = 1000;
    let mut held = Vec::with_capacity(TEXTS as usize);
    least(TEXTS * 20, || {
        for _ in 0..20 {
            held.extend((0..TEXTS as usize).map(|index| "x".repeat(1 + index * 7 % 300)));
            held.clear();
        }
    })
}

fn main() {
    println!("{:?}", GLOBAL.settings());
    println!("pairs of 64 bytes       {:8.1} ns", pairs(64, 100_000));
    println!("pairs of 1000 bytes     {:8.1} ns", pairs(1000, 100_000));
    println!("pairs of 256 KiB        {:8.1} ns", pairs(256 << 10, 1_000));
    println!("texts, 1000 at a time   {:8.1} ns", texts());
}
