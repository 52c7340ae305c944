//! Latency of single calls, as the driver shows it: percentiles per contestant, for one thread and for four.

use core::time::Duration;
use std::collections::BTreeMap;
use std::process::Command;

use anyhow::Result;

use crate::cli::LatencyArgs;
use crate::latency::PERCENTILES;
use crate::race::{Entrant, output_of};
use crate::raw::parse_words;
use crate::session::{build_all, choose_contestants, profile_of};
use crate::stats::median;
use crate::worker::LATENCY;

/// A worker that takes longer is stopped.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// What a row of the table says where an allocator offers no such number.
const NOT_OFFERED: &str = "not offered";

/// Samples all contestants and prints a table for one and for four threads.
pub fn run(arguments: &LatencyArgs) -> Result<()> {
    let chosen = choose_contestants(&arguments.alloc, false)?;
    let (entrants, _) = build_all(&chosen, profile_of(arguments.lto));
    for threads in [1_u32, 4] {
        let mut samples: Vec<Vec<BTreeMap<String, f64>>> = vec![Vec::new(); entrants.len()];
        for round in 0..arguments.rounds as usize {
            for turn in 0..entrants.len() {
                let index = (turn + round) % entrants.len();
                eprintln!("{threads} threads, round {}: {}", round + 1, entrants[index].name);
                match sample(&entrants[index], threads) {
                    Ok(words) => samples[index].push(words),
                    Err(error) => eprintln!("  {} failed: {error:#}", entrants[index].name),
                }
            }
        }
        print!("{}", table(threads, &entrants, &samples));
    }
    Ok(())
}

fn sample(entrant: &Entrant, threads: u32) -> Result<BTreeMap<String, f64>> {
    let mut command = Command::new(&entrant.worker);
    command.args([LATENCY, &threads.to_string()]);
    let text = output_of(&mut command, TIME_LIMIT)?;
    let words = parse_words(&text);
    Ok(words
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?)))
        .collect())
}

fn table(threads: u32, entrants: &[Entrant], samples: &[Vec<BTreeMap<String, f64>>]) -> String {
    let mut text = format!("## Latency of single calls, {threads} threads\n\n");
    text.push_str("In ns, medians over rounds, the timer's share included. Samples with a thread switch are removed: ");
    text.push_str(
        "*waited* gave the processor away (a lock, a system call), *displaced* lost it.\n\n",
    );
    let names: Vec<&str> = PERCENTILES.iter().map(|(name, _)| *name).chain(["max"]).collect();
    let heads: Vec<&str> = names.iter().map(|name| head_of(name)).collect();
    text.push_str(&format!(
        "| | call | {} | waited | displaced | longest lock hold |\n|---|---|{}---|\n",
        heads.join(" | "),
        "---:|".repeat(names.len() + 2)
    ));
    for (entrant, rounds) in entrants.iter().zip(samples) {
        let of = |key: &str| {
            let values: Vec<f64> =
                rounds.iter().filter_map(|words| words.get(key)).copied().collect();
            median(&values).map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"))
        };
        for call in ["malloc", "free"] {
            let cells: Vec<String> =
                names.iter().map(|name| of(&format!("{call}_{name}"))).collect();
            let lock_hold = if rounds.iter().any(|words| words.contains_key(LOCK_HOLD)) {
                of(LOCK_HOLD)
            } else {
                NOT_OFFERED.to_owned()
            };
            let (name, cells) = (&entrant.name, cells.join(" | "));
            text.push_str(&format!(
                "| {name} | {call} | {cells} | {} | {} | {lock_hold} |\n",
                of("waited"),
                of("displaced")
            ));
        }
    }
    text.push_str(&format!("\nAn empty sample takes {} ns.\n\n", timer(samples)));
    text
}

/// The key under which a worker reports the longest time a lock was held.
const LOCK_HOLD: &str = "lock_hold_ns";

fn head_of(name: &'static str) -> &'static str {
    match name {
        "p999" => "p99.9",
        "p9999" => "p99.99",
        other => other,
    }
}

fn timer(samples: &[Vec<BTreeMap<String, f64>>]) -> String {
    let values: Vec<f64> =
        samples.iter().flatten().filter_map(|words| words.get("timer_ns")).copied().collect();
    median(&values).map_or_else(|| "?".to_owned(), |value| format!("{value:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_percentiles_and_what_is_not_offered() {
        let entrant = Entrant {
            name: "mems".into(),
            role: crate::raw::EntrantRole::Subject,
            worker: "worker".into(),
            environment: Vec::new(),
        };
        let words = parse_words(
            "malloc_p50=20 malloc_p9999=900 free_p50=10 waited=1 displaced=2 timer_ns=9",
        );
        let words = words
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.parse().unwrap()))
            .collect();
        let text = table(4, &[entrant], &[vec![words]]);
        assert!(
            text.contains("| mems | malloc | 20 | - | - | - | 900 | - | 1 | 2 | not offered |"),
            "{text}"
        );
        assert!(text.contains("p99.99") && text.contains("takes 9 ns"));
    }
}
