//! What C, C++ and glibc promise of the malloc family, asserted by programs that run with the library.
#![allow(clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests use std")]

mod support;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use support::trials::{Answer, Trials};
use support::{Outcome, build, library, run, run_preloaded};

/// Passes if the program ended well.
fn judge(outcome: &Outcome) -> Result<Answer, String> {
    if outcome.status.success() {
        Ok(Answer::Passed(String::new()))
    } else {
        Err(outcome.describe())
    }
}

/// Runs all cases of `semantics.c`.
fn run_all(trials: &mut Trials, program: &Path) {
    let names = run(&mut Command::new(program)).stdout;
    for name in names.lines().map(str::to_owned) {
        let mut command = Command::new(program);
        command.arg(&name).env("MEMS_LIBRARY", library());
        trials.case(name.clone(), move || {
            let outcome = run_preloaded(&mut command);
            if ["zero_read", "zero_write"].contains(&&*name) {
                let is_refused = outcome.status.signal() == Some(libc::SIGSEGV);
                return if is_refused {
                    Ok(Answer::Passed(String::new()))
                } else {
                    judge(&outcome)
                };
            }
            judge(&outcome)
        });
    }
    let mut command = Command::new(program);
    command.arg("loaded_late").env("MEMS_LIBRARY", library());
    trials.case("loaded_late_beside_another_malloc", move || judge(&run(&mut command)));
}

/// A program that opens an extension, which opens another library.
fn deepbind() -> Result<Command, String> {
    let extension = build(
        "deepbind_extension.c",
        &["-shared", "-fPIC", "-Wl,-rpath,$ORIGIN,--enable-new-dtags"],
    )?;
    build("deepbind_other.c", &["-shared", "-fPIC"])?;
    let mut program = Command::new(build("deepbind.c", &[])?);
    program.arg(extension);
    Ok(program)
}

/// A program with a library whose operators come behind ours.
fn library_operators() -> Result<Command, String> {
    let library = build("library_operators.cpp", &["-shared", "-fPIC"])?;
    let flags = ["-std=c++17", "-Wl,--no-as-needed", &library.display().to_string()];
    build("use_operators.cpp", &flags).map(Command::new)
}

fn says_ok(program: Result<Command, String>) -> Result<Answer, String> {
    match program {
        Ok(mut program) => {
            let outcome = run_preloaded(&mut program);
            if outcome.stdout == "ok\n" { judge(&outcome) } else { Err(outcome.describe()) }
        }
        Err(why) => Ok(Answer::Skipped(why)),
    }
}

fn main() -> ExitCode {
    let mut trials = Trials::side_by_side();
    match build("semantics.c", &[]) {
        Ok(program) => run_all(&mut trials, &program),
        Err(why) => trials.case("semantics.c", || Ok(Answer::Skipped(why))),
    }
    let programs = [("own_operators.cpp", "0\n"), ("own_malloc.cpp", "ok\n"), ("new.cpp", "ok\n")];
    for (source, expected) in programs {
        trials.case(source, move || match build(source, &["-std=c++17"]) {
            Ok(program) => {
                let outcome = run_preloaded(&mut Command::new(program));
                if outcome.stdout == expected { judge(&outcome) } else { Err(outcome.describe()) }
            }
            Err(why) => Ok(Answer::Skipped(why)),
        });
    }
    trials.case("extensions_opened_with_deepbind", || says_ok(deepbind()));
    trials.case("a_library_with_operators_of_its_own", || says_ok(library_operators()));
    trials.finish()
}
