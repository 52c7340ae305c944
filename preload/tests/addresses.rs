//! Where the heap's memory lies: apart from the program's, and elsewhere in each run.
#![allow(unsafe_code, reason = "switches the system's own random addresses off in children")]
#![allow(clippy::std_instead_of_core, reason = "tests use std")]

mod support;

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use support::trials::{Answer, Trials};
use support::{build, run_preloaded};

const RUNS: usize = 6;

/// A test of the program at a path.
type Test = fn(&Path) -> Result<Answer, String>;

/// No mapping of the program's lies flush against one of the heap's.
fn nothing_lies_beside_the_heap(program: &Path) -> Result<Answer, String> {
    let outcome = run_preloaded(Command::new(program).arg("guards"));
    outcome.success().map(|said| Answer::Passed(said.trim_end().to_owned()))
}

/// Distances in pages, from the first block to whatever else there is, of a run without the system's own randomness.
fn distances(program: &Path) -> Result<Vec<i64>, String> {
    let mut command = Command::new(program);
    let fixed = || {
        // SAFETY: no preconditions.
        unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
        Ok(())
    };
    // SAFETY: the closure makes one system call.
    unsafe { command.pre_exec(fixed) };
    let said = run_preloaded(command.arg("distances")).success()?;
    let numbers: Result<Vec<_>, _> = said.split_whitespace().map(str::parse).collect();
    numbers.map_err(|error| format!("{said}: {error}"))
}

fn every_run_has_other_distances(program: &Path) -> Result<Answer, String> {
    let runs: Result<Vec<_>, _> = (0..RUNS).map(|_| distances(program)).collect();
    let runs = runs?;
    for which in 0..runs[0].len() {
        let seen: BTreeSet<i64> = runs.iter().map(|run| run[which]).collect();
        if seen.len() < RUNS {
            return Err(format!("distance {which}: {seen:?} in {RUNS} runs"));
        }
    }
    Ok(Answer::Passed(format!("{} distances, other ones in {RUNS} runs", runs[0].len())))
}

fn main() -> ExitCode {
    let mut trials = Trials::side_by_side();
    let tests: [(&str, Test); 2] = [
        ("nothing_lies_beside_the_heap", nothing_lies_beside_the_heap),
        ("every_run_has_other_distances", every_run_has_other_distances),
    ];
    let program: Result<PathBuf, String> = build("addresses.c", &[]);
    for (name, test) in tests {
        let program = program.clone();
        trials.case(name, move || match program {
            Ok(program) => test(&program),
            Err(why) => Ok(Answer::Skipped(why)),
        });
    }
    trials.finish()
}
