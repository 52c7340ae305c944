//! The stacks of samples reach the start of their thread, and name who allocated, in code that was built without frame
//! pointers; through C, in signal handlers, and in a library that comes and goes.
#![allow(unsafe_code, reason = "calls C, and handles signals")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::ffi::{c_int, c_void};
use core::hint::black_box;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::alloc::System;
use std::process::ExitCode;
use std::thread;

use helpers::piece::{MEMS, Piece};
use helpers::trials::{Answer, Case, Trials, shown};
use helpers::{Rng, scaled};
use mems::profile::{Sites, StackEnd};

/// The tests themselves run on another heap, so that all that the profile sees is theirs.
#[global_allocator]
static OTHER: System = System;

/// Bytes of code that a function of this file has at the most.
const FUNCTION_BYTES: usize = 2000;
/// In a debug build what an optimiser puts in one place is many frames.
const DEPTH: usize = scaled(10, 30);

#[inline(never)]
fn keep(size: usize) -> Piece {
    black_box(Piece::new(black_box(size), 8, 1).expect("memory"))
}

/// As deep as that, in functions of different frames.
#[inline(never)]
fn deep(depth: usize, size: usize) -> Piece {
    let mut room = [depth; 3];
    black_box(&mut room);
    let piece = if depth == 0 {
        keep(size)
    } else if depth.is_multiple_of(3) {
        deep_with_more(depth - 1, size)
    } else {
        deep(depth - 1, size)
    };
    black_box(&room);
    piece
}

#[inline(never)]
fn deep_with_more(depth: usize, size: usize) -> Piece {
    let mut room = [depth; 40];
    black_box(&mut room);
    let piece = deep(depth, size);
    black_box(&room);
    piece
}

fn is_in(function: usize, frames: &[usize]) -> bool {
    frames.iter().any(|frame| (function..function + FUNCTION_BYTES).contains(frame))
}

/// Of all samples, how many reach the start of their thread, name this function, and have this many frames.
fn counted(sites: &Sites, function: usize, least: usize) -> [usize; 4] {
    let mut counts = [0; 4];
    for site in sites.iter() {
        counts[0] += site.samples();
        if site.end() == StackEnd::Bottom {
            counts[1] += site.samples();
        }
        if is_in(function, site.frames()) {
            counts[2] += site.samples();
        }
        if site.frames().len() >= least {
            counts[3] += site.samples();
        }
    }
    counts
}

fn judged(counts: [usize; 4]) -> Result<Answer, String> {
    let [all, bottom, named, deep] = counts;
    let figures = format!("{all} samples, {bottom} to the bottom, {named} named, {deep} as deep");
    shown(figures, all > 0 && bottom * 100 >= all * 99 && named == all && deep == all)
}

fn thirty_deep() -> Result<Answer, String> {
    MEMS.profile().start(4 << 10);
    let work = || {
        let mut random = Rng::quiet(3);
        let mut pieces = Vec::with_capacity(20_000);
        pieces.extend((0..20_000).map(|_| deep(DEPTH, 40 + random.below(500))));
        pieces
    };
    let mut pieces = thread::spawn(work).join().unwrap();
    pieces.extend(work());
    let sites = MEMS.profile().sites().unwrap();
    pieces.into_iter().for_each(Piece::free);
    judged(counted(&sites, keep as *const () as usize, DEPTH))
}

/// Deeper than is noted: said so, and the innermost frames are there.
fn too_deep() -> Result<Answer, String> {
    MEMS.profile().start(1);
    let piece = deep(200, 1000);
    let sites = MEMS.profile().sites().unwrap();
    piece.free();
    let site = sites.iter().find(|site| site.samples() == 1).ok_or("no sample")?;
    let (len, end) = (site.frames().len(), site.end());
    let is_named = is_in(keep as *const () as usize, site.frames());
    shown(format!("{len} frames, {end:?}"), len == 64 && end == StackEnd::TooDeep && is_named)
}

static FOUND: AtomicUsize = AtomicUsize::new(0);

extern "C" fn compare(_: *const c_void, _: *const c_void) -> c_int {
    keep(100).free();
    FOUND.fetch_add(1, Ordering::Relaxed);
    0
}

#[inline(never)]
fn sort_by_c() {
    let mut numbers = [3, 2, 1];
    // SAFETY: three items of four bytes, and a function that may be called with any two.
    unsafe { libc::qsort(numbers.as_mut_ptr().cast(), 3, 4, Some(compare)) };
    black_box(&numbers);
}

/// Sites whose blocks were freed stay: their stacks go through libc.
fn through_c() -> Result<Answer, String> {
    MEMS.profile().start(1);
    sort_by_c();
    let sites = MEMS.profile().sites().unwrap();
    let whole = sites.iter().filter(|site| {
        site.end() == StackEnd::Bottom && is_in(sort_by_c as *const () as usize, site.frames())
    });
    let (whole, all) = (whole.count(), sites.iter().count());
    shown(format!("{whole} of {all} sites"), all > 0 && whole == all)
}

extern "C" fn on_signal(_: c_int) {
    keep(200).free();
}

#[inline(never)]
fn raise_signal(number: c_int) {
    // SAFETY: there is a handler.
    assert_eq!(black_box(unsafe { libc::raise(number) }), 0);
}

/// On the thread's own stack, and on one for signals: the walk goes on behind the frame that the kernel has made.
fn in_a_signal_handler() -> Result<Answer, String> {
    let mut own_stack = vec![0_u8; 256 << 10];
    let stack = libc::stack_t {
        ss_sp: own_stack.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: own_stack.len(),
    };
    // SAFETY: the stack stays until it is taken away below.
    assert_eq!(unsafe { libc::sigaltstack(&raw const stack, core::ptr::null_mut()) }, 0);
    let mut figures = String::new();
    let mut holds = true;
    for (number, flags) in [(libc::SIGUSR1, 0), (libc::SIGUSR2, libc::SA_ONSTACK)] {
        // SAFETY: all zero is an action without flags and with an empty mask.
        let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = flags;
        // SAFETY: the action is initialised.
        let installed =
            unsafe { libc::sigaction(number, &raw const action, core::ptr::null_mut()) };
        assert_eq!(installed, 0);
        MEMS.profile().start(1);
        raise_signal(number);
        let sites = MEMS.profile().sites().unwrap();
        let whole = sites.iter().filter(|site| {
            site.end() == StackEnd::Bottom
                && is_in(raise_signal as *const () as usize, site.frames())
        });
        let (whole, all) = (whole.count(), sites.iter().count());
        figures += &format!("{whole} of {all} sites; ");
        holds &= all > 0 && whole == all;
    }
    let none =
        libc::stack_t { ss_sp: core::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
    // SAFETY: no handler runs.
    assert_eq!(unsafe { libc::sigaltstack(&raw const none, core::ptr::null_mut()) }, 0);
    shown(figures, holds)
}

fn main() -> ExitCode {
    let cases: [(&str, Case); 4] = [
        ("thirty_deep", thirty_deep),
        ("too_deep", too_deep),
        ("through_c", through_c),
        ("in_a_signal_handler", in_a_signal_handler),
    ];
    let mut trials = Trials::alone();
    trials.cases(cases);
    trials.finish()
}
