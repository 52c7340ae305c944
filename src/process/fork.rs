//! `fork` while other threads allocate: the child must find every lock open, every record whole, and no block lost.
//!
//! The handlers are registered when the program or library is loaded, before `main` and outside of any lock:
//! registering allocates. Before a fork the forking thread takes all locks of the process heap, so no other thread is
//! in the middle of a shared change; meanwhile the forking thread may allocate. In the child the other threads are
//! gone, in the middle of whatever they did with their own heaps, and with slots of everybody's: so all heaps are
//! emptied, all slabs rebuilt from the state bytes, and the heaps of vanished threads retired. Runs whose pages a
//! vanished thread was giving back are given back again.
#![allow(unsafe_code, reason = "registers handlers with libc, and acts for threads that vanished")]

use super::hardened;
use super::plain::PROCESS_HEAP;
use super::thread;
use crate::settings;
use crate::slabs::depot::DEPOT;
use crate::slabs::thread_heap::ThreadHeap;

extern "C" fn prepare() {
    settings::hold_for_fork();
    hardened::hold_for_fork();
    PROCESS_HEAP.shared.hold_for_fork();
    DEPOT.pool.hold_for_fork();
    DEPOT.heap.hold_for_fork();
}

extern "C" fn parent() {
    DEPOT.heap.release_after_fork();
    DEPOT.pool.release_after_fork();
    PROCESS_HEAP.shared.release_after_fork();
    hardened::release_after_fork();
    settings::release_after_fork();
}

extern "C" fn child() {
    let had_threads = adopt_vanished();
    parent();
    DEPOT.heap.note_inherited();
    // Without `std` nobody knows.
    if had_threads || cfg!(not(feature = "std")) {
        // SAFETY: a fork leaves one thread, which claims nothing while it forks.
        unsafe { DEPOT.heap.settle_vanished_claims() };
    }
}

/// Makes the heaps of all threads but the calling one those of threads that ended. Returns whether there are any.
fn adopt_vanished() -> bool {
    let mine = thread::current();
    let shared = *PROCESS_HEAP.shared.lock();
    let has_vanished = |heap: &'static ThreadHeap| {
        let is_shared = shared.is_some_and(|shared| shared.is(heap));
        !mine.holds(heap) && !is_shared && !heap.is_retired.get()
    };
    let made = DEPOT.pool.lock().all_heaps();
    let all = || made.clone();
    if !all().any(has_vanished) {
        return false;
    }
    // A vanished thread may have had slots of any slab: in a magazine, in an outbox, on the way home, or a notice that
    // never came to a list. What the state bytes say is all that can be relied on.
    for heap in all() {
        heap.forget_all();
        if has_vanished(heap) {
            heap.forget_thread();
        }
    }
    for slab in DEPOT.map.all() {
        slab.rebuild();
        if let Some(owner) = slab.owner() {
            ThreadHeap::named(owner).take_rebuilt(slab);
        }
    }
    let mut pool = DEPOT.pool.lock();
    all().filter(|heap| has_vanished(heap)).for_each(|heap| pool.retire(heap));
    true
}

extern "C" fn register() {
    // SAFETY: the handlers are functions of this program; they do not unwind.
    let registered = unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    // It fails only when memory runs out, before `main`: then a fork while other threads allocate may hang the child.
    let _ = registered;
}

/// The loader calls what this section points to.
#[used]
// SAFETY: the section holds pointers to functions without parameters, which is what this is.
#[unsafe(link_section = ".init_array")]
static REGISTER: extern "C" fn() = register;
