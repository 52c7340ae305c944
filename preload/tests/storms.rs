//! Forks and threads in numbers: nothing hangs, nothing is lost, memory stays bounded. `suite.sh soak` runs longer.
#![allow(clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests use std")]

mod support;

use std::process::{Command, ExitCode};

use support::trials::{Answer, Trials};
use support::{build, run_preloaded};

/// Cases of `storm.c`, with their arguments.
const STORMS: [&[&str]; 4] =
    [&["forks"], &["short_threads"], &["many_threads"], &["soak", "20000000"]];

fn main() -> ExitCode {
    let mut trials = Trials::alone();
    match build("storm.c", &[]) {
        Ok(program) => {
            for arguments in STORMS {
                let program = program.clone();
                trials.case(arguments.join("_"), move || {
                    let outcome = run_preloaded(Command::new(&program).args(arguments));
                    if !outcome.status.success() {
                        return Err(outcome.describe());
                    }
                    Ok(Answer::Passed(outcome.stdout.trim_end().to_owned()))
                });
            }
        }
        Err(why) => trials.case("storm.c", || Ok(Answer::Skipped(why))),
    }
    trials.finish()
}
