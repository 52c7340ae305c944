//! The thread-local word that names the calling thread's heap.
//!
//! It is initialised by the linker and has no destructor. Rust's own thread-locals are found through a function call
//! where the code is part of a shared library; with the feature `initial-exec` the word lies in the block that the loader
//! gives each thread for the libraries that are there from the start, and is one load away from the thread pointer. Only
//! for x86-64; elsewhere the feature changes nothing (and nobody has tried it there). The word is 8 bytes, so that a library that is loaded later finds
//! room for it, too.
//!
//! Invariant: **I1** the word holds the address of a `ThreadHeap` that is never unmapped.
#![allow(unsafe_code, reason = "reads and writes the word by assembly")]

#[cfg(all(feature = "initial-exec", target_arch = "x86_64"))]
mod word {
    use core::arch::{asm, global_asm};
    use core::ptr;

    use super::super::thread::NOBODY;
    use super::super::thread_heap::ThreadHeap;

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

#[cfg(not(all(feature = "initial-exec", target_arch = "x86_64")))]
mod word {
    use core::cell::Cell;

    use super::super::thread::NOBODY;
    use super::super::thread_heap::ThreadHeap;

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

pub(super) use word::{get, set};
