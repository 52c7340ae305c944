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

/// The line below which the program called says where in its file: `nm` knows which function that is.
fn who_called_is_told(program: &Path) -> Result<Answer, String> {
    let mut command = Command::new(program);
    let command = command.args(["twice_small", STATES[0]]).env("MEMS_PROFILE", "2");
    let outcome = run_preloaded(command);
    let Ok(symbols) = Command::new("nm").arg(program).output() else {
        return Ok(Answer::Skipped("no nm".to_owned()));
    };
    let symbols = String::from_utf8_lossy(&symbols.stdout).into_owned();
    let function = symbols.lines().find_map(|line| line.strip_suffix(" t twice"));
    let hexadecimal = |text: &str| usize::from_str_radix(text, 16).ok();
    let start = function.and_then(hexadecimal).expect("the program has this function");
    let head = format!("({}+0x", program.display());
    // The innermost frame of each stack: the library's own ones are left out.
    let tops = outcome.stderr.lines().scan(false, |is_top, line| {
        let was_top = core::mem::replace(is_top, line.ends_with(" at"));
        Some(line).map(|line| was_top.then_some(line))
    });
    let offset = |line: &str| hexadecimal(line.split_once(&head)?.1.strip_suffix(')')?);
    let offsets: Vec<_> = tops.flatten().map(offset).collect();
    let is_in_it = |at: &Option<usize>| at.is_some_and(|at| (start..start + 0x40).contains(&at));
    let is_told = offsets.len() == 3 && offsets.iter().all(is_in_it);
    if is_told { Ok(Answer::Passed(String::new())) } else { Err(outcome.describe()) }
}

fn main() -> ExitCode {
    let mut trials = Trials::side_by_side();
    for (source, flags) in [("misuse.c", &[][..]), ("misuse_cxx.cpp", &["-std=c++17"][..])] {
        match build(source, flags) {
            Ok(program) => {
                make_all(&mut trials, source, &program);
                if source.ends_with(".c") {
                    trials.case("who_called_is_told", move || who_called_is_told(&program));
                }
            }
            Err(why) => trials.case(source, || Ok(Answer::Skipped(why))),
        }
    }
    trials.finish()
}
