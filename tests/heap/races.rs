//! Two calls for one block in the same instant, each try in a process of its own: a free or a realloc beside a free or
//! a realloc, of blocks of every size, by their owner and others. One of the two is wrong, whichever comes first, and
//! is recognised, at the latest while many blocks are handed out afterwards, of which none overlaps another one.
//!
//! ```text
//! RACES=10000 cargo test --release --test heap_races
//! ```
#![allow(unsafe_code, reason = "misuse is what this commits")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::thread;

use helpers::piece::{MEMS, layout};
use helpers::trials::{Answer, Trials};
use helpers::{Rng, child, scaled};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// Small, medium, large and huge blocks.
const SIZES: [usize; 7] = [64, 1000, 20_000, 100_000, 1 << 20, 3 << 20, 6 << 20];
/// Seconds until SIGALRM ends a child that hangs.
const PATIENCE_SECONDS: u32 = 20;
/// Blocks that each thread is handed out after the race.
const BLOCKS: usize = 40;

/// What a thread calls.
#[derive(Clone, Copy, Debug)]
enum Call {
    Free,
    /// With the new size.
    Realloc(usize),
}

/// Whose the block is.
#[derive(Clone, Copy, Debug)]
enum Maker {
    /// The first of the two threads.
    Caller,
    /// A third one, which waits meanwhile.
    Main,
    /// One that has ended.
    Ended,
}

#[derive(Clone, Copy, Debug)]
struct Race {
    size: usize,
    maker: Maker,
    calls: [Call; 2],
    /// Turns that each thread waits before its call.
    delays: [usize; 2],
}

fn allocate(size: usize) -> usize {
    // SAFETY: no size here is 0.
    let start = unsafe { MEMS.alloc(layout(size, 8)) };
    assert!(!start.is_null(), "there is memory");
    start.expose_provenance()
}

/// The start and the end of a live block that was asked for with this size.
fn extent(start: usize, size: usize) -> (usize, usize) {
    let usable = MEMS.usable_size(core::ptr::without_provenance(start));
    (start, start + usable.expect("a live block has a size").max(size))
}

/// A new block.
fn another(size: usize) -> (usize, usize) {
    extent(allocate(size), size)
}

/// Makes the call: where the block is now, if it is anywhere.
fn make(call: Call, address: usize, layout: Layout) -> Option<(usize, usize)> {
    let pointer = core::ptr::with_exposed_provenance_mut(address);
    match call {
        Call::Free => {
            // SAFETY: upheld for one of the two threads at the most.
            unsafe { MEMS.dealloc(pointer, layout) };
            None
        }
        Call::Realloc(size) => {
            // SAFETY: as above.
            let moved = unsafe { MEMS.realloc(pointer, layout, size) };
            Some((moved.expose_provenance(), size))
        }
    }
}

/// Waits until `count` threads have come.
fn meet(arrived: &AtomicUsize, count: usize) {
    arrived.fetch_add(1, Ordering::AcqRel);
    let mut spins = 0_u32;
    while arrived.load(Ordering::Acquire) < count {
        spins += 1;
        if spins.is_multiple_of(1 << 12) {
            thread::yield_now();
        }
        core::hint::spin_loop();
    }
}

/// Runs a race. It ends the process, or comes back with what is wrong: both calls were accepted.
fn run(race: &Race) -> String {
    let block = AtomicUsize::new(match race.maker {
        Maker::Caller => 0,
        Maker::Main => allocate(race.size),
        Maker::Ended => thread::spawn({
            let size = race.size;
            move || allocate(size)
        })
        .join()
        .unwrap(),
    });
    let arrived = AtomicUsize::new(0);
    let act = |index: usize| {
        if index == 0 && matches!(race.maker, Maker::Caller) {
            block.store(allocate(race.size), Ordering::Release);
        }
        let layout = layout(race.size, 8);
        meet(&arrived, 2);
        let address = block.load(Ordering::Acquire);
        for turn in 0..race.delays[index] {
            core::hint::black_box(turn);
        }
        let answer = make(race.calls[index], address, layout);
        meet(&arrived, 4);
        // In turns, so that what came home to the owner is handed out by it, too.
        let mut blocks = Vec::with_capacity(BLOCKS);
        blocks.extend((0..BLOCKS).map(|_| another(race.size)));
        meet(&arrived, 6);
        (answer, blocks)
    };
    let results = thread::scope(|scope| {
        [0, 1].map(|index| scope.spawn(move || act(index))).map(|thread| thread.join().unwrap())
    });
    // What is on its way comes home, and is recognised if it is wrong.
    MEMS.trim();
    let mut blocks: Vec<_> = results.iter().flat_map(|(_, blocks)| blocks.clone()).collect();
    blocks.extend((0..BLOCKS).map(|_| another(race.size)));
    // What has moved has a place of its own.
    let moved = results.iter().filter_map(|(answer, _)| *answer);
    blocks.extend(
        moved
            .filter(|(at, _)| *at != block.load(Ordering::Relaxed))
            .map(|(at, size)| extent(at, size)),
    );
    blocks.sort_unstable();
    match blocks.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        Some(pair) => format!("{pair:x?} overlap"),
        None => "neither call was recognised".into(),
    }
}

/// When the second call was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Recognised {
    AtTheCall,
    AsItCameHome,
}

/// Runs a race in a child.
fn try_once(race: &Race) -> Result<Recognised, String> {
    let (mut errors, stderr) = std::io::pipe().expect("a pipe");
    let answer = child::forked(PATIENCE_SECONDS, || {
        // SAFETY: both are open descriptors.
        unsafe { libc::dup2(stderr.as_raw_fd(), 2) };
        Err(run(race))
    });
    drop(stderr);
    let mut line = String::new();
    errors.read_to_string(&mut line).expect("what it says");
    let why = answer.expect_err("it aborts, or says what is wrong");
    let has_aborted = ["status 0x6:", "status 0x86:"].iter().any(|how| why.starts_with(how));
    match line.strip_prefix("mems: ADDRESS NOT FOUND: ").filter(|_| has_aborted) {
        Some(line) if line.starts_with("two frees of ") => Ok(Recognised::AsItCameHome),
        Some(_) => Ok(Recognised::AtTheCall),
        None => Err(format!("{why} {line}")),
    }
}

/// All pairs of calls: a free beside a free, and a realloc to each other size beside a free or a realloc.
fn all_pairs() -> Vec<(usize, [Call; 2])> {
    let mut pairs = Vec::new();
    for size in SIZES {
        pairs.push((size, [Call::Free, Call::Free]));
        for to in SIZES.into_iter().filter(|to| *to != size) {
            pairs.push((size, [Call::Free, Call::Realloc(to)]));
            pairs.push((size, [Call::Realloc(to), Call::Free]));
            pairs.push((size, [Call::Realloc(to), Call::Realloc(size * 2)]));
        }
    }
    pairs
}

fn races(tries: usize) -> Result<Answer, String> {
    let mut rng = Rng::announced("races", 0x2f1ee5);
    let (pairs, makers) = (all_pairs(), [Maker::Caller, Maker::Main, Maker::Ended]);
    let mut recognised: BTreeMap<Recognised, usize> = BTreeMap::new();
    let mut wrong = 0;
    for number in 0..tries {
        let (size, calls) = pairs[number % pairs.len()];
        let maker = makers[number / pairs.len() % makers.len()];
        let mut delay = || {
            let most = 1 << rng.below(12);
            rng.below(most)
        };
        let delays = [delay(), delay()];
        let race = Race { size, maker, calls, delays };
        match try_once(&race) {
            Ok(when) => *recognised.entry(when).or_default() += 1,
            Err(why) => {
                wrong += 1;
                println!("{race:?}: {why}");
            }
        }
        if number % 1000 == 999 {
            println!("{} of {tries}: {recognised:?}, {wrong} wrong", number + 1);
        }
    }
    let text = format!("{tries} races: one of two was recognised {recognised:?}, {wrong} wrong");
    if wrong == 0 { Ok(Answer::Passed(text)) } else { Err(text) }
}

fn main() -> ExitCode {
    child::no_core_files();
    let asked = std::env::var("RACES").ok().and_then(|tries| tries.parse().ok());
    let tries = asked.unwrap_or(scaled(400, 2000));
    let mut trials = Trials::alone();
    trials.case("of_two_calls_for_one_block_one_is_recognised", move || races(tries));
    trials.finish()
}
