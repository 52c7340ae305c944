//! Which heap the calling thread uses: how it gets one, and what happens when it ends.
//!
//! The first slow way of a thread acquires a heap, lets the thread-local [`word`] name it, and leaves it with a pthread
//! key, whose destructor retires the heap when the thread ends. What the thread still does after that is served by one
//! heap that all such threads share under a lock. Without `std` every thread is served that way.
//!
//! So is a signal handler that interrupts its thread [`inside`] of the slow ways of its heap. One that interrupts the
//! fast paths is not told from the thread itself.
//!
//! Why a pthread key and not a thread-local with a destructor: registering such a destructor makes glibc allocate, for
//! which it reserves 64 MiB of addresses a thread; a key's value has its place in the thread's own block. And keys go
//! last, behind the destructors of Rust's and C++'s thread-locals.

use super::word;
use crate::slabs::thread_heap::ThreadHeap;

/// The heap of the calling thread, or one that has nothing.
#[inline]
pub(super) fn current() -> &'static ThreadHeap {
    word::get()
}

/// No thread has a heap of its own.
#[cfg(not(feature = "std"))]
pub(super) const fn note_forked() {}

/// None: all threads share one.
#[cfg(not(feature = "std"))]
pub(super) fn current_or_new() -> Option<&'static ThreadHeap> {
    None
}

/// Lets `action` use a heap of the calling thread.
#[cfg(not(feature = "std"))]
pub(super) fn inside<R>(
    heap: &'static ThreadHeap,
    action: impl FnOnce(&'static ThreadHeap) -> R,
) -> R {
    action(heap)
}

/// Whether the calling thread is inside of its heap: it has none.
#[cfg(not(feature = "std"))]
pub(super) const fn is_inside() -> bool {
    false
}

#[cfg(feature = "std")]
pub(super) use own::{current_or_new, inside, is_gone, is_inside, note_forked, replace};

/// Heaps of their own for threads.
#[cfg(feature = "std")]
#[allow(unsafe_code, reason = "pthread keys")]
mod own {
    use core::ffi::c_void;
    use core::num::NonZeroUsize;
    use core::sync::atomic::{Ordering, compiler_fence};

    use once_cell::race::OnceNonZeroUsize;

    use super::super::word::{self, GONE, NOBODY};
    use super::super::{counting, sampling};
    use super::{ThreadHeap, current};
    use crate::settings;
    use crate::slabs::depot::DEPOT;

    /// The key, plus one.
    static KEY: OnceNonZeroUsize = OnceNonZeroUsize::new();

    /// Retires the heap of a thread that ends.
    extern "C" fn leave(heap: *mut c_void) {
        word::set(&GONE);
        // SAFETY: the key's value is a heap that `leave_with_thread` gave it, and heaps stay for ever.
        if let Some(heap) = unsafe { heap.cast::<ThreadHeap>().as_ref() } {
            heap.flush_and_end_slabs();
            counting::leave(heap);
            sampling::retire(heap);
        }
    }

    /// The key, if it was created.
    fn key() -> Option<libc::pthread_key_t> {
        libc::pthread_key_t::try_from(KEY.get()?.get() - 1).ok()
    }

    /// Lets `heap` be retired when the calling thread ends. Where there is no key left it is not, and its caches stay
    /// where they are.
    fn leave_with_thread(heap: &'static ThreadHeap) {
        let created = KEY.get_or_try_init(|| {
            let mut key = 0;
            // SAFETY: `key` is written, and `leave` takes what `pthread_setspecific` is given below.
            let error = unsafe { libc::pthread_key_create(&raw mut key, Some(leave)) };
            if error == 0 { NonZeroUsize::new(key as usize + 1).ok_or(()) } else { Err(()) }
        });
        if created.is_ok()
            && let Some(key) = key()
        {
            let heap = core::ptr::from_ref(heap).cast();
            // SAFETY: the key was created above and is never deleted.
            let error = unsafe { libc::pthread_setspecific(key, heap) };
            // It fails when memory runs out, and then the heap is never retired.
            let _ = error;
        }
    }

    /// Lets `action` use a heap of the calling thread. A handler that interrupts it finds the thread without a heap.
    #[inline]
    pub(in crate::process) fn inside<R>(
        heap: &'static ThreadHeap,
        action: impl FnOnce(&'static ThreadHeap) -> R,
    ) -> R {
        let before = replace(&GONE);
        compiler_fence(Ordering::SeqCst);
        let result = action(heap);
        compiler_fence(Ordering::SeqCst);
        word::set(before);
        result
    }

    /// Whether the calling thread is [`inside`] of its heap, where a signal handler has interrupted it.
    pub(in crate::process) fn is_inside() -> bool {
        // A thread that is ending has no value any more.
        is_gone()
            && key().is_some_and(|key| {
                // SAFETY: the key was created and is never deleted.
                !unsafe { libc::pthread_getspecific(key) }.is_null()
            })
    }

    /// Lets the calling thread use another heap, and says which it used before.
    pub(in crate::process) fn replace(heap: &'static ThreadHeap) -> &'static ThreadHeap {
        let before = word::get();
        word::set(heap);
        before
    }

    /// Whether the calling thread is ending and has no heap any more, or is [`inside`] of it.
    pub(in crate::process) fn is_gone() -> bool {
        current().is(&GONE)
    }

    /// The heap of the calling thread, made now if it has none; none if that is gone, or without memory.
    #[cold]
    pub(in crate::process) fn current_or_new() -> Option<&'static ThreadHeap> {
        let heap = current();
        if is_gone() {
            return None;
        }
        if !heap.is(&NOBODY) {
            return Some(heap);
        }
        if !settings::is_plain() {
            // Every call has to take the slow way.
            return None;
        }
        let heap = inside(heap, |_| counting::heap_of_followed().or_else(|| DEPOT.acquire_heap()))?;
        note_thread(heap);
        word::set(heap);
        leave_with_thread(heap);
        Some(heap)
    }

    /// Notes what the system calls the thread of a heap.
    fn note_thread(heap: &ThreadHeap) {
        let thread_id = rustix::thread::gettid().as_raw_pid().cast_unsigned();
        heap.thread_id.store(thread_id, Ordering::Relaxed);
    }

    /// Does so in the child of a fork, where the calling thread has another number than in the parent.
    pub(in crate::process) fn note_forked() {
        let heap = current();
        if !heap.is(&NOBODY) && !heap.is(&GONE) {
            note_thread(heap);
        }
    }
}
