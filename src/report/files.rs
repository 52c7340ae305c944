//! Snapshots and maps as files, and as text to any writer.
//!
//! The functions that take a path need neither `std` nor the heap: they may be called when the process ends, under
//! whatever locks others hold, for they take none that a malloc could wait for for long and allocate nothing.

use core::ffi::CStr;
use core::fmt;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::base::file;
use crate::base::path::{PATH_BYTES, PathText, this_process};
use crate::base::text::{FdText, write_all};
use crate::inspect::{Snapshot, snapshot};

/// Why a file could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// There was no memory for the snapshot.
    OutOfMemory,
    /// The file could not be made: the system's error number.
    Create(i32),
    /// The file could not be written.
    Write,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory => f.write_str("no memory for a snapshot"),
            Self::Create(errno) => write!(f, "the file cannot be made (error {errno})"),
            Self::Write => f.write_str("the file cannot be written"),
        }
    }
}

impl core::error::Error for WriteError {}

/// Files of that name that may be there already.
const DRAFT_TRIES: u32 = 100;

/// Makes the file at `path` anew, for its owner only, with what `write` writes. It appears as a whole, in the place of
/// one that was there. What is no file, such as a terminal or a pipe, is written to; a symbolic link is refused.
pub(super) fn write_file(
    path: &CStr,
    write: impl FnOnce(BorrowedFd<'_>) -> fmt::Result,
) -> Result<(), WriteError> {
    let cannot = |errno: Errno| WriteError::Create(errno.raw_os_error());
    match rustix::fs::lstat(path).map(|found| FileType::from_raw_mode(found.st_mode)) {
        Ok(FileType::RegularFile) | Err(Errno::NOENT) => {}
        Ok(_) => {
            let file = file::open(path, OFlags::empty()).map_err(cannot)?;
            return write(file.as_fd()).map_err(|_| WriteError::Write);
        }
        Err(errno) => return Err(cannot(errno)),
    }
    let (file, draft) = create_draft(path).map_err(cannot)?;
    let written = write(file.as_fd()).map_err(|_| WriteError::Write);
    let named = written.and_then(|()| rustix::fs::rename(draft.as_c_str(), path).map_err(cannot));
    if named.is_err() {
        // Where it cannot be removed, it stays.
        let _ = rustix::fs::unlink(draft.as_c_str());
    }
    named
}

/// A file beside that at `path`, with a name of its own.
fn create_draft(path: &CStr) -> Result<(OwnedFd, PathText<PATH_BYTES>), Errno> {
    for number in 0..DRAFT_TRIES {
        let suffix = format_args!(".{}-{number}.part", this_process());
        let draft = PathText::appended(path, suffix).ok_or(Errno::NAMETOOLONG)?;
        match file::open(draft.as_c_str(), OFlags::CREATE | OFlags::EXCL) {
            Err(Errno::EXIST) => {}
            opened => return opened.map(|file| (file, draft)),
        }
    }
    Err(Errno::EXIST)
}

/// Writes the text that `write` writes to a file.
pub(super) fn write_text_file(
    path: &CStr,
    write: impl FnOnce(&mut FdText<'_>) -> fmt::Result,
) -> Result<(), WriteError> {
    write_file(path, |file| {
        let mut out = FdText::new(file);
        write(&mut out).and_then(|()| out.flush())
    })
}

/// Writes what `write` makes of a new snapshot to a file.
fn write_text_to(
    path: &CStr,
    write: impl FnOnce(&Snapshot, &mut FdText<'_>) -> fmt::Result,
) -> Result<(), WriteError> {
    let snapshot = snapshot().map_err(|_| WriteError::OutOfMemory)?;
    write_text_file(path, |out| write(&snapshot, out))
}

/// Takes a snapshot and writes it as a page ([`Snapshot::write_html`]) to the file at `path`, made anew with mode 0600.
/// Allocates nothing from the heap.
///
/// # Errors
///
/// [`WriteError`]; then what was there before is there still. A symbolic link is refused.
pub fn write_heap_map_to(path: &CStr) -> Result<(), WriteError> {
    write_text_to(path, |snapshot, out| snapshot.write_html(out))
}

/// Writes the process heap as a picture ([`Snapshot::write_svg`]) to a file, without allocating.
///
/// # Errors
///
/// See [`write_heap_map_to`].
pub fn write_heap_picture_to(path: &CStr) -> Result<(), WriteError> {
    write_text_to(path, |snapshot, out| snapshot.write_svg(out))
}

/// Writes a snapshot of the process heap to a file that [`Snapshot::from_bytes`] reads, without allocating.
///
/// # Errors
///
/// See [`write_heap_map_to`].
pub fn write_snapshot_to(path: &CStr) -> Result<(), WriteError> {
    write_snapshot_of(path, &snapshot().map_err(|_| WriteError::OutOfMemory)?)
}

/// Writes a snapshot to a file.
pub(crate) fn write_snapshot_of(path: &CStr, snapshot: &Snapshot) -> Result<(), WriteError> {
    write_file(path, |file| snapshot.write_bytes(|bytes| write_all(file, bytes)))
}

/// Writes a snapshot as a page.
#[cfg(feature = "std")]
pub(crate) fn write_page_of(path: &CStr, snapshot: &Snapshot) -> Result<(), WriteError> {
    write_text_file(path, |out| snapshot.write_html(out))
}
