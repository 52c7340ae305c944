//! Text for people. The floors below return data; only this file writes, and only after their locks are released.
#![allow(unsafe_code, reason = "the door to file descriptor 1")]

use core::fmt;

use crate::base::text::FdText;

/// Lets `write` write to standard output, behind everything printed through `std` before. An error of the descriptor
/// is let go, as there is nobody to tell.
pub(crate) fn print(write: impl FnOnce(&mut FdText<'_>) -> fmt::Result) {
    #[cfg(feature = "std")]
    {
        use std::io::Write as _;
        let _ = std::io::stdout().flush();
    }
    // SAFETY: nothing here closes descriptor 1; where the program has closed it, the writes fail and are let go.
    let mut out = FdText::new(unsafe { rustix::stdio::stdout() });
    let _ = write(&mut out);
    let _ = out.flush();
}
