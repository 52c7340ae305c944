//! A profile beside everything that has made others hang: libraries that come and go, allocations under the loader's
//! lock, forks, panics, signals whose handlers walk stacks. Nothing hangs, nothing is allocated from inside, and the
//! heap is whole.
//!
//! `OPERATIONS=1000000000 cargo test --release --test profile_storm` goes on for longer.
#![allow(unsafe_code, reason = "an allocator that looks on, signals, and libraries")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::alloc::System;
use std::panic;
use std::process::ExitCode;
use std::thread;

use helpers::piece::{MEMS, Piece};
use helpers::trials::{Answer, Case, Trials, ensure, shown};
use helpers::{Rng, child, scaled};

/// The process's other heap, which counts calls that come from inside of MeMS.
struct LookingOn;

#[global_allocator]
static OTHER: LookingOn = LookingOn;

thread_local! {
    /// Whether the thread is inside of a call to MeMS.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// Whether libgcc unwinds it: that cannot walk the stack that it is about to leave.
    static UNWINDS: Cell<bool> = const { Cell::new(false) };
}
static FROM_INSIDE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's.
unsafe impl GlobalAlloc for LookingOn {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if INSIDE.try_with(Cell::get) == Ok(true) {
            FROM_INSIDE.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: by the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: by the contract.
        unsafe { System.dealloc(start, layout) }
    }
}

/// A call to MeMS, looked on.
fn inside<R>(call: impl FnOnce() -> R) -> R {
    let before = INSIDE.replace(true);
    let result = call();
    INSIDE.set(before);
    result
}

fn new(size: usize) -> Piece {
    inside(|| Piece::new(size, 8, 1)).expect("memory")
}

/// A signal's handler, which unwinds as profilers do. That may allocate the first time, which is not MeMS's doing.
extern "C" fn on_signal(_: c_int) {
    if UNWINDS.get() {
        return;
    }
    let before = INSIDE.replace(false);
    walk_by_unwinder();
    INSIDE.set(before);
}

unsafe extern "C" {
    fn _Unwind_Backtrace(
        each: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
}

extern "C" fn count_frame(_: *mut c_void, count: *mut c_void) -> c_int {
    // SAFETY: it is the counter of `walk_by_unwinder`.
    unsafe { *count.cast::<usize>() += 1 };
    0
}

fn walk_by_unwinder() {
    let mut count = 0_usize;
    // SAFETY: the function takes what it is given here.
    unsafe { _Unwind_Backtrace(count_frame, (&raw mut count).cast()) };
}

/// Sends this process a signal every few milliseconds of its running time.
fn set_timer(microseconds: libc::suseconds_t) {
    // SAFETY: all zero is an action without flags and with an empty mask.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = on_signal as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the action is initialised.
    assert_eq!(unsafe { libc::sigaction(libc::SIGPROF, &raw const action, ptr::null_mut()) }, 0);
    let time = libc::timeval { tv_sec: 0, tv_usec: microseconds };
    let timer = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: the timer is initialised.
    assert_eq!(unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, ptr::null_mut()) }, 0);
}

/// What is shown under the loader's lock: that allocates, and a thread that allocates may be sampled meanwhile.
unsafe extern "C" fn under_the_loaders_lock(
    _: *mut libc::dl_phdr_info,
    _: usize,
    _: *mut c_void,
) -> c_int {
    new(3000).free();
    0
}

fn ask_the_loader() {
    // SAFETY: the function takes what it is given.
    unsafe { libc::dl_iterate_phdr(Some(under_the_loaders_lock), ptr::null_mut()) };
}

/// Loads libraries that the program has not, and unloads them. How many there were.
fn load_and_unload() -> usize {
    let mut loaded = 0;
    for name in [c"libresolv.so.2", c"libutil.so.1", c"libnss_files.so.2", c"libBrokenLocale.so.1"]
    {
        // SAFETY: libc's own libraries do nothing when they are loaded.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
        if !handle.is_null() {
            // SAFETY: the handle is used no more.
            assert_eq!(unsafe { libc::dlclose(handle) }, 0);
            loaded += 1;
        }
    }
    loaded
}

/// Calls of all kinds, with blocks that other threads free.
fn churn(seed: u64, operations: usize, exchange: &[std::sync::Mutex<Vec<Piece>>]) {
    let mut random = Rng::quiet(seed);
    let mut pieces = Vec::new();
    for _ in 0..operations {
        match random.below(16) {
            0..=5 => {
                let bits = if random.once_in(64) { 18 } else { 11 };
                let size = random.size(bits);
                pieces.push(new(size.max(1)));
            }
            6..=11 => {
                if !pieces.is_empty() {
                    let piece = pieces.swap_remove(random.below(pieces.len()));
                    inside(|| piece.free());
                }
            }
            12 => {
                if !pieces.is_empty() {
                    let (index, size) = (random.below(pieces.len()), random.size(12).max(1));
                    assert!(inside(|| pieces[index].resize(size)));
                }
            }
            _ => {
                let mut others = exchange[random.below(exchange.len())].lock().unwrap();
                core::mem::swap(&mut *others, &mut pieces);
            }
        }
        if pieces.len() > 5000 {
            pieces.drain(..4000).for_each(|piece| inside(|| piece.free()));
        }
    }
    pieces.into_iter().for_each(|piece| inside(|| piece.free()));
}

/// A panic that unwinds through calls of the heap.
fn unwind() {
    UNWINDS.set(true);
    let caught = panic::catch_unwind(|| {
        new(100).free();
        panic::resume_unwind(Box::new(0));
    });
    UNWINDS.set(false);
    assert!(caught.is_err());
}

fn fork_a_child() {
    let said = child::forked(30, || {
        let pieces: Vec<_> = (0..200).map(|size| new(size + 1)).collect();
        pieces.into_iter().for_each(|piece| inside(|| piece.free()));
        MEMS.check().map_err(|broken| broken.to_string())?;
        Ok(String::new())
    });
    said.expect("the child is well");
}

fn everything_at_once() -> Result<Answer, String> {
    const THREADS: usize = 8;
    let operations = std::env::var("OPERATIONS").ok().and_then(|text| text.parse().ok());
    let operations = operations.unwrap_or(scaled(400_000, 16_000_000)) / THREADS;
    MEMS.profile().start(4 << 10);
    set_timer(2000);
    let exchange: Vec<_> = (0..THREADS).map(|_| std::sync::Mutex::default()).collect();
    let is_over = AtomicBool::new(false);
    let (mut loads, mut forks) = (0, 0);
    thread::scope(|scope| {
        let exchange = &exchange;
        let workers: Vec<_> = (0..THREADS as u64)
            .map(|seed| scope.spawn(move || churn(seed, operations, exchange)))
            .collect();
        let loader = scope.spawn(|| {
            let mut loads = 0;
            while !is_over.load(Ordering::Relaxed) {
                loads += load_and_unload();
                ask_the_loader();
                unwind();
            }
            loads
        });
        while workers.iter().any(|worker| !worker.is_finished()) {
            fork_a_child();
            forks += 1;
            // A thread that ends while others work.
            scope.spawn(move || churn(forks, 1000, exchange));
            MEMS.profile().sites().expect("memory");
            if forks % 16 == 0 {
                MEMS.profile().start(4 << 10);
            }
            thread::sleep(Duration::from_millis(5));
        }
        is_over.store(true, Ordering::Relaxed);
        loads = loader.join().unwrap();
    });
    set_timer(0);
    for others in exchange {
        others.into_inner().unwrap().into_iter().for_each(Piece::free);
    }
    MEMS.check().map_err(|broken| broken.to_string())?;
    let left = MEMS.profile().sites().unwrap().iter().map(|site| site.samples()).sum::<usize>();
    let calls = FROM_INSIDE.load(Ordering::Relaxed);
    ensure(left == 0, format!("{left} samples of blocks that were freed"))?;
    shown(
        format!(
            "{} operations, {loads} libraries loaded, {forks} forks, {calls} calls from inside",
            operations * THREADS
        ),
        calls == 0 && forks > 0 && loads > 0,
    )
}

/// A thread holds the loader's lock and allocates, while others are sampled, each time, and load libraries.
fn under_the_lock_of_the_loader() -> Result<Answer, String> {
    MEMS.profile().start(1);
    let is_over = AtomicBool::new(false);
    let rounds = scaled(200, 2000);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    new(500).free();
                    load_and_unload();
                }
            });
        }
        for _ in 0..rounds {
            ask_the_loader();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    MEMS.check().map_err(|broken| broken.to_string())?;
    let calls = FROM_INSIDE.load(Ordering::Relaxed);
    shown(format!("{rounds} rounds, {calls} calls from inside"), calls == 0)
}

/// A role of this program, in a child that ends by SIGALRM where it hangs.
fn in_a_child(name: &'static str) -> Result<Answer, String> {
    child::run(name).success().map(Answer::Passed)
}

fn main() -> ExitCode {
    let cases: [(&str, Case); 2] = [
        ("everything_at_once", everything_at_once),
        ("under_the_lock_of_the_loader", under_the_lock_of_the_loader),
    ];
    if let Some(role) = child::role() {
        if std::env::var_os("OPERATIONS").is_none() {
            child::watchdog(120);
        }
        let (_, case) = cases.iter().find(|(name, _)| *name == role).expect("a case");
        return match case() {
            Ok(Answer::Passed(remark) | Answer::Skipped(remark)) => {
                print!("{remark}");
                ExitCode::SUCCESS
            }
            Err(why) => {
                eprintln!("{why}");
                ExitCode::FAILURE
            }
        };
    }
    let mut trials = Trials::alone();
    for (name, _) in cases {
        trials.case(name, move || in_a_child(name));
    }
    trials.finish()
}
