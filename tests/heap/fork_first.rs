//! A fork while another thread uses the process heap for the first time. The program's own allocator is another one.
#![allow(unsafe_code, reason = "forks")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::hint;
use core::sync::atomic::{AtomicBool, Ordering};
use std::process::ExitCode;
use std::thread;

use helpers::trials::{Answer, Trials};
use mems::MemsAlloc;

static HEAP: MemsAlloc = MemsAlloc::new();

/// Uses the heap in a child that ends at once, by a signal where it hangs. Answers how it ended.
fn use_in_a_child() -> i32 {
    // SAFETY: the child calls what may be called in one.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: no preconditions.
        unsafe { libc::alarm(5) };
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

fn main() -> ExitCode {
    let mut trials = Trials::alone();
    trials.case("a_fork_beside_the_first_use", races);
    trials.finish()
}
