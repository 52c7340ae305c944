//! Which heap the calling thread uses.
//!
//! With `std` one thread-local word names it. The word is initialised by the linker and has no destructor, so reading it
//! is one instruction and works at any moment of a thread's life. At first it names [`NOBODY`], a heap of empty magazines
//! whose key no slab has: so the fast paths need no test, they just find nothing and go the slow way. The first slow way
//! acquires a heap and leaves it with a pthread key, whose destructor retires the heap when the thread ends and lets the
//! word name [`GONE`]: what the thread still does is served by one heap that all such threads share under a lock. Without
//! `std` every thread is served that way.
//!
//! Why a pthread key and not a thread-local with a destructor: registering such a destructor makes glibc allocate, for
//! which it reserves 64 MiB of addresses a thread; a key's value has its place in the thread's own block. And keys go
//! last, behind the destructors of Rust's and C++'s thread-locals.
#![allow(unsafe_code, reason = "pthread keys")]

use super::thread_heap::ThreadHeap;

/// The heap of a thread that has not asked for anything yet.
pub(super) static NOBODY: ThreadHeap = ThreadHeap::new(NOBODY_NUMBER, None);
/// The heap of a thread that is ending.
#[cfg(feature = "std")]
static GONE: ThreadHeap = ThreadHeap::new(NOBODY_NUMBER, None);
/// The number of heaps that are no thread's.
const NOBODY_NUMBER: u64 = 0;

#[cfg(feature = "std")]
mod word {
    use core::ffi::c_void;
    use core::num::NonZeroUsize;
    use core::sync::atomic::Ordering;

    use once_cell::race::OnceNonZeroUsize;

    use super::super::{current as word, pool, process};
    use super::{GONE, NOBODY, ThreadHeap};
    use crate::settings;

    /// The key, plus one.
    static KEY: OnceNonZeroUsize = OnceNonZeroUsize::new();

    /// Retires the heap of a thread that ends.
    extern "C" fn leave(heap: *mut c_void) {
        word::set(&GONE);
        if let Some(heap) = ThreadHeap::at(heap.addr()) {
            process::retire(heap);
        }
    }

    /// Sees to it that `heap` is retired when the calling thread ends. Should there be no key left, it is not: then its
    /// caches stay where they are.
    fn leave_with_thread(heap: &'static ThreadHeap) {
        let key = KEY.get_or_try_init(|| {
            let mut key = 0;
            // SAFETY: `key` is written, and `leave` takes what `pthread_setspecific` is given below.
            let error = unsafe { libc::pthread_key_create(&raw mut key, Some(leave)) };
            if error == 0 { NonZeroUsize::new(key as usize + 1).ok_or(()) } else { Err(()) }
        });
        if let Ok(key) = key.map(|key| key.get() - 1)
            && let Ok(key) = libc::pthread_key_t::try_from(key)
        {
            let heap = core::ptr::without_provenance(heap.address());
            // SAFETY: the key was created above and is never deleted.
            let error = unsafe { libc::pthread_setspecific(key, heap) };
            // It fails for want of memory, and then the heap stays with nobody.
            let _ = error;
        }
    }

    /// The heap of the calling thread, or one that has nothing.
    #[inline]
    pub(crate) fn current() -> &'static ThreadHeap {
        word::get()
    }

    /// Lets the calling thread use another heap, and says which it used before.
    pub(crate) fn replace(heap: &'static ThreadHeap) -> &'static ThreadHeap {
        let before = word::get();
        word::set(heap);
        before
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
        if !settings::is_plain() {
            // Every call has to take the slow way.
            return None;
        }
        let heap = pool::acquire_heap()?;
        let thread_id = rustix::thread::gettid().as_raw_pid().cast_unsigned();
        heap.thread_id.store(thread_id, Ordering::Relaxed);
        word::set(heap);
        leave_with_thread(heap);
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

#[cfg(feature = "std")]
pub(super) use word::replace;
pub(super) use word::{current, current_or_new};
