//! `MemsAlloc` beside the system allocator, through the same code: pairs, batches, churn, a growing vector, threads;
//! and pairs that a profile samples.
//!
//! ```text
//! cargo bench --bench global            # all of it
//! cargo bench --bench global -- pair    # what has "pair" in its name
//! ```
//!
//! Both are called through `GlobalAlloc`, not declared as the global allocator, so that one process can compare them.
//! For a comparison with other allocators, each in a process of its own, see the package `mems-bench`.
#![allow(unsafe_code, reason = "calls allocators directly")]
#![allow(
    missing_docs,
    clippy::expect_used,
    reason = "criterion makes undocumented functions; a benchmark may stop"
)]

use core::alloc::{GlobalAlloc, Layout};
use core::hint::black_box;
use std::alloc::System;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastrand::Rng;
use mems::MemsAlloc;

/// Blocks of a batch, and slots of a churn.
const BATCH: usize = 1_000;
const SLOTS: usize = 10_000;

/// A block with the layout it was asked for with.
#[derive(Clone, Copy)]
struct Block(*mut u8, Layout);

fn layout(size: usize) -> Layout {
    Layout::from_size_align(black_box(size), 8).expect("a small size")
}

fn allocate(allocator: &impl GlobalAlloc, size: usize) -> Block {
    let layout = layout(size);
    // SAFETY: the size is not 0.
    let start = unsafe { allocator.alloc(layout) };
    assert!(!start.is_null(), "out of memory");
    // SAFETY: the block is live and has at least one byte.
    unsafe { start.write(1) };
    Block(start, layout)
}

fn free(allocator: &impl GlobalAlloc, block: Block) {
    // SAFETY: each block is freed once, with its layout.
    unsafe { allocator.dealloc(block.0, block.1) };
}

fn pairs<A: GlobalAlloc>(c: &mut Criterion, name: &str, allocator: &A) {
    let mut group = c.benchmark_group("pair");
    for size in [16, 64, 1024, 32 * 1024, 1024 * 1024] {
        group.bench_with_input(BenchmarkId::new(name, size), &size, |b, &size| {
            b.iter(|| free(allocator, allocate(allocator, size)));
        });
    }
}

fn batches<A: GlobalAlloc>(c: &mut Criterion, name: &str, allocator: &A) {
    let mut group = c.benchmark_group("batch");
    group.throughput(Throughput::Elements(BATCH as u64));
    for size in [16, 64, 512, 4096] {
        group.bench_with_input(BenchmarkId::new(name, size), &size, |b, &size| {
            let mut blocks = Vec::with_capacity(BATCH);
            b.iter(|| {
                blocks.extend((0..BATCH).map(|_| allocate(allocator, size)));
                blocks.drain(..).for_each(|block| free(allocator, block));
            });
        });
    }
}

fn churn<A: GlobalAlloc>(c: &mut Criterion, name: &str, allocator: &A) {
    c.benchmark_group("churn").bench_function(name, |b| {
        let mut random = Rng::with_seed(0x9E37_79B9_7F4A_7C15);
        let mut slots: Vec<Block> =
            (0..SLOTS).map(|_| allocate(allocator, random.usize(8..508))).collect();
        b.iter(|| {
            let slot = random.usize(..SLOTS);
            free(allocator, slots[slot]);
            slots[slot] = allocate(allocator, random.usize(8..508));
        });
        slots.into_iter().for_each(|block| free(allocator, block));
    });
}

fn growth<A: GlobalAlloc>(c: &mut Criterion, name: &str, allocator: &A) {
    c.benchmark_group("growth").bench_function(name, |b| {
        b.iter(|| {
            let mut block = allocate(allocator, 64);
            while block.1.size() < 4 << 20 {
                let size = block.1.size() * 2;
                // SAFETY: the block is live and has this layout.
                let start = unsafe { allocator.realloc(block.0, block.1, size) };
                assert!(!start.is_null(), "out of memory");
                block = Block(start, layout(size));
            }
            free(allocator, block);
        });
    });
}

fn threads<A: GlobalAlloc + Sync>(c: &mut Criterion, name: &str, allocator: &A) {
    let mut group = c.benchmark_group("threads");
    group.throughput(Throughput::Elements(2 * SLOTS as u64));
    group.bench_function(name, |b| {
        b.iter(|| {
            std::thread::scope(|scope| {
                for seed in 1..=2 {
                    scope.spawn(move || {
                        let mut random = Rng::with_seed(seed);
                        let mut slots: Vec<Block> =
                            (0..100).map(|_| allocate(allocator, 64)).collect();
                        for _ in 0..SLOTS {
                            let slot = random.usize(..slots.len());
                            free(allocator, slots[slot]);
                            slots[slot] = allocate(allocator, random.usize(8..508));
                        }
                        slots.into_iter().for_each(|block| free(allocator, block));
                    });
                }
            });
        });
    });
}

/// Pairs of which each one is sampled.
#[cfg(feature = "profile")]
fn sampled(c: &mut Criterion, mems: &MemsAlloc) {
    mems.profile().start(1);
    c.benchmark_group("sampled").bench_function("mems", |b| {
        b.iter(|| free(mems, allocate(mems, 64)));
    });
    mems.profile().stop();
}

fn all(c: &mut Criterion) {
    let mems = MemsAlloc::new();
    for bench in [pairs::<MemsAlloc>, batches, churn, growth, threads] {
        bench(c, "mems", &mems);
    }
    for bench in [pairs::<System>, batches, churn, growth, threads] {
        bench(c, "system", &System);
    }
    #[cfg(feature = "profile")]
    sampled(c, &mems);
}

criterion_group!(benches, all);
criterion_main!(benches);
