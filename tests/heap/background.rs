//! The background thread: it gives memory back for a process that makes no calls, takes no signals, and what a fork
//! makes of it. In a role the program is a child that has the thread, by its environment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::time::Duration;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::ExitCode;
use std::thread;

use helpers::load::{call_for, fill_and_free};
use helpers::piece::{MEMS, Piece};
use helpers::proc::status_bytes;
use helpers::trials::{Trials, ensure};
use helpers::{Rng, child, scaled};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

const MIB: usize = 1 << 20;
const PATIENCE_SECONDS: u32 = 120;
const CHILD_SECONDS: u32 = 20;
/// Some decay times, and the longest pause of the thread.
const WHILE: Duration = Duration::from_secs(2);

/// The masks of blocked signals of this process's threads but the first one, in hexadecimal.
fn masks_of_others() -> Vec<u64> {
    let own = std::process::id().to_string();
    let mut masks = Vec::new();
    for task in fs::read_dir("/proc/self/task").expect("tasks").flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        if task.file_name() != *own {
            masks.extend(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()));
        }
    }
    masks
}

/// Fills and frees 200 MiB, and then makes no call that the heap sees. What is resident before and after that, in MiB.
fn fill_and_sleep() {
    fill_and_free(&mut Rng::announced("fill and sleep", 0xBAC), 200 * MIB);
    let before = status_bytes("VmRSS");
    thread::sleep(WHILE);
    println!("{} {}", before / MIB, status_bytes("VmRSS") / MIB);
}

/// Prints the threads' masks.
fn look_at_threads() {
    println!("{:?}", masks_of_others());
}

/// How many threads this process has beside one, asked without an allocation: that could start another one.
fn other_threads() -> u64 {
    let tasks = fs::metadata("/proc/self/task").expect("tasks");
    // The folder and its parent are counted, too.
    tasks.nlink() - 3
}

/// A child that goes on to work has a thread of its own after a while; one that does not has none.
fn fork_and_look() {
    const LIFE: Duration = Duration::from_millis(500);
    let mut rng = Rng::announced("a fork", 0xF0);
    call_for(&mut rng, Duration::from_millis(300));
    let threads = other_threads();
    let found = [true, false].map(|works| {
        child::forked(CHILD_SECONDS, || {
            let at_first = other_threads();
            if works {
                call_for(&mut rng, LIFE);
            } else {
                thread::sleep(LIFE);
            }
            let at_last = other_threads();
            MEMS.check().map_err(|broken| broken.to_string())?;
            Ok(format!("{at_first} {at_last}"))
        })
    });
    println!("{threads} {found:?}");
}

/// Forks at every moment of what the thread does.
fn fork_often() {
    let mut rng = Rng::announced("forks", 0xF1);
    for fork in 0..scaled(60, 300) {
        let mut kept: Vec<_> =
            (0..2000).map(|_| Piece::new(rng.size(13), 8, rng.next()).expect("memory")).collect();
        let answer = child::forked(CHILD_SECONDS, || {
            kept.drain(..).for_each(Piece::free);
            call_for(&mut rng, Duration::from_millis(3));
            MEMS.check().map_err(|broken| broken.to_string())?;
            Ok(String::new())
        });
        assert_eq!(answer, Ok(String::new()), "fork {fork}");
        kept.into_iter().for_each(Piece::free);
    }
    MEMS.check().expect("all laws hold");
    println!("well");
}

/// The last line that a role prints under these settings.
fn says(role: &str, settings: &[(&str, &str)]) -> Result<String, String> {
    let mut command = child::this_program(role);
    let output = child::output_of(command.envs(settings.iter().copied())).success()?;
    output.lines().last().map(str::to_owned).ok_or_else(|| "no line".to_owned())
}

const ON: (&str, &str) = ("MEMS_BACKGROUND", "1");

fn figures(text: &str) -> Vec<usize> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn cases(trials: &mut Trials) {
    trials.case("a_process_that_makes_no_calls", || {
        let [with, without] = [says("fill", &[ON])?, says("fill", &[])?];
        let holds = matches!(figures(&with)[..], [before, after] if before > 150 && after < 45)
            && matches!(figures(&without)[..], [before, after] if after > before / 2);
        ensure(holds, (with, without))
    });
    trials.case("a_hardened_process", || {
        let text = says("fill", &[ON, ("MEMS_HARDEN", "1"), ("MEMS_CHECK", "0")])?;
        ensure(matches!(figures(&text)[..], [_, after] if after < 40), text)
    });
    trials.case("one_thread_that_takes_no_signals", || {
        let (with, without) = (says("threads", &[ON])?, says("threads", &[])?);
        // All but those that cannot be blocked, and those that libc keeps for itself.
        let mask = !(1 << 8 | 1 << 18) & ((1_u64 << 31) - 1);
        let masks = with.trim_matches(['[', ']']).parse::<u64>();
        ensure(masks.is_ok_and(|masks| masks & mask == mask) && without == "[]", (with, without))
    });
    trials.case("children", || {
        let text = says("children", &[ON])?;
        ensure(text == "1 [Ok(\"0 1\"), Ok(\"0 0\")]", text)
    });
    trials.case("forks_beside_it", || {
        let soon = ("MEMS_DECAY_MS", "1");
        let text = says("forks", &[ON, soon])?;
        ensure(text == "well", text)
    });
}

fn main() -> ExitCode {
    child::watchdog(PATIENCE_SECONDS);
    match child::role().as_deref() {
        Some("fill") => fill_and_sleep(),
        Some("threads") => look_at_threads(),
        Some("children") => fork_and_look(),
        Some("forks") => fork_often(),
        _ => {
            let mut trials = Trials::side_by_side();
            cases(&mut trials);
            return trials.finish();
        }
    }
    ExitCode::SUCCESS
}
