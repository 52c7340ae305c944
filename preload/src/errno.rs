//! `errno`: how C hears of an error.

use core::ffi::{c_int, c_void};
use core::ptr;

/// Sets the calling thread's `errno`.
fn set(value: c_int) {
    // SAFETY: the function has no preconditions.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the place is the calling thread's own and lives as long as the thread.
    unsafe { place.write(value) };
}

/// Null, and the reason.
#[cold]
pub(crate) fn null_because(value: c_int) -> *mut c_void {
    set(value);
    ptr::null_mut()
}

/// The start of a block, or null because there is no memory.
pub(crate) fn or_no_memory(block: Option<ptr::NonNull<u8>>) -> *mut c_void {
    match block {
        Some(start) => start.as_ptr().cast(),
        None => null_because(libc::ENOMEM),
    }
}
