//! Forks and threads in numbers: nothing hangs, nothing is lost, memory stays bounded. `suite.sh soak` runs longer.
#![allow(clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests use std")]

mod support;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use support::trials::{Answer, Trials};
use support::{build, run_preloaded};

/// Cases of `storm.c`, with their arguments.
const STORMS: [&[&str]; 4] =
    [&["forks"], &["short_threads"], &["many_threads"], &["soak", "20000000"]];

/// Cases of `handlers.c`, with the number of forks.
const HANDLERS: [&[&str]; 4] =
    [&["library", "300"], &["streams", "40"], &["signals", "600"], &["signals_threads", "600"]];

/// The program that forks beside handlers of a library's.
fn handlers() -> Result<PathBuf, String> {
    let library = build("handlers_library.c", &["-shared", "-fPIC"])?;
    build("handlers.c", &["-Wl,--no-as-needed", &library.display().to_string()])
}

fn main() -> ExitCode {
    let mut trials = Trials::alone();
    match handlers() {
        Ok(program) => {
            for arguments in HANDLERS {
                let program = program.clone();
                trials.case(format!("forks_beside_{}", arguments[0]), move || {
                    let outcome = run_preloaded(Command::new(&program).args(arguments));
                    outcome.success().map(Answer::Passed)
                });
            }
        }
        Err(why) => trials.case("handlers.c", || Ok(Answer::Skipped(why))),
    }
    match build("storm.c", &[]) {
        Ok(program) => {
            let forks_beside_it = (STORMS[0], Some(("MEMS_BACKGROUND", "1")));
            let storms = STORMS.into_iter().map(|arguments| (arguments, None));
            for (arguments, setting) in storms.chain([forks_beside_it]) {
                let program = program.clone();
                let with = if setting.is_some() { "_beside_the_background_thread" } else { "" };
                trials.case(arguments.join("_") + with, move || {
                    let outcome =
                        run_preloaded(Command::new(&program).args(arguments).envs(setting));
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
