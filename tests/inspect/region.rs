//! What a closure leaves behind, while this harness runs other tests on other threads.
#![allow(unsafe_code, reason = "frees blocks by hand, and sends signals")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::hint::black_box;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Barrier, Mutex, mpsc};
use std::thread;
use std::time::Instant;

use helpers::piece::{MEMS, Piece};
use helpers::{Rng, child, scaled};
use mems::{RegionError, Remains, region};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

fn counts(left: &Remains) -> (usize, usize) {
    (left.blocks(), left.bytes())
}

fn measured<T>(run: impl FnOnce() -> T) -> (T, Remains) {
    region(run).expect("there is memory")
}

#[test]
fn what_is_dropped_is_not_left_behind() {
    let ((), left) = measured(|| {
        let mut words: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        words.sort();
        drop(black_box(words));
        drop(black_box(vec![0_u8; 100_000]));
        drop(black_box(vec![0_u8; 6_000_000]));
    });
    assert!(left.is_nothing(), "{left}");
    assert_eq!(left.to_string(), "nothing is left behind");
}

#[test]
fn what_is_kept_is_counted_by_class() {
    let (kept, left) = measured(|| {
        let words: Vec<Box<[u8; 60]>> = (0..10).map(|n| Box::new([n; 60])).collect();
        (words, vec![0_u8; 5 << 20], vec![0_u8; 65536], [7_u64; 3].to_vec())
    });
    let classes: Vec<_> = left.classes().map(|(slot, sum)| (slot, sum.blocks)).collect();
    assert_eq!(classes, [(24, 1), (64, 10), (80, 1), (65536, 1)], "{left}");
    assert_eq!((left.larger().blocks, left.larger().bytes), (1, 5 << 20));
    assert_eq!(counts(&left), (14, 24 + 640 + 80 + 65536 + (5 << 20)));
    let all = left
        .first_blocks()
        .all(|block| MEMS.usable_size(core::ptr::without_provenance(block.start)).is_some());
    assert!(all && left.first_blocks().count() == 8);
    drop(kept);
}

#[test]
fn blocks_from_before_do_not_count() {
    let before: Vec<_> = (0..500).map(|n| Piece::new(48, 8, n).unwrap()).collect();
    let mut large = Piece::new(100_000, 8, 1).unwrap();
    let (kept, left) = measured(|| {
        before.into_iter().for_each(Piece::free);
        assert!(large.resize(50_000));
        (0..3).map(|n| Piece::new(48, 8, n).unwrap()).collect::<Vec<_>>()
    });
    let slots: Vec<_> = left.classes().filter(|(slot, _)| *slot == 48).collect();
    assert_eq!(slots.first().map(|(_, sum)| sum.blocks), Some(3), "{left}");
    kept.into_iter().for_each(Piece::free);
    large.free();
}

#[test]
fn what_another_thread_frees_is_not_left_behind() {
    let (send, receive) = mpsc::channel::<(Vec<Piece>, mpsc::Sender<()>)>();
    let other = thread::spawn(move || {
        for (pieces, done) in receive {
            pieces.into_iter().for_each(Piece::free);
            done.send(()).unwrap();
        }
    });
    let mut reserve = Some(send);
    let ((), left) = measured(|| {
        for size in [40, 500, 5000, 200_000] {
            let pieces = (0..50).map(|n| Piece::new(size, 8, n).unwrap()).collect();
            let (done, is_done) = mpsc::channel();
            reserve.as_ref().unwrap().send((pieces, done)).unwrap();
            is_done.recv().unwrap();
        }
        reserve = None;
    });
    other.join().unwrap();
    // The channel itself keeps what it likes, in small slots; the pieces are gone.
    assert!(left.bytes() < 10_000, "{left}");
}

#[test]
fn regions_nest() {
    let ((inner, kept), outer) = measured(|| {
        let first = Box::new([1_u8; 200]);
        let (second, inner) = measured(|| (Box::new([2_u8; 200]), vec![0_u8; 5_000_000]));
        let ((), nothing) = measured(|| drop(black_box(Box::new([3_u8; 200]))));
        assert!(nothing.is_nothing(), "{nothing}");
        (inner, (first, second))
    });
    assert_eq!(counts(&inner), (2, 208 + 5_000_000), "{inner}");
    assert_eq!(counts(&outer), (3, 2 * 208 + 5_000_000), "{outer}");
    drop(kept);
    assert_eq!(MEMS.check(), Ok(()));
}

#[test]
fn a_panic_ends_the_region() {
    let result = std::panic::catch_unwind(|| {
        measured(|| -> Box<u8> { std::panic::resume_unwind(Box::new(5_u8)) })
    });
    assert_eq!(result.unwrap_err().downcast_ref(), Some(&5_u8));
    let ((), left) = measured(|| drop(black_box(Box::new(1_u64))));
    assert!(left.is_nothing(), "{left}");
}

/// Leaves a known number of blocks of each kind behind, in many regions, and is told so.
fn exact_rounds(seed: u64, rounds: usize) {
    let mut rng = Rng::quiet(seed);
    let mut kept = Vec::with_capacity(64);
    let mut work = Vec::with_capacity(4096);
    for _ in 0..rounds {
        let (wanted, large) = (rng.below(20), rng.below(4));
        let ((), left) = measured(|| {
            for _ in 0..300 {
                work.push(Piece::new(rng.size(17), 8, seed).unwrap());
                if rng.once_in(2) {
                    work.swap_remove(rng.below(work.len())).free();
                }
            }
            work.drain(..).for_each(Piece::free);
            kept.extend((0..wanted).map(|n| Piece::new(1 + n * 50, 8, seed).unwrap()));
            kept.extend((0..large).map(|n| Piece::new(1_500_000 << n, 8, seed).unwrap()));
        });
        assert_eq!(left.blocks(), wanted + large, "{left}");
        assert_eq!(left.larger().blocks, large.saturating_sub(2), "those above 4 MiB: {left}");
        kept.drain(..).for_each(Piece::free);
    }
}

#[test]
fn other_threads_do_not_disturb_the_answer() {
    let shall_stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in 10..12 {
            let shall_stop = &shall_stop;
            scope.spawn(move || {
                let (mut rng, mut live) = (Rng::quiet(seed), Vec::new());
                while !shall_stop.load(Ordering::Relaxed) {
                    live.push(Piece::new(rng.size(18), 8, seed).unwrap());
                    if live.len() > 200 {
                        live.swap_remove(rng.below(live.len())).free();
                    }
                }
                live.into_iter().for_each(Piece::free);
            });
        }
        let measuring: Vec<_> =
            (1..5).map(|seed| scope.spawn(move || exact_rounds(seed, scaled(30, 300)))).collect();
        measuring.into_iter().for_each(|thread| thread.join().unwrap());
        shall_stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(MEMS.check(), Ok(()));
}

#[test]
fn many_regions_take_no_more_memory_than_one() {
    let heaps = || mems::snapshot().unwrap().threads().len();
    exact_rounds(77, 20);
    let (before, rounds) = (heaps(), scaled(60, 500));
    exact_rounds(78, rounds);
    // Other tests make heaps, too: some tens. Those of threads that ended go.
    let grown = heaps().saturating_sub(before);
    assert!(grown < rounds / 2 + 20, "{grown} heaps more after {rounds} regions");
}

/// Found where each region looked through all slabs of the process for each heap of a thread that had ended, under a
/// lock: 2 ms with 10 GiB live.
#[test]
fn what_a_region_costs_does_not_grow_with_the_heap() {
    let barrier = Barrier::new(24);
    let kept = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                let piece = Piece::new(100, 8, 1);
                barrier.wait();
                kept.lock().unwrap().push(piece);
            });
        }
    });
    // Slabs of one slot each, of which a page is touched.
    let layout = core::alloc::Layout::from_size_align(4 << 20, 8).unwrap();
    // SAFETY: the layout has a size.
    let blocks: Vec<_> = (0..2500).map(|_| unsafe { std::alloc::alloc(layout) }).collect();
    let shortest = (0..100).map(|_| {
        let begin = Instant::now();
        let ((), left) = measured(|| ());
        assert!(left.is_nothing(), "{left}");
        begin.elapsed()
    });
    let shortest = shortest.min().unwrap_or_default();
    blocks.into_iter().filter(|block| !block.is_null()).for_each(|block| {
        // SAFETY: the block is live.
        unsafe { std::alloc::dealloc(block, layout) };
    });
    println!("{shortest:?} with 10 GiB");
    assert!(shortest < Duration::from_micros(200), "{shortest:?}");
}

/// Runs this test again under settings with which there can be no region, and looks what it says.
#[test]
fn settings_without_heaps_for_threads_are_named() {
    if let Err(error) = region(|| ()) {
        assert_eq!(error, RegionError::NoThreadHeaps);
        return println!("{error}");
    }
    for variable in [("MEMS_HARDEN", "1"), ("MEMS_CANARY", "1"), ("MEMS_MISUSE", "report")] {
        let mut again = child::this_test("settings_without_heaps_for_threads_are_named");
        let outcome = child::output_of(again.envs([variable]));
        let is_named = outcome.stdout.contains("without MEMS_HARDEN");
        assert!(outcome.status.success() && is_named, "{outcome:?}");
    }
}

static AT_THE_END: Mutex<Option<RegionError>> = Mutex::new(None);

extern "C" fn at_the_end(_: *mut core::ffi::c_void) {
    *AT_THE_END.lock().unwrap() = region(|| ()).err();
}

#[test]
fn a_thread_that_has_given_its_heap_away_has_no_region() {
    thread::spawn(|| {
        // MeMS has its key with the first block, so the destructor of this one comes behind.
        drop(black_box(Box::new(1_u8)));
        let mut key = 0;
        // SAFETY: `key` is written, and the destructor takes whatever is set below.
        assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(at_the_end)) }, 0);
        // SAFETY: the key was just created, and the value is not followed.
        assert_eq!(unsafe { libc::pthread_setspecific(key, (&raw const AT_THE_END).cast()) }, 0);
    })
    .join()
    .unwrap();
    assert_eq!(*AT_THE_END.lock().unwrap(), Some(RegionError::ThreadEnds));
}

extern "C" fn use_blocks(_: i32) {
    (1..20).for_each(|size| drop(black_box(vec![1_u8; 100 * size])));
}

/// Frees and mallocs of a region take locks where a handler may interrupt them. Those of two threads do not wait for
/// each other.
#[test]
fn signal_handlers_may_allocate_in_regions() {
    if child::role().is_some() {
        child::watchdog(20);
        let handler: extern "C" fn(_) = use_blocks;
        // SAFETY: the handler has the signature of one.
        unsafe { libc::signal(libc::SIGUSR1, handler as *const () as libc::sighandler_t) };
        let (is_over, barrier) = (AtomicBool::new(false), Barrier::new(4));
        let threads = Mutex::new(Vec::new());
        let life = || {
            // SAFETY: it has no preconditions.
            threads.lock().unwrap().push(unsafe { libc::pthread_self() });
            let run = || {
                // Heaps get their slabs under locks that a handler may not meet.
                use_blocks(0);
                barrier.wait();
                while !is_over.load(Ordering::Relaxed) {
                    use_blocks(0);
                }
                barrier.wait();
            };
            region(run).unwrap();
        };
        thread::scope(|scope| {
            (0..3).for_each(|_| drop(scope.spawn(life)));
            barrier.wait();
            for _ in 0..5000 {
                for thread in threads.lock().unwrap().iter() {
                    // SAFETY: the thread waits for this one.
                    unsafe { libc::pthread_kill(*thread, libc::SIGUSR1) };
                }
                thread::sleep(Duration::from_micros(10));
            }
            is_over.store(true, Ordering::Relaxed);
            barrier.wait();
        });
        assert_eq!(MEMS.check(), Ok(()));
        return;
    }
    let outcome =
        child::output_of(&mut child::this_test("signal_handlers_may_allocate_in_regions"));
    assert!(outcome.status.success(), "{}", outcome.describe());
}
