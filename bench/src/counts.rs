//! What the threads of MeMS do to each other, counted: for machines with more processors than are at hand.

use core::time::Duration;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::builder::{self, Order, Profile};
use crate::contestants::SUBJECT;
use crate::machine::Machine;
use crate::race::{operations_f64, output_of};
use crate::raw::Run;
use crate::rows::few_and_many_threads;

/// A worker that takes longer is stopped.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// What is counted: its key in a worker's line, and what the table calls it.
const COUNTS: [(&str, &str); 3] = [
    ("locks", "locks taken"),
    ("locks_missed", "tries that found a lock taken"),
    ("shared_lines", "writes to shared cache lines"),
];

/// Counts and prints the table.
pub fn run() -> Result<()> {
    eprintln!("building MeMS that counts");
    let worker = builder::build(&Order {
        workspace: &builder::workspace(),
        feature: SUBJECT,
        label: "mems-counted",
        profile: Profile::Release,
        counted: true,
    })?;
    let machine = Machine::this();
    println!("## What threads do to each other\n");
    println!("- Machine: {}\n- Date: {}\n", machine.describe(), machine.date);
    println!("In 1,000,000 operations, with two threads and with sixteen.\n");
    let names = COUNTS.map(|(_, name)| format!("{name}, 2 | 16 |"));
    println!("| row | {}\n|---|{}", names.join(" "), "---:|".repeat(2 * COUNTS.len()));
    for [few, many] in few_and_many_threads() {
        eprintln!("counting {} and {}", few.name, many.name);
        let (few_counts, many_counts) = (count(&worker, &few.name)?, count(&worker, &many.name)?);
        let cells =
            few_counts.iter().zip(many_counts).map(|(few, many)| format!("{few:.0} | {many:.0} |"));
        println!("| {} | {}", few.name.trim_end_matches("-2"), cells.collect::<Vec<_>>().join(" "));
    }
    Ok(())
}

/// The counts of a row, in a million operations.
fn count(worker: &Path, row: &str) -> Result<[f64; 3]> {
    let text = output_of(Command::new(worker).arg(row), TIME_LIMIT)?;
    let run = text.lines().find_map(Run::from_line).context("the worker printed no results")?;
    let of = |(key, _)| run.extras.get(key).copied().with_context(|| format!("{row} has no {key}"));
    let per_million =
        |count: u64| Ok(f64::from(u32::try_from(count)?) * 1e6 / operations_f64(&run));
    let [locks, missed, lines] = COUNTS.map(|it| of(it).and_then(per_million));
    Ok([locks?, missed?, lines?])
}
