//! `fork` while other threads allocate: every child finds the heap whole and can use it, and nobody hangs.
#![allow(unsafe_code, reason = "forks, and registers handlers with libc")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

#[cfg(feature = "std")]
use core::alloc::GlobalAlloc;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::process::ExitCode;
use std::sync::{Barrier, Mutex};

#[cfg(feature = "std")]
use helpers::piece::layout;
use helpers::piece::{MEMS, Piece};
use helpers::trials::{Answer, Trials};
use helpers::{Rng, child, scaled};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// Children of each case.
const CHILDREN: usize = 1000;
/// Seconds until SIGALRM ends a child that hangs.
const PATIENCE_SECONDS: u32 = 10;
/// Threads that allocate all the while.
const THREADS: u64 = 4;

/// What the handlers of others have allocated.
static HANDLED: AtomicUsize = AtomicUsize::new(0);
/// A block that the handlers hand from one to the next.
static IN_HAND: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A fork handler of somebody else, which allocates, reallocates and frees.
extern "C" fn allocate_in_handler() {
    let count = HANDLED.fetch_add(1, Ordering::Relaxed);
    // Two threads may fork at once, and one of them holds MeMS's locks: to wait for this one would be our deadlock.
    let Ok(mut texts) = IN_HAND.try_lock() else {
        core::hint::black_box(vec![count; 1 + count % 700]);
        return;
    };
    if texts.len() > 20 {
        texts.clear();
    }
    texts.push(format!("{count}").repeat(1 + count % 700));
}

extern "C" fn register_handlers() {
    let handler: Option<unsafe extern "C" fn()> = Some(allocate_in_handler);
    // SAFETY: the handlers allocate in the forking thread only, and do not unwind.
    let registered = unsafe { libc::pthread_atfork(handler, handler, handler) };
    assert_eq!(registered, 0);
}

/// Registered before MeMS registers its own handlers, so these run while MeMS holds its locks; those that main
/// registers run while it does not.
#[used]
// SAFETY: the section holds pointers to functions without parameters, which is what this is.
#[unsafe(link_section = ".init_array.00101")]
static REGISTER_FIRST: extern "C" fn() = register_handlers;

/// What a child does with the heap it has inherited. Answers its exit code.
fn child_life(inherited: Vec<Piece>, number: usize) -> i32 {
    child::watchdog(PATIENCE_SECONDS);
    if let Err(broken) = MEMS.check() {
        eprintln!("child {number}: {broken}");
        return 10;
    }
    let mut rng = Rng::quiet(number as u64);
    let mut pieces = inherited;
    for _ in 0..40 {
        let Some(piece) = Piece::new(rng.size(17), 8, rng.next()) else { return 11 };
        pieces.push(piece);
        let victim = pieces.swap_remove(rng.below(pieces.len()));
        if !victim.is_intact() {
            return 12;
        }
        victim.free();
    }
    #[cfg(feature = "std")]
    if number.is_multiple_of(10) && !mems::region(|| ()).is_ok_and(|((), left)| left.is_nothing()) {
        return 15;
    }
    if number.is_multiple_of(50) && fork_child(Vec::new(), number + 1) != 0 {
        return 13;
    }
    if number.is_multiple_of(20) {
        MEMS.trim();
    }
    let is_intact = pieces.iter().all(Piece::is_intact);
    pieces.into_iter().for_each(Piece::free);
    if !is_intact || MEMS.check().is_err() { 14 } else { 0 }
}

/// Forks; the child lives its life. Answers the child's end: 0, an exit code, or a signal's number negated.
fn fork_child(inherited: Vec<Piece>, number: usize) -> i32 {
    // SAFETY: the child uses nothing that another thread may have held but the heap, which is what is tested, and
    // standard error, which is not locked unless it has failed.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        child::exit_now(child_life(inherited, number));
    }
    assert!(pid > 0, "fork");
    let mut status = 0;
    // SAFETY: `status` is a place for the answer.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    inherited.into_iter().for_each(Piece::free);
    if libc::WIFSIGNALED(status) { -libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

/// Allocates and frees blocks of all sizes until told to stop.
fn churn(seed: u64, shall_stop: &AtomicBool) -> usize {
    let (mut rng, mut live, mut operations) = (Rng::quiet(seed), Vec::new(), 0);
    while !shall_stop.load(Ordering::Relaxed) {
        let size = if rng.once_in(2000) { 33 << 20 } else { rng.size(13) };
        live.push(Piece::new(size, 8, rng.next()).expect("there is memory"));
        if live.len() > 60 {
            live.swap_remove(rng.below(live.len())).free();
        }
        if rng.once_in(5000) {
            MEMS.trim();
        }
        operations += 1;
    }
    live.into_iter().for_each(Piece::free);
    operations
}

/// Allocates and frees in regions within regions, of which each leaves something behind, until told to stop.
#[cfg(feature = "std")]
fn churn_in_regions(seed: u64, shall_stop: &AtomicBool) -> usize {
    let (mut rng, mut operations) = (Rng::quiet(seed), 0);
    let mut some = |count| -> Vec<Piece> {
        operations += count;
        (0..count).filter_map(|_| Piece::new(rng.size(14), 8, rng.next())).collect()
    };
    while !shall_stop.load(Ordering::Relaxed) {
        let (kept, _) = mems::region(|| {
            let mut kept = some(20);
            let (inner, _) = mems::region(|| some(10)).expect("there is memory");
            kept.drain(..10).for_each(Piece::free);
            kept.extend(inner);
            kept
        })
        .expect("there is memory");
        kept.into_iter().for_each(Piece::free);
    }
    operations
}

/// Forks `count` children, one after the other, each with some blocks of this process.
fn fork_many(first: usize, count: usize) -> Result<(), String> {
    let mut rng = Rng::quiet(first as u64);
    for number in first..first + count {
        let inherited = (0..10).filter_map(|_| Piece::new(rng.size(15), 16, rng.next())).collect();
        match fork_child(inherited, number) {
            0 => {}
            end if end == -libc::SIGALRM => return Err(format!("child {number} HANGS")),
            end => return Err(format!("child {number} ended with {end}")),
        }
    }
    Ok(())
}

/// Forks from `forkers` threads while others allocate.
fn fork_case(
    forkers: usize,
    count: usize,
    churn: fn(u64, &AtomicBool) -> usize,
) -> Result<Answer, String> {
    println!("seeds: 1 to {THREADS}, and the children's numbers");
    let shall_stop = AtomicBool::new(false);
    let (ends, operations) = std::thread::scope(|scope| {
        let churners: Vec<_> = (1..=THREADS)
            .map(|seed| {
                scope.spawn({
                    let shall_stop = &shall_stop;
                    move || churn(seed, shall_stop)
                })
            })
            .collect();
        let each = count / forkers.max(1);
        let ends: Result<Vec<()>, String> = if forkers == 0 {
            fork_many(0, count).map(|()| Vec::new())
        } else {
            let threads: Vec<_> = (0..forkers)
                .map(|forker| scope.spawn(move || fork_many(forker * each, each)))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        };
        shall_stop.store(true, Ordering::Relaxed);
        let operations: usize = churners.into_iter().map(|c| c.join().expect("no panic")).sum();
        (ends, operations)
    });
    ends?;
    MEMS.check().map_err(|broken| broken.to_string())?;
    let handled = HANDLED.load(Ordering::Relaxed);
    Ok(Answer::Passed(format!("{count} children, {operations} operations, {handled} handlers")))
}

/// The very first use of the heap happens in a fork handler: see `register_handlers`.
fn handlers_case() -> Result<Answer, String> {
    let before = HANDLED.load(Ordering::Relaxed);
    register_handlers();
    fork_many(7, 20)?;
    let more = HANDLED.load(Ordering::Relaxed) - before;
    let wanted = 20 * 2 * 2;
    if more < wanted {
        Err(format!("{more} handlers ran"))
    } else {
        Ok(Answer::Passed(String::new()))
    }
}

/// A thread has slots of the forking thread's slabs in its caches when it vanishes: the child has them all the same.
fn vanished_caches_case() -> Result<Answer, String> {
    const BLOCKS: usize = 4000;
    let blocks: Vec<_> = (0..BLOCKS).filter_map(|stamp| Piece::new(48, 8, stamp as u64)).collect();
    let (freed, kept): (Vec<_>, Vec<_>) =
        blocks.into_iter().enumerate().partition(|(index, _)| index % 100 == 0);
    let (has_freed, may_end) = (Barrier::new(2), Barrier::new(2));
    let end = std::thread::scope(|scope| {
        scope.spawn(|| {
            freed.into_iter().for_each(|(_, piece)| piece.free());
            has_freed.wait();
            may_end.wait();
        });
        has_freed.wait();
        // SAFETY: as in `fork_child`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            child::watchdog(PATIENCE_SECONDS);
            MEMS.thread_flush();
            child::exit_now(
                i32::from(MEMS.check().is_err()) + 2 * i32::from(MEMS.stats().cached > 0),
            );
        }
        may_end.wait();
        let mut status = 0;
        // SAFETY: `status` is a place for the answer.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        status
    });
    kept.into_iter().for_each(|(_, piece)| piece.free());
    if end == 0 { Ok(Answer::Passed(String::new())) } else { Err(format!("status {end:#x}")) }
}

/// What the first moment of a child costs: microseconds from the fork on, and page faults.
fn first_moment() -> (i64, i64) {
    let now = || {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is a place for the answer.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        now.tv_sec * 1_000_000 + now.tv_nsec / 1000
    };
    let begin = now();
    let text = child::forked(PATIENCE_SECONDS, || {
        let end = now();
        // SAFETY: all zero is an answer.
        let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
        // SAFETY: `usage` is a place for the answer.
        unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
        Ok(format!("{} {}", end - begin, usage.ru_minflt))
    });
    let text = text.expect("an answer");
    let (microseconds, faults) = text.split_once(' ').expect("two numbers");
    (microseconds.parse().expect("a number"), faults.parse().expect("a number"))
}

/// Blocks of 16 bytes.
fn many_blocks(count: usize) -> Vec<NonNull<u8>> {
    (0..count).filter_map(|_| MEMS.mems_malloc(16, 8)).collect()
}

fn free_blocks(blocks: Vec<NonNull<u8>>) {
    for block in blocks {
        // SAFETY: the block is live, and nothing refers to it.
        unsafe { MEMS.mems_free(block.as_ptr()) }.expect("it is live");
    }
}

/// The shortest of the first moments of some children, beside a thread that has `count` blocks, if there is to be one.
fn shortest_moment(beside: Option<usize>) -> (i64, i64) {
    // The others were held up by whatever else the machine does.
    let shortest = || (0..15).map(|_| first_moment()).min().unwrap_or_default();
    let Some(count) = beside else { return shortest() };
    let (has_begun, may_end) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let blocks = many_blocks(count);
            has_begun.wait();
            may_end.wait();
            free_blocks(blocks);
        });
        has_begun.wait();
        let moment = shortest();
        may_end.wait();
        moment
    })
}

/// Found where a child with one thread more in its parent went over every slot: 15 ms for 10 million blocks.
fn first_moment_case() -> Result<Answer, String> {
    let count = scaled(1_000_000, 5_000_000);
    let blocks = many_blocks(count);
    let alone = shortest_moment(None);
    let beside = shortest_moment(Some(1));
    let beside_many = shortest_moment(Some(count));
    free_blocks(blocks);
    let text = format!(
        "{count} blocks, us and faults: {alone:?} alone, {beside:?} beside a thread with one, {beside_many:?} beside \
         one with as many"
    );
    let is_soon = beside.0 < alone.0 + alone.0 / 2 + 2000 && beside.1 < alone.1 + 150;
    // Twice the memory is twice the work of the kernel, and each slab of the thread is looked at: 10 ms are half of
    // what it took to go over its slots.
    let is_soon_enough = beside_many.0 < 3 * alone.0 + 10_000 && beside_many.1 < alone.1 + 150;
    if is_soon && is_soon_enough { Ok(Answer::Passed(text)) } else { Err(text) }
}

/// A thread is moving a block when the process forks: in the child nobody does, and the block can be freed.
#[cfg(feature = "std")]
fn moving_case() -> Result<Answer, String> {
    const SIZE: usize = 3 << 20;
    let (mut halfway, tries) = (0, scaled(60, 200));
    for number in 0..tries {
        // In a slab, and in the free list.
        let size = if number % 2 == 0 { SIZE } else { 2 * SIZE };
        let (old, larger) = (layout(size, 8), layout(size + SIZE / 2, 8));
        // SAFETY: the size is not 0.
        let block = unsafe { MEMS.alloc(old) }.expose_provenance();
        let stage = AtomicUsize::new(0);
        halfway += std::thread::scope(|scope| {
            scope.spawn(|| {
                let pointer = core::ptr::with_exposed_provenance_mut(block);
                stage.store(1, Ordering::Release);
                // SAFETY: the block is live, and this thread's by now.
                let moved = unsafe { MEMS.realloc(pointer, old, size + SIZE / 2) };
                stage.store(2, Ordering::Release);
                // SAFETY: so is this one.
                unsafe { MEMS.dealloc(moved, larger) };
            });
            while stage.load(Ordering::Acquire) == 0 {
                core::hint::spin_loop();
            }
            std::thread::sleep(core::time::Duration::from_micros(number as u64 % 20 * 10));
            let answer = child::forked(PATIENCE_SECONDS, || {
                let is_halfway = stage.load(Ordering::Acquire) == 1;
                let pointer = core::ptr::with_exposed_provenance_mut::<u8>(block);
                if is_halfway && MEMS.usable_size(pointer).is_some() {
                    // SAFETY: nobody else has it here.
                    unsafe { MEMS.dealloc(pointer, old) };
                    MEMS.check().map_err(|broken| broken.to_string())?;
                    return Ok("halfway".to_owned());
                }
                Ok(String::new())
            });
            answer.map(|text| usize::from(text == "halfway"))
        })?;
    }
    let text = format!("{halfway} of {tries} forks came while the block was moved");
    if halfway > 0 { Ok(Answer::Passed(text)) } else { Err(text) }
}

fn main() -> ExitCode {
    // The parent, too, must not hang.
    child::watchdog(120);
    let mut trials = Trials::alone();
    trials.case("handlers_that_allocate", handlers_case);
    trials.case("slots_that_a_vanished_thread_had_cached", vanished_caches_case);
    let count = scaled(CHILDREN / 4, CHILDREN);
    trials.case("fork_from_main_while_others_allocate", move || fork_case(0, count, churn));
    trials.case("fork_from_threads_while_others_allocate", move || fork_case(2, count, churn));
    #[cfg(feature = "std")]
    trials.case("fork_while_others_are_in_regions", move || {
        fork_case(0, count / 4, churn_in_regions)
    });
    #[cfg(feature = "std")]
    trials.case("a_block_that_a_vanished_thread_was_moving", moving_case);
    // The last one, as it leaves a large heap behind, which makes forks slow.
    trials.case("the_first_moment_of_a_child", first_moment_case);
    trials.finish()
}
