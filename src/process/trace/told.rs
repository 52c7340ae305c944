//! The lines themselves, and the end of the program.
#![allow(unsafe_code, reason = "asks libc not to end the program in another way")]

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use rustix::thread::nanosleep;
use rustix::time::Timespec;

use crate::base::fatal;
use crate::base::lock::this_thread;
use crate::base::thread_name::{NAME_BYTES, name_text, own_thread_id, own_thread_name};

/// The thread that tells, 0 while none does.
static TELLER: AtomicUsize = AtomicUsize::new(0);
/// How long another one waits for it to end the program, in naps.
const NAPS: usize = 200;
const NAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// Writes the line of a mistake, and who made it, and ends the process by `SIGABRT`. `block` is where the block starts
/// that is meant, if there is one.
#[cold]
#[inline(never)]
pub(in crate::process) fn die(line: fmt::Arguments<'_>, block: Option<usize>) -> ! {
    outlive_pipes();
    fatal::complain(line);
    match TELLER.compare_exchange(0, this_thread(), Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => tell(block),
        // This is a mistake within what follows a mistake.
        Err(teller) if teller == this_thread() => {}
        // In the child of a fork there may be no such thread any more.
        Err(_) => (0..NAPS).for_each(|_| {
            // A signal makes a nap shorter.
            let _ = nanosleep(&NAP);
        }),
    }
    fatal::abort()
}

/// Lets a write to a pipe that nobody reads fail: SIGPIPE would end the program.
fn outlive_pipes() {
    let mut signals = core::mem::MaybeUninit::uninit();
    // SAFETY: it is a place for the set.
    unsafe { libc::sigemptyset(signals.as_mut_ptr()) };
    // SAFETY: the set is initialised.
    unsafe { libc::sigaddset(signals.as_mut_ptr(), libc::SIGPIPE) };
    // SAFETY: as above, and the former set is not wanted.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, signals.as_ptr(), core::ptr::null_mut()) };
}

/// A thread as a line has it: its number, and its name if there is one.
struct Thread(u32, [u8; NAME_BYTES]);

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("a thread")?,
            id => write!(f, "thread {id}")?,
        }
        match name_text(&self.1) {
            "" => Ok(()),
            name => write!(f, " {name:?}"),
        }
    }
}

/// Says which thread it was.
#[cfg(not(feature = "profile"))]
fn tell(_: Option<usize>) {
    fatal::add(format_args!("  {} called it", Thread(own_thread_id(), own_thread_name())));
}

/// Says which thread it was, and where; and of a block who allocated it, and who freed it.
#[cfg(feature = "profile")]
#[inline(never)]
fn tell(block: Option<usize>) {
    use super::super::thread;
    use super::own_stack::on_own_stack;
    use crate::profile::profiler::frames_from;
    use crate::profile::walk::Registers;

    let (registers, heap) = (Registers::here(), thread::current());
    on_own_stack(move || {
        let frames = frames_from(registers, heap);
        let own = Thread(own_thread_id(), own_thread_name());
        tell_stack(frames.addresses(), format_args!("{own} called it"));
        block.into_iter().for_each(tell_life);
    });
}

/// Says what a profile knows of a block.
#[cfg(feature = "profile")]
fn tell_life(block: usize) {
    use crate::profile::profiler::PROFILER;

    let Some(life) = PROFILER.life_of(block) else { return };
    for (done, deed) in [("allocated", life.allocated), ("freed", life.freed)] {
        let Some(deed) = deed else { continue };
        let (seconds, tenths) = (deed.ago / 1000, deed.ago % 1000 / 100);
        let thread = Thread(deed.thread, deed.thread_name);
        let what = format_args!("{done} {seconds}.{tenths} s ago by {thread}");
        tell_stack(deed.frames.addresses(), what);
    }
}

#[cfg(feature = "profile")]
fn tell_stack(frames: &[usize], what: fmt::Arguments<'_>) {
    let at = if frames.is_empty() { "" } else { " at" };
    fatal::add(format_args!("  {what}{at}"));
    super::calls::write(frames);
}
