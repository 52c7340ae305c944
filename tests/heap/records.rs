//! Records follow what is live, too: threads in turns share them, and those of threads that ended go back. Each case
//! prints what is resident, in MiB.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::time::Duration;
use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::thread;

use helpers::load::{Sleeper, call_for, trim_beside};
use helpers::piece::{MEMS, Piece};
use helpers::proc::status_bytes;
use helpers::trials::{Answer, Trials, shown};
use helpers::{Rng, child, scaled};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

const MIB: usize = 1 << 20;
const PATIENCE_SECONDS: u32 = 240;

/// Resident bytes.
fn resident() -> usize {
    status_bytes("VmRSS")
}

/// Makes and frees `count` blocks of `size` bytes that are all live at once.
fn fill_and_free(size: usize, count: usize) {
    let pieces: Vec<_> =
        (0..count).map(|_| Piece::full(size, 1).expect("there is memory")).collect();
    pieces.into_iter().for_each(Piece::discard);
}

/// Found with 16 threads that had 256 MiB of 16-byte blocks one after the other: each kept descriptors and states for
/// all of its own, 348 MiB together.
fn threads_in_turns() -> Result<Answer, String> {
    const THREADS: usize = 12;
    const MOST: usize = scaled(16, 64);
    MEMS.trim();
    let base = resident();
    let mut sleepers = Vec::new();
    let mut first = 0;
    for turn in 0..THREADS {
        let sleeper = Sleeper::after(|| {
            fill_and_free(16, MOST * MIB / 16);
            MEMS.thread_flush();
        })?;
        if turn == 0 {
            first = MEMS.stats().metadata;
        }
        sleepers.push(sleeper);
    }
    let last = MEMS.stats().metadata;
    MEMS.trim();
    let (after, records) = (resident().saturating_sub(base), MEMS.stats().metadata);
    for sleeper in sleepers {
        sleeper.wake()?;
    }
    MEMS.check().map_err(|broken| broken.to_string())?;
    let figures = format!(
        "records: {} after one turn, {} after {THREADS}, {} trimmed; resident {}",
        first / MIB,
        last / MIB,
        records / MIB,
        after / MIB
    );
    shown(figures, last < first + 4 * MIB && records < 3 * MIB && after < 6 * MIB)
}

/// Found with 2,000 threads at once: each that had ended cost 45 KiB for good.
fn many_threads_at_once() -> Result<Answer, String> {
    let mut rng = Rng::announced("calls", 0xCA11);
    let (trimmed, _) = what_threads_leave(10 << 10, 1, || _ = MEMS.trim())?;
    // Two seconds suffice, and on a machine that does something else a few more.
    let calls = || call_for(&mut rng, Duration::from_secs(2));
    let (decayed, times) = what_threads_leave(16 << 10, 5, calls)?;
    let figures =
        format!("bytes a thread: trimmed {trimmed}, after {times} x 2 s of calls {decayed}");
    shown(figures, trimmed < 10 << 10 && decayed < 16 << 10)
}

/// Resident bytes that each of many threads has left, after `work`, and how often that was done: until they are fewer
/// than `enough`, but `most` times at the most.
fn what_threads_leave(
    enough: usize,
    most: usize,
    mut work: impl FnMut(),
) -> Result<(usize, usize), String> {
    const THREADS: usize = scaled(300, 1000);
    MEMS.trim();
    let base = resident();
    let together = Arc::new(Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let together = Arc::clone(&together);
            thread::spawn(move || {
                let piece =
                    |number: usize| Piece::full(16 + number * 37 % 2000, 1).expect("memory");
                let pieces: Vec<_> = (0..200).map(piece).collect();
                together.wait();
                pieces.into_iter().for_each(Piece::discard);
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread has died".to_owned())?;
    }
    let mut left = usize::MAX;
    let mut times = 0;
    while left >= enough && times < most {
        work();
        times += 1;
        left = resident().saturating_sub(base) / THREADS;
    }
    MEMS.check().map_err(|broken| broken.to_string())?;
    Ok((left, times))
}

/// A child has heaps that its parent has vacated, and descriptors that wait, of which the pages have gone.
fn a_child_uses_them_again() -> Result<Answer, String> {
    let work = || {
        let threads: Vec<_> = (0..8).map(|_| thread::spawn(|| fill_and_free(48, 50_000))).collect();
        threads.into_iter().all(|thread| thread.join().is_ok())
    };
    if !work() {
        return Err("a thread has died".to_owned());
    }
    MEMS.trim();
    let said = child::forked(60, || {
        for _ in 0..3 {
            if !work() {
                return Err("a thread has died".to_owned());
            }
            MEMS.check().map_err(|broken| broken.to_string())?;
            MEMS.trim();
        }
        MEMS.check().map_err(|broken| broken.to_string())?;
        Ok(format!("{} records", MEMS.stats().metadata / MIB))
    })?;
    MEMS.check().map_err(|broken| broken.to_string())?;
    Ok(Answer::Passed(format!("in the child {said}")))
}

/// Threads that come and go at random, with blocks that stay, beside trims.
fn short_threads_beside_trims() -> Result<Answer, String> {
    const CHAINS: usize = 3;
    let rounds = scaled(60, 400);
    let chains: Vec<_> = (0..CHAINS)
        .map(|number| {
            thread::spawn(move || {
                let mut rng = Rng::announced("a chain", number as u64);
                let mut kept: Vec<Piece> = Vec::new();
                for _ in 0..rounds {
                    let seed = rng.next();
                    let mut pieces = core::mem::take(&mut kept);
                    let next = thread::spawn(move || {
                        let mut rng = Rng::quiet(seed);
                        let count = rng.below(2000);
                        for _ in 0..count {
                            let piece = Piece::new(rng.size(12), 8, rng.next());
                            pieces.push(piece.expect("there is memory"));
                        }
                        while pieces.len() > 500 || (!pieces.is_empty() && rng.once_in(4)) {
                            let index = rng.below(pieces.len());
                            // Looks at its bytes.
                            pieces.swap_remove(index).free();
                        }
                        pieces
                    });
                    kept = next.join().expect("it ends");
                    if rng.once_in(8) {
                        kept.drain(..).for_each(Piece::free);
                    }
                    thread::sleep(Duration::from_micros(rng.below(500) as u64));
                }
                kept.into_iter().for_each(Piece::free);
            })
        })
        .collect();
    let trims = trim_beside(chains, Duration::from_millis(1))?;
    Ok(Answer::Passed(format!("{trims} trims")))
}

fn main() -> ExitCode {
    child::watchdog(PATIENCE_SECONDS);
    let mut trials = Trials::alone();
    trials.case("threads_in_turns", threads_in_turns);
    trials.case("many_threads_at_once", many_threads_at_once);
    trials.case("a_child_uses_them_again", a_child_uses_them_again);
    trials.case("short_threads_beside_trims", short_threads_beside_trims);
    trials.finish()
}
