//! Memory follows what is live: pages between live blocks, blocks that others freed of a thread that sleeps, and what a
//! thread has left that is served by its caches alone. Each case prints what is resident, in MiB.
#![allow(unsafe_code, reason = "reads blocks")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::time::Duration;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use helpers::load::{call_for, trim_beside};
use helpers::piece::{MEMS, Piece};
use helpers::proc::status_bytes;
use helpers::trials::{Answer, Trials, shown};
use helpers::{Rng, child, scaled};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

const MIB: usize = 1 << 20;
const PATIENCE_SECONDS: u32 = 240;
/// The bytes that a case has live, in MiB.
const MOST: usize = scaled(64, 256);

/// Blocks of `size` bytes, full, `MOST` MiB of them.
fn blocks(size: usize) -> Vec<Piece> {
    (0..MOST * MIB / size).map(|_| Piece::full(size, 0xA5).expect("there is memory")).collect()
}

/// Resident bytes beyond what there were before, in MiB.
fn resident_above(base: usize) -> usize {
    status_bytes("VmRSS").saturating_sub(base) / MIB
}

/// What all cases begin with: nothing that others have left.
fn begin() -> usize {
    MEMS.trim();
    status_bytes("VmRSS")
}

/// A thread makes blocks and sleeps, another one frees them and goes on with `work`; what is resident then. The first
/// one wakes and uses its memory again.
fn free_of_a_sleeper(size: usize, work: impl FnOnce()) -> Result<[usize; 2], String> {
    let base = begin();
    let (give, take) = mpsc::channel();
    let (wake, sleep) = mpsc::channel();
    let owner = thread::spawn(move || {
        give.send(blocks(size)).expect("somebody takes them");
        sleep.recv().expect("somebody wakes it");
        blocks(size).into_iter().for_each(Piece::discard);
    });
    let taken = take.recv().map_err(|error| error.to_string())?;
    // Until the owner sleeps: it could take in what comes home before it does.
    thread::sleep(Duration::from_millis(300));
    taken.into_iter().for_each(Piece::discard);
    let freed = resident_above(base);
    work();
    let after = resident_above(base);
    MEMS.check().map_err(|broken| broken.to_string())?;
    wake.send(()).map_err(|error| error.to_string())?;
    owner.join().map_err(|_| "the owner has died".to_owned())?;
    MEMS.check().map_err(|broken| broken.to_string())?;
    Ok([freed, after])
}

/// Found with 1 GiB in boxes that a thread made and another one freed: five trims took nothing back.
fn blocks_of_a_sleeping_thread() -> Result<Answer, String> {
    let mut rng = Rng::announced("a sleeping thread", 0x51ee);
    let mut figures = String::new();
    let mut holds = true;
    for size in [256, 5000, 200_000].into_iter().step_by(scaled(2, 1)) {
        let decay = || call_for(&mut rng, Duration::from_secs(2));
        let [freed, after] = free_of_a_sleeper(size, decay)?;
        let [_, trimmed] = free_of_a_sleeper(size, || _ = MEMS.trim())?;
        figures += &format!("{size} bytes: {freed}, after 2 s {after}, trimmed {trimmed}; ");
        holds &= freed > MOST / 2 && after <= MOST / 4 && trimmed <= MOST / 16;
    }
    shown(figures, holds)
}

/// Found with 4 KiB boxes of which every 64th stayed: no page between them ever went back.
fn pages_between_live_blocks() -> Result<Answer, String> {
    let mut rng = Rng::announced("live blocks", 0x5ba5);
    let base = begin();
    let pieces = blocks(4096);
    let (kept, others): (Vec<_>, Vec<_>) =
        pieces.into_iter().enumerate().partition(|(number, _)| number % 64 == 0);
    let live = kept.len() * 4096 / MIB;
    others.into_iter().for_each(|(_, piece)| piece.discard());
    let freed = resident_above(base);
    call_for(&mut rng, Duration::from_secs(3));
    let after = resident_above(base);
    MEMS.check().map_err(|broken| broken.to_string())?;
    for (number, piece) in kept {
        // SAFETY: the block is live, and has 4096 bytes.
        let bytes = unsafe { core::slice::from_raw_parts(piece.pointer(), piece.size()) };
        if bytes.iter().any(|byte| *byte != 0xA5) {
            return Err(format!("block {number} has lost its bytes"));
        }
        piece.discard();
    }
    let figures = format!("{live} live, {freed} when freed, {after} after 3 s of calls");
    shown(figures, after <= live + MOST / 16)
}

/// Found with a server that had dropped all it had and did little from then on: what its caches serve tells nobody.
fn a_thread_that_its_caches_serve() -> Result<Answer, String> {
    let base = begin();
    let pieces = blocks(5000);
    // Every other one first, so that there are pages in slabs as well as holes.
    let (even, odd): (Vec<_>, Vec<_>) =
        pieces.into_iter().enumerate().partition(|(number, _)| number % 2 == 0);
    even.into_iter().chain(odd).for_each(|(_, piece)| piece.discard());
    let freed = resident_above(base);
    for number in 0..50 {
        Piece::new(64, 8, number).expect("there is memory").free();
        thread::sleep(Duration::from_millis(40));
    }
    let after = resident_above(base);
    MEMS.check().map_err(|broken| broken.to_string())?;
    shown(format!("{freed} when freed, {after} after 50 calls in 2 s"), after <= MOST / 8)
}

/// Found by reading: what a thread has left that was too busy to look at the clock, and is served by its caches.
fn a_busy_thread_that_its_caches_serve() -> Result<Answer, String> {
    let mut rng = Rng::announced("another thread", 0xB5);
    let base = begin();
    let (say, hear) = mpsc::channel();
    let busy = thread::spawn(move || {
        blocks(5000).into_iter().for_each(Piece::discard);
        let pair = |number| Piece::new(64, 8, number).expect("there is memory").free();
        (0..100_000).for_each(pair);
        say.send(resident_above(base)).expect("somebody listens");
        for number in 0..100 {
            pair(number);
            thread::sleep(Duration::from_millis(20));
        }
        resident_above(base)
    });
    let freed = hear.recv().map_err(|error| error.to_string())?;
    call_for(&mut rng, Duration::from_secs(1));
    let after = busy.join().map_err(|_| "a thread has died".to_owned())?;
    MEMS.check().map_err(|broken| broken.to_string())?;
    let figures =
        format!("{freed} when freed, {after} after 100 calls in 2 s beside another thread");
    shown(figures, after <= MOST / 8)
}

/// Found with maps whose tables are huge blocks: they grew beside the holes that their entries had left, and the other
/// way round.
fn one_kind_of_blocks_after_another() -> Result<Answer, String> {
    const HUGE: usize = 8 * MIB;
    let base = begin();
    let mut most = [0; 3];
    let fill = |size: usize, most: &mut usize| {
        let mut pieces = Vec::with_capacity(MOST * MIB / size);
        for number in 0..MOST * MIB / size {
            pieces.push(Piece::full(size, 0xA5).expect("there is memory"));
            if number % (HUGE / size) == 0 {
                *most = resident_above(base).max(*most);
            }
        }
        pieces.into_iter().for_each(Piece::discard);
    };
    for (size, most) in [5000, HUGE, 5000].into_iter().zip(&mut most) {
        fill(size, most);
    }
    MEMS.check().map_err(|broken| broken.to_string())?;
    // What the heap keeps is in the way, too: an eighth in holes, an eighth in slabs, and magazines.
    let holds = most.iter().all(|most| 3 * most < 5 * MOST);
    shown(format!("small, huge, small blocks: {most:?}"), holds)
}

/// A child uses what its parent has given back, with threads of which it has only the heaps.
fn a_child_of_it() -> Result<Answer, String> {
    let mut child_says = Ok(String::new());
    let figures = free_of_a_sleeper(256, || {
        MEMS.trim();
        child_says = child::forked(60, || {
            let pieces = blocks(256);
            MEMS.check().map_err(|broken| broken.to_string())?;
            pieces.into_iter().for_each(Piece::discard);
            MEMS.trim();
            MEMS.check().map_err(|broken| broken.to_string())?;
            let resident = status_bytes("VmRSS") / MIB;
            if resident < MOST / 4 { Ok(format!("{resident}")) } else { Err(format!("{resident}")) }
        });
    })?;
    let resident = child_says?;
    Ok(Answer::Passed(format!("{figures:?}, {resident} in the child that has used it")))
}

/// Threads that make, send, free and sleep at random, beside one that trims all the time.
fn sleepers_beside_trims() -> Result<Answer, String> {
    const THREADS: usize = 4;
    let rounds = scaled(60, 300);
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| mpsc::sync_channel::<Vec<Piece>>(2)).unzip();
    let workers: Vec<_> = receivers
        .into_iter()
        .enumerate()
        .map(|(number, receiver)| {
            let next = senders[(number + 1) % THREADS].clone();
            thread::spawn(move || {
                let mut rng = Rng::announced("a sleeper", number as u64);
                for _ in 0..rounds {
                    let size = [64, 256, 1024, 5000, 70_000][rng.below(5)];
                    let count = (MIB / size).min(4000);
                    let pieces: Vec<_> = (0..count)
                        .map(|_| Piece::new(size, 8, rng.next()).expect("there is memory"))
                        .collect();
                    next.send(pieces).expect("the next one");
                    for piece in receiver.recv().expect("the one before") {
                        // Looks at its bytes.
                        piece.free();
                    }
                    thread::sleep(Duration::from_millis(rng.below(4) as u64));
                }
            })
        })
        .collect();
    drop(senders);
    let trims = trim_beside(workers, Duration::ZERO)?;
    shown(format!("{THREADS} threads, {rounds} rounds, {trims} trims"), true)
}

fn main() -> ExitCode {
    child::watchdog(PATIENCE_SECONDS);
    let mut trials = Trials::alone();
    trials.case("blocks_of_a_sleeping_thread", blocks_of_a_sleeping_thread);
    trials.case("pages_between_live_blocks", pages_between_live_blocks);
    trials.case("a_thread_that_its_caches_serve", a_thread_that_its_caches_serve);
    trials.case("a_busy_thread_that_its_caches_serve", a_busy_thread_that_its_caches_serve);
    trials.case("one_kind_of_blocks_after_another", one_kind_of_blocks_after_another);
    trials.case("a_child_of_it", a_child_of_it);
    trials.case("sleepers_beside_trims", sleepers_beside_trims);
    trials.finish()
}
