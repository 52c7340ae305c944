//! The first use of the process heap: beside a fork, and on a small stack. The program's own allocator is another one.
#![allow(unsafe_code, reason = "forks, and gives a thread its stack")]
#![allow(clippy::expect_used, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::hint;
use core::sync::atomic::{AtomicBool, Ordering};
use std::process::ExitCode;
use std::thread;

use helpers::child;
use helpers::trials::{Answer, Trials};
use mems::MemsAlloc;

static HEAP: MemsAlloc = MemsAlloc::new();

/// Seconds until SIGALRM ends a child that hangs.
const PATIENCE_SECONDS: u32 = 5;

/// Uses the heap in a child that ends at once, by a signal where it hangs. Answers how it ended.
fn use_in_a_child() -> i32 {
    // SAFETY: the child calls what may be called in one.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: no preconditions.
        unsafe { libc::alarm(PATIENCE_SECONDS) };
        let is_served = HEAP.mems_malloc(100, 8).is_some();
        // SAFETY: ends the child without running what the parent has registered.
        unsafe { libc::_exit(i32::from(!is_served)) };
    }
    let mut status = 0;
    // SAFETY: `status` is written.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    status
}

/// A process that has not used the heap: one thread does so while the other one forks.
fn race(delay: usize) -> i32 {
    // SAFETY: the only thread of this process forks.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let is_over = AtomicBool::new(false);
        let status = thread::scope(|scope| {
            scope.spawn(|| {
                is_over.store(true, Ordering::Release);
                HEAP.mems_malloc(8, 8).is_some()
            });
            while !is_over.load(Ordering::Acquire) {
                hint::spin_loop();
            }
            (0..delay).for_each(|_| hint::spin_loop());
            use_in_a_child()
        });
        // SAFETY: ends this process.
        unsafe { libc::_exit(i32::from(status != 0)) };
    }
    let mut status = 0;
    // SAFETY: `status` is written.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    status
}

/// Found by reading: the child waited for a thread that it did not have.
fn races() -> Result<Answer, String> {
    for round in 0..300 {
        match race(round % 100) {
            0 => {}
            status => return Err(format!("round {round}: status {status:#x}")),
        }
    }
    Ok(Answer::Passed(String::new()))
}

/// Bytes of a stack.
const STACK: usize = 256 << 10;
/// What the bytes of a stack are before its thread uses it.
const UNUSED: u8 = 0xA5;
/// Bytes of stack that the first call of a process may take: the smallest stack of a thread has 16 KiB. A debug build
/// keeps every value in a place of its own.
const MOST_STACK: usize = if cfg!(debug_assertions) { 20 << 10 } else { 8 << 10 };

extern "C" fn nothing(_: *mut libc::c_void) -> *mut libc::c_void {
    core::ptr::null_mut()
}

extern "C" fn use_heap(_: *mut libc::c_void) -> *mut libc::c_void {
    HEAP.mems_malloc(100, 8).map_or(core::ptr::null_mut(), |block| block.as_ptr().cast())
}

/// How many bytes of its stack a thread uses, and what it answers.
fn stack_of(life: extern "C" fn(*mut libc::c_void) -> *mut libc::c_void) -> (usize, bool) {
    let mut stack = vec![UNUSED; STACK + 4096];
    let start = stack.as_mut_ptr().wrapping_add(stack.as_ptr().align_offset(4096));
    // SAFETY: all zero is one that is initialised next.
    let mut attributes: libc::pthread_attr_t = unsafe { core::mem::zeroed() };
    // SAFETY: the attributes are ours.
    assert_eq!(unsafe { libc::pthread_attr_init(&raw mut attributes) }, 0);
    // SAFETY: the stack is as long, and outlives the thread.
    let set = unsafe { libc::pthread_attr_setstack(&raw mut attributes, start.cast(), STACK) };
    assert_eq!(set, 0);
    let (mut thread, mut answer) = (0, core::ptr::null_mut());
    let (attributes, none) = (&raw const attributes, core::ptr::null_mut());
    // SAFETY: the thread is joined below.
    let made = unsafe { libc::pthread_create(&raw mut thread, attributes, life, none) };
    assert_eq!(made, 0);
    // SAFETY: `answer` is a place for it.
    assert_eq!(unsafe { libc::pthread_join(thread, &raw mut answer) }, 0);
    let used = stack.iter().skip(4096).position(|byte| *byte != UNUSED).map(|at| STACK - at);
    (used.unwrap_or(0), !answer.is_null())
}

/// Found where the first call took 24 KiB of stack, more than some threads have.
fn stack() -> Result<Answer, String> {
    let text = child::forked(PATIENCE_SECONDS, || {
        let ((before, _), (used, is_served)) = (stack_of(nothing), stack_of(use_heap));
        let text = format!("{} bytes of stack", used - before);
        if is_served && used - before <= MOST_STACK { Ok(text) } else { Err(text) }
    })?;
    Ok(Answer::Passed(text))
}

fn main() -> ExitCode {
    let mut trials = Trials::alone();
    trials.case("a_fork_beside_the_first_use", races);
    trials.case("the_stack_of_the_first_use", stack);
    trials.finish()
}
