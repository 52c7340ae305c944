//! Looking inside a heap of a million blocks, giving pages back, and zeroed memory: exact at rest, since this program
//! has one thread and the process heap to itself.
#![allow(unsafe_code, reason = "frees blocks by hand")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use std::process::ExitCode;
use std::time::Instant;

use helpers::piece::{MEMS, Piece};
use helpers::proc::{resident_bytes, status_bytes};
use helpers::trials::{Answer, Trials};
use helpers::{Rng, scaled};
use mems::Found;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

const MIB: usize = 1 << 20;

/// Runs something and notes how long it took.
fn timed<T>(what: &str, times: &mut String, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let answer = run();
    times.push_str(&format!("{what} {:.0} us, ", start.elapsed().as_secs_f64() * 1e6));
    answer
}

/// Each call of the debug API on a million blocks.
fn million_blocks() -> Result<Answer, String> {
    let count = scaled(200_000, 1_000_000);
    let mut rng = Rng::announced("a million blocks", 0x1_000_000);
    let mut times = String::with_capacity(1000);
    let mut pieces: Vec<Piece> = Vec::with_capacity(count * 4 / 3);
    let before = MEMS.stats();
    for index in 0..count * 4 / 3 {
        pieces.push(Piece::new(1 + rng.below(120), 8, index as u64).expect("there is memory"));
    }
    for index in (0..count).rev().filter(|index| index % 3 == 0) {
        pieces.swap_remove(index).free();
    }
    let stats = timed("stats", &mut times, || MEMS.stats());
    let walked = timed("blocks", &mut times, || {
        MEMS.blocks().fold((0, 0), |(number, sum), block| (number + 1, sum + block.size))
    });
    assert_eq!(stats.blocks, before.blocks + pieces.len());
    assert_eq!(walked, (stats.blocks, stats.allocated), "{stats}");
    timed("check", &mut times, || MEMS.check()).map_err(|broken| broken.to_string())?;
    let segments = timed("segments", &mut times, || MEMS.segments().count());
    // Free slots that lie side by side are holes of the walk, but not of the free list.
    assert!(segments >= stats.blocks + stats.holes, "{segments} segments, {stats}");
    let spans: usize = MEMS.spans().map(|span| span.used + span.free).sum();
    assert_eq!(spans, stats.allocated + stats.free, "{stats}");
    let probes = 1000;
    timed("1000 find", &mut times, || {
        for piece in pieces.iter().take(probes) {
            let inside = piece.pointer().wrapping_add(piece.size() - 1);
            let found = MEMS.find(inside);
            assert!(matches!(found, Some(Found::Block(block)) if block.start == piece.address()));
        }
    });
    timed("1000 usable_size", &mut times, || {
        let sizes = pieces.iter().take(probes).map(|p| (MEMS.usable_size(p.pointer()), p.size()));
        sizes.for_each(|(usable, size)| assert!(usable >= Some(size)));
    });
    timed("trim", &mut times, || MEMS.trim());
    pieces.drain(..).for_each(Piece::free);
    let after = MEMS.stats();
    assert_eq!((after.blocks, after.allocated), (before.blocks, before.allocated), "{after}");
    MEMS.check().map_err(|broken| broken.to_string())?;
    Ok(Answer::Passed(format!("{} blocks: {times}", stats.blocks)))
}

/// Writes to each page of a block.
fn touch(piece: &Piece) {
    for offset in (0..piece.size()).step_by(4096) {
        let byte = piece.pointer().wrapping_add(offset);
        // SAFETY: the byte lies in a live block; its value stays.
        let old = unsafe { byte.read() };
        // SAFETY: as above.
        unsafe { byte.write_volatile(old) };
    }
}

/// What the spans hold of the machine's memory may not be more than `stats().resident` says.
fn assert_resident_bounds() -> usize {
    let spans: Vec<_> = MEMS.spans().map(|span| (span.start, span.size)).collect();
    let real = resident_bytes(&spans);
    let stats = MEMS.stats();
    assert!(real <= stats.resident, "{real} bytes are resident, {stats}");
    real
}

/// 200 MiB of blocks are touched, most of them freed, and the pages given back.
fn trim_gives_back() -> Result<Answer, String> {
    let mut rng = Rng::announced("trim", 0x7219);
    let (mut pieces, mut sum) = (Vec::with_capacity(100_000), 0);
    MEMS.trim();
    let base = status_bytes("VmRSS");
    while sum < 200 * MIB {
        let piece = Piece::new(4096 << rng.below(8), 8, rng.next()).expect("there is memory");
        let odd = rng.below(piece.size());
        let more = Piece::new(4096 + odd, 8, rng.next()).expect("there is memory");
        sum += piece.size() + more.size();
        pieces.extend([piece, more]);
    }
    pieces.iter().for_each(touch);
    let full = status_bytes("VmRSS");
    assert_resident_bounds();
    assert!(full - base >= 190 * MIB, "{} KiB came", (full - base) >> 10);
    let mut kept = Vec::with_capacity(pieces.len());
    for (index, piece) in pieces.drain(..).enumerate() {
        if index % 50 == 0 { kept.push(piece) } else { piece.free() }
    }
    assert_resident_bounds();
    let (given, again) = (MEMS.trim(), MEMS.trim());
    let left = status_bytes("VmRSS").saturating_sub(base);
    let real = assert_resident_bounds();
    let live: usize = kept.iter().map(|piece| piece.size() + 8192).sum();
    assert!(given >= 150 * MIB, "{given} bytes given back");
    assert!(left <= live + 4 * MIB, "{left} bytes are left, {live} bytes are live");
    assert!(kept.iter().all(Piece::is_intact), "contents of live blocks");
    assert_eq!(again, 0, "nothing is left to give");
    kept.into_iter().for_each(Piece::free);
    MEMS.check().map_err(|broken| broken.to_string())?;
    let text = format!(
        "{} MiB full, {} KiB left of {} KiB live, {} KiB real",
        full >> 20,
        left >> 10,
        live >> 10,
        real >> 10
    );
    Ok(Answer::Passed(text))
}

/// Zeroed blocks on memory that was dirty, and on memory that was given back.
fn zeroed_is_zero() -> Result<Answer, String> {
    let mut rng = Rng::announced("zeroed", 0x2e20);
    let mut live = Vec::new();
    for round in 0..scaled(3000, 20_000) {
        let size = if rng.once_in(300) { rng.size(26) } else { rng.size(17) };
        let made = if rng.once_in(2) { Piece::zeroed } else { Piece::new };
        live.push(made(size, 1 << rng.below(13), rng.next()).expect("there is memory"));
        if live.len() > 100 || rng.once_in(3) {
            live.swap_remove(rng.below(live.len())).free();
        }
        if rng.once_in(8) {
            let index = rng.below(live.len().max(1));
            let size = rng.size(18);
            live.get_mut(index).into_iter().for_each(|piece| assert!(piece.resize(size)));
        }
        if round % 40 == 0 {
            MEMS.trim();
        }
        if round % 500 == 0 {
            live.drain(..).for_each(Piece::free);
        }
    }
    live.into_iter().for_each(Piece::free);
    MEMS.check().map(|()| Answer::Passed(String::new())).map_err(|broken| broken.to_string())
}

fn main() -> ExitCode {
    let mut trials = Trials::alone();
    trials.case("the_debug_api_on_many_blocks", million_blocks);
    trials.case("trim_gives_back_what_is_not_live", trim_gives_back);
    trials.case("alloc_zeroed_after_dirty_reuse_and_trim", zeroed_is_zero);
    trials.finish()
}
