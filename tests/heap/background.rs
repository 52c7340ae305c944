//! The background thread: it gives memory back for a process that makes no calls, takes no signals, and what a fork
//! makes of it. In a role the program is a child that has the thread, by its environment.
#![allow(unsafe_code, reason = "forks, and touches blocks")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::time::Duration;
use std::fs;
use std::process::ExitCode;
use std::thread;

use helpers::piece::{MEMS, Piece};
use helpers::proc::status_bytes;
use helpers::trials::{Trials, ensure};
use helpers::{Rng, child, scaled};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

const MIB: usize = 1 << 20;
const PATIENCE_SECONDS: u32 = 120;
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
    let mut rng = Rng::announced("fill and sleep", 0xBAC);
    let (mut pieces, mut sum) = (Vec::with_capacity(400_000), 0);
    while sum < 200 * MIB {
        let size = if rng.once_in(32) { rng.size(20) } else { rng.size(12) };
        let piece = Piece::new(size, 8, rng.next()).expect("there is memory");
        // SAFETY: the block is live; it is freed without a look at its contents.
        unsafe { piece.pointer().write_bytes(1, size) };
        sum += size;
        pieces.push(piece);
    }
    for piece in pieces {
        // SAFETY: the block is live with its layout, and a piece has no destructor.
        unsafe { core::alloc::GlobalAlloc::dealloc(&MEMS, piece.pointer(), piece.layout()) };
    }
    let before = status_bytes("VmRSS");
    thread::sleep(WHILE);
    println!("{} {}", before / MIB, status_bytes("VmRSS") / MIB);
}

/// Prints the threads' masks.
fn look_at_threads() {
    println!("{:?}", masks_of_others());
}

/// Calls that reach a slow way now and then.
fn work(rng: &mut Rng, time: Duration) {
    let start = std::time::Instant::now();
    while start.elapsed() < time {
        let pieces: Vec<_> =
            (0..200).map(|_| Piece::new(rng.size(13), 8, rng.next()).expect("memory")).collect();
        pieces.into_iter().for_each(Piece::free);
        thread::sleep(Duration::from_millis(5));
    }
}

/// A child that goes on to work has a thread of its own after a while; one that does not has none.
fn fork_and_look() {
    let mut rng = Rng::announced("a fork", 0xF0);
    work(&mut rng, Duration::from_millis(300));
    let threads = masks_of_others().len();
    let life = |works: bool| {
        child::watchdog(20);
        let at_first = masks_of_others().len();
        if works {
            work(&mut Rng::announced("a child", 1), Duration::from_millis(500));
        } else {
            thread::sleep(Duration::from_millis(500));
        }
        let is_well = MEMS.check().is_ok();
        let found = 10 * at_first + masks_of_others().len();
        child::exit_now(if is_well { i32::try_from(found).unwrap_or(99) } else { 99 });
    };
    let codes = [true, false].map(|works| {
        // SAFETY: the child runs what a single thread may, and ends by `_exit`.
        match unsafe { libc::fork() } {
            0 => life(works),
            pid => {
                let mut status = 0;
                // SAFETY: `status` is a valid place for the answer.
                unsafe { libc::waitpid(pid, &raw mut status, 0) };
                libc::WEXITSTATUS(status)
            }
        }
    });
    println!("{threads} {codes:?}");
}

/// Forks at every moment of what the thread does.
fn fork_often() {
    let mut rng = Rng::announced("forks", 0xF1);
    for fork in 0..scaled(60, 300) {
        let kept: Vec<_> =
            (0..2000).map(|_| Piece::new(rng.size(13), 8, rng.next()).expect("memory")).collect();
        // SAFETY: the child runs what a single thread may, and ends by `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            child::watchdog(20);
            kept.into_iter().for_each(Piece::free);
            work(&mut rng, Duration::from_millis(3));
            let checked = MEMS.check();
            let _ = checked.as_ref().inspect_err(|broken| eprintln!("{broken}"));
            child::exit_now(i32::from(checked.is_err()));
        }
        kept.into_iter().for_each(Piece::free);
        let mut status = 0;
        // SAFETY: `status` is a valid place for the answer.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(status, 0, "fork {fork}");
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
        ensure(text == "1 [1, 0]", text)
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
