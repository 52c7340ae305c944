//! A profile as files, for settings that want them: in any form, with the names of symbol tables, without the heap.

use core::ffi::CStr;
use core::fmt;
use std::io;

use rustix::fd::BorrowedFd;

use super::files::{WriteError, write_file, write_text_file};
#[cfg(not(feature = "symbols"))]
use super::sites::debug_info::debug_info as symbols;
#[cfg(feature = "symbols")]
use super::sites::symbols::symbols;
use crate::base::text::write_all;
use crate::inspect::{Snapshot, snapshot};
use crate::profile::Sites;
use crate::settings::ProfileForm;

/// Writes a profile to the file at `path`, made anew with mode 0600.
pub(crate) fn write_profile_to(
    path: &CStr,
    form: ProfileForm,
    sites: &Sites,
) -> Result<(), WriteError> {
    match form {
        ProfileForm::Collapsed => {
            write_text_file(path, |out| sites.write_collapsed_by(out, symbols))
        }
        ProfileForm::Pprof => write_file(path, |file| {
            sites.write_pprof_by(&mut FdBytes(file), symbols).map_err(|_| fmt::Error)
        }),
        ProfileForm::Dhat => write_text_file(path, |out| sites.write_dhat_by(out, symbols)),
        ProfileForm::Page => {
            let snapshot = snapshot().map_err(|_| WriteError::OutOfMemory)?;
            write_page_with(path, &snapshot, sites, None)
        }
    }
}

/// Writes a snapshot as a page with a profile, and what has grown since an earlier look at that.
pub(crate) fn write_page_with(
    path: &CStr,
    snapshot: &Snapshot,
    sites: &Sites,
    earlier: Option<&Sites>,
) -> Result<(), WriteError> {
    write_text_file(path, |out| snapshot.write_html_by(out, sites, earlier, symbols))
}

/// What is written goes to a file at once: who writes has a buffer.
struct FdBytes<'fd>(BorrowedFd<'fd>);

impl io::Write for FdBytes<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_all(self.0, bytes).map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
