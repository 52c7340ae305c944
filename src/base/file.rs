//! Files that are written to.

use core::ffi::CStr;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Opens what is at `path` to write to it. It is made for its owner only, not reached through a symbolic link, becomes
/// nobody's terminal, and is closed in what the program starts.
pub(crate) fn open(path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
    loop {
        match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
            Err(Errno::INTR) => {}
            opened => return opened,
        }
    }
}
