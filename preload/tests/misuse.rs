//! Programs of C and C++ that make one mistake each, on a fresh heap and on one that has been lived in: each must be
//! stopped by SIGABRT with a line that says `ADDRESS NOT FOUND`.
#![allow(clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests use std")]

mod support;

use std::path::Path;
use std::process::{Command, ExitCode};

use support::tally::{Answer, Tally};
use support::{build, run, run_preloaded};

const STATES: [&str; 2] = ["fresh", "lived-in"];

/// Makes all mistakes of a program, each in all states of the heap.
fn make_all(tally: &mut Tally, source: &str, program: &Path) {
    let names = run(&mut Command::new(program)).stdout;
    for name in names.lines() {
        tally.case(&format!("{source} {name}"), || {
            for state in STATES {
                let outcome = run_preloaded(Command::new(program).args([name, state]));
                if !outcome.was_stopped() {
                    return Err(format!("{state}: {}", outcome.describe()));
                }
            }
            Ok(Answer::Passed(String::new()))
        });
    }
}

fn main() -> ExitCode {
    let mut tally = Tally::default();
    for (source, flags) in [("misuse.c", &[][..]), ("misuse_cxx.cpp", &["-std=c++17"][..])] {
        match build(source, flags) {
            Ok(program) => make_all(&mut tally, source, &program),
            Err(why) => tally.case(source, || Ok(Answer::Skipped(why))),
        }
    }
    tally.finish()
}
