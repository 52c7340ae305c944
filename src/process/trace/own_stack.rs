//! A stack of its own for what may need more than a signal handler has.
#![allow(unsafe_code, reason = "changes the stack pointer")]

use core::arch::asm;

use crate::base::guarded;
use crate::base::os::System;

/// Bytes of the stack. Pages that are not touched take no memory.
const BYTES: usize = 512 << 10;
/// Zeros at its outer end, where a debugger or an unwinder finds no caller.
const OUTER_BYTES: usize = 4096;

/// Runs `action` on a stack of its own, or on the thread's where there is no memory for that. The stack stays mapped:
/// the process is about to end.
pub(super) fn on_own_stack<F: FnOnce()>(action: F) {
    let Ok(start) = guarded::map(&System, BYTES) else { return action() };
    // SAFETY: the stack is longer than that.
    let top = unsafe { start.add(BYTES - OUTER_BYTES) };
    let mut action = Some(action);
    let run: extern "C" fn(*mut Option<F>) = run::<F>;
    let argument = &raw mut action;
    // SAFETY: the new stack is mapped, aligned, and nobody else's. The function keeps what registers a caller counts
    // on, returns here, and does not unwind; then the stack pointer is what it was before.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "mov r12, rsp",
            "mov rsp, {top}",
            "call {run}",
            "mov rsp, r12",
            top = in(reg) top.as_ptr(),
            run = in(reg) run,
            in("rdi") argument,
            out("r12") _,
            clobber_abi("C"),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "mov x20, sp",
            "mov sp, {top}",
            "blr {run}",
            "mov sp, x20",
            top = in(reg) top.as_ptr(),
            run = in(reg) run,
            in("x0") argument,
            out("x20") _,
            clobber_abi("C"),
        );
    }
}

/// Runs an action once, which moves to the new stack: on the old one, a signal handler may overwrite it by now.
extern "C" fn run<F: FnOnce()>(action: *mut Option<F>) {
    // SAFETY: it is `on_own_stack`'s, which waits.
    let action = unsafe { &mut *action }.take();
    action.into_iter().for_each(|action| action());
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hint::black_box;

    #[test]
    fn there_is_room_for_what_the_action_needs() {
        let mut sum = 0_u64;
        let on_the_old_one = black_box([3_u64; 4]);
        on_own_stack(|| {
            let much = black_box([5_u64; 20 << 10]);
            sum = much.iter().sum::<u64>() + on_the_old_one[0];
        });
        assert_eq!(sum, 5 * (20 << 10) + 3);
    }
}
