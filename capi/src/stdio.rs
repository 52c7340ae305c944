//! Text on standard output, in order with what the program prints through C's stdio.
//!
//! Owns: fflush(3) and descriptor 1. What the program has printed is flushed first, under C's own lock of `stdout`;
//! then the text goes to the descriptor, gathered on the stack and written in few large pieces. So nothing here
//! allocates, and no lock of C is held while the heap's is (the lock order of the crate).
#![allow(unsafe_code, reason = "the door to stdout, descriptor 1 and errno")]

use core::ffi::c_int;
use core::fmt;

use mems::internal::FdText;

unsafe extern "C" {
    /// C's standard output. A program may assign another stream to it, hence `mut`.
    static mut stdout: *mut libc::FILE;
}

/// Lets `write` write to standard output, behind everything the program has printed. An error is ignored, as there
/// is nobody to tell; `errno` stays as it was.
pub(crate) fn print(write: impl FnOnce(&mut FdText<'_>) -> fmt::Result) {
    let errno_before = errno();
    // SAFETY: reads one pointer; a program that assigns to it while other threads print races in C as well.
    let stream = unsafe { stdout };
    if !stream.is_null() {
        // SAFETY: `stdout` is a stream as long as the program has not closed it, after which C allows no printing.
        let flushed = unsafe { libc::fflush(stream) };
        let _ = flushed;
    }
    // SAFETY: nothing here closes descriptor 1; where the program has closed it, failed writes are ignored.
    let mut out = FdText::new(unsafe { rustix::stdio::stdout() });
    let _ = write(&mut out);
    let _ = out.flush();
    set_errno(errno_before);
}

/// The calling thread's `errno`.
fn errno() -> c_int {
    // SAFETY: the function has no preconditions.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the place is the calling thread's own and lives as long as the thread.
    unsafe { place.read() }
}

/// Sets the calling thread's `errno`.
pub(crate) fn set_errno(value: c_int) {
    // SAFETY: the function has no preconditions.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the place is the calling thread's own and lives as long as the thread.
    unsafe { place.write(value) };
}
