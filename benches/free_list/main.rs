//! `malloc`, `free` and `get` of [`mems::Mems`] beside `insert`, `remove` and `range(..=address).next_back()` of a std
//! `BTreeMap<usize, (usize, usize)>` with the same keys, at 10^3 to 10^6 segments, in random order.
//!
//! * `cargo bench --bench free_list -- --table` prints the table of the README: medians over alternating rounds;
//!   `-- --table 1000` only the rows of that size.
//! * `cargo bench --bench free_list` runs the same work under criterion.
#![allow(clippy::panic, reason = "a benchmark that cannot run ends")]

mod workload;

use core::time::Duration;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion};
use workload::{Operation, Shape, Workload};

const SEGMENT_COUNTS: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
const SHAPES: [Shape; 2] = [Shape::Pages, Shape::Giant];
/// `Free` before `Malloc`: a batch frees some blocks and hands them out again.
const OPERATIONS: [Operation; 3] = [Operation::Free, Operation::Malloc, Operation::Get];
const SEED: u64 = 2001;

/// Operations of one kind in a batch, at most.
const BATCH: usize = 20_000;
/// Rounds of the table, each about [`BATCH`] operations of every kind on either side.
const ROUNDS: usize = 31;

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Does one batch on both sides; returns its length and the times of [`OPERATIONS`], heap and map.
fn run_batch(work: &mut Workload, heap_first: bool) -> (usize, [[Duration; 2]; 3]) {
    let count = work.choose(BATCH);
    let times = OPERATIONS.map(|operation| {
        if heap_first {
            let heap = time(|| work.on_heap(operation));
            [heap, time(|| work.on_map(operation))]
        } else {
            let map = time(|| work.on_map(operation));
            [time(|| work.on_heap(operation)), map]
        }
    });
    (count, times)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints the rows of one heap.
#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn print_rows(shape: Shape, segments: usize) {
    let mut work = Workload::new(shape, segments, SEED);
    // Per operation and round: nanoseconds on the heap and on the map, and their ratio.
    let mut columns: [[Vec<f64>; 3]; 3] = Default::default();
    for round in 0..=ROUNDS {
        let (mut done, mut sums) = (0, [[Duration::ZERO; 2]; 3]);
        while done < BATCH {
            let (count, times) = run_batch(&mut work, round % 2 == 0);
            done += count;
            for (sum, time) in sums.iter_mut().flatten().zip(times.iter().flatten()) {
                *sum += *time;
            }
        }
        if round == 0 {
            continue; // It warms the caches.
        }
        for (column, [heap, map]) in columns.iter_mut().zip(sums) {
            column[0].push(heap.as_nanos() as f64 / done as f64);
            column[1].push(map.as_nanos() as f64 / done as f64);
            column[2].push(heap.as_secs_f64() / map.as_secs_f64());
        }
    }
    work.check();
    let medians = columns.map(|column| column.map(median));
    print!("| {shape:?} | {segments} |");
    for [heap, map, ratio] in medians {
        print!(" {heap:.0} | {map:.0} | {ratio:.2} |");
    }
    println!();
}

/// Prints the table, for the sizes that are named on the command line or for all.
fn print_table() {
    let named: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    println!("seed {SEED}, nanoseconds an operation, medians of {ROUNDS} alternating rounds\n");
    println!(
        "| shape | segments | free | remove | ratio | malloc | insert | ratio | get | range | ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for shape in SHAPES {
        for segments in SEGMENT_COUNTS {
            if named.is_empty() || named.contains(&segments) {
                print_rows(shape, segments);
            }
        }
    }
}

fn run_criterion() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    println!("seed {SEED}");
    for shape in SHAPES {
        for segments in SEGMENT_COUNTS {
            let mut work = Workload::new(shape, segments, SEED);
            for (index, operation) in OPERATIONS.into_iter().enumerate() {
                let mut group = criterion.benchmark_group(format!("{operation:?}/{shape:?}"));
                for (side, name) in ["mems", "btree_map"].into_iter().enumerate() {
                    group.bench_function(BenchmarkId::new(name, segments), |bencher| {
                        bencher.iter_custom(|iterations| {
                            let (mut done, mut sum) = (0_u64, Duration::ZERO);
                            while done < iterations {
                                let (count, times) = run_batch(&mut work, side == 0);
                                done += count as u64;
                                sum += times[index][side];
                            }
                            sum.mul_f64(iterations as f64 / done as f64)
                        });
                    });
                }
                group.finish();
            }
            work.check();
        }
    }
    criterion.final_summary();
}

fn main() {
    if std::env::args().any(|argument| argument == "--table") {
        print_table();
    } else {
        run_criterion();
    }
}
