//! Writing a profile changes nothing: no block of the heap stays behind, also where the writer fails in the middle; and
//! other threads go on meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::fmt;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, Ordering};
use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use helpers::piece::{MEMS, Piece};
use helpers::trials::{Answer, Case, Trials, shown};
use helpers::{Rng, scaled};
use mems::profile::Sites;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

const SEED: u64 = 0x0b5e;
/// Rounds of each form, and of how many forms one is written beside other threads: a debug build needs half a second to
/// read its own debug info for each.
const ROUNDS: usize = scaled(2, 20);
const STEP: usize = scaled(4, 1);

/// Counts what is written, and fails when it is more than this.
struct Limited {
    written: usize,
    most: usize,
}

impl Limited {
    const fn of(most: usize) -> Self {
        Self { written: 0, most }
    }

    const fn take(&mut self, bytes: usize) -> bool {
        self.written += bytes;
        self.written <= self.most
    }
}

impl fmt::Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.take(text.len()) { Ok(()) } else { Err(fmt::Error) }
    }
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.take(bytes.len()) {
            Ok(bytes.len())
        } else {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a form of a look, or of two, and says whether that went well.
type Export = fn(&Sites, &Sites, &mut Limited) -> bool;

const EXPORTS: [(&str, Export); 9] = [
    ("report", |_, after, out| after.write_report(out).is_ok()),
    ("collapsed", |_, after, out| after.write_collapsed(out).is_ok()),
    ("json", |_, after, out| after.write_json(out).is_ok()),
    ("dhat", |_, after, out| after.write_dhat(out).is_ok()),
    ("flame", |_, after, out| after.write_flame_svg(out).is_ok()),
    ("pprof", |_, after, out| after.write_pprof(out).is_ok()),
    ("growth", |before, after, out| after.growth_since(before).unwrap().write_report(out).is_ok()),
    ("growth flame", |before, after, out| {
        after.growth_since(before).unwrap().write_flame_svg(out).is_ok()
    }),
    ("page", |before, after, out| {
        mems::snapshot().unwrap().write_html_with(out, after, Some(before)).is_ok()
    }),
];

/// A stack for each number of `bits` bits.
#[inline(never)]
fn left(path: usize, bits: usize, size: usize) -> Piece {
    black_box(turn(path, bits, size))
}

#[inline(never)]
fn right(path: usize, bits: usize, size: usize) -> Piece {
    black_box(turn(path, bits, size))
}

#[inline(always)]
fn turn(path: usize, bits: usize, size: usize) -> Piece {
    match (bits, path & 1) {
        (0, _) => Piece::new(size, 8, 1).expect("memory"),
        (_, 0) => left(path >> 1, bits - 1, size),
        _ => right(path >> 1, bits - 1, size),
    }
}

/// Two looks, each at `blocks` blocks more, of 2^`bits` stacks; all are sampled.
fn looks(blocks: usize, bits: usize) -> (Sites, Sites, Vec<Piece>) {
    let mut kept = Vec::with_capacity(2 * blocks);
    GLOBAL.profile().start_with_seed(1, SEED);
    let mut look = || {
        kept.extend((0..blocks).map(|number| left(number, bits, 64)));
        GLOBAL.profile().sites().unwrap()
    };
    let (before, after) = (look(), look());
    GLOBAL.profile().stop();
    (before, after, kept)
}

/// What the first export leaves is the list of libraries that the symbolizer keeps; no other one adds to it.
fn nothing_stays() -> Result<Answer, String> {
    let (before, after, kept) = looks(500, 4);
    let start = MEMS.stats().allocated;
    assert!(EXPORTS[0].1(&before, &after, &mut Limited::of(usize::MAX)));
    let first = MEMS.stats().allocated - start;
    let mut figures = format!("the first leaves {first} bytes");
    let mut holds = first < 64 << 10;
    for (name, export) in EXPORTS {
        let start = MEMS.stats().allocated;
        for _ in 0..ROUNDS {
            assert!(export(&before, &after, &mut Limited::of(usize::MAX)));
        }
        let end = MEMS.stats().allocated;
        if start != end {
            holds = false;
            figures += &format!("; {name}: {start} before, {end} after");
        }
    }
    MEMS.check().expect("the heap is whole");
    kept.into_iter().for_each(Piece::free);
    shown(figures, holds)
}

/// A writer that fails in the middle: an error, and nothing stays.
fn a_writer_fails() -> Result<Answer, String> {
    let (before, after, kept) = looks(200, 3);
    let mut failures = 0;
    for (name, export) in EXPORTS.into_iter().step_by(scaled(2, 1)) {
        let mut whole = Limited::of(usize::MAX);
        assert!(export(&before, &after, &mut whole));
        let (len, start) = (whole.written, MEMS.stats().allocated);
        // The page has the sums of the heap, so its length is not always the same.
        let last = if name == "page" { len * 9 / 10 } else { len - 1 };
        for most in [0, 9, 10, len / 3, len / 2, last].into_iter().step_by(scaled(2, 1)) {
            assert!(!export(&before, &after, &mut Limited::of(most)), "{name}: {most} of {len}");
            failures += 1;
        }
        assert_eq!(start, MEMS.stats().allocated, "{name}");
        assert!(export(&before, &after, &mut Limited::of(2 * len)), "{name} after failures");
        MEMS.check().expect("the heap is whole");
    }
    kept.into_iter().for_each(Piece::free);
    Ok(Answer::Passed(format!("{failures} failures")))
}

/// Looks are taken and written while four threads allocate and free.
fn beside_other_threads() -> Result<Answer, String> {
    GLOBAL.profile().start_with_seed(512, SEED);
    let is_over = AtomicBool::new(false);
    let live = |seed| {
        let (mut random, mut kept) = (Rng::quiet(seed), Vec::new());
        let mut count = 0;
        while !is_over.load(Ordering::Relaxed) {
            kept.push(left(random.below(64), 6, 8 + random.below(2000)));
            if kept.len() > 300 {
                kept.swap_remove(random.below(300)).free();
            }
            count += 1;
        }
        kept.into_iter().for_each(Piece::free);
        count
    };
    let (looks, blocks) = thread::scope(|scope| {
        let live = &live;
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || live(seed))).collect();
        let (mut before, mut looks) = (GLOBAL.profile().sites().unwrap(), 0);
        for _ in 0..scaled(1, 5) {
            for (name, export) in EXPORTS.into_iter().step_by(STEP) {
                let after = GLOBAL.profile().sites().unwrap();
                assert!(export(&before, &after, &mut Limited::of(usize::MAX)), "{name}");
                before = after;
                looks += 1;
            }
        }
        is_over.store(true, Ordering::Relaxed);
        (looks, threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>())
    });
    GLOBAL.profile().stop();
    MEMS.check().expect("the heap is whole");
    shown(format!("{looks} looks beside {blocks} blocks"), blocks > 10_000)
}

/// How long each takes for 20,000 samples of 500 stacks: no more than a second but in a debug build.
fn all_are_written_soon() -> Result<Answer, String> {
    let (before, after, kept) = looks(10_000, 9);
    let (mut figures, mut holds) = (String::new(), true);
    for (name, export) in EXPORTS {
        let (start, mut out) = (Instant::now(), Limited::of(usize::MAX));
        assert!(export(&before, &after, &mut out));
        let milliseconds = start.elapsed().as_millis();
        figures += &format!("{name} {milliseconds} ms, {} KiB; ", out.written >> 10);
        holds &= cfg!(debug_assertions) || milliseconds < 1000;
    }
    let (samples, sites) = (after.samples().len(), after.iter().count());
    kept.into_iter().for_each(Piece::free);
    shown(format!("{samples} samples, {sites} sites: {figures}"), holds)
}

fn main() -> ExitCode {
    let cases: [(&str, Case); 4] = [
        ("nothing_stays", nothing_stays),
        ("a_writer_fails", a_writer_fails),
        ("beside_other_threads", beside_other_threads),
        ("all_are_written_soon", all_are_written_soon),
    ];
    let mut trials = Trials::alone();
    trials.cases(cases);
    trials.finish()
}
