//! How many instructions a malloc and a free take where they are fast: counted by the processor's trap flag, so the
//! number is the same on every run. In release builds on x86-64; elsewhere there is nothing to hold it to.
#![allow(unsafe_code, reason = "the trap flag, its signal, and blocks by hand")]
#![allow(clippy::expect_used, reason = "tests")]

use std::process::ExitCode;

#[path = "../helpers/mod.rs"]
mod helpers;

use helpers::trials::{Answer, Trials};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// What a malloc of a cached slot may take. It takes 19 with rustc 1.95.
#[cfg(target_arch = "x86_64")]
const MALLOC: usize = 20;
/// What a free of an own slot may take. It takes 49 with rustc 1.95.
#[cfg(target_arch = "x86_64")]
const FREE: usize = 53;

#[cfg(target_arch = "x86_64")]
mod counting {
    use core::alloc::{GlobalAlloc, Layout};
    use core::hint::black_box;
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::GLOBAL;

    static STEPS: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn on_trap(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        STEPS.fetch_add(1, Relaxed);
    }

    fn install() {
        // SAFETY: all zero is an action without flags and with an empty mask.
        let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
        action.sa_sigaction = on_trap as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: the action is initialised and its handler has the signature of SA_SIGINFO.
        let installed =
            unsafe { libc::sigaction(libc::SIGTRAP, &raw const action, core::ptr::null_mut()) };
        assert_eq!(installed, 0);
    }

    extern "C" fn nothing() {}

    extern "C" fn malloc(size: usize, align: usize) -> *mut u8 {
        // SAFETY: the caller has them from a layout.
        let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
        // SAFETY: the layout's size is not 0.
        unsafe { GLOBAL.alloc(layout) }
    }

    extern "C" fn free(size: usize, align: usize, block: *mut u8) {
        // SAFETY: the caller has them from a layout.
        let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
        // SAFETY: the block is live and of this layout.
        unsafe { GLOBAL.dealloc(block, layout) };
    }

    /// Calls a function of the three above: its answer, if it has one, and the instructions from setting the trap flag
    /// until it is cleared.
    fn counted(function: *const (), layout: Layout, block: *mut u8) -> (*mut u8, usize) {
        let before = STEPS.load(Relaxed);
        let answer: *mut u8;
        // SAFETY: the flag's traps have a handler, and the call is one by C's convention.
        unsafe {
            core::arch::asm!(
                "pushfq", "or qword ptr [rsp], 0x100", "popfq",
                "call {function}",
                "pushfq", "and qword ptr [rsp], -257", "popfq",
                function = in(reg) function,
                in("rdi") layout.size(),
                in("rsi") layout.align(),
                in("rdx") block,
                lateout("rax") answer,
                clobber_abi("C"),
            );
        }
        (answer, STEPS.load(Relaxed) - before)
    }

    /// Instructions of a malloc and of a free of `size` bytes, the least of some pairs.
    pub(super) fn pair(size: usize) -> (usize, usize) {
        install();
        let layout = Layout::from_size_align(black_box(size), black_box(8)).expect("a layout");
        let none = core::ptr::null_mut();
        let (_, overhead) = counted(nothing as *const (), layout, none);
        let (mut least_malloc, mut least_free) = (usize::MAX, usize::MAX);
        for _ in 0..10 {
            let (block, malloc) = counted(malloc as *const (), layout, none);
            assert!(!block.is_null());
            let (_, free) = counted(free as *const (), layout, block);
            (least_malloc, least_free) = (least_malloc.min(malloc), least_free.min(free));
        }
        (least_malloc - overhead, least_free - overhead)
    }
}

#[cfg(target_arch = "x86_64")]
fn count(size: usize) -> Result<Answer, String> {
    if cfg!(debug_assertions) {
        return Ok(Answer::Skipped("a debug build".to_owned()));
    }
    if cfg!(not(feature = "std")) {
        return Ok(Answer::Skipped("without std no thread has a heap of its own".to_owned()));
    }
    let (malloc, free) = counting::pair(size);
    let text = format!("malloc {malloc}, free {free}");
    if malloc <= MALLOC && free <= FREE {
        Ok(Answer::Passed(text))
    } else {
        Err(format!("{text}, but at most {MALLOC} and {FREE} are meant to be"))
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn count(_: usize) -> Result<Answer, String> {
    Ok(Answer::Skipped("x86-64 only".to_owned()))
}

fn main() -> ExitCode {
    let mut trials = Trials::alone();
    for size in [16, 64, 1024, 32_768] {
        trials.case(format!("instructions_for_{size}_bytes"), move || count(size));
    }
    trials.finish()
}
