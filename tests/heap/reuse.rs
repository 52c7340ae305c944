//! Memory that must come back: what ended threads owned, holes of the size of one slab, and runs of slabs, which no
//! stale free may take.
#![allow(unsafe_code, reason = "frees blocks by hand")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::alloc::Layout;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Instant;

use helpers::piece::{MEMS, Piece};
use helpers::scaled;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// One test at a time: they look at the sums of the process.
static ALONE: Mutex<()> = Mutex::new(());

const MIB: usize = 1 << 20;
const SLAB_BYTES: usize = 64 << 10;

fn pieces(count: usize, size: usize) -> Vec<Piece> {
    (0..count).map(|stamp| Piece::new(size, 8, stamp as u64).expect("memory")).collect()
}

/// Only the heaps of the last few threads that ended were looked at for slabs that are free again.
#[test]
fn slabs_of_all_threads_that_ended_are_used_again() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    const THREADS: usize = 40;
    let together = Barrier::new(THREADS);
    let blocks: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let blocks = pieces(MIB / 1024, 1024);
                    together.wait();
                    blocks
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    blocks.into_iter().for_each(Piece::free);
    let before = MEMS.stats().mapped;
    let again = pieces(THREADS * MIB / 1024, 1024);
    let grown = MEMS.stats().mapped.saturating_sub(before);
    again.into_iter().for_each(Piece::free);
    assert!(grown <= 16 * MIB, "{grown} bytes more than the {THREADS} threads had");
    assert_eq!(MEMS.check(), Ok(()));
}

/// A thread that had freed much kept it for ever, even when another thread trimmed the heap.
#[test]
fn a_trim_reaches_the_caches_of_other_threads_at_their_next_slow_step() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Nothing is asserted while a thread waits for another.
    let step = Barrier::new(2);
    let (before, after) = thread::scope(|scope| {
        scope.spawn(|| {
            (0..4).for_each(|_| pieces(1000, 500).into_iter().for_each(Piece::free));
            step.wait();
            step.wait();
            Piece::new(7_000, 8, 1).into_iter().for_each(Piece::free);
            step.wait();
            step.wait();
        });
        step.wait();
        let before = MEMS.stats().cached;
        MEMS.trim();
        step.wait();
        step.wait();
        let after = MEMS.stats().cached;
        step.wait();
        (before, after)
    });
    assert!(before >= 256 << 10, "{before} bytes were cached");
    assert!(after + (128 << 10) <= before, "{after} of {before} bytes were still cached");
    assert_eq!(MEMS.check(), Ok(()));
}

/// A slab asked for a hole of nearly twice its size, so that the hole another slab had left was too small.
#[test]
fn a_hole_of_one_slab_is_used_again() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    const SLABS: usize = 1000;
    // Slabs need not begin where groups do, so one slab in eight may stay.
    const GROUP_BYTES: usize = 8 * SLAB_BYTES;
    let blocks = pieces(SLABS * SLAB_BYTES / 1024, 1024);
    let (stay, go): (Vec<_>, Vec<_>) =
        blocks.into_iter().partition(|block| (block.address() / GROUP_BYTES).is_multiple_of(2));
    go.into_iter().for_each(Piece::free);
    MEMS.thread_flush();
    let before = MEMS.stats().mapped;
    let again = pieces(SLABS / 2 * SLAB_BYTES / 512, 512);
    let grown = MEMS.stats().mapped.saturating_sub(before);
    again.into_iter().chain(stay).for_each(Piece::free);
    // Half of what the slabs that had gone were. A heap of this size grows by 8 MiB at once, which the list of the
    // pieces alone may need.
    assert!(grown <= 16 * MIB, "{grown} bytes more although {SLABS} / 2 slabs had gone");
    assert_eq!(MEMS.check(), Ok(()));
}

/// Between the moment when a slab's run is taken from the free list and the one when the run is known as a slab's, a
/// stale free of the block that was there before took the run away from below the slab; the same at its end.
#[test]
fn a_stale_free_never_takes_the_run_of_a_slab() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let rounds = scaled(30_000, 200_000);
    // Where the slab was last: it comes again there.
    let start = AtomicUsize::new(0);
    let layout = Layout::from_size_align(SLAB_BYTES, SLAB_BYTES).expect("a layout");
    let is_done = AtomicBool::new(false);
    let mut same = 0;
    let accepted = thread::scope(|scope| {
        let misuser = scope.spawn(|| {
            let mut accepted = 0;
            while !is_done.load(Ordering::Relaxed) {
                let stale = ptr::without_provenance_mut(start.load(Ordering::Relaxed));
                // SAFETY: no block of this layout is live there, so nothing is freed.
                accepted += usize::from(unsafe { MEMS.mems_free_sized(stale, layout) }.is_ok());
            }
            accepted
        });
        for stamp in 0..rounds {
            let piece = Piece::new(3000, 8, stamp as u64).expect("memory");
            let here = piece.address() / SLAB_BYTES * SLAB_BYTES;
            same += usize::from(start.swap(here, Ordering::Relaxed) == here);
            piece.free();
            MEMS.thread_flush();
            if misuser.is_finished() {
                break;
            }
        }
        is_done.store(true, Ordering::Relaxed);
        misuser.join().unwrap()
    });
    assert_eq!(accepted, 0, "no block was live there");
    assert!(same > rounds / 2, "the slab was elsewhere: {same} of {rounds}");
    assert_eq!(MEMS.check(), Ok(()));
}

/// A check met a slab that ended and began again at the same place, and called its run no block.
#[test]
fn a_check_is_not_alarmed_by_slabs_that_come_and_go() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let rounds = scaled(20_000, 400_000);
    let is_done = AtomicBool::new(false);
    let broken = thread::scope(|scope| {
        let checker = scope.spawn(|| {
            // A pause between two checks, in which the other thread, asleep before an unfair lock, wakes and takes it.
            let mut checks = core::iter::repeat_with(|| {
                thread::sleep(Duration::from_micros(200));
                MEMS.check()
            });
            checks.find(|check| check.is_err() || is_done.load(Ordering::Relaxed))
        });
        for stamp in 0..rounds {
            Piece::new(30_000, 8, stamp as u64).expect("memory").free();
            MEMS.thread_flush();
            if checker.is_finished() {
                break;
            }
        }
        is_done.store(true, Ordering::Relaxed);
        checker.join().unwrap()
    });
    assert_eq!(broken, Some(Ok(())));
}

/// While `trim` worked on the largest hole nobody could have it, so a thread that needed room made the heap larger,
/// each time by an eighth.
#[test]
fn the_heap_does_not_grow_while_it_is_trimmed() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let rounds = scaled(3000, 20_000);
    let is_done = AtomicBool::new(false);
    pieces(100, MIB).into_iter().for_each(Piece::free);
    let before = MEMS.stats().mapped;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                MEMS.trim();
            }
        });
        for round in 0..rounds {
            pieces(5, MIB + round % 7 * 4096).into_iter().for_each(Piece::free);
        }
        is_done.store(true, Ordering::Relaxed);
    });
    let grown = MEMS.stats().mapped.saturating_sub(before);
    assert!(grown <= 64 * MIB, "{grown} bytes more for 5 blocks of 1 MiB");
    assert_eq!(MEMS.check(), Ok(()));
}

/// Blocks of many sizes, one in eight of those that were there: trims have something to do.
fn sparse_pieces() -> Vec<Piece> {
    let all = (1..200).flat_map(|size| pieces(40, 40 * size)).enumerate();
    let (kept, freed): (Vec<_>, Vec<_>) = all.partition(|(index, _)| index % 8 == 0);
    freed.into_iter().for_each(|(_, piece)| piece.free());
    kept.into_iter().map(|(_, piece)| piece).collect()
}

/// While `trim` had the heaps of all threads that ended in its hands, each thread that started got a new one, and those
/// stay for ever.
#[test]
fn trims_beside_threads_that_come_and_go_make_no_heaps() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    const STARTERS: usize = 4;
    let heaps = || mems::snapshot().expect("memory").threads().len();
    let before = heaps();
    let end = Instant::now() + Duration::from_millis(scaled(2_000, 6_000) as u64);
    thread::scope(|scope| {
        for _ in 0..STARTERS {
            scope.spawn(move || {
                while Instant::now() < end {
                    let kept = thread::spawn(sparse_pieces).join().unwrap();
                    thread::spawn(|| kept.into_iter().for_each(Piece::free)).join().unwrap();
                }
            });
        }
        while Instant::now() < end {
            MEMS.trim();
        }
    });
    // Starters, their threads, one that waits to be joined by each, this thread and the harness's.
    assert!(heaps() <= before.max(3 * STARTERS + 8), "{before} heaps, then {}", heaps());
    assert_eq!(MEMS.check(), Ok(()));
}
