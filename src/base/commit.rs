//! Pages over reserved addresses, with an account of what became of those that the system refused.
//!
//! Everything above commits and decommits here, so no caller can go on using a run that a failure left unmapped, and
//! that something else may lie in by now.
#![allow(unsafe_code, reason = "passes the contracts of `Os` on")]

use core::ptr::NonNull;

use super::os::{Os, OutOfMemory, Recovered};

/// Maps fresh pages over a run; an error says what became of it.
///
/// # Safety
///
/// See [`Os::commit`].
pub(crate) unsafe fn commit(os: &impl Os, start: NonNull<u8>, len: usize) -> Result<(), Recovered> {
    // SAFETY: by the caller's contract.
    let committed = unsafe { os.commit(start, len) };
    // SAFETY: the run was the caller's.
    committed.map_err(|OutOfMemory| unsafe { os.recover(start, len) })
}

/// Makes a run untouchable; an error says what became of it. That it is reserved is none.
///
/// # Safety
///
/// See [`Os::decommit`].
pub(crate) unsafe fn decommit(
    os: &impl Os,
    start: NonNull<u8>,
    len: usize,
) -> Result<(), Recovered> {
    // SAFETY: by the caller's contract.
    let Err(OutOfMemory) = (unsafe { os.decommit(start, len) }) else { return Ok(()) };
    // SAFETY: the run was the caller's.
    match unsafe { os.recover(start, len) } {
        Recovered::Reserved => Ok(()),
        other => Err(other),
    }
}

/// Maps fresh pages over a run that has pages; tries again where a failure has taken them.
///
/// # Safety
///
/// See [`Os::commit`].
pub(crate) unsafe fn renew(os: &impl Os, start: NonNull<u8>, len: usize) -> Result<(), Recovered> {
    // SAFETY: by the caller's contract.
    let renewed = unsafe { commit(os, start, len) };
    if renewed == Err(Recovered::Reserved) {
        // SAFETY: as above; the run is the caller's still.
        return unsafe { commit(os, start, len) };
    }
    renewed
}
