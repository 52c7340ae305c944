//! Where the memory is: the sums say of every mapped byte what it is, and whose slab it is free in. Each case prints
//! the sums, in KiB.
#![allow(unsafe_code, reason = "frees blocks of a heap of its own")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use helpers::load::{Sleeper, call_for, fill_and_free};
use helpers::piece::{MEMS, Piece};
use helpers::proc::status_bytes;
use helpers::trials::{Answer, Trials, ensure, shown};
use helpers::{Rng, child, scaled};
use mems::{Heap, HeapStats};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const PATIENCE_SECONDS: u32 = 120;
/// Longer than the decay time.
const TIME: Duration = Duration::from_millis(400);

/// The parts of which mapped bytes are.
fn parts(stats: &HeapStats) -> [usize; 8] {
    [
        stats.allocated,
        stats.cached,
        stats.free_running,
        stats.free_sleeping,
        stats.free_ended,
        stats.dirty,
        stats.clean,
        stats.metadata,
    ]
}

/// Every mapped byte is counted once, and all but the clean ones as resident. Returns the sums.
fn summed(stats: HeapStats) -> Result<HeapStats, String> {
    let parts = parts(&stats);
    let is_exact = parts.iter().sum::<usize>() == stats.mapped;
    let is_resident = stats.resident + stats.clean == stats.mapped;
    if is_exact && is_resident {
        Ok(stats)
    } else {
        Err(format!("{parts:?} make {}: {stats:?}", parts.iter().sum::<usize>()))
    }
}

/// The sums of the process heap, while nobody else changes it.
fn sums() -> Result<HeapStats, String> {
    summed(MEMS.stats())
}

/// Text for a case.
fn text(stats: &HeapStats) -> String {
    format!("{:?}", parts(stats).map(|bytes| bytes / KIB))
}

fn all_sizes() -> Result<Answer, String> {
    const ROUNDS: usize = scaled(60, 400);
    let mut rng = Rng::announced("sums", 0x50_4d5);
    let mut live: Vec<Piece> = Vec::with_capacity(10_000);
    for round in 0..ROUNDS {
        for _ in 0..100 {
            // Up to 8 MiB: slots, large slots, blocks and huge blocks.
            let bits = if rng.once_in(20) { 23 } else { 12 };
            live.push(Piece::new(rng.size(bits), 8, 1).unwrap());
            if rng.once_in(3) {
                live.swap_remove(rng.below(live.len())).free();
            }
        }
        if round % 10 == 9 {
            let kept = live.len() / 2;
            live.drain(kept..).for_each(Piece::free);
            MEMS.trim();
        }
        sums()?;
    }
    live.into_iter().for_each(Piece::free);
    let before = sums()?;
    MEMS.trim();
    let after = sums()?;
    let text = format!("{} freed, {} trimmed", text(&before), text(&after));
    shown(text, after.resident < before.resident && after.dirty < 128 * KIB)
}

/// Slots of many slabs, of which every eighth stays.
fn sparse() -> Vec<Piece> {
    let all: Vec<_> =
        (0..8 * 4096).map(|_| Piece::full(512, 1).expect("there is memory")).collect();
    let mut kept = Vec::with_capacity(4096);
    for (index, piece) in all.into_iter().enumerate() {
        if index % 8 == 0 {
            kept.push(piece);
        } else {
            piece.discard();
        }
    }
    kept
}

/// What is free in the slabs of a thread is counted as its state is.
fn whose_slabs() -> Result<Answer, String> {
    const LEAST: usize = 10 * MIB;
    if cfg!(not(feature = "std")) {
        return Ok(Answer::Skipped("without std all threads share one heap".to_owned()));
    }
    let mut rng = Rng::announced("whose", 0x3405e);
    let base = sums()?;
    let sleeper = Sleeper::after(sparse)?;
    let running = sums()?;
    // Others come by meanwhile, and notice.
    call_for(&mut rng, TIME);
    let sleeping = sums()?;
    let kept = thread::spawn(sparse).join().expect("it ends");
    let ended = sums()?;
    kept.into_iter().chain(sleeper.wake()?).for_each(Piece::discard);
    MEMS.trim();
    let trimmed = sums()?;
    let is_right = running.free_running >= base.free_running + LEAST
        && running.free_sleeping < base.free_sleeping + MIB
        && sleeping.free_sleeping >= base.free_sleeping + LEAST
        && sleeping.free_running < running.free_running - LEAST / 2
        && ended.free_ended >= base.free_ended + LEAST
        && trimmed.free_ended < MIB
        && trimmed.free_sleeping < MIB;
    let all = [running, sleeping, ended, trimmed].map(|stats| text(&stats));
    shown(all.join("; "), is_right)
}

/// The threads of its parent have vanished in a child: what they had is as that of threads that ended.
fn in_a_child() -> Result<Answer, String> {
    let mut rng = Rng::announced("child", 0xC417D);
    let sleeper = Sleeper::after(sparse)?;
    let said = child::forked(60, || {
        let first = sums()?;
        call_for(&mut rng, TIME);
        let later = sums()?;
        MEMS.trim();
        let trimmed = sums()?;
        if cfg!(feature = "std") && first.free_ended < 10 * MIB {
            return Err(text(&first));
        }
        Ok([first, later, trimmed].map(|stats| text(&stats)).join("; "))
    })?;
    sleeper.wake()?.into_iter().for_each(Piece::discard);
    sums()?;
    Ok(Answer::Passed(said))
}

/// What is resident at most is not far from what is: nothing of it is counted twice or left out.
fn resident_is_a_bound() -> Result<Answer, String> {
    // Nothing that other cases have left.
    MEMS.trim();
    let (process, heap) = (status_bytes("VmRSS"), sums()?.resident);
    let mut rng = Rng::announced("bound", 0xb0);
    fill_and_free(&mut rng, scaled(64, 256) * MIB);
    let grown = (status_bytes("VmRSS") - process, sums()?.resident - heap);
    MEMS.trim();
    let trimmed = (status_bytes("VmRSS").saturating_sub(process), sums()?.resident - heap);
    let is_bound = grown.0 <= grown.1 + MIB && trimmed.0 <= trimmed.1 + MIB && trimmed.1 < 3 * MIB;
    shown(format!("grown {grown:?}, trimmed {trimmed:?}"), is_bound)
}

/// While others change the heap each sum is of its own moment, and none of them nonsense.
fn beside_others() -> Result<Answer, String> {
    const MOST: usize = 64 << 30;
    let over = AtomicBool::new(false);
    let most = thread::scope(|scope| {
        let work = |seed| {
            let mut rng = Rng::quiet(seed);
            while !over.load(Ordering::Relaxed) {
                fill_and_free(&mut rng, 8 * MIB);
                MEMS.thread_flush();
                MEMS.trim();
            }
        };
        let threads: Vec<_> = (0..3).map(|seed| scope.spawn(move || work(seed))).collect();
        let (start, mut most) = (Instant::now(), 0);
        while start.elapsed() < TIME {
            let stats = MEMS.stats();
            let all = parts(&stats).into_iter().chain([stats.resident, stats.free]);
            most = all.fold(most, usize::max);
        }
        over.store(true, Ordering::Relaxed);
        // Until they have ended: the scope waits for their work only.
        threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
        most
    });
    sums()?;
    shown(format!("at most {} MiB", most / MIB), most < MOST)
}

/// A heap of one's own has no slabs.
fn a_heap_of_ones_own() -> Result<Answer, String> {
    let heap = Heap::new();
    summed(heap.stats())?;
    let mut rng = Rng::announced("own", 0x0);
    let mut blocks = Vec::with_capacity(1000);
    for _ in 0..1000 {
        blocks.push(heap.mems_malloc(rng.size(18), 16).unwrap());
    }
    let full = summed(heap.stats())?;
    for block in blocks.drain(..).step_by(2) {
        // SAFETY: it is live, and nobody uses it any more.
        unsafe { heap.mems_free(block.as_ptr()) }.unwrap();
    }
    let sparse = summed(heap.stats())?;
    heap.trim();
    let trimmed = summed(heap.stats())?;
    ensure(
        full.dirty < MIB && sparse.dirty > 8 * MIB && trimmed.dirty < sparse.dirty / 8,
        (full, sparse, trimmed),
    )
}

fn main() -> ExitCode {
    child::watchdog(PATIENCE_SECONDS);
    let mut trials = Trials::alone();
    trials.case("every_mapped_byte_is_counted_once_whatever_the_size", all_sizes);
    trials.case("free_slots_are_counted_as_their_thread_is", whose_slabs);
    trials.case("a_child_counts_every_byte", in_a_child);
    trials.case("what_is_resident_at_most_is_a_bound", resident_is_a_bound);
    trials.case("beside_others_no_sum_is_nonsense", beside_others);
    trials.case("a_heap_of_ones_own_counts_every_byte", a_heap_of_ones_own);
    trials.finish()
}
