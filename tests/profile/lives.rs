//! What becomes of a sampled block, and of one that is older than the profile. The mean distance is one byte: every
//! block is sampled, so that all sums are exact.
#![allow(unsafe_code, reason = "frees what is no block")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::hint::black_box;
use std::alloc::System;
use std::fs;
use std::process::ExitCode;
use std::thread;

use helpers::child;
use helpers::load::Sleeper;
use helpers::piece::{MEMS, Piece};
use helpers::trials::{Answer, Case, Trials, ensure};
use mems::MisuseKind;
use mems::profile::{Site, Sites, StackEnd};

/// The tests themselves run on another heap, so that all that the profile sees is theirs.
#[global_allocator]
static OTHER: System = System;

/// At least 40 bytes: shorter ones are left out now and then even with this distance.
const SIZES: [usize; 12] =
    [40, 64, 100, 1000, 4096, 20_000, 32_768, 40_000, 100_000, 1_000_000, 4_000_000, 20_000_000];
const PATIENCE_SECONDS: u32 = 20;

fn sites() -> Sites {
    MEMS.check().expect("the heap is whole");
    MEMS.profile().sites().expect("memory")
}

/// Live blocks of all sites, and the bytes that were asked for.
fn live(sites: &Sites) -> [usize; 2] {
    let mut sums = [0.0; 2];
    for site in sites.iter() {
        sums[0] += site.blocks().value();
        sums[1] += site.requested_bytes().value();
    }
    sums.map(whole)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of a few")]
fn whole(sum: f64) -> usize {
    sum.round() as usize
}

/// Blocks that are older than the profile.
fn older(sites: &Sites) -> usize {
    whole(sites.older().0.value())
}

/// The sums of what these pieces are.
fn sums_of(pieces: &[Piece]) -> [usize; 2] {
    [pieces.len(), pieces.iter().map(Piece::size).sum()]
}

fn start() {
    MEMS.profile().start(1);
}

fn free_all(pieces: Vec<Piece>) {
    pieces.into_iter().for_each(Piece::free);
}

fn new(size: usize) -> Piece {
    black_box(Piece::new(size, 8, 3).expect("memory"))
}

/// Pieces of all sizes, and alignments.
fn all_kinds() -> Vec<Piece> {
    let mut pieces = Vec::new();
    for size in SIZES {
        for align in [1, 8, 16, 64, 4096, 1 << 20] {
            pieces.push(Piece::new(size, align, 5).expect("memory"));
            pieces.push(Piece::zeroed(size, align, 5).expect("memory"));
        }
    }
    pieces
}

fn every_size_and_alignment() -> Result<Answer, String> {
    start();
    for _ in 0..3 {
        let pieces = all_kinds();
        let sites = sites();
        ensure(live(&sites) == sums_of(&pieces), (live(&sites), sums_of(&pieces)))?;
        ensure(older(&sites) == 0, sites.older())?;
        free_all(pieces);
        let left = live(&self::sites());
        ensure(left == [0, 0], left)?;
    }
    Ok(Answer::Passed(String::new()))
}

/// The one site that has blocks: its frames, and when its oldest block was made.
fn only_site(sites: &Sites) -> Site<'_> {
    let mut with_blocks = sites.iter().filter(|site| site.samples() > 0);
    let site = with_blocks.next().expect("a site");
    assert!(with_blocks.next().is_none(), "one alone");
    site
}

fn a_realloc_keeps_the_record() -> Result<Answer, String> {
    start();
    let mut piece = new(1000);
    let at_first = only_site(&sites()).frames().to_vec();
    // In place, to other classes, out of slabs, in place there, and back.
    for size in [1001, 1024, 40, 5000, 50_000, 200_000, 300_000, 70_000, 9 << 20, 12 << 20, 100] {
        ensure(piece.resize(size), size)?;
        let sites = sites();
        let site = only_site(&sites);
        ensure(live(&sites) == [1, size], (size, live(&sites)))?;
        ensure(site.frames() == at_first, (size, site.frames(), &at_first))?;
    }
    piece.free();
    ensure(live(&sites()) == [0, 0], live(&sites()))
}

fn other_threads_free() -> Result<Answer, String> {
    start();
    let pieces = all_kinds();
    thread::spawn(|| free_all(pieces)).join().unwrap();
    let left = live(&sites());
    ensure(left == [0, 0], left)
}

fn a_thread_leaves_blocks() -> Result<Answer, String> {
    start();
    let pieces = thread::spawn(all_kinds).join().unwrap();
    let sites = sites();
    ensure(live(&sites) == sums_of(&pieces), live(&sites))?;
    let is_whole = |site: Site<'_>| site.samples() == 0 || site.end() == StackEnd::Bottom;
    ensure(sites.iter().all(is_whole), sites.iter().map(|site| site.end()).collect::<Vec<_>>())?;
    free_all(pieces);
    let left = live(&self::sites());
    ensure(left == [0, 0], left)
}

fn a_region_leaves_blocks() -> Result<Answer, String> {
    start();
    let (pieces, remains) = mems::region(all_kinds).expect("a region");
    ensure(remains.blocks() == pieces.len(), remains.blocks())?;
    ensure(live(&sites()) == sums_of(&pieces), live(&sites()))?;
    free_all(pieces);
    ensure(live(&sites()) == [0, 0], live(&sites()))
}

/// Blocks of three threads: one that ended, one that sleeps, and this one.
fn what_was_there_is_nobodys() -> Result<Answer, String> {
    let ended = thread::spawn(all_kinds).join().unwrap();
    let sleeper = Sleeper::after(all_kinds)?;
    let mine = all_kinds();
    let count = mine.len();
    start();
    let sites = sites();
    ensure((live(&sites), older(&sites)) == ([0, 0], 3 * count), (live(&sites), older(&sites)))?;
    // Slots that were out, or waited in a cache, are as good as any now.
    free_all(mine);
    let again = all_kinds();
    let sites = self::sites();
    ensure(live(&sites) == sums_of(&again), (live(&sites), sums_of(&again)))?;
    ensure(older(&sites) == 2 * count, older(&sites))?;
    free_all(ended);
    free_all(sleeper.wake()?);
    let sites = self::sites();
    ensure((live(&sites)[0], older(&sites)) == (count, 0), (live(&sites), older(&sites)))?;
    free_all(again);
    ensure(live(&self::sites()) == [0, 0], live(&self::sites()))
}

/// A thread that its caches alone serve begins to be sampled, too.
fn a_thread_in_a_loop_hears_of_it() -> Result<Answer, String> {
    MEMS.profile().stop();
    for _ in 0..100 {
        new(64).free();
    }
    start();
    let piece = new(64);
    ensure(live(&sites()) == [1, 64], live(&sites()))?;
    MEMS.profile().stop();
    let unseen = new(64);
    ensure(!MEMS.profile().is_on() && live(&sites()) == [1, 64], live(&sites()))?;
    free_all(vec![piece, unseen]);
    ensure(live(&sites()) == [0, 0], live(&sites()))
}

fn another_profile_begins() -> Result<Answer, String> {
    start();
    let first = all_kinds();
    start();
    let sites = sites();
    ensure((live(&sites), older(&sites)) == ([0, 0], first.len()), (live(&sites), older(&sites)))?;
    let second = all_kinds();
    ensure(live(&self::sites()) == sums_of(&second), live(&self::sites()))?;
    free_all(first);
    let sites = self::sites();
    ensure((live(&sites)[0], older(&sites)) == (second.len(), 0), (live(&sites), older(&sites)))?;
    free_all(second);
    ensure(live(&self::sites()) == [0, 0], live(&self::sites()))
}

fn a_child_goes_on() -> Result<Answer, String> {
    start();
    let pieces = all_kinds();
    let said = child::forked(PATIENCE_SECONDS, || {
        let more = all_kinds();
        let both = [sums_of(&pieces), sums_of(&more)];
        let expected = [both[0][0] + both[1][0], both[0][1] + both[1][1]];
        ensure(live(&sites()) == expected, (live(&sites()), expected))?;
        free_all(more);
        ensure(live(&sites()) == sums_of(&pieces), live(&sites()))?;
        Ok(String::new())
    });
    free_all(pieces);
    said.map(Answer::Passed)
}

fn mistakes_are_recognised() -> Result<Answer, String> {
    start();
    for size in SIZES {
        let piece = new(size);
        let (pointer, address) = (piece.pointer(), piece.address());
        let kind = |layout: Option<usize>, at: *mut u8| {
            let layout = layout.map(|size| core::alloc::Layout::from_size_align(size, 8).unwrap());
            let freed = match layout {
                // SAFETY: it is to be refused.
                Some(layout) => unsafe { MEMS.mems_free_sized(at, layout) },
                // SAFETY: as above.
                None => unsafe { MEMS.mems_free(at) },
            };
            freed.err().map(|misuse| misuse.kind)
        };
        let interior = kind(None, pointer.wrapping_add(16));
        ensure(interior == Some(MisuseKind::Interior), (size, interior))?;
        let wrong = kind(Some(3 * size), pointer);
        ensure(wrong == Some(MisuseKind::WrongSize), (size, wrong))?;
        ensure(live(&sites()) == [1, size], (size, live(&sites())))?;
        piece.free();
        let twice = kind(None, pointer);
        let is_told = matches!(twice, Some(MisuseKind::DoubleFree | MisuseKind::Unallocated));
        ensure(is_told, (size, twice, address))?;
    }
    ensure(live(&sites()) == [0, 0], live(&sites()))
}

/// What settings begin: a child says what is in force, and how many of its blocks are sampled.
fn show() -> ExitCode {
    let piece = new(1000);
    let [blocks, _] = live(&sites());
    println!("{} {} {blocks}", MEMS.settings().profile_bytes, MEMS.profile().is_on());
    piece.free();
    ExitCode::SUCCESS
}

fn settings_begin_it() -> Result<Answer, String> {
    let cases = [
        ("4", "4 true 1\n", ""),
        ("1", "524288 true", ""),
        ("64K", "65536 true", ""),
        ("0", "0 false 0\n", ""),
        ("often", "0 false 0\n", "is not 0, 1, or a mean distance of samples in bytes"),
    ];
    for (value, said, complaint) in cases {
        let outcome = child::output_of(child::this_program("show").env("MEMS_PROFILE", value));
        let is_right = outcome.status.success() && outcome.stdout.starts_with(said);
        let is_quiet = complaint.is_empty() == outcome.stderr.is_empty();
        ensure(is_right && is_quiet && outcome.stderr.contains(complaint), outcome)?;
    }
    Ok(Answer::Passed(String::new()))
}

/// The bytes of a section of this program's file.
fn section(name: &str) -> Option<Vec<u8>> {
    let file = fs::read(std::env::current_exe().ok()?).ok()?;
    let number = |at: usize, bytes: usize| {
        let bytes = file.get(at..at + bytes)?.iter().rev();
        Some(bytes.fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    // Of the file's header: where the headers of sections are, how many, and which one has their names.
    let (start, size, count) = (number(0x28, 8)?, number(0x3a, 2)?, number(0x3c, 2)?);
    let bytes_of = |index: usize| {
        let header = start + index * size;
        file.get(number(header + 0x18, 8)?..)?.get(..number(header + 0x20, 8)?)
    };
    let names = bytes_of(number(0x3e, 2)?)?;
    (0..count).find_map(|index| {
        let own = names.get(number(start + index * size, 4)?..)?;
        let is_meant = own.strip_prefix(name.as_bytes())?.first() == Some(&0);
        if is_meant { bytes_of(index).map(<[u8]>::to_vec) } else { None }
    })
}

fn tracers_find_both_ends() -> Result<Answer, String> {
    let notes = section(".note.stapsdt").ok_or("no section of notes")?;
    let count = |words: &[u8]| notes.windows(words.len()).filter(|window| *window == words).count();
    let (begins, ends) = (count(b"otel_memory\0alloc\0"), count(b"otel_memory\0free\0"));
    ensure(begins > 0 && ends > 0 && count(b"stapsdt\0") >= begins + ends, (begins, ends))
}

fn main() -> ExitCode {
    if child::role().is_some() {
        return show();
    }
    let cases: [(&str, Case); 12] = [
        ("settings_begin_it", settings_begin_it),
        ("every_size_and_alignment", every_size_and_alignment),
        ("a_realloc_keeps_the_record", a_realloc_keeps_the_record),
        ("other_threads_free", other_threads_free),
        ("a_thread_leaves_blocks", a_thread_leaves_blocks),
        ("a_region_leaves_blocks", a_region_leaves_blocks),
        ("what_was_there_is_nobodys", what_was_there_is_nobodys),
        ("a_thread_in_a_loop_hears_of_it", a_thread_in_a_loop_hears_of_it),
        ("another_profile_begins", another_profile_begins),
        ("a_child_goes_on", a_child_goes_on),
        ("mistakes_are_recognised", mistakes_are_recognised),
        ("tracers_find_both_ends", tracers_find_both_ends),
    ];
    let mut trials = Trials::alone();
    trials.cases(cases);
    trials.finish()
}
