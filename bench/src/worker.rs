//! The worker: one row under the allocator it was built with, one line of results.
//!
//! `worker ROW [SCALE]` prints `key=value` words: row, alloc, operations, checksum, cpu_ns, wall_ns, minor_faults,
//! major_faults, peak_rss_kib, and what the row noted beside. A broken allocator ends it with
//! [`crate::block::EXIT_BROKEN`] and a reason on stderr.

use core::fmt::Write as _;
use std::process::ExitCode;

use crate::measure::{Meter, peak_rss_kib};
use crate::{latency, paths, patterns, rows};

/// What a worker is asked to do, as its first argument; anything else is a row's name.
pub const LATENCY: &str = "--latency";

/// Runs a pattern and notes live and resident memory.
pub const FRAGMENTATION: &str = "--fragmentation";

/// Runs one hot path for callgrind.
pub const HOT_PATH: &str = "--hot-path";

/// Runs the worker with this process's arguments; `allocator` names what it was built with, and `counts` says what that
/// has counted, if it counts.
pub fn main(allocator: &str, counts: fn() -> Vec<(&'static str, u64)>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, otherwise: u64| {
        arguments.get(place).and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let line = match arguments.first().map(String::as_str) {
        Some(LATENCY) => Some(latency::worker_line(number(1, 1), number(2, 1))),
        Some(FRAGMENTATION) => arguments.get(1).and_then(|name| patterns::worker_line(name)),
        Some(HOT_PATH) => arguments.get(1).and_then(|name| paths::run(name, number(2, 1))),
        Some(name) => row_line(name, number(1, 1), counts),
        None => None,
    };
    match line {
        Some(line) => {
            println!("alloc={allocator} {line}");
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("usage: worker ROW [SCALE]");
            ExitCode::from(2)
        }
    }
}

fn row_line(name: &str, scale: u64, counts: fn() -> Vec<(&'static str, u64)>) -> Option<String> {
    let row = rows::find(name)?;
    let mut meter = Meter::default();
    let done = row.run(scale, &mut meter);
    for (key, value) in counts() {
        meter.note(key, value);
    }
    let peak_rss_kib = peak_rss_kib();
    let usage = meter.usage();
    let mut line = format!(
        "row={name} operations={} checksum={} cpu_ns={} wall_ns={} minor_faults={} major_faults={} peak_rss_kib={}",
        done.operations,
        done.checksum,
        usage.cpu_ns,
        usage.wall_ns,
        usage.minor_faults,
        usage.major_faults,
        peak_rss_kib
    );
    for (key, value) in meter.extras() {
        // Writing to a String cannot fail.
        let _ = write!(line, " {key}={value}");
    }
    Some(line)
}
