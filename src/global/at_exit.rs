//! What is done when the program ends by `exit` or by returning from `main`: what the settings want written.
//!
//! One handler is registered when the program or library is loaded, before `main` and outside of any lock: registering
//! may allocate. Handlers run in reverse order, so this one sees what those of the program have left.
#![allow(unsafe_code, reason = "registers a handler with libc")]

use core::ffi::CStr;

use crate::base::fatal;
use crate::base::path::{PATH_BYTES, PathText};
use crate::process::begin::complain_of;
use crate::process::plain::PROCESS_HEAP;
use crate::process::question;
use crate::report::files::{WriteError, write_heap_map_to, write_snapshot_to};
use crate::settings::{self, Settings};

/// Something that may be due at exit. It runs without any lock of the heap and allocates nothing.
type Action = fn(&Settings);

/// All of them, in the order in which they run. A module that writes something at exit has its function here.
const ACTIONS: [Action; 4] = [check, write_stats, write_heap_map, write_snapshot];

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

fn write_heap_map(settings: &Settings) {
    write_to("MEMS_HEAPMAP_AT_EXIT", settings.heapmap_at_exit, write_heap_map_to);
}

fn write_snapshot(settings: &Settings) {
    write_to("MEMS_SNAPSHOT_AT_EXIT", settings.snapshot_at_exit, write_snapshot_to);
}

/// Writes to the file that `pattern` stands for in this process, if there is one.
fn write_to(name: &str, pattern: Option<&CStr>, write: fn(&CStr) -> Result<(), WriteError>) {
    let Some(pattern) = pattern else { return };
    let written = match PathText::<PATH_BYTES>::numbered(pattern) {
        Some(path) => write(path.as_c_str()),
        None => Err(WriteError::Create(libc::ENAMETOOLONG)),
    };
    if let Err(error) = written {
        fatal::complain(format_args!("{name}: {error}"));
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
