//! The thread-local word that names the calling thread's heap, and the two heaps that stand for none.
//!
//! With `std` the word is initialised by the linker and has no destructor, so reading it is one instruction and works
//! at any moment of a thread's life. At first it names [`NOBODY`], a heap of empty magazines whose key no slab has: so
//! the fast paths need no test, they just find nothing and go the slow way. When the thread ends it names `GONE`, and
//! while the thread is inside of its heap, too, so that a signal handler finds nothing there.
//! Without `std` there is no word, and every thread uses [`NOBODY`].
//!
//! Rust's own thread-locals are found through a function call where the code is part of a shared library; with the
//! feature `initial-exec` the word lies in the block that the loader gives each thread for the libraries that are there
//! from the start, and is one load away from the thread pointer. Only for x86-64; elsewhere the feature changes nothing
//! (and nobody has tried it there). The word is 8 bytes, so that a library that is loaded later finds room for it, too.
//!
//! Invariant: **I1** the word holds the address of a `ThreadHeap` that is never unmapped.
#![allow(unsafe_code, reason = "reads and writes the word by assembly")]

use crate::slabs::thread_heap::ThreadHeap;

/// The heap of a thread that has not asked for anything yet.
pub(super) static NOBODY: ThreadHeap = ThreadHeap::nobody();
/// The heap of a thread that is ending, or inside of its own: see [`thread`](super::thread).
#[cfg(feature = "std")]
pub(super) static GONE: ThreadHeap = ThreadHeap::nobody();

#[cfg(all(feature = "std", feature = "initial-exec", target_arch = "x86_64"))]
mod local {
    use core::arch::{asm, global_asm};
    use core::ptr;

    use super::{NOBODY, ThreadHeap};

    global_asm!(
        ".pushsection .tdata.mems_thread_heap, \"awT\", @progbits",
        ".globl mems_thread_heap",
        ".hidden mems_thread_heap",
        ".type mems_thread_heap, @object",
        ".size mems_thread_heap, 8",
        ".p2align 3",
        "mems_thread_heap:",
        ".quad {nobody}",
        ".popsection",
        nobody = sym NOBODY,
    );

    #[inline]
    pub(crate) fn get() -> &'static ThreadHeap {
        let heap: *const ThreadHeap;
        // SAFETY: reads the calling thread's word, which is as old as the thread.
        unsafe {
            asm!(
                "mov {heap}, qword ptr [rip + mems_thread_heap@GOTTPOFF]",
                "mov {heap}, qword ptr fs:[{heap}]",
                heap = out(reg) heap,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        // SAFETY: the word holds the address of a heap (I1).
        unsafe { &*heap }
    }

    pub(crate) fn set(heap: &'static ThreadHeap) {
        // SAFETY: writes the calling thread's word, with the address of a heap (I1).
        unsafe {
            asm!(
                "mov {place}, qword ptr [rip + mems_thread_heap@GOTTPOFF]",
                "mov qword ptr fs:[{place}], {heap}",
                place = out(reg) _,
                heap = in(reg) ptr::from_ref(heap),
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(all(feature = "std", not(all(feature = "initial-exec", target_arch = "x86_64"))))]
mod local {
    use core::cell::Cell;

    use super::{NOBODY, ThreadHeap};

    std::thread_local! {
        static CURRENT: Cell<&'static ThreadHeap> = const { Cell::new(&NOBODY) };
    }

    #[inline]
    pub(crate) fn get() -> &'static ThreadHeap {
        CURRENT.with(Cell::get)
    }

    pub(crate) fn set(heap: &'static ThreadHeap) {
        CURRENT.set(heap);
    }
}

#[cfg(not(feature = "std"))]
mod local {
    use super::{NOBODY, ThreadHeap};

    #[inline]
    pub(crate) fn get() -> &'static ThreadHeap {
        &NOBODY
    }
}

pub(super) use local::get;
#[cfg(feature = "std")]
pub(super) use local::set;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heaps_that_are_nobodys_are_all_zero() {
        let start = (&raw const NOBODY).cast::<u8>();
        let is_zero = (0..size_of::<ThreadHeap>()).all(|offset| {
            let byte = start.wrapping_add(offset);
            // SAFETY: it is a byte of a static that nobody changes.
            unsafe { byte.read() == 0 }
        });
        assert!(is_zero, "they would take a place in every binary");
    }
}
