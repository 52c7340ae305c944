//! The end of a program that misused the heap: one line on standard error, then `SIGABRT`.
//!
//! Owns: the line, built on the stack, and the call of abort(3). Touches no lock and no heap, so it may be called from
//! anywhere, with any lock held.
#![allow(unsafe_code, reason = "the door to abort(3) and to file descriptor 2")]

use core::fmt::{self, Write};
use core::mem::ManuallyDrop;

use super::text::{StackText, write_all};

/// The longest line, in bytes; what does not fit is cut.
const LINE_BYTES: usize = 512;

/// Writes `mems: ` and the message as one line to standard error.
#[cold]
pub(crate) fn complain(message: fmt::Arguments<'_>) {
    let mut line = StackText::<LINE_BYTES>::new();
    let _ = write!(line, "mems: {message}");
    line.truncate(LINE_BYTES - 1);
    let _ = line.write_str("\n");
    // SAFETY: nothing here closes descriptor 2; where the program has closed it, the write fails, which nobody could be
    // told.
    let stderr = unsafe { rustix::stdio::stderr() };
    let _ = write_all(stderr, line.as_bytes());
}

/// Writes `mems: ` and the message as one line to standard error and ends the process with `SIGABRT`.
#[cold]
#[inline(never)]
pub(crate) fn die(message: fmt::Arguments<'_>) -> ! {
    complain(message);
    // SAFETY: abort(3) has no preconditions and allocates nothing.
    unsafe { libc::abort() }
}

/// In debug builds, ends the process if a law of the allocator does not hold. That is no panic, as a panic allocates,
/// and the caller may hold any lock.
macro_rules! debug_law {
    ($holds:expr, $law:literal $(,)?) => {
        if cfg!(debug_assertions) && !$holds {
            $crate::base::fatal::die(format_args!(concat!(
                "THE ALLOCATOR IS BROKEN: this does not hold: ",
                $law,
                " (",
                file!(),
                ":",
                line!(),
                ")"
            )))
        }
    };
}

pub(crate) use debug_law;

/// Does `action`, and ends the process if that panics: no caller of an allocator is made for a panic that comes out of
/// it. The panic has written its message by then.
#[inline]
pub(crate) fn no_unwind<R>(action: impl FnOnce() -> R) -> R {
    struct Unwinding;

    impl Drop for Unwinding {
        #[cold]
        fn drop(&mut self) {
            die(format_args!("THE ALLOCATOR IS BROKEN: it panicked, as the message above says"));
        }
    }

    let unwinding = Unwinding;
    let result = action();
    // Nothing did.
    let _ = ManuallyDrop::new(unwinding);
    result
}

#[cfg(test)]
pub(crate) mod tests;
