//! What C, C++ and glibc promise of the malloc family, asserted by programs that run with the library; and what
//! settings write of them.
#![allow(clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests use std")]

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use support::trials::{Answer, Trials};
use support::{Outcome, build, library, run, run_preloaded, scratch};

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

/// What a program leaves in a folder of its own with these settings: its outcome, and the files.
fn left_by(
    name: &str,
    arguments: &[&str],
    settings: &[(&str, &str)],
) -> Result<(Outcome, Vec<(String, String)>), String> {
    let folder = scratch().join("looks").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    let mut program = Command::new(build("looks.c", &[])?);
    program.args(arguments).current_dir(&folder).envs(settings.iter().copied());
    let outcome = run_preloaded(program.env("MEMS_PROFILE", "16K").env("MEMS_LOG", "log"));
    let paths = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("a file").path());
    let content =
        |path: &Path| String::from_utf8_lossy(&fs::read(path).expect("a file")).into_owned();
    let files = paths.map(|path| (path.display().to_string(), content(&path))).collect();
    Ok((outcome, files))
}

/// A function of C that allocates has its name in a profile that is written at exit.
fn profile_at_exit() -> Result<Answer, String> {
    let settings = [("MEMS_PROFILE_AT_EXIT", "prof.txt")];
    let (outcome, files) = match left_by("exit", &[], &settings) {
        Ok(left) => left,
        Err(why) => return Ok(Answer::Skipped(why)),
    };
    let is_named = files.iter().any(|(_, text)| text.contains(";main;hoard_in_c"));
    if is_named && files.len() == 1 {
        judge(&outcome)
    } else {
        Err(format!("{outcome:?} {files:?}"))
    }
}

/// A signal lets a C program write three files.
fn look_on_a_signal() -> Result<Answer, String> {
    let settings = [("MEMS_SNAPSHOT_ON", "USR2"), ("MEMS_SNAPSHOT_PATH", "%n-%p")];
    let (outcome, files) = match left_by("signal", &["log"], &settings) {
        Ok(left) => left,
        Err(why) => return Ok(Answer::Skipped(why)),
    };
    let has = |ending: &str| files.iter().any(|(path, _)| path.ends_with(ending));
    let has_all = [".mems", ".pb.gz", ".html", "/log"].into_iter().all(has) && files.len() == 4;
    let is_named =
        files.iter().any(|(path, text)| path.ends_with(".html") && text.contains("hoard_in_c"));
    let is_told = outcome.stderr.starts_with("mems: look 1 (USR2): 1-");
    if has_all && is_named && is_told { judge(&outcome) } else { Err(format!("{outcome:?}")) }
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
    trials.case("a_profile_at_exit", profile_at_exit);
    trials.case("a_look_on_a_signal", look_on_a_signal);
    trials.finish()
}
