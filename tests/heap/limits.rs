//! Limits on the address space, from the start and lowered in mid-run; and a run under valgrind.
#![allow(unsafe_code, reason = "limits come from libc")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use std::process::{Command, ExitCode};
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;

use helpers::piece::{MEMS, Piece};
use helpers::proc::status_bytes;
use helpers::trials::{Answer, Trials};
use helpers::{Rng, child};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

const MIB: usize = 1 << 20;
/// Seconds until SIGALRM ends a child that hangs.
const PATIENCE_SECONDS: u32 = 60;
const SEED: u64 = 0x11317;

/// Ends the child: other threads wait at a barrier for the one that has failed.
fn give_up(why: &str) -> ! {
    eprintln!("{why}");
    child::exit_now(1);
}

/// Keeps `bytes` live, and then starts 8 threads.
fn fill_then_start(bytes: usize) {
    let (mut rng, mut pieces, mut sum) = (Rng::quiet(SEED), Vec::new(), 0);
    while sum < bytes {
        let size = rng.size(21).min(bytes - sum).max(16);
        pieces.push(Piece::new(size, 8, rng.next()).expect("memory below the limit"));
        sum += size;
    }
    fill(4 * MIB, 8);
    assert!(pieces.iter().all(Piece::is_intact));
    pieces.into_iter().for_each(Piece::free);
    println!("{} MiB live before", bytes / MIB);
}

/// Makes `bytes` of live blocks of mixed sizes, from `threads` threads that live at the same time.
fn fill(bytes: usize, threads: usize) {
    let barrier = Arc::new(Barrier::new(threads));
    let workers = (0..threads).map(|number| {
        let barrier = Arc::clone(&barrier);
        thread::spawn(move || {
            let mut rng = Rng::quiet(SEED + number as u64);
            let (mut pieces, mut sum) = (Vec::new(), 0);
            barrier.wait();
            while sum < bytes / threads {
                let size = rng.size(21).min(bytes / threads - sum).max(16);
                match Piece::new(size, 8, rng.next()) {
                    Some(piece) => pieces.push(piece),
                    None => give_up(&format!("null: {}", MEMS.stats())),
                }
                sum += size;
            }
            barrier.wait();
            pieces
        })
    });
    let workers: Vec<_> = workers.collect();
    let lives: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    let stats = MEMS.stats();
    assert!(stats.allocated >= bytes, "{stats}");
    MEMS.check().unwrap();
    lives.into_iter().flatten().for_each(Piece::free);
    MEMS.check().unwrap();
    println!("{} MiB live, {threads} threads", bytes / MIB);
}

/// Allocates blocks of a size until there is no more; asserts that what is there stays usable, and what is freed can
/// be had again.
fn exhaust(mut pieces: Vec<Piece>, size: usize, at_least: usize) {
    let mut round = 0;
    while let Some(piece) = Piece::new(size, 8, pieces.len() as u64) {
        pieces.push(piece);
        assert!(pieces.len() < 100_000, "the limit is never met");
    }
    let first = pieces.len();
    assert!(first * size >= at_least, "only {} KiB: {}", (first * size) >> 10, MEMS.stats());
    assert!(Vec::<u8>::new().try_reserve(512 * MIB).is_err(), "try_reserve");
    assert!(pieces.iter().all(Piece::is_intact), "contents");
    while round < 3 {
        let kept = pieces.len() / 2;
        pieces.drain(kept..).for_each(Piece::free);
        MEMS.check().unwrap();
        while pieces.len() < first {
            let piece = Piece::new(size, 8, pieces.len() as u64);
            pieces.push(piece.expect("blocks that were freed can be used again"));
        }
        round += 1;
    }
    MEMS.check().unwrap();
    pieces.into_iter().for_each(Piece::free);
    MEMS.trim();
    MEMS.check().unwrap();
    println!("{} KiB in blocks of {size}, then null", (first * size) >> 10);
}

/// Lowers the limit to `room` above what is in use (reservations not counted), then exhausts it.
fn lower_in_mid_run(size: usize, room: usize) {
    let before: Vec<Piece> = (0..1000).filter_map(|stamp| Piece::new(10_000, 8, stamp)).collect();
    let room_for_pieces = Vec::with_capacity(100_000);
    let used = status_bytes("VmSize") - MEMS.stats().reserved;
    child::set_limit(libc::RLIMIT_AS, (used + room) as u64);
    exhaust(room_for_pieces, size, room / 2);
    child::set_limit(libc::RLIMIT_AS, u64::MAX);
    let after = Piece::new(3 * room, 8, 1);
    after.expect("memory, as soon as the limit is gone").free();
    assert_eq!(before.len(), 1000);
    before.into_iter().for_each(Piece::free);
    MEMS.check().unwrap();
}

/// A huge block makes the zone grow that there is, where a lowered limit has to be met by giving addresses up.
fn lower_for_huge() {
    let used = status_bytes("VmSize") - MEMS.stats().reserved;
    child::set_limit(libc::RLIMIT_AS, (used + 64 * MIB) as u64);
    let spans = MEMS.spans().count();
    let huge = Piece::new(12 * MIB, 8, 1).expect("memory below the limit");
    assert_eq!(MEMS.spans().count(), spans, "no further zone");
    huge.free();
    MEMS.check().unwrap();
}

/// A limit of MeMS's own, `room` above what is mapped, is met, lifted, and set below what is mapped.
fn own_limit(size: usize, room: usize) {
    let pieces = Vec::with_capacity(100_000);
    let limit = MEMS.stats().mapped + room;
    MEMS.set_limit(limit);
    exhaust(pieces, size, room / 2);
    assert!(MEMS.stats().mapped <= limit, "{}", MEMS.stats());
    assert!(Piece::new(limit, 8, 1).is_none(), "more than the limit");
    MEMS.set_limit(usize::MAX);
    let after = Piece::new(limit, 8, 1).expect("there is no limit any more");
    MEMS.set_limit(1);
    let held: Vec<Piece> = (0..4).filter_map(|stamp| Piece::new(100, 8, stamp)).collect();
    assert_eq!(held.len(), 4, "what is mapped already serves");
    after.free();
    Piece::new(limit, 8, 2).expect("the room of a block that was freed").free();
    assert!(Piece::new(4 * limit, 8, 1).is_none(), "growth");
    held.into_iter().for_each(Piece::free);
    MEMS.check().unwrap();
}

/// Small blocks fill a limit; when they are freed one large block takes their room, although a thread caches slots.
fn own_limit_small_then_large() {
    let mut pieces = Vec::with_capacity(100_000);
    let limit = MEMS.stats().mapped + 16 * MIB;
    MEMS.set_limit(limit);
    while let Some(piece) = Piece::new(600, 8, pieces.len() as u64) {
        pieces.push(piece);
    }
    let (mut rng, count) = (Rng::quiet(SEED), pieces.len());
    while !pieces.is_empty() {
        pieces.swap_remove(rng.below(pieces.len())).free();
    }
    let large = Piece::new(12 * MIB, 8, 1).expect("the room of the small ones");
    assert!(MEMS.stats().mapped <= limit, "{}", MEMS.stats());
    large.free();
    MEMS.check().unwrap();
    println!("{count} blocks, then one of 12 MiB");
}

/// As `lower_in_mid_run`, while 4 threads allocate and verify what they get.
fn lower_among_threads(lower: impl FnOnce()) {
    let (start, started) = mpsc::channel();
    let workers: Vec<_> = (0..4_u64)
        .map(|seed| {
            let start = start.clone();
            thread::spawn(move || {
                let (mut rng, mut live, mut nulls) = (Rng::quiet(seed), Vec::new(), 0);
                start.send(()).unwrap();
                while nulls < 200 {
                    match Piece::new(rng.size(22), 8, rng.next()) {
                        Some(piece) => live.push(piece),
                        None => {
                            nulls += 1;
                            live.drain(..live.len() / 2).for_each(Piece::free);
                        }
                    }
                }
                live.into_iter().for_each(Piece::free);
            })
        })
        .collect();
    (0..4).for_each(|_| started.recv().unwrap());
    lower();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    MEMS.check().unwrap();
    println!("4 threads met the limit 200 times each");
}

/// The part of a child.
fn part(name: &str) -> ExitCode {
    child::watchdog(PATIENCE_SECONDS);
    println!("seed {SEED:#x}");
    match name {
        "fill-300" => fill(300 * MIB, 8),
        "fill-256" => fill(256 * MIB, 8),
        "fill-then-start" => fill_then_start(300 * MIB),
        "fill-64" => fill(24 * MIB, 4),
        "fill-small" => fill(8 * MIB, 2),
        "exhaust-large" => exhaust(Vec::new(), MIB, 16 * MIB),
        "exhaust-small" => exhaust(Vec::with_capacity(100_000), 1000, 16 * MIB),
        "lower-large" => lower_in_mid_run(MIB, 64 * MIB),
        "lower-small" => lower_in_mid_run(4000, 64 * MIB),
        "lower-little" => lower_in_mid_run(4000, 4 * MIB),
        "lower-huge" => lower_for_huge(),
        "lower-threads" => lower_among_threads(|| {
            let used = status_bytes("VmSize") - MEMS.stats().reserved;
            child::set_limit(libc::RLIMIT_AS, (used + 32 * MIB) as u64);
        }),
        "own-threads" => {
            lower_among_threads(|| MEMS.set_limit(32 * MIB));
        }
        "own-large" => own_limit(MIB, 32 * MIB),
        "own-small" => own_limit(1000, 32 * MIB),
        "own-little" => own_limit(40, 3 * MIB),
        "own-small-then-large" => own_limit_small_then_large(),
        _ => lower_in_mid_run(4000, name.parse::<usize>().expect("KiB, or a part") << 10),
    }
    ExitCode::SUCCESS
}

fn passed(outcome: child::Outcome) -> Result<Answer, String> {
    outcome.success().map(|text| Answer::Passed(text.trim_end().replace('\n', "; ")))
}

/// A small child under valgrind, which refuses large reservations.
fn under_valgrind() -> Result<Answer, String> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Ok(Answer::Skipped("valgrind is not installed".to_owned()));
    }
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new("valgrind");
    passed(child::output_of(
        command.args(["-q", "--tool=none"]).arg(program).env(child::ROLE, "fill-small"),
    ))
}

/// Found where freed blocks could not be had again at half of these limits: blocks that come in ascending order fill
/// the nodes of the index, and those that come between others leave them half empty, so there were too few nodes.
fn freed_blocks_serve_again() -> Result<Answer, String> {
    for kib in (65_000..65_500).step_by(40) {
        child::run(&kib.to_string()).success().map_err(|why| format!("{kib} KiB: {why}"))?;
    }
    Ok(Answer::Passed(String::new()))
}

fn main() -> ExitCode {
    if let Some(name) = child::role() {
        return part(&name);
    }
    let mut trials = Trials::side_by_side();
    for (limit, name) in [
        (512, "fill-300"),
        (512, "fill-then-start"),
        (64, "fill-64"),
        (512, "exhaust-large"),
        (64, "exhaust-large"),
        (64, "exhaust-small"),
    ] {
        trials.case(format!("{limit}_mib_of_addresses_{}", name.replace('-', "_")), move || {
            passed(child::run_limited(name, (limit * MIB) as u64, 1))
        });
    }
    trials.case("512_mib_of_addresses_with_libc_arenas", || {
        passed(child::run_limited("fill-256", (512 * MIB) as u64, 8))
    });
    for name in ["lower-large", "lower-small", "lower-little", "lower-threads"] {
        trials.case(format!("limit_in_mid_run_{}", name.replace('-', "_")), move || {
            passed(child::run(name))
        });
    }
    trials.case("limit_lowered_further_lower_huge", || {
        passed(child::run_limited("lower-huge", 2 << 30, 1))
    });
    trials.case("freed_blocks_serve_again_at_any_limit", freed_blocks_serve_again);
    for name in ["own-large", "own-small", "own-little", "own-threads", "own-small-then-large"] {
        trials.case(format!("limit_of_the_heap_{}", name.replace('-', "_")), move || {
            passed(child::run(name))
        });
    }
    trials.case("both_limits_own_large", || {
        passed(child::run_limited("own-large", (512 * MIB) as u64, 1))
    });
    for (limit, name) in [("40M", "exhaust-small"), ("24M", "exhaust-large"), ("64M", "fill-64")] {
        trials.case(format!("mems_limit_{limit}_{}", name.replace('-', "_")), move || {
            passed(child::output_of(child::this_program(name).env("MEMS_LIMIT", limit)))
        });
    }
    trials.case("under_valgrind", under_valgrind);
    trials.finish()
}
