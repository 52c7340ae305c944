//! Which heap the calling thread uses.
//!
//! With `std` one thread-local word names it. The word is initialised by the linker and has no destructor, so reading it
//! is one instruction and works at any moment of a thread's life. At first it names [`NOBODY`], a heap of empty magazines
//! whose key no slab has: so the fast paths need no test, they just find nothing and go the slow way. The first slow way
//! acquires a heap and registers an exit guard (registering may allocate, which works, as the word is set by then). When
//! the guard goes the heap is retired, and the word names [`GONE`]: what the thread still does is served by one heap
//! that all such threads share under a lock. Without `std` every thread is served that way.

use super::thread_heap::ThreadHeap;

/// The heap of a thread that has not asked for anything yet.
static NOBODY: ThreadHeap = ThreadHeap::new(NOBODY_NUMBER, None);
/// The heap of a thread that is ending.
#[cfg(feature = "std")]
static GONE: ThreadHeap = ThreadHeap::new(NOBODY_NUMBER, None);
/// A number that no heap gets.
const NOBODY_NUMBER: u64 = (1 << 48) - 1;

#[cfg(feature = "std")]
mod word {
    use core::cell::Cell;

    use super::super::{pool, process};
    use super::{GONE, NOBODY, ThreadHeap};

    std::thread_local! {
        static CURRENT: Cell<&'static ThreadHeap> = const { Cell::new(&NOBODY) };
        static GUARD: Guard = const { Guard };
    }

    /// Retires the thread's heap when the thread ends.
    struct Guard;

    impl Drop for Guard {
        fn drop(&mut self) {
            let heap = CURRENT.replace(&GONE);
            if !heap.is(&NOBODY) && !heap.is(&GONE) {
                process::retire(heap);
            }
        }
    }

    /// The heap of the calling thread, or one that has nothing.
    #[inline]
    pub(crate) fn current() -> &'static ThreadHeap {
        CURRENT.with(Cell::get)
    }

    /// The heap of the calling thread, made now if it has none; none if the thread is ending, or without memory.
    #[cold]
    pub(crate) fn current_or_new() -> Option<&'static ThreadHeap> {
        let heap = current();
        if heap.is(&GONE) {
            return None;
        }
        if !heap.is(&NOBODY) {
            return Some(heap);
        }
        let heap = pool::acquire_heap()?;
        CURRENT.set(heap);
        if GUARD.try_with(|_| ()).is_err() {
            CURRENT.set(&GONE);
            process::retire(heap);
            return None;
        }
        Some(heap)
    }
}

#[cfg(not(feature = "std"))]
mod word {
    use super::{NOBODY, ThreadHeap};

    /// A heap that has nothing.
    #[inline]
    pub(crate) fn current() -> &'static ThreadHeap {
        &NOBODY
    }

    /// None: all threads share one.
    pub(crate) fn current_or_new() -> Option<&'static ThreadHeap> {
        None
    }
}

pub(super) use word::{current, current_or_new};
