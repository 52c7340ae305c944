//! The files that settings want written when the program ends.

use core::ffi::CStr;

use crate::base::fatal;
use crate::base::path::{PATH_BYTES, PathText};
use crate::report::files::{WriteError, write_heap_map_to, write_snapshot_to};
use crate::settings::Settings;

/// Writes the heap map, if a setting says where.
pub(super) fn write_heap_map(settings: &Settings) {
    if let Some(pattern) = settings.heapmap_at_exit {
        write_to("MEMS_HEAPMAP_AT_EXIT", pattern, write_heap_map_to);
    }
}

/// Writes a snapshot, if a setting says where.
pub(super) fn write_snapshot(settings: &Settings) {
    if let Some(pattern) = settings.snapshot_at_exit {
        write_to("MEMS_SNAPSHOT_AT_EXIT", pattern, write_snapshot_to);
    }
}

/// Writes the profile, if a setting says where.
#[cfg(feature = "profile")]
pub(super) fn write_profile(settings: &Settings) {
    use crate::process::profiling;
    use crate::report::profile_files::write_profile_to;
    use crate::settings::ProfileForm;

    let Some(pattern) = settings.profile_at_exit else { return };
    let Some(form) = ProfileForm::of(pattern.to_bytes()) else {
        let (path, expected) = (pattern.to_bytes().escape_ascii(), ProfileForm::EXPECTED);
        return fatal::complain(format_args!("profile_at_exit: {path} is not {expected}"));
    };
    write_before("MEMS_PROFILE_AT_EXIT", pattern, form.ending(), |path| {
        let sites = profiling::sites().map_err(|_| WriteError::OutOfMemory)?;
        write_profile_to(path, form, &sites)
    });
}

/// Writes to the file that `pattern` stands for in this process. A call of its own, as the path takes two pages of the
/// stack.
#[cold]
#[inline(never)]
fn write_to(name: &str, pattern: &CStr, write: fn(&CStr) -> Result<(), WriteError>) {
    write_before(name, pattern, "", write);
}

/// Does the same, with the number of the process before an ending.
fn write_before(
    name: &str,
    pattern: &CStr,
    ending: &str,
    write: impl FnOnce(&CStr) -> Result<(), WriteError>,
) {
    let written = match PathText::<PATH_BYTES>::numbered_before(pattern, ending) {
        Some(path) => write(path.as_c_str()),
        None => Err(WriteError::Create(libc::ENAMETOOLONG)),
    };
    if let Err(error) = written {
        fatal::complain(format_args!("{name}: {error}"));
    }
}
