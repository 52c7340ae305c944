//! `fork` while other threads allocate: the child must find every lock open, every record whole, and no block lost.
//!
//! Before a fork the forking thread takes all locks of the process heap, so no other thread is in the middle of a
//! shared change; meanwhile the forking thread may allocate. In the child the other threads are gone, in the middle of
//! whatever they did with their own heaps, which are made whole and retired ([`vanished`](crate::slabs)). Runs whose
//! pages a vanished thread was giving back are given back again. Where a signal handler forks while its thread is
//! inside of the heap, the child's thread goes on there as the parent's does, so nothing is made whole: what vanished
//! threads had cached is lost to the child.
//!
//! Whatever else takes locks around a fork, and allocates on another thread while it holds one, has to come before: the
//! last handler that is registered runs first. So these are registered as early as may be, when the image is loaded or
//! at the first call of all, whichever comes first; and one that takes the lock of libc's list of streams follows them,
//! since libc itself takes that lock behind all handlers, and allocates under it.
#![allow(unsafe_code, reason = "registers handlers with libc, and acts for threads that vanished")]

use core::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "std")]
use super::background;
use super::hardened;
use super::plain::PROCESS_HEAP;
use super::sampling;
use super::thread;
use crate::settings;
use crate::slabs::depot::DEPOT;

/// Whether the thread that forks was interrupted inside of the heap.
static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn prepare() {
    sampling::hold_loader_for_fork();
    let is_interrupted = settings::is_mine()
        || hardened::is_mine()
        || PROCESS_HEAP.shared.is_mine()
        || DEPOT.looking.is_mine()
        || DEPOT.pool.is_mine()
        || DEPOT.heap.is_mine()
        || sampling::is_mine()
        || thread::is_inside();
    settings::hold_for_fork(is_interrupted);
    hardened::hold_for_fork(is_interrupted);
    PROCESS_HEAP.shared.hold_for_fork(is_interrupted);
    DEPOT.looking.hold_for_fork(is_interrupted);
    DEPOT.pool.hold_for_fork(is_interrupted);
    DEPOT.heap.hold_for_fork(is_interrupted);
    sampling::hold_for_fork(is_interrupted);
    IS_INTERRUPTED.store(is_interrupted, Ordering::Relaxed);
}

extern "C" fn parent() {
    release(false);
}

fn release(is_child: bool) {
    sampling::release_after_fork(is_child);
    DEPOT.heap.release_after_fork(is_child);
    DEPOT.pool.release_after_fork(is_child);
    DEPOT.looking.release_after_fork(is_child);
    PROCESS_HEAP.shared.release_after_fork(is_child);
    hardened::release_after_fork(is_child);
    settings::release_after_fork(is_child);
    sampling::release_loader_after_fork(is_child);
}

extern "C" fn child() {
    #[cfg(feature = "std")]
    background::start_later();
    thread::note_forked();
    if IS_INTERRUPTED.load(Ordering::Relaxed) {
        return release(true);
    }
    let had_threads = adopt_vanished();
    release(true);
    DEPOT.heap.note_inherited();
    // Without `std` nobody knows.
    if had_threads || cfg!(not(feature = "std")) {
        stop_holding();
        // SAFETY: a fork leaves one thread, which claims nothing while it forks.
        unsafe { DEPOT.heap.settle_vanished_claims() };
        sampling::keep_live();
    }
}

/// Makes the heaps of all threads but the calling one those of threads that ended. Returns whether there are any.
fn adopt_vanished() -> bool {
    let mine = thread::current();
    let shared = *PROCESS_HEAP.shared.lock();
    DEPOT.take_over(|heap| {
        let is_shared = shared.is_some_and(|shared| shared.is(heap));
        !mine.holds(heap) && !is_shared && !heap.is_retired()
    })
}

/// Lets blocks be freed that threads held for a realloc which have vanished.
fn stop_holding() {
    let mine = thread::current();
    let made = DEPOT.pool.lock().all_heaps();
    for heap in made.filter(|heap| !mine.holds(heap)) {
        let address = heap.held.replace(0);
        if address != 0 {
            PROCESS_HEAP.stop_holding(address);
        }
    }
}

/// Registers the handlers, if that has not been done.
pub(super) fn register_once() {
    static IS_REGISTERED: AtomicBool = AtomicBool::new(false);
    // Asked first, since every slow call may come by. Registering may allocate, and so come by again.
    if IS_REGISTERED.load(Ordering::Relaxed) || IS_REGISTERED.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: the handlers are functions of this program; they do not unwind.
    let registered = unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    // It fails only when memory runs out, at the very start: then a fork while other threads allocate may hang the
    // child.
    let _ = registered;
    streams::register();
}

/// The lock of libc's list of streams.
#[cfg(all(
    target_os = "linux",
    target_env = "gnu",
    not(target_feature = "crt-static"),
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod streams {
    use core::mem;

    use crate::base::weak::weak;

    type Handler = unsafe extern "C" fn();

    /// A function that libc may have or not.
    fn handler(address: *const ()) -> Option<Handler> {
        // SAFETY: the address is that of a function without parameters, or null.
        unsafe { mem::transmute::<*const (), Option<Handler>>(address) }
    }

    /// Lets a fork take the lock before it takes those of the heap. It may be taken twice by one thread, as libc does;
    /// in the child it is made anew, as libc does where there were other threads.
    pub(super) fn register() {
        let lock = handler(weak!("_IO_list_lock"));
        let unlock = handler(weak!("_IO_list_unlock"));
        let reset = handler(weak!("_IO_list_resetlock"));
        if lock.is_some() && unlock.is_some() && reset.is_some() {
            // SAFETY: the three are functions of libc without parameters, made to be called around a fork.
            let registered = unsafe { libc::pthread_atfork(lock, unlock, reset) };
            // As above.
            let _ = registered;
        }
    }
}

/// Other libraries for C have no such lock, or not this one.
#[cfg(not(all(
    target_os = "linux",
    target_env = "gnu",
    not(target_feature = "crt-static"),
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
mod streams {
    pub(super) const fn register() {}
}

extern "C" fn register() {
    register_once();
}

/// The loader calls what this section points to.
#[used]
// SAFETY: the section holds pointers to functions without parameters, which is what this is.
#[unsafe(link_section = ".init_array")]
static REGISTER: extern "C" fn() = register;
