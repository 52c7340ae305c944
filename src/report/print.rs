//! Standard output, without allocating.
#![allow(unsafe_code, reason = "the door to file descriptor 1")]

use core::fmt;

use crate::base::text::FdText;

/// Lets `write` write to standard output, without allocating. An error of the descriptor is ignored, as there is nobody
/// to tell.
pub(crate) fn print(write: impl FnOnce(&mut FdText<'_>) -> fmt::Result) {
    // SAFETY: nothing here closes descriptor 1; where the program has closed it, the writes fail and are ignored.
    let mut out = FdText::new(unsafe { rustix::stdio::stdout() });
    let _ = write(&mut out);
    let _ = out.flush();
}

/// Prints behind everything that was printed through `std` before, even if that was no whole line. `std` may allocate a
/// buffer for it; [`print()`] never does.
pub(crate) fn print_in_order(write: impl FnOnce(&mut FdText<'_>) -> fmt::Result) {
    #[cfg(feature = "std")]
    {
        use std::io::Write as _;
        let _ = std::io::stdout().flush();
    }
    print(write);
}
