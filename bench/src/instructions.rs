//! Instructions per `malloc` and `free` on the hot paths, counted by callgrind: the same on every run and machine.
//!
//! Each path runs twice with different numbers of rounds; the difference leaves the warm-up out. The
//! instructions of the wrappers themselves, [`crate::paths`], are subtracted.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::builder::output_directory;
use crate::cli::InstructionsArgs;
use crate::paths::{CALLS_PER_ROUND, FREE, HOT_PATHS, MALLOC};
use crate::session::{build_all, choose_contestants, profile_of};
use crate::worker::HOT_PATH;

/// Rounds of the short run; the long one takes twice as many.
const ROUNDS: u64 = 20;

/// Counts and prints the table.
pub fn run(arguments: &InstructionsArgs) -> Result<()> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        bail!("valgrind is not installed");
    }
    let chosen = choose_contestants(&arguments.alloc, false)?;
    let (entrants, _) = build_all(&chosen, profile_of(arguments.lto));
    println!("## Instructions per malloc / free\n");
    let names: Vec<&str> = HOT_PATHS.iter().map(|path| path.name).collect();
    println!("| | {} |\n|---|{}", names.join(" | "), "---:|".repeat(names.len()));
    for entrant in entrants {
        eprintln!("counting {}", entrant.name);
        let cells: Vec<String> = names
            .iter()
            .map(|path| match count(&entrant.worker, path) {
                Ok((malloc, free)) => format!("{malloc:.1} / {free:.1}"),
                Err(error) => {
                    eprintln!("  {path}: {error:#}");
                    "-".to_owned()
                }
            })
            .collect();
        println!("| {} | {} |", entrant.name, cells.join(" | "));
    }
    Ok(())
}

/// Instructions of one malloc and one free on a path.
fn count(worker: &Path, path: &str) -> Result<(f64, f64)> {
    let short = totals(worker, path, ROUNDS)?;
    let long = totals(worker, path, 2 * ROUNDS)?;
    let calls = f64::from(u32::try_from(ROUNDS * CALLS_PER_ROUND)?);
    let per_call = |long: u32, short: u32| (f64::from(long) - f64::from(short)) / calls;
    Ok((per_call(long.0, short.0), per_call(long.1, short.1)))
}

/// Instructions of all mallocs and of all frees of a run.
fn totals(worker: &Path, path: &str, rounds: u64) -> Result<(u32, u32)> {
    let profile = output_directory().join("callgrind.out");
    let _ = std::fs::remove_file(&profile);
    let valgrind = Command::new("valgrind")
        .args(["--tool=callgrind", &format!("--callgrind-out-file={}", profile.display())])
        .arg(worker)
        .args([HOT_PATH, path, &rounds.to_string()])
        .output()
        .context("starting valgrind")?;
    if !valgrind.status.success() {
        let log = String::from_utf8_lossy(&valgrind.stderr).into_owned();
        bail!("{}: {}", valgrind.status, log.lines().next_back().unwrap_or_default());
    }
    let inclusive = annotate(&profile, "--inclusive=yes")?;
    let own = annotate(&profile, "--inclusive=no")?;
    let of = |name: &str| -> Result<u32> {
        let whole =
            count_of(&inclusive, name).with_context(|| format!("callgrind saw no {name}"))?;
        // A wrapper that ends in a jump may have no instructions of its own worth a line.
        Ok(whole - count_of(&own, name).unwrap_or(0))
    };
    Ok((of(MALLOC)?, of(FREE)?))
}

fn annotate(profile: &Path, costs: &str) -> Result<String> {
    let annotated = Command::new("callgrind_annotate")
        .args([costs, "--threshold=100", "--auto=no"])
        .arg(profile)
        .output()
        .context("starting callgrind_annotate")?;
    Ok(String::from_utf8_lossy(&annotated.stdout).into_owned())
}

/// The count of a function in callgrind_annotate's table.
fn count_of(table: &str, function: &str) -> Option<u32> {
    let is_of_function = |line: &&str| {
        let words = line.split_whitespace().flat_map(|word| word.split(':'));
        words.into_iter().any(|word| word == function)
    };
    let line = table.lines().find(is_of_function)?;
    line.split_whitespace().next()?.replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_line_is_found() {
        let table = "1,234,567 (100.0%)  PROGRAM TOTALS\n\
                     900,000 (72.9%)  ???:mems_bench_malloc_other [/t/w]\n\
                     800,001 (64.8%)  ???:mems_bench_malloc [/t/w]\n";
        assert_eq!(count_of(table, MALLOC), Some(800_001));
        assert_eq!(count_of(table, FREE), None);
    }
}
