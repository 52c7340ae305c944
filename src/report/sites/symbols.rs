//! What the files of the program and its libraries say of their functions by their tables of symbols alone: names,
//! without lines, and without functions that were inlined.
//!
//! The heap is not touched, and no lock is waited for but the loader's, for the list of libraries.

use core::ffi::CStr;
use core::fmt::Write;

use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags};

use super::names::{OWN_FILE, Take};
use crate::base::path::PATH_BYTES;
use crate::base::symbol_table::{demangled, find_functions};
use crate::base::text::StackText;

/// Bytes of a name at the most; what is longer is cut.
const NAME_BYTES: usize = 2000;

/// Functions of a file: see [`Source`](super::names::Source). A file that cannot be read has nothing to say.
pub(crate) fn symbols(path: Option<&str>, addresses: &[usize], take: &mut Take<'_>) {
    let mut text = StackText::<PATH_BYTES>::new();
    let path = write!(text, "{}\0", path.unwrap_or(OWN_FILE)).ok();
    let Some(path) = path.and_then(|()| CStr::from_bytes_with_nul(text.as_bytes()).ok()) else {
        return;
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else { return };
    // Where there is no memory for it, no function has a name.
    let _ = find_functions(file.as_fd(), addresses, |place, name, _| {
        let mut text = StackText::<NAME_BYTES>::new();
        let _ = write!(text, "{}", demangled(name));
        take(place, text.as_str(), "", 0);
    });
}
