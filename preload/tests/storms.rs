//! Forks and threads in numbers: nothing hangs, nothing is lost, memory stays bounded. `suite.sh soak` runs longer.
#![allow(clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests use std")]

mod support;

use std::process::{Command, ExitCode};

use support::tally::{Answer, Tally};
use support::{build, run_preloaded};

/// Cases of `storm.c`, with their arguments.
const STORMS: [&[&str]; 4] =
    [&["forks"], &["short_threads"], &["many_threads"], &["soak", "20000000"]];

fn main() -> ExitCode {
    let mut tally = Tally::default();
    match build("storm.c", &[]) {
        Ok(program) => {
            for arguments in STORMS {
                tally.case(&arguments.join(" "), || {
                    let outcome = run_preloaded(Command::new(&program).args(arguments));
                    if !outcome.status.success() {
                        return Err(outcome.describe());
                    }
                    Ok(Answer::Passed(outcome.stdout.trim_end().to_owned()))
                });
            }
        }
        Err(why) => tally.case("storm.c", || Ok(Answer::Skipped(why))),
    }
    tally.finish()
}
