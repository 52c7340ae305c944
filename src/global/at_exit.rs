//! What is done when the program ends by `exit` or by returning from `main`: what the settings want written.
//!
//! One handler is registered when the program or library is loaded, before `main` and outside of any lock: registering
//! may allocate. Handlers run in reverse order, so this one sees what those of the program have left.
#![allow(unsafe_code, reason = "registers a handler with libc")]

#[cfg(all(feature = "report", feature = "profile"))]
use super::files_at_exit::write_profile;
#[cfg(feature = "report")]
use super::files_at_exit::{write_heap_map, write_snapshot};
use crate::base::fatal;
use crate::process::begin::complain_of;
use crate::process::plain::PROCESS_HEAP;
use crate::process::question;
use crate::settings::{self, Settings};

/// Something that may be due at exit. It runs without any lock of the heap and allocates nothing.
type Action = fn(&Settings);

/// All of them, in the order in which they run. A module that writes something at exit has its function here.
const ACTIONS: &[Action] = &[
    check,
    write_stats,
    #[cfg(feature = "report")]
    write_heap_map,
    #[cfg(feature = "report")]
    write_snapshot,
    #[cfg(all(feature = "report", feature = "profile"))]
    write_profile,
];

/// Checks the whole heap, where calls are checked as well.
fn check(settings: &Settings) {
    if settings.check_every > 0
        && let Err(broken) = question::check()
    {
        complain_of(&broken, settings);
    }
}

fn write_stats(settings: &Settings) {
    if settings.stats_at_exit {
        fatal::complain(format_args!("at exit: {}", PROCESS_HEAP.stats()));
    }
}

extern "C" fn run() {
    // Without settings in force nothing was ever allocated.
    if let Some(settings) = settings::in_force() {
        ACTIONS.iter().for_each(|action| action(settings));
    }
}

extern "C" fn register() {
    // SAFETY: the handler is a function of this program; it does not unwind.
    let registered = unsafe { libc::atexit(run) };
    // It fails only when memory runs out, before `main`: then nothing is written at exit.
    let _ = registered;
}

/// The loader calls what this section points to.
#[used]
// SAFETY: the section holds pointers to functions without parameters, which is what this is.
#[unsafe(link_section = ".init_array")]
static REGISTER: extern "C" fn() = register;
