//! What the program would have in place of our functions.

use core::ffi::{CStr, c_void};
use core::mem;
use core::ptr::NonNull;

/// The function of that name that comes behind ours.
///
/// # Safety
///
/// `F` is the type of pointers to it.
#[cold]
pub(crate) unsafe fn function<F: Copy>(name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>(), "a pointer") };
    // SAFETY: the name is a string. The loader looks behind the library that calls, which is this one.
    let found = NonNull::new(unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) })?;
    // SAFETY: by the contract.
    Some(unsafe { mem::transmute_copy::<NonNull<c_void>, F>(&found) })
}
