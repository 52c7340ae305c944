//! Every kind of misuse, each in a process of its own: one line with `ADDRESS NOT FOUND` and the address, then SIGABRT.
//!
//! Without arguments the program runs itself once for each kind, size and state of the heap; with `KIND SIZE STATE`
//! it commits that misuse.
#![allow(unsafe_code, reason = "misuse is what this commits")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod heap_common;
#[path = "heap_common/misuses.rs"]
mod misuses;

use core::sync::atomic::{AtomicUsize, Ordering};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use heap_common::child;
use misuses::{KINDS, NOT_STOPPED, Scene, live_in};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// Small, large and huge blocks, and one whose pages go back at once.
const SIZES: [usize; 7] = [16, 64, 1000, 20_000, 70_000, 3_000_000, 40_000_000];
const STATES: [&str; 2] = ["fresh", "lived-in"];
/// Seconds until SIGALRM ends a child that hangs.
const PATIENCE_SECONDS: u32 = 20;

/// Commits one misuse. Does not come back unless MeMS misses it.
fn commit(kind: &str, size: &str, state: &str) -> ExitCode {
    child::watchdog(PATIENCE_SECONDS);
    if state == STATES[1] {
        live_in();
    }
    let (_, misuse) = KINDS.iter().find(|(name, _)| *name == kind).expect("a kind");
    let scene = Scene::new(size.parse().expect("a size"));
    misuse(&scene);
    eprintln!("{kind} of {size} bytes was not stopped");
    ExitCode::from(NOT_STOPPED)
}

/// Why the end of a child is not the one that was to be shown.
fn judge(outcome: &child::Outcome) -> Result<(), String> {
    if !outcome.aborted_with("ADDRESS NOT FOUND") {
        return Err(format!("{}: {}", outcome.status, outcome.stderr.trim_end()));
    }
    let named = outcome.stdout.lines().last().unwrap_or_default();
    let line = outcome.stderr.trim_end();
    if named.is_empty() || line.contains('\n') || !line.contains(named) {
        return Err(format!("not one line that names {named:?}: {line}"));
    }
    Ok(())
}

/// Runs the cases of all kinds, sizes and states on two threads. Returns the failures, with their case's number.
fn run_all() -> Vec<(usize, String)> {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let case = next.fetch_add(1, Ordering::Relaxed);
                    let Some((kind, _)) = KINDS.get(case / (SIZES.len() * STATES.len())) else {
                        break;
                    };
                    let size = SIZES[case / STATES.len() % SIZES.len()].to_string();
                    let state = STATES[case % STATES.len()];
                    if let Err(why) = judge(&child::run(&[kind, &size, state])) {
                        let text = format!("{kind} {size} {state}: {why}");
                        failures.lock().expect("not poisoned").push((case, text));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("not poisoned");
    failures.sort();
    failures
}

fn main() -> ExitCode {
    child::no_core_files();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [kind, size, state] = &arguments[..] {
        return commit(kind, size, state);
    }
    let start = Instant::now();
    let failures = run_all();
    println!("{:<24}{:>44}", "kind", "passed of sizes 16 ... 40,000,000, by state");
    let per_kind = SIZES.len() * STATES.len();
    for (index, (kind, _)) in KINDS.iter().enumerate() {
        let failed = |state: usize| {
            let here = failures.iter().filter(|(case, _)| case / per_kind == index);
            here.filter(|(case, _)| case % STATES.len() == state).count()
        };
        let passed = [SIZES.len() - failed(0), SIZES.len() - failed(1)];
        println!("{kind:<24}{:>12} {} {:>12} {}", STATES[0], passed[0], STATES[1], passed[1]);
    }
    failures.iter().for_each(|(_, text)| println!("FAILED {text}"));
    println!("{:.2} s", start.elapsed().as_secs_f64());
    let passed = KINDS.len() * per_kind - failures.len();
    println!("{passed} passed, {} failed", failures.len());
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
