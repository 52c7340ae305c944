//! Pages over reserved addresses, with an account of what became of those that the system refused.
//!
//! Everything above commits and decommits here, so no caller can go on using a run that a failure left unmapped, and
//! that something else may lie in by now.
#![allow(unsafe_code, reason = "passes the contracts of `Os` on")]

use core::ptr::NonNull;

use super::os::{Os, OutOfMemory, Recovered};

/// Maps pages over a run that is reserved and may have none. An error says whether it is reserved still, or lost.
///
/// # Safety
///
/// See [`Os::commit`].
pub(crate) unsafe fn commit(os: &impl Os, start: NonNull<u8>, len: usize) -> Result<(), Recovered> {
    // SAFETY: by the caller's contract.
    unsafe { map_over(os, start, len) }.map_err(|refused| match refused {
        // What had no pages has none.
        Recovered::Untouched => Recovered::Reserved,
        other => other,
    })
}

/// Does what [`commit`] does for a run that blocks are to lie on: under it there may be huge pages.
///
/// # Safety
///
/// See [`Os::commit`].
pub(crate) unsafe fn commit_for_blocks(
    os: &impl Os,
    start: NonNull<u8>,
    len: usize,
) -> Result<(), Recovered> {
    // SAFETY: by the caller's contract.
    unsafe { commit(os, start, len) }?;
    // SAFETY: the run was just committed.
    unsafe { os.advise_huge_pages(start, len) };
    Ok(())
}

/// Maps fresh pages over a run; an error says what became of it.
///
/// # Safety
///
/// See [`Os::commit`].
unsafe fn map_over(os: &impl Os, start: NonNull<u8>, len: usize) -> Result<(), Recovered> {
    // SAFETY: by the caller's contract.
    let mapped = unsafe { os.commit(start, len) };
    // SAFETY: the run was the caller's.
    mapped.map_err(|OutOfMemory| unsafe { os.recover(start, len) })
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

/// Maps fresh pages over a run of blocks whose first page can be written to; tries again where a failure has taken
/// them.
///
/// Where the system cannot tell whether the run was left alone, its own bytes do: a mark that is there still.
///
/// # Safety
///
/// See [`Os::commit`].
pub(crate) unsafe fn renew(os: &impl Os, start: NonNull<u8>, len: usize) -> Result<(), Recovered> {
    // SAFETY: the run has pages, the first one starts there, and by the caller's contract nobody refers to its bytes.
    unsafe { start.cast::<Mark>().write(mark_of(start)) };
    // SAFETY: by the caller's contract.
    match unsafe { map_over(os, start, len) } {
        // SAFETY: as above; the run is the caller's still.
        Err(Recovered::Reserved) => unsafe { commit_for_blocks(os, start, len) },
        Err(Recovered::Lost) if is_marked(start) => Err(Recovered::Untouched),
        Err(refused) => Err(refused),
        Ok(()) => {
            // SAFETY: the run was just committed anew.
            unsafe { os.advise_huge_pages(start, len) };
            Ok(())
        }
    }
}

/// What marks a run.
type Mark = [u64; 2];

/// What no other memory has at that address: fresh memory is zero.
fn mark_of(start: NonNull<u8>) -> Mark {
    const ODD: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xD1B5_4A32_D192_ED03];
    ODD.map(|odd| (start.addr().get() as u64 | 1).wrapping_mul(odd))
}

/// Whether the run that starts there has its mark still. Asks the kernel to read it, as the page may be gone, or be one
/// that cannot be read.
#[cold]
fn is_marked(start: NonNull<u8>) -> bool {
    let mut mark: Mark = [0; 2];
    let len = size_of::<Mark>();
    let here = libc::iovec { iov_base: (&raw mut mark).cast(), iov_len: len };
    let there = libc::iovec { iov_base: start.as_ptr().cast(), iov_len: len };
    // SAFETY: no preconditions.
    let this_process = unsafe { libc::getpid() };
    // SAFETY: `here` is the place for the answer, and the kernel finds out whether there is something to read.
    let read =
        unsafe { libc::process_vm_readv(this_process, &raw const here, 1, &raw const there, 1, 0) };
    usize::try_from(read) == Ok(len) && mark == mark_of(start)
}
