//! Mistakes in C and C++ that are no wrong frees: what becomes of each, by default and under the settings that find
//! mistakes, on a fresh heap and on one that has been lived in, is what the table in `docs/mistakes.md` says.
#![allow(clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests use std")]

mod support;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use support::trials::{Answer, Trials};
use support::{Outcome, PACKAGE, build, run, run_preloaded};

/// The columns of the table.
const SETTINGS: [Option<(&str, &str)>; 5] = [
    None,
    Some(("MEMS_CANARY", "1")),
    Some(("MEMS_GUARD", "1")),
    Some(("MEMS_QUARANTINE", "1M")),
    Some(("MEMS_HARDEN", "1")),
];
const STATES: [&str; 2] = ["fresh", "lived-in"];

/// How a program ended, in the table's words.
fn in_words(outcome: &Outcome) -> Option<String> {
    match (outcome.status.code(), outcome.status.signal()) {
        (Some(0), _) => Some("-".to_owned()),
        (Some(4), _) => Some("`NULL`".to_owned()),
        (Some(5), _) => Some("other bytes".to_owned()),
        (_, Some(libc::SIGSEGV)) => Some("`SIGSEGV`".to_owned()),
        (_, Some(libc::SIGABRT)) => {
            let line = outcome.stderr.lines().find_map(|line| line.strip_prefix("mems: "))?;
            Some(format!("`{}`", line.split(": ").next()?))
        }
        _ => None,
    }
}

/// Makes one mistake in all columns and states and compares with its row. In a cell with "or", and in a row with a
/// star, the outcome is a matter of what lies beside the block, and any that the table has a word for will do.
fn compare(program: &Path, name: &str, table: &str) -> Result<Answer, String> {
    let starred = format!("| `{name}` \\* | ");
    let is_loose = table.lines().any(|line| line.starts_with(&starred));
    let plain = format!("| `{name}` | ");
    let told = table.lines().find_map(|line| line.strip_prefix(&plain)).unwrap_or_default();
    let told: Vec<&str> = told.trim_end_matches(" |").split(" | ").collect();
    let mut cells = Vec::new();
    for setting in SETTINGS {
        let mut seen = Vec::new();
        for state in STATES {
            let mut command = Command::new(program);
            command.args([name, state]).envs(setting);
            let outcome = run_preloaded(&mut command);
            let words = in_words(&outcome);
            seen.push(
                words.ok_or_else(|| format!("{setting:?}, {state}: {}", outcome.describe()))?,
            );
        }
        seen.dedup();
        cells.push(seen.join(" / "));
    }
    let agrees = |(told, seen): (&&str, &String)| told == seen || told.contains(" or ");
    let is_told = told.len() == cells.len() && told.iter().zip(&cells).all(agrees);
    if is_loose || is_told {
        Ok(Answer::Passed(String::new()))
    } else {
        Err(format!("seen: {plain}{} |", cells.join(" | ")))
    }
}

fn main() -> ExitCode {
    let mut trials = Trials::side_by_side();
    let table = std::fs::read_to_string(format!("{PACKAGE}/../docs/mistakes.md"));
    let table: Arc<str> = table.expect("the table").into();
    for (source, flags) in [("mistakes.c", &[][..]), ("mistakes_cxx.cpp", &["-std=c++17"][..])] {
        match build(source, flags) {
            Ok(program) => {
                for name in run(&mut Command::new(&program)).stdout.lines() {
                    let (program, table, name) =
                        (program.clone(), Arc::clone(&table), name.to_owned());
                    trials.case(name.clone(), move || compare(&program, &name, &table));
                }
            }
            Err(why) => trials.case(source, || Ok(Answer::Skipped(why))),
        }
    }
    trials.finish()
}
