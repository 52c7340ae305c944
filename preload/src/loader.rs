//! `dlopen`, so that libraries that are opened later find our functions, too.
//!
//! With `RTLD_DEEPBIND` a library finds libc's functions before ours, and gives libc blocks to free that are MeMS's.
//! Programs such as PHP open all their extensions so. Here that flag is left out.
//!
//! All else is libc's, which looks at its caller's address: the call has to seem to come from there.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod dlopen {
    use core::arch::naked_asm;
    use core::ffi::{c_char, c_int, c_void};
    use core::ptr;
    use core::sync::atomic::{AtomicPtr, Ordering};

    use crate::next;

    /// libc's `dlopen`, once it was looked for.
    static NEXT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

    /// Opens a library as libc does, but for `RTLD_DEEPBIND`.
    ///
    /// # Safety
    ///
    /// See dlopen(3).
    #[unsafe(naked)]
    #[unsafe(no_mangle)]
    unsafe extern "C" fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void {
        #[cfg(target_arch = "x86_64")]
        naked_asm!(
            ".cfi_startproc",
            "endbr64",
            "and esi, {mask}",
            "mov rax, qword ptr [rip + {next}]",
            "test rax, rax",
            "jnz 2f",
            "push rdi",
            ".cfi_adjust_cfa_offset 8",
            "push rsi",
            ".cfi_adjust_cfa_offset 8",
            "sub rsp, 8",
            ".cfi_adjust_cfa_offset 8",
            "call {find}",
            "add rsp, 8",
            ".cfi_adjust_cfa_offset -8",
            "pop rsi",
            ".cfi_adjust_cfa_offset -8",
            "pop rdi",
            ".cfi_adjust_cfa_offset -8",
            "2:",
            "jmp rax",
            ".cfi_endproc",
            mask = const !libc::RTLD_DEEPBIND,
            next = sym NEXT,
            find = sym find,
        );
        #[cfg(target_arch = "aarch64")]
        naked_asm!(
            "hint #34", // bti c
            "and w1, w1, #{mask}",
            "adrp x16, {next}",
            "ldr x16, [x16, :lo12:{next}]",
            "cbnz x16, 2f",
            "stp x29, x30, [sp, #-32]!",
            "stp x0, x1, [sp, #16]",
            "mov x29, sp",
            "bl {find}",
            "mov x16, x0",
            "ldp x0, x1, [sp, #16]",
            "ldp x29, x30, [sp], #32",
            "2:",
            "br x16",
            mask = const !libc::RTLD_DEEPBIND,
            next = sym NEXT,
            find = sym find,
        );
    }

    /// Finds libc's `dlopen`.
    extern "C" fn find() -> *mut c_void {
        // SAFETY: any function's address is one.
        let found = unsafe { next::function::<*mut c_void>(c"dlopen") };
        let found = found.unwrap_or(no_library as *mut c_void);
        NEXT.store(found, Ordering::Relaxed);
        found
    }

    /// What stands for it where there is none.
    extern "C" fn no_library(_name: *const c_char, _flags: c_int) -> *mut c_void {
        ptr::null_mut()
    }
}
