//! The thread-local word that holds the number of the calling thread's label, 0 for none.
//!
//! Samples read it in the middle of a malloc, so it must be there without one: see the word of the thread's heap in
//! `process`, which has the same two forms.

#[cfg(all(feature = "initial-exec", target_arch = "x86_64"))]
#[allow(unsafe_code, reason = "reads and writes the word by assembly")]
mod local {
    use core::arch::{asm, global_asm};

    global_asm!(
        ".pushsection .tbss.mems_label, \"awT\", @nobits",
        ".globl mems_label",
        ".hidden mems_label",
        ".type mems_label, @object",
        ".size mems_label, 4",
        ".p2align 2",
        "mems_label:",
        ".zero 4",
        ".popsection",
    );

    #[inline]
    pub(crate) fn get() -> u32 {
        let label: u32;
        // SAFETY: reads the calling thread's word, which is as old as the thread.
        unsafe {
            asm!(
                "mov {place}, qword ptr [rip + mems_label@GOTTPOFF]",
                "mov {label:e}, dword ptr fs:[{place}]",
                place = out(reg) _,
                label = out(reg) label,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        label
    }

    #[inline]
    pub(crate) fn set(label: u32) {
        // SAFETY: writes the calling thread's word. Any number may be there.
        unsafe {
            asm!(
                "mov {place}, qword ptr [rip + mems_label@GOTTPOFF]",
                "mov dword ptr fs:[{place}], {label:e}",
                place = out(reg) _,
                label = in(reg) label,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(not(all(feature = "initial-exec", target_arch = "x86_64")))]
mod local {
    use core::cell::Cell;

    std::thread_local! {
        static LABEL: Cell<u32> = const { Cell::new(0) };
    }

    #[inline]
    pub(crate) fn get() -> u32 {
        LABEL.get()
    }

    #[inline]
    pub(crate) fn set(label: u32) {
        LABEL.set(label);
    }
}

pub(super) use local::{get, set};
