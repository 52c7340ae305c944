//! `fork` while other threads allocate: the child must find every lock open, every record whole, and no block lost.
//!
//! The handlers are registered when the program or library is loaded, before `main` and outside of any lock:
//! registering allocates. Before a fork the forking thread takes all locks of the process heap, so no other thread is in
//! the middle of a shared change; meanwhile the forking thread may allocate. In the child the other threads are gone, in
//! the middle of whatever they did with their own heaps, and with slots of everybody's: so all heaps are emptied, all
//! slabs rebuilt from the state bytes, and the heaps of vanished threads retired. Runs whose pages a vanished thread was
//! giving back are given back again.
#![allow(unsafe_code, reason = "registers handlers with libc")]

use super::process::PROCESS;
use super::thread;
use super::thread_heap::ThreadHeap;
use crate::front;

extern "C" fn prepare() {
    front::hold_for_fork();
    PROCESS.shared.hold_for_fork();
    PROCESS.pool.hold_for_fork();
    PROCESS.heap.hold_for_fork();
}

extern "C" fn parent() {
    PROCESS.heap.release_after_fork();
    PROCESS.pool.release_after_fork();
    PROCESS.shared.release_after_fork();
    front::release_after_fork();
}

extern "C" fn child() {
    let had_threads = adopt_vanished();
    parent();
    // Without `std` nobody knows.
    if had_threads || cfg!(not(feature = "std")) {
        PROCESS.heap.settle_vanished_claims();
    }
}

/// Makes the heaps of all threads but the calling one those of threads that ended. Returns whether there are any.
fn adopt_vanished() -> bool {
    let mine = thread::current();
    let shared = *PROCESS.shared.lock();
    let has_vanished = |heap: &'static ThreadHeap| {
        let is_shared = shared.is_some_and(|shared| shared.is(heap));
        !mine.holds(heap) && !is_shared && !heap.is_retired.get()
    };
    let made = PROCESS.pool.lock().made;
    let all = || ThreadHeap::all_from(made);
    if !all().any(has_vanished) {
        return false;
    }
    // A vanished thread may have had slots of any slab: in a magazine, in an outbox, on the way home, or a notice that
    // never came to a list. What the state bytes say is all that can be relied on.
    for heap in all() {
        heap.forget_all();
        if has_vanished(heap) {
            heap.forget_places();
        }
    }
    for slab in PROCESS.owners.all() {
        slab.rebuild();
        if let Some(owner) = slab.owner() {
            owner.take_rebuilt(slab);
        }
    }
    let mut pool = PROCESS.pool.lock();
    all().filter(|heap| has_vanished(heap)).for_each(|heap| pool.retire(heap));
    true
}

extern "C" fn register() {
    // SAFETY: the handlers are functions of this program; they do not unwind.
    let registered = unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    // It fails only for want of memory, before `main`: then a fork while other threads allocate may hang the child.
    let _ = registered;
}

/// The loader calls what this section points to.
#[used]
// SAFETY: the section holds pointers to functions without parameters, which is what this is.
#[unsafe(link_section = ".init_array")]
static REGISTER: extern "C" fn() = register;
