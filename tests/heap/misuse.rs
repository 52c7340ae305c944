//! Every kind of misuse, each in a process of its own: a line with `ADDRESS NOT FOUND` and the address, who it was,
//! then SIGABRT.
//!
//! A case runs this program once for each size and state of the heap, in the role `KIND SIZE STATE`: it then commits
//! that misuse.
#![allow(unsafe_code, reason = "misuse is what this commits")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use std::process::ExitCode;

use helpers::child;
use helpers::misuses::{KINDS, NOT_STOPPED, Scene, live_in};
use helpers::trials::{Answer, Trials};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// Small, large and huge blocks, and one whose pages go back at once.
const SIZES: [usize; 7] = [16, 64, 1000, 20_000, 70_000, 3_000_000, 40_000_000];
/// Blocks up to this size lie in slabs.
const LARGEST_SLOT: usize = 4 << 20;
const STATES: [&str; 3] = ["fresh", "lived-in", "sampled"];
/// Seconds until SIGALRM ends a child that hangs.
const PATIENCE_SECONDS: u32 = 20;

/// Commits the misuse that a role names. Does not come back unless MeMS misses it.
fn commit(role: &str) -> ExitCode {
    child::watchdog(PATIENCE_SECONDS);
    let mut words = role.split(' ');
    let mut word = || words.next().expect("a kind, a size and a state");
    let (kind, size, state) = (word(), word(), word());
    if state == STATES[1] {
        live_in();
    }
    #[cfg(feature = "profile")]
    if state == STATES[2] {
        // Each block, and each slot that waits.
        GLOBAL.profile().start(1);
    }
    let (_, misuse) = KINDS.iter().find(|(name, _)| *name == kind).expect("a kind");
    let scene = Scene::new(size.parse().expect("a size"));
    misuse(&scene);
    eprintln!("{kind} of {size} bytes was not stopped");
    ExitCode::from(NOT_STOPPED)
}

/// What the line must say of a kind, one of these. A block's place may have become a part of a hole when it is freed
/// again, and one beside a block may be another that was freed.
fn words_for(kind: &str, is_slot: bool, is_fresh: bool) -> &'static [&'static str] {
    const DOUBLE: &str = "double free of";
    const UNALLOCATED: &str = "free of unallocated memory at";
    const MISALIGNED: &str = "free of a misaligned pointer";
    const INTERIOR: &str = "free of an interior pointer";
    match kind {
        "realloc-freed" if is_slot => &["realloc of the freed block"],
        "realloc-freed" => &["realloc of unallocated memory at"],
        "realloc-interior" => {
            &["realloc of an interior pointer", "realloc of a misaligned pointer"]
        }
        "realloc-foreign" => &["realloc of a pointer that is not from this heap,"],
        "realloc-wrong-size" => &["realloc with a wrong size for"],
        "double-at-once" | "double-interleaved" if is_slot => &[DOUBLE],
        "double-in-a-race" => &[DOUBLE, UNALLOCATED, "two frees of"],
        _ if kind.starts_with("double") => &[DOUBLE, UNALLOCATED],
        "interior-8" | "interior-middle" => &[INTERIOR, MISALIGNED],
        "interior-last" | "misaligned" | "before-by-1" => &[MISALIGNED],
        "before-by-8" if is_fresh => &[UNALLOCATED, MISALIGNED],
        "before-by-8" => &[UNALLOCATED, MISALIGNED, INTERIOR],
        "never-used-slot" if !is_fresh => &[DOUBLE, UNALLOCATED],
        "never-used-hole" | "never-used-slot" | "never-used-range" => &[UNALLOCATED],
        "wrong-size-larger" | "wrong-size-smaller" => &["free with a wrong size for"],
        _ => &["free of a pointer that is not from this heap,"],
    }
}

/// Why the end of a child is not the one that was to be shown.
fn judge(outcome: &child::Outcome, words: &[&str]) -> Result<(), String> {
    if !outcome.aborted_with("ADDRESS NOT FOUND") {
        return Err(format!("{}: {}", outcome.status, outcome.stderr.trim_end()));
    }
    let named = outcome.stdout.lines().last().unwrap_or_default();
    let mut lines = outcome.stderr.lines();
    let line = lines.next().unwrap_or_default();
    if named.is_empty() || !line.contains(named) || !lines.all(|line| line.starts_with("mems:   "))
    {
        return Err(format!("not a line that names {named:?}: {line}"));
    }
    if !words.iter().any(|words| line.contains(&format!("ADDRESS NOT FOUND: {words} "))) {
        return Err(format!("none of {words:?} is said: {line}"));
    }
    Ok(())
}

/// Has a kind of misuse committed with blocks of all sizes, on a fresh heap, on one that has been lived in, and on one
/// of which every block is sampled.
fn is_stopped(kind: &str) -> Result<Answer, String> {
    let mut missed = String::new();
    for size in SIZES {
        for state in STATES {
            let outcome = child::run(&format!("{kind} {size} {state}"));
            let words = words_for(kind, size <= LARGEST_SLOT, state != STATES[1]);
            if let Err(why) = judge(&outcome, words) {
                missed.push_str(&format!("\n{size} bytes, {state}: {why}"));
            }
        }
    }
    if missed.is_empty() { Ok(Answer::Passed(String::new())) } else { Err(missed) }
}

fn main() -> ExitCode {
    if let Some(role) = child::role() {
        return commit(&role);
    }
    let mut trials = Trials::side_by_side();
    for (kind, _) in KINDS {
        trials.case(kind.replace('-', "_"), move || is_stopped(kind));
    }
    trials.finish()
}
