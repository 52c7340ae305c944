//! Programs of C and C++ that make one mistake each, on a fresh heap and on one that has been lived in: each must be
//! stopped by SIGABRT with a line that says `ADDRESS NOT FOUND`.
#![allow(clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests use std")]

mod support;

use std::path::Path;
use std::process::{Command, ExitCode};

use support::trials::{Answer, Trials};
use support::{build, run, run_preloaded};

const STATES: [&str; 2] = ["fresh", "lived-in"];

/// Makes all mistakes of a program, each in all states of the heap.
fn make_all(trials: &mut Trials, source: &str, program: &Path) {
    let names = run(&mut Command::new(program)).stdout;
    let language = source.replace('.', "_");
    for name in names.lines().map(str::to_owned) {
        let program = program.to_owned();
        trials.case(format!("{language}_{name}"), move || {
            for state in STATES {
                let outcome = run_preloaded(Command::new(&program).args([&*name, state]));
                if !outcome.aborted_saying("mems: ADDRESS NOT FOUND: ") {
                    return Err(format!("{state}: {}", outcome.describe()));
                }
            }
            Ok(Answer::Passed(String::new()))
        });
    }
}

fn main() -> ExitCode {
    let mut trials = Trials::side_by_side();
    for (source, flags) in [("misuse.c", &[][..]), ("misuse_cxx.cpp", &["-std=c++17"][..])] {
        match build(source, flags) {
            Ok(program) => make_all(&mut trials, source, &program),
            Err(why) => trials.case(source, || Ok(Answer::Skipped(why))),
        }
    }
    trials.finish()
}
