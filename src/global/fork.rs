//! `fork` while other threads allocate: the child must find every lock open and every record whole.
//!
//! The handlers are registered when the program or library is loaded, before `main` and outside of any lock:
//! registering allocates. Before a fork the forking thread takes all locks of the process heap, so no other thread is
//! in the middle of a change; afterwards parent and child open them. Meanwhile the forking thread may allocate.
#![allow(unsafe_code, reason = "registers handlers with libc")]

use super::PROCESS_HEAP;

extern "C" fn prepare() {
    PROCESS_HEAP.hold_for_fork();
}

extern "C" fn release() {
    PROCESS_HEAP.release_after_fork();
}

extern "C" fn register() {
    // SAFETY: the handlers are functions of this program; they allocate nothing and do not unwind.
    let registered = unsafe { libc::pthread_atfork(Some(prepare), Some(release), Some(release)) };
    // It fails only for want of memory, before `main`: then a fork while other threads allocate may hang the child.
    let _ = registered;
}

/// The loader calls what this section points to.
#[used]
// SAFETY: the section holds pointers to functions without parameters, which is what this is.
#[unsafe(link_section = ".init_array")]
static REGISTER: extern "C" fn() = register;
