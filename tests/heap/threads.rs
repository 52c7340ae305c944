//! Threads: blocks that change hands, two frees at the same instant, blocks that outlive their thread, walks while
//! others allocate, and wrong addresses by the million.
#![allow(unsafe_code, reason = "frees blocks by hand")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::cell::RefCell;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::collections::HashSet;
use std::sync::Mutex;
use std::thread;

use helpers::piece::{MEMS, Piece, layout};
use helpers::{Rng, scaled};
use mems::Heap;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

const THREADS: usize = 8;
/// Places at which blocks change hands.
const PLACES: usize = 1024;

/// Allocates, leaves the block at a random place, and verifies, resizes and frees what was there.
fn exchange(places: &[Mutex<Option<Piece>>], seed: u64, rounds: usize) {
    let mut rng = Rng::quiet(seed);
    for _ in 0..rounds {
        let size = if rng.once_in(1000) { rng.size(20) } else { rng.below(300) };
        let mut piece = Piece::new(size, 1 << rng.below(7), rng.next()).expect("there is memory");
        if rng.once_in(16) {
            assert!(piece.resize(size * 2));
        }
        let other = places[rng.below(places.len())].lock().unwrap().replace(piece);
        if let Some(mut other) = other {
            if rng.once_in(16) {
                assert!(other.resize(size * 3 + 1));
            }
            other.free();
        }
    }
}

#[test]
fn eight_threads_exchange_blocks() {
    let operations = scaled(400_000, 10_000_000);
    println!("{operations} operations, seeds 100 to {}", 100 + THREADS);
    let places: Vec<_> = (0..PLACES).map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let places = &places;
            scope.spawn(move || exchange(places, 100 + thread as u64, operations / 2 / THREADS));
        }
    });
    places.into_iter().filter_map(|place| place.into_inner().unwrap()).for_each(Piece::free);
    assert_eq!(MEMS.check(), Ok(()));
}

/// Waits until `count` reaches `goal`; gives the processor away, as there may be one only.
fn wait_for(count: &AtomicUsize, goal: usize) {
    let mut spins = 0_u32;
    while count.load(Ordering::Acquire) < goal {
        spins += 1;
        if spins.is_multiple_of(256) {
            thread::yield_now();
        }
        core::hint::spin_loop();
    }
}

/// Added to the address of a block that a thread has tried to free.
const FREED: usize = 1 << 60;

/// Two threads free each of many blocks at the same instant. Returns how often each was the one.
fn race(size: usize, rounds: usize) -> [usize; 2] {
    let heap = Heap::new();
    let (arrived, block) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let won = [AtomicUsize::new(0), AtomicUsize::new(0)];
    thread::scope(|scope| {
        for (seed, winner) in (0..).zip(&won) {
            let (heap, arrived, block) = (&heap, &arrived, &block);
            scope.spawn(move || {
                // Some instructions of delay let either be the first, and the two meet at every point of a free.
                let mut rng = Rng::quiet(seed);
                for round in 0..rounds {
                    let delay = rng.below(100);
                    wait_for(arrived, 4 * round + 1);
                    arrived.fetch_add(1, Ordering::AcqRel);
                    wait_for(arrived, 4 * round + 3);
                    (0..delay).for_each(|_| core::hint::spin_loop());
                    let address = block.load(Ordering::Acquire) & (FREED - 1);
                    let pointer = core::ptr::with_exposed_provenance_mut(address);
                    // SAFETY: nothing uses the block; one of the two frees is wrong and must be refused.
                    if unsafe { heap.mems_free(pointer) }.is_ok() {
                        winner.fetch_add(1, Ordering::Relaxed);
                    }
                    block.fetch_add(FREED, Ordering::AcqRel);
                }
            });
        }
        for round in 0..rounds {
            let start = heap.mems_malloc(size, 8).expect("there is memory").as_ptr();
            block.store(start.expose_provenance(), Ordering::Release);
            arrived.fetch_add(1, Ordering::AcqRel);
            wait_for(&arrived, 4 * round + 3);
            let mut spins = 0_u32;
            while block.load(Ordering::Acquire) < 2 * FREED {
                spins += 1;
                if spins.is_multiple_of(256) {
                    thread::yield_now();
                }
            }
            let sum = won[0].load(Ordering::Relaxed) + won[1].load(Ordering::Relaxed);
            assert_eq!(sum, round + 1, "round {round}: one free of two is right");
            assert_eq!(heap.stats().blocks, 0, "round {round}");
            arrived.fetch_add(1, Ordering::AcqRel);
        }
    });
    assert_eq!(heap.check(), Ok(()));
    won.map(AtomicUsize::into_inner)
}

#[test]
fn of_two_frees_at_the_same_instant_one_is_right() {
    for (size, part) in [(64, 2), (70_000, 4), (3_000_000, 4)] {
        let rounds = scaled(20_000, 100_000) / part;
        println!("seeds 0 and 1, {rounds} rounds of {size} bytes, won by {:?}", race(size, rounds));
    }
}

/// Blocks that a thread-local destructor leaves to others.
static LEFT_BEHIND: Mutex<Vec<Piece>> = Mutex::new(Vec::new());

/// Allocates when it is dropped.
struct AllocatesWhenDropped(Vec<Piece>);

impl Drop for AllocatesWhenDropped {
    fn drop(&mut self) {
        let fresh = (0..10).map(|stamp| Piece::new(50 * stamp, 8, stamp as u64).unwrap());
        self.0.extend(fresh);
        LEFT_BEHIND.lock().unwrap().append(&mut self.0);
    }
}

thread_local! {
    static EARLY: RefCell<Option<AllocatesWhenDropped>> = const { RefCell::new(None) };
    static LATE: RefCell<Option<AllocatesWhenDropped>> = const { RefCell::new(None) };
}

#[test]
fn a_thousand_short_threads_leave_blocks_behind() {
    for round in 0..1000_u64 / 4 {
        let threads = [0, 1, 2, 3].map(|number| {
            thread::spawn(move || {
                let piece = Piece::new(2000, 64, round * 4 + number).unwrap();
                EARLY.set(Some(AllocatesWhenDropped(vec![piece])));
                LATE.set(Some(AllocatesWhenDropped(Vec::new())));
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        if round % 10 == 0 {
            LEFT_BEHIND.lock().unwrap().drain(..).for_each(Piece::free);
        }
    }
    LEFT_BEHIND.lock().unwrap().drain(..).for_each(Piece::free);
    assert_eq!(MEMS.check(), Ok(()));
}

/// Lets threads stop, also those of a test that fails.
struct StopsWhenDropped<'flag>(&'flag AtomicBool);

impl Drop for StopsWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_walk_among_working_threads_shows_nothing_twice_and_misses_nothing() {
    let shall_stop = AtomicBool::new(false);
    let constant: Vec<_> = (0..2000).map(|size| Piece::new(size, 8, 3).unwrap()).collect();
    let mut starts: Vec<usize> = constant.iter().map(Piece::address).collect();
    starts.sort_unstable();
    let places: Vec<_> = (0..PLACES).map(|_| Mutex::new(None)).collect();
    let mut seen: Vec<mems::Block> = Vec::with_capacity(1_000_000);
    thread::scope(|scope| {
        let _stop = StopsWhenDropped(&shall_stop);
        for thread in 0..4 {
            let (places, shall_stop) = (&places, &shall_stop);
            scope.spawn(move || {
                let mut seed = 900 + thread;
                while !shall_stop.load(Ordering::Relaxed) {
                    exchange(places, seed, 500);
                    seed += 4;
                }
            });
        }
        for _ in 0..scaled(30, 100) {
            seen.clear();
            seen.extend(MEMS.blocks());
            let is_apart = |pair: &[mems::Block]| pair[0].start + pair[0].size <= pair[1].start;
            assert!(seen.windows(2).all(is_apart), "a block twice, or two that overlap");
            let found: HashSet<usize> = seen.iter().map(|block| block.start).collect();
            assert!(starts.iter().all(|start| found.contains(start)), "a block was missed");
            assert!(MEMS.segments().count() >= starts.len());
            assert!(MEMS.stats().blocks >= starts.len());
            assert_eq!(MEMS.check(), Ok(()));
        }
    });
    println!("{} blocks in the last walk", seen.len());
    constant.into_iter().for_each(Piece::free);
    places.into_iter().filter_map(|place| place.into_inner().unwrap()).for_each(Piece::free);
}

#[test]
fn a_million_wrong_addresses_are_refused() {
    let mut rng = Rng::announced("wrong addresses", 0xadd7e55);
    let heap = Heap::new();
    let blocks: Vec<_> = (0..3000)
        .map(|_| (rng.size(18), rng.below(8)))
        .map(|(size, align)| heap.mems_malloc(size, 1 << align).unwrap().addr().get())
        .collect();
    for index in (0..blocks.len()).step_by(3) {
        // SAFETY: nothing uses the block.
        unsafe { heap.mems_free(core::ptr::with_exposed_provenance_mut(blocks[index])) }.unwrap();
    }
    let live: HashSet<usize> = heap.blocks().map(|block| block.start).collect();
    let before = heap.stats();
    let wrong = scaled(200_000, 1_000_000);
    let mut refused = 0;
    while refused < wrong {
        let near = blocks[rng.below(blocks.len())];
        let address = match rng.below(6) {
            0 => near.wrapping_add(rng.below(64)).wrapping_sub(32),
            1 => near.wrapping_add(rng.below(1 << 20)),
            2 => near.wrapping_sub(rng.below(1 << 30)),
            3 => near & !4095,
            4 => 0xffff_8000_0000_0000 | rng.below(1 << 47),
            _ => usize::try_from(rng.next()).unwrap_or(0),
        };
        let pointer = core::ptr::without_provenance(address);
        if !live.contains(&address) {
            assert_eq!(heap.usable_size(pointer), None, "{address:#x}");
            let any = layout(rng.below(1 << 18), 8);
            assert!(heap.validate(pointer, any).is_err(), "{address:#x}");
            refused += 1;
        }
    }
    assert_eq!((heap.stats(), heap.check()), (before, Ok(())));
    assert!(
        live.iter().all(|start| heap.usable_size(core::ptr::without_provenance(*start)).is_some())
    );
    println!("{refused} refused");
}
