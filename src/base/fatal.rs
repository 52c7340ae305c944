//! The end of a program that misused the heap: one line on standard error, then `SIGABRT`.
//!
//! Owns: the line, built on the stack, where it goes, and the call of abort(3). Touches no lock and no heap, so it may
//! be called from anywhere, with any lock held. A debugger shows the last line as `mems_last_line`.
#![allow(unsafe_code, reason = "the door to abort(3) and to file descriptor 2")]

use core::ffi::{CStr, c_char};
use core::fmt::{self, Write};
use core::iter;
use core::mem::ManuallyDrop;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use rustix::fd::AsFd;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::file;
use super::path::PathText;
use super::text::{StackText, write_all};

/// The longest line, in bytes; what does not fit is cut.
const LINE_BYTES: usize = 512;
/// The longest line that follows another one.
const ADDED_BYTES: usize = 1024;
/// The longest path of a log, with the zero behind it. Not longer, as a line may come from a small stack.
pub(crate) const LOG_PATH_BYTES: usize = 1024;

/// Where each line goes beside standard error, if anywhere.
static LOG: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());

// The last line, for those who find a core file and nothing else. The symbol has a name that a debugger finds without
// debug information, and is weak, as a program may have two versions of this crate in it.
core::arch::global_asm!(
    ".pushsection .bss.mems_last_line,\"aw\",@nobits",
    ".weak mems_last_line",
    ".hidden mems_last_line",
    ".type mems_last_line, %object",
    ".size mems_last_line, {bytes}",
    "mems_last_line:",
    ".skip {bytes}",
    ".popsection",
    bytes = const LINE_BYTES,
);

unsafe extern "C" {
    /// Zero behind the line.
    #[link_name = "mems_last_line"]
    safe static LAST_LINE: [AtomicU8; LINE_BYTES];
}

/// Writes `mems: ` and the message as one line to standard error, and to the log.
#[cold]
pub(crate) fn complain(message: fmt::Arguments<'_>) {
    let mut line = StackText::<LINE_BYTES>::new();
    end_line(&mut line, message, keep);
    write_to_stderr(line.as_bytes());
    if let Err(errno) = append_to_log(line.as_bytes()) {
        line.truncate(0);
        let _ = writeln!(line, "mems: the log cannot be written (error {})", errno.raw_os_error());
        write_to_stderr(line.as_bytes());
    }
}

/// Writes a line that belongs to the one before, which stays the last line. It may be longer.
#[cold]
pub(crate) fn add(message: fmt::Arguments<'_>) {
    let mut line = StackText::<ADDED_BYTES>::new();
    end_line(&mut line, message, |_| {});
    write_to_stderr(line.as_bytes());
    // Who wants the log was told with the line before.
    let _ = append_to_log(line.as_bytes());
}

/// Makes a line of a message, which is shown without its end before that is written.
fn end_line<const N: usize>(
    line: &mut StackText<N>,
    message: fmt::Arguments<'_>,
    show: impl FnOnce(&[u8]),
) {
    let _ = write!(line, "mems: {message}");
    line.truncate(N - 1);
    show(line.as_bytes());
    let _ = line.write_str("\n");
}

fn write_to_stderr(line: &[u8]) {
    // SAFETY: nothing here closes descriptor 2; where the program has closed it, the write fails, and the log and a
    // core file have the line.
    let stderr = unsafe { rustix::stdio::stderr() };
    let _ = write_all(stderr, line);
}

/// Keeps a line in [`LAST_LINE`].
fn keep(line: &[u8]) {
    let bytes = line.iter().copied().chain(iter::repeat(0));
    LAST_LINE.iter().zip(bytes).for_each(|(place, byte)| place.store(byte, Ordering::Relaxed));
}

/// Lets each line from now on go to a log as well. `%p` in its path is the number of the process that writes.
pub(crate) fn set_log(path: &'static CStr) {
    LOG.store(path.as_ptr().cast_mut(), Ordering::Release);
}

/// The log is opened for each line: a program may close all its descriptors, or leave its folder, and what it starts
/// shall not hold it open.
fn append_to_log(line: &[u8]) -> Result<(), Errno> {
    let path = LOG.load(Ordering::Acquire);
    if path.is_null() {
        return Ok(());
    }
    // SAFETY: it is a string, and stays.
    let pattern = unsafe { CStr::from_ptr(path) };
    let path = PathText::<LOG_PATH_BYTES>::expanded(pattern).ok_or(Errno::NAMETOOLONG)?;
    // Waits for nobody who would read it.
    let flags = OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK;
    let file = file::open(path.as_c_str(), flags)?;
    write_all(file.as_fd(), line).map_err(|fmt::Error| Errno::IO)
}

/// Does what [`complain`] does, and ends the process with `SIGABRT`.
#[cold]
#[inline(never)]
pub(crate) fn die(message: fmt::Arguments<'_>) -> ! {
    complain(message);
    abort()
}

/// Ends the process with `SIGABRT`.
pub(crate) fn abort() -> ! {
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
