//! How many instructions a malloc and a free take where they are fast, and that none is locked: counted by the
//! processor's trap flag, so the number is the same on every run. In release builds on x86-64; elsewhere there is
//! nothing to hold it to.
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
/// What a free of an own slot may take. It takes 45 with rustc 1.95.
#[cfg(target_arch = "x86_64")]
const FREE: usize = 47;

/// What both may take for a slot that is a slab of its own: 32 and 53.
#[cfg(target_arch = "x86_64")]
const LARGE: (usize, usize) = (34, 55);

#[cfg(target_arch = "x86_64")]
mod counting {
    use core::alloc::{GlobalAlloc, Layout};
    use core::hint::black_box;
    use core::ptr::without_provenance_mut;
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::GLOBAL;

    static STEPS: AtomicUsize = AtomicUsize::new(0);
    /// Those of them that are locked.
    static LOCKED: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn on_trap(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
        STEPS.fetch_add(1, Relaxed);
        // SAFETY: with SA_SIGINFO it is one of these.
        let context = unsafe { &*context.cast::<libc::ucontext_t>() };
        let next = usize::try_from(context.uc_mcontext.gregs[libc::REG_RIP as usize]);
        let next = core::ptr::with_exposed_provenance::<[u8; 4]>(next.unwrap_or(0));
        // SAFETY: there are further instructions behind every one that is executed here.
        LOCKED.fetch_add(usize::from(is_locked(unsafe { next.read_unaligned() })), Relaxed);
    }

    /// Whether an instruction that begins with these bytes locks the bus: one with that prefix, or an exchange with
    /// memory, which does so without.
    fn is_locked(bytes: [u8; 4]) -> bool {
        const LOCK: u8 = 0xf0;
        let mut bytes = bytes.into_iter().skip_while(|byte| matches!(byte, 0x66 | 0x40..=0x4f));
        match bytes.next() {
            Some(LOCK) => true,
            Some(0x86 | 0x87) => bytes.next().is_some_and(|operands| operands >> 6 != 3),
            _ => false,
        }
    }

    /// Looks whether locked instructions are told from others.
    pub(super) fn check_locks() {
        for locked in [[0xf0, 0x0f, 0xb0, 0x08], [0x86, 0x0f, 0, 0], [0x48, 0x87, 0x07, 0]] {
            assert!(is_locked(locked), "{locked:x?}");
        }
        for plain in [[0x88, 0x0f, 0, 0], [0x48, 0x87, 0xc7, 0], [0x0f, 0xb0, 0x08, 0]] {
            assert!(!is_locked(plain), "{plain:x?}");
        }
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

    extern "C" fn free(block: *mut u8, size: usize, align: usize) {
        // SAFETY: the caller has them from a layout.
        let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
        // SAFETY: the block is live and of this layout.
        unsafe { GLOBAL.dealloc(block, layout) };
    }

    /// Calls a function of the three above with as many of these arguments as it has: its answer, if it has one, and
    /// the instructions from setting the trap flag until it is cleared, those that are locked a thousandfold.
    fn counted(function: *const (), arguments: [*mut u8; 3]) -> (*mut u8, usize) {
        let count = || STEPS.load(Relaxed) + 1000 * LOCKED.load(Relaxed);
        let before = count();
        let answer: *mut u8;
        // SAFETY: the flag's traps have a handler, and the call is one by C's convention.
        unsafe {
            core::arch::asm!(
                "pushfq", "or qword ptr [rsp], 0x100", "popfq",
                "call {function}",
                "pushfq", "and qword ptr [rsp], -257", "popfq",
                function = in(reg) function,
                in("rdi") arguments[0],
                in("rsi") arguments[1],
                in("rdx") arguments[2],
                lateout("rax") answer,
                clobber_abi("C"),
            );
        }
        (answer, count() - before)
    }

    /// Instructions of a malloc and of a free of `size` bytes, the least of some pairs.
    pub(super) fn pair(size: usize, align: usize) -> (usize, usize) {
        install();
        let layout = Layout::from_size_align(black_box(size), black_box(align)).expect("a layout");
        let [none, size, align] = [0, layout.size(), layout.align()].map(without_provenance_mut);
        let (_, overhead) = counted(nothing as *const (), [none; 3]);
        let (mut least_malloc, mut least_free) = (usize::MAX, usize::MAX);
        for _ in 0..10 {
            let (block, malloc) = counted(malloc as *const (), [size, align, none]);
            assert!(!block.is_null());
            let (_, free) = counted(free as *const (), [block, size, align]);
            (least_malloc, least_free) = (least_malloc.min(malloc), least_free.min(free));
        }
        (least_malloc - overhead, least_free - overhead)
    }
}

#[cfg(target_arch = "x86_64")]
fn count(size: usize, align: usize) -> Result<Answer, String> {
    if cfg!(debug_assertions) {
        return Ok(Answer::Skipped("a debug build".to_owned()));
    }
    if cfg!(not(feature = "std")) {
        return Ok(Answer::Skipped("without std no thread has a heap of its own".to_owned()));
    }
    let (malloc, free) = counting::pair(size, align);
    let text = format!("malloc {malloc}, free {free}");
    let most = if size > 32 << 10 { LARGE } else { (MALLOC, FREE) };
    if malloc <= most.0 && free <= most.1 {
        Ok(Answer::Passed(text))
    } else {
        Err(format!("{text}, but at most {most:?} are meant to be"))
    }
}

/// The same while a profile is on whose samples are so far apart that it has none of these slots.
#[cfg(all(target_arch = "x86_64", feature = "profile"))]
fn count_while_sampling(layouts: &[(usize, usize)]) -> Result<Answer, String> {
    if cfg!(debug_assertions) {
        return Ok(Answer::Skipped("a debug build".to_owned()));
    }
    let counted = || layouts.iter().map(|(size, align)| counting::pair(*size, *align));
    let off: Vec<_> = counted().collect();
    GLOBAL.profile().start(1 << 50);
    let on: Vec<_> = counted().collect();
    GLOBAL.profile().stop();
    let text = format!("off {off:?}, on {on:?}");
    if off == on { Ok(Answer::Passed(text)) } else { Err(text) }
}

#[cfg(not(target_arch = "x86_64"))]
fn count(_: usize, _: usize) -> Result<Answer, String> {
    Ok(Answer::Skipped("x86-64 only".to_owned()))
}

fn main() -> ExitCode {
    let mut trials = Trials::alone();
    #[cfg(target_arch = "x86_64")]
    trials.case("locks_are_seen", || {
        counting::check_locks();
        Ok(Answer::Passed(String::new()))
    });
    let small = [(16, 8), (64, 8), (1024, 8), (32_768, 8), (40, 16), (64, 64), (100, 4096)];
    let large = [(40_000, 8), (1 << 20, 8), (4 << 20, 16)];
    for (size, align) in small.into_iter().chain(large) {
        let name = format!("instructions_for_{size}_bytes_aligned_to_{align}");
        trials.case(name, move || count(size, align));
    }
    #[cfg(all(target_arch = "x86_64", feature = "profile"))]
    trials.case("a_profile_adds_no_instruction", move || {
        count_while_sampling(&[small.as_slice(), &large].concat())
    });
    trials.finish()
}
