//! What is written when settings want a look at the heap: a snapshot, the heap map's page, and the profile if there is
//! one.
//!
//! The background thread calls it, on its own stack; it allocates nothing on the heap, as that may be at its limit.
#![allow(unsafe_code, reason = "a function that the loader calls")]

use core::ffi::CStr;
use core::fmt;

use crate::base::fatal;
use crate::base::path::{PATH_BYTES, PathText};
use crate::inspect::snapshot;
use crate::process::occasions::{self, Earlier, Why};
use crate::report::files::{WriteError, write_page_of, write_snapshot_of};
use crate::settings::Settings;

/// Where looks are written, if no setting says it.
const DEFAULT_PATH: &CStr = c"mems";

/// Looks at the heap and writes what it sees, with one line of what became of it. Returns whether all files are there.
fn look(settings: &Settings, why: &Why, number: u32, earlier: &mut Earlier) -> bool {
    let pattern = settings.snapshot_path.unwrap_or(DEFAULT_PATH);
    let written = match PathText::<PATH_BYTES>::of_look(pattern, number) {
        Some(path) => write_all_files(&path, earlier),
        None => Err(WriteError::Create(libc::ENAMETOOLONG)),
    };
    let path = PathText::<{ fatal::LOG_PATH_BYTES }>::of_look(pattern, number);
    let path = path.as_ref().map_or(c"a path that is too long", PathText::as_c_str);
    let path = Escaped(path.to_bytes());
    match written {
        Ok(ends) => {
            fatal::complain(format_args!("look {number} ({why}): {path}{ends} are written"));
        }
        Err(error) => fatal::complain(format_args!("look {number} ({why}), {path}: {error}")),
    }
    written.is_ok()
}

/// Bytes as text in one line.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Writes the files whose names begin with `path`, the page with what has grown since the look before. Returns how they
/// end, in words.
#[cfg(feature = "profile")]
fn write_all_files(
    path: &PathText<PATH_BYTES>,
    earlier: &mut Earlier,
) -> Result<&'static str, WriteError> {
    use crate::process::profiling;
    use crate::report::profile_files::{write_page_with, write_profile_to};
    use crate::settings::ProfileForm;

    if !profiling::is_on() {
        return write_heap(path, earlier);
    }
    let sites = profiling::sites().map_err(|_| WriteError::OutOfMemory)?;
    let snapshot = snapshot().map_err(|_| WriteError::OutOfMemory)?;
    with_ending(path, ".mems", |path| write_snapshot_of(path, &snapshot))?;
    with_ending(path, ".pb.gz", |path| write_profile_to(path, ProfileForm::Pprof, &sites))?;
    with_ending(path, ".html", |path| write_page_with(path, &snapshot, &sites, earlier.as_ref()))?;
    *earlier = Some(sites);
    Ok(".mems, .pb.gz and .html")
}

#[cfg(not(feature = "profile"))]
use write_heap as write_all_files;

/// Writes what there is without a profile.
fn write_heap(path: &PathText<PATH_BYTES>, _: &mut Earlier) -> Result<&'static str, WriteError> {
    let snapshot = snapshot().map_err(|_| WriteError::OutOfMemory)?;
    with_ending(path, ".mems", |path| write_snapshot_of(path, &snapshot))?;
    with_ending(path, ".html", |path| write_page_of(path, &snapshot))?;
    Ok(".mems and .html")
}

/// A path with an ending, for a writer.
fn with_ending(
    path: &PathText<PATH_BYTES>,
    ending: &str,
    write: impl FnOnce(&CStr) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let whole = PathText::<PATH_BYTES>::appended(path.as_c_str(), format_args!("{ending}"));
    write(whole.ok_or(WriteError::Create(libc::ENAMETOOLONG))?.as_c_str())
}

extern "C" fn register() {
    occasions::set_look(look);
}

/// The loader calls what this section points to.
#[used]
// SAFETY: the section holds pointers to functions without parameters, which is what this is.
#[unsafe(link_section = ".init_array")]
static REGISTER: extern "C" fn() = register;
