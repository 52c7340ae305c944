//! Snapshot files that are cut, changed or made up: an error, or a snapshot that answers every question, never a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use std::fs;

use helpers::signed::sign;
use mems::inspect::ReadError;
use mems::{Snapshot, snapshot};
use proptest::prelude::*;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// Words of the header.
const HEADER: usize = COUNTS + 6;
/// Words before the counts.
const COUNTS: usize = 14;

/// A small file with holes, blocks, slabs and threads.
fn sample() -> Vec<u8> {
    let kept: Vec<_> = (0..40).map(|n| vec![0_u8; 1 << (n % 20)]).collect();
    let larger = [vec![0_u8; 5 << 20], vec![0_u8; 6 << 20]];
    let mut file = Vec::new();
    snapshot().unwrap().write_to(&mut file).unwrap();
    drop((kept, larger));
    file
}

fn set(file: &mut [u8], word: usize, value: u64) {
    file[8 * word..8 * word + 8].copy_from_slice(&value.to_le_bytes());
}

fn get(file: &[u8], word: usize) -> u64 {
    u64::from_le_bytes(file[8 * word..8 * word + 8].try_into().unwrap())
}

/// Asks everything, if it is a snapshot.
fn read_and_ask(file: &[u8]) -> Result<(), ReadError> {
    let read = Snapshot::from_bytes(file)?;
    let mut text = String::new();
    read.write_fragmentation(&mut text).unwrap();
    let places = read.places().take(100_000).count();
    read.blocks().take(1000).for_each(|block| assert_eq!(read.find(block.start), Some(block)));
    assert!(read.diff(&read).changes().take(10).next().is_none());
    assert!(places < 100_000 || !text.is_empty());
    Ok(())
}

#[test]
fn what_was_written_is_read() {
    let file = sample();
    let read = Snapshot::from_bytes(&file).unwrap();
    let mut again = Vec::new();
    read.write_to(&mut again).unwrap();
    assert!(file == again, "written again it is the same file");
    let mut signed = file.clone();
    sign(&mut signed);
    assert!(signed == file, "the test signs as the crate does");
    read_and_ask(&file).unwrap();
}

/// What the fuzzer begins with leads it behind the first tests.
#[test]
fn the_seeds_of_the_fuzzer_are_snapshots() {
    for seed in fs::read_dir("fuzz/seeds/snapshot").unwrap().flatten() {
        let bytes = fs::read(seed.path()).unwrap();
        assert!(Snapshot::from_bytes(&bytes[1..]).is_ok(), "{seed:?}");
    }
}

#[test]
fn a_cut_file_is_refused() {
    let file = sample();
    for len in (0..file.len()).step_by(7) {
        assert!(matches!(Snapshot::from_bytes(&file[..len]), Err(ReadError::Truncated)), "{len}");
        let read = Snapshot::read_from(&mut &file[..len]);
        assert!(matches!(read, Err(ReadError::Truncated)), "{len}");
    }
    let longer = [&file[..], &[0]].concat();
    assert!(matches!(Snapshot::from_bytes(&longer), Err(ReadError::Broken(_))));
    assert!(Snapshot::read_from(&mut longer.as_slice()).is_ok(), "a stream may go on");
}

#[test]
fn each_law_is_checked() {
    let file = sample();
    let count = |index: usize| usize::try_from(get(&file, COUNTS + index)).unwrap();
    let (spans, segments, slabs, words) = (count(0), count(1), count(2), count(3));
    let segment = HEADER + 3 * spans;
    let slab = segment + 2 * segments;
    let state = slab + 7 * slabs;
    let class = state + words;
    let thread = class + count(4);
    assert_eq!(8 * (thread + 4 * count(5) + 1), file.len(), "as docs/snapshot-format.md has it");
    let word_of = |index: usize| usize::try_from(get(&file, slab + 7 * index + 5)).unwrap() + state;
    let slots_of = |index: usize| usize::try_from(get(&file, slab + 7 * index + 3) >> 32).unwrap();
    let few = (0..slabs).find(|index| slots_of(*index) < 64).map(word_of).unwrap();
    let has_cached = |word: &usize| get(&file, word + 1) != 0;
    let both =
        (0..slabs).filter(|index| slots_of(*index) <= 64).map(word_of).find(has_cached).unwrap();
    type Change = (usize, fn(u64) -> u64);
    let changes: &[(Change, &str)] = &[
        ((2, |_| 4095), "a page is a power of two"),
        ((HEADER + 1, |_| u64::MAX), "spans and segments are in address order"),
        ((HEADER + 2, |_| 1), "fresh bytes end a span"),
        ((segment + 2, |_| 0), "spans and segments are in address order"),
        ((segment + 1, |_| 0), "spans and segments are in address order"),
        ((segment + 1, |size| size | 7), "a record is impossible"),
        ((slab, |start| start + 8), "a slab is a segment"),
        ((slab + 1, |size| size + 16), "a slab is a segment"),
        ((slab + 3, |shape| shape | 127), "a slab has a class"),
        ((slab + 3, |shape| shape & 0xffff_ffff), "a record is impossible"),
        ((slab + 3, |shape| shape | 1 << 55), "a slab has room for its slots"),
        ((slab + 4, |_| 2 << 32), "a record is impossible"),
        ((slab + 5, |_| 1 << 40), "the words of slabs follow one another"),
        ((both, |_| u64::MAX), "no slot is live and cached"),
        ((few, |live| live | 1 << 63), "no bit stands for a slot that is none"),
        ((class, |_| 0), "a record is impossible"),
        ((class, |_| 1 << 61), "a slab has room for its slots"),
        ((thread + 1, |_| 9), "a record is impossible"),
        ((COUNTS + 2, |slabs| slabs - 1), ""),
        ((COUNTS + 3, |words| words + 1), ""),
        ((COUNTS + 1, |_| u64::MAX), ""),
    ];
    for ((word, change), law) in changes {
        let mut file = file.clone();
        let old = get(&file, *word);
        set(&mut file, *word, change(old));
        let unsigned = read_and_ask(&file);
        assert!(unsigned.is_err(), "word {word}");
        sign(&mut file);
        let error = read_and_ask(&file).expect_err(law).to_string();
        assert!(error.contains(law), "word {word}: {error}, not {law}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_words_are_an_error_or_a_snapshot(
        changes in prop::collection::vec((0_usize..100_000, any::<u64>(), 0_u8..4), 1..6),
        is_signed in any::<bool>(),
    ) {
        let mut file = sample();
        let words = file.len() / 8;
        for (place, value, kind) in changes {
            // Headers are changed as often as everything else.
            let word = if place % 2 == 0 { place / 2 % HEADER } else { place / 2 % words };
            let old = get(&file, word);
            let new = match kind {
                0 => value,
                1 => old ^ 1 << (value % 64),
                2 => old.wrapping_add(value % 16),
                _ => value % 256,
            };
            set(&mut file, word, new);
        }
        if is_signed {
            sign(&mut file);
        }
        let _ = read_and_ask(&file);
    }

    #[test]
    fn noise_is_refused(mut noise in prop::collection::vec(any::<u8>(), 0..4096), begins_well in any::<bool>()) {
        if begins_well && noise.len() >= 16 {
            noise[..16].copy_from_slice(b"MeMSsnap\x02\0\0\0\0\0\0\0");
        }
        prop_assert!(Snapshot::from_bytes(&noise).is_err());
    }
}
