//! What MeMS says: lines, also for a program that has no standard error.
//!
//! The cases run this program in roles, in a folder of their own.
#![allow(unsafe_code, reason = "frees wrong addresses, closes descriptors")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;
#[cfg(feature = "symbols")]
mod traces;

use core::alloc::GlobalAlloc;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use helpers::child::{self, Outcome, fork_and_exit, output_of};
use helpers::folders::{command, folder, names};
use helpers::piece::{MEMS, layout};
use helpers::trials::{Answer, Trials, ensure};
use mems::MemsAlloc;

#[global_allocator]
static GLOBAL: MemsAlloc = MemsAlloc::new();

/// Seconds until SIGALRM ends a child that hangs.
const PATIENCE_SECONDS: u32 = 60;

/// Lets a command close descriptor 2 before it starts, as daemons do.
fn without_stderr(mut command: Command) -> Outcome {
    let close = || {
        // SAFETY: nobody uses it any more.
        unsafe { libc::close(2) };
        Ok(())
    };
    // SAFETY: the closure makes one system call.
    unsafe { command.pre_exec(close) };
    output_of(&mut command)
}

fn double_free() {
    // SAFETY: the size is not 0.
    let block = unsafe { MEMS.alloc(layout(64, 8)) };
    for _ in 0..2 {
        // SAFETY: the second time it is not live, which is for MeMS to find out.
        unsafe { MEMS.dealloc(block, layout(64, 8)) };
    }
}

/// Complains, and lists what is open.
fn complain_and_list() {
    double_free();
    for entry in fs::read_dir("/proc/self/fd").expect("a folder").flatten() {
        println!("{}", fs::read_link(entry.path()).unwrap_or_default().display());
    }
}

/// The part of a child.
fn part(name: &str) {
    child::watchdog(PATIENCE_SECONDS);
    // SAFETY: no preconditions.
    unsafe { libc::umask(0) };
    match name {
        "double-free" => {
            child::no_core_files();
            double_free();
        }
        "double-free-core" => {
            child::set_limit(libc::RLIMIT_CORE, u64::MAX);
            double_free();
        }
        "fork-and-exit" => fork_and_exit(),
        "complain-and-list" => complain_and_list(),
        #[cfg(feature = "symbols")]
        _ if name.starts_with("trace ") => traces::part(&name["trace ".len()..]),
        _ => panic!("no part {name}"),
    }
}

/// The line that stops a double free.
const LINE: &str = "mems: ADDRESS NOT FOUND: double free of 0x";

fn log_cases(trials: &mut Trials) {
    trials.case("the_log_has_the_line_where_standard_error_is_closed", || {
        let folder = folder("closed");
        let outcome = without_stderr(command("double-free", &folder, &[("MEMS_LOG", "log")]));
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        let mode = fs::metadata(folder.join("log")).map_or(0, |data| data.mode() & 0o777);
        let is_trace = log.lines().skip(1).all(|line| line.starts_with("mems:   "));
        let is_line = log.starts_with(LINE) && is_trace && log.ends_with('\n');
        ensure(outcome.status.code().is_none() && is_line && mode == 0o600, (outcome, log, mode))
    });
    trials.case("standard_error_has_it_as_well_and_the_log_grows", || {
        let folder = folder("grows");
        for lines in 1..=3 {
            let outcome = output_of(&mut command("double-free", &folder, &[("MEMS_LOG", "log")]));
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            let is_same = log.ends_with(&outcome.stderr) && log.matches(LINE).count() == lines;
            if !outcome.aborted_with("ADDRESS NOT FOUND") || !is_same {
                return Err(format!("{outcome:?} {log}"));
            }
        }
        Ok(Answer::Passed(String::new()))
    });
    trials.case("statistics_and_wrong_settings_are_in_a_log_of_each_process", || {
        let folder = folder("each");
        let variables = [("MEMS_STATS_AT_EXIT", "1"), ("MEMS_LIMIT", "x"), ("MEMS_LOG", "log-%p")];
        let outcome = without_stderr(command("fork-and-exit", &folder, &variables));
        let (mut lines, names) = (0, names(&folder));
        for name in &names {
            let log = fs::read_to_string(folder.join(name)).expect("a log");
            lines += log.matches("mems: at exit: allocated ").count();
            lines += log.matches("mems: MEMS_LIMIT=x is not").count();
        }
        let pids: Vec<_> = outcome.stdout.lines().map(|pid| format!("log-{pid}")).collect();
        let has_all = pids.len() == 2 && pids.iter().all(|name| names.contains(name));
        ensure(has_all && names.len() == 2 && lines == 3, (outcome, names, lines))
    });
    trials.case("the_log_is_open_only_while_it_is_written", || {
        let folder = folder("open");
        let variables = [("MEMS_LOG", "log"), ("MEMS_MISUSE", "report")];
        let outcome = output_of(&mut command("complain-and-list", &folder, &variables));
        let is_written = folder.join("log").exists() && !outcome.stdout.is_empty();
        ensure(is_written && !outcome.stdout.contains("/log"), outcome)
    });
    trials.case("a_log_that_cannot_be_had_harms_nobody", || {
        let folder = folder("refused");
        fs::write(folder.join("file"), "mine").expect("a file");
        symlink("file", folder.join("link")).expect("a link");
        let long = "x/".repeat(600);
        for log in ["link", "no/folder", ".", "/dev/full", &*long] {
            let outcome = output_of(&mut command("double-free", &folder, &[("MEMS_LOG", log)]));
            // The last one is too long for a setting, and ignored.
            let says_so = outcome.stderr.contains("mems: the log cannot be written (error ");
            if outcome.stderr.contains(LINE) && says_so == (log != long) {
                continue;
            }
            return Err(format!("{log}: {outcome:?}"));
        }
        let text = fs::read_to_string(folder.join("file")).expect("a file");
        ensure(text == "mine" && names(&folder) == ["file", "link"], (text, names(&folder)))
    });
    trials.case("a_core_file_has_the_line_where_nobody_else_has_it", the_core_file_has_the_line);
}

/// Where the kernel writes core files into the folder of the program.
fn the_core_file_has_the_line() -> Result<Answer, String> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.trim_end() != "core" {
        return Ok(Answer::Skipped(format!("core files go to {}", pattern.trim_end())));
    }
    let folder = folder("core");
    let outcome = without_stderr(command("double-free-core", &folder, &[]));
    let Some(core) = names(&folder).pop() else {
        return Ok(Answer::Skipped(format!("no core file: {outcome:?}")));
    };
    let file = folder.join(&core);
    let mut gdb = Command::new("gdb");
    gdb.args(["-batch", "-nx", "-ex", "x/s &mems_last_line"]);
    gdb.arg(std::env::current_exe().expect("this program")).arg(&file);
    let said = match gdb.output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => {
            let _ = fs::remove_file(&file);
            return Ok(Answer::Skipped(format!("gdb: {error}")));
        }
    };
    let bytes = fs::read(&file).expect("a core file");
    let _ = fs::remove_file(&file);
    let is_in_it = bytes.windows(LINE.len()).any(|window| window == LINE.as_bytes());
    ensure(is_in_it && said.contains(LINE), (is_in_it, said))
}

fn main() -> ExitCode {
    if let Some(role) = child::role() {
        part(&role);
        return ExitCode::SUCCESS;
    }
    let mut trials = Trials::side_by_side();
    log_cases(&mut trials);
    #[cfg(feature = "symbols")]
    traces::cases(&mut trials);
    trials.finish()
}
