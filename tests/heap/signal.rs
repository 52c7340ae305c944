//! A signal handler that allocates while its thread is inside the allocator: it works, or there is a message and
//! SIGABRT, but it never hangs and never harms the heap.
//!
//! On x86-64 the interruption is exhaustive: the processor stops behind every single instruction of some operations,
//! and at each stop a copy of the process plays the handler and then ends the operation. Elsewhere, and besides, a
//! timer interrupts at random.
#![allow(unsafe_code, reason = "signals, forks and the trap flag")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::process::ExitCode;

use helpers::piece::{MEMS, Piece};
use helpers::trials::{Answer, Trials};
use helpers::{child, scaled};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// The words of the message.
const MESSAGE: &str = "a thread met its own lock";
/// Those of a debug build that finds a law broken.
#[cfg(target_arch = "x86_64")]
const BROKEN_LAW: &str = "THE ALLOCATOR IS BROKEN";
/// Seconds until SIGALRM ends a child that hangs.
const PATIENCE_SECONDS: u32 = 1;
/// Blocks that a handler allocates: a small one and one of some pages.
const HANDLER_SIZES: [usize; 2] = [40, 20_000];

/// What a handler does.
fn allocate_in_handler() {
    for size in HANDLER_SIZES {
        let piece = Piece::new(size, 8, 77).expect("there is memory");
        assert!(piece.is_intact());
        piece.free();
    }
}

/// Installs a handler.
fn install(signal: i32, handler: libc::sighandler_t) {
    // SAFETY: all zero is an action without flags and with an empty mask.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the action is initialised and its handler has the signature of SA_SIGINFO.
    let installed = unsafe { libc::sigaction(signal, &raw const action, core::ptr::null_mut()) };
    assert_eq!(installed, 0);
}

#[cfg(target_arch = "x86_64")]
mod stepping {
    use core::sync::atomic::AtomicI32;
    use std::sync::{Mutex, OnceLock};

    use super::{
        AtomicBool, AtomicUsize, BROKEN_LAW, HANDLER_SIZES, MEMS, MESSAGE, PATIENCE_SECONDS, Piece,
        Relaxed, allocate_in_handler, child, install,
    };

    /// The flag that makes the processor trap behind each instruction (Intel SDM, volume 3, 19.3).
    const TRAP_FLAG: i64 = 0x100;

    /// A copy is made behind each of the first instructions, up to this number, and behind one in [`ONE_IN`] of the
    /// others: those are loops that clear or copy bytes, and walks.
    const ALL_OF: usize = if cfg!(debug_assertions) { 300 } else { 2_000 };
    /// See [`ALL_OF`].
    const ONE_IN: usize = if cfg!(debug_assertions) { 397 } else { 97 };

    static SEEN: AtomicUsize = AtomicUsize::new(0);
    static IS_OVER: AtomicBool = AtomicBool::new(false);
    static KEPT: Mutex<[Option<Piece>; 2]> = Mutex::new([None, None]);
    static IS_COPY: AtomicBool = AtomicBool::new(false);
    /// What the handler does: it frees what it takes in the reverse order, keeps it, or forks beside a thread.
    static HANDLER: OnceLock<String> = OnceLock::new();
    /// The child that the handler has forked.
    static FORKED: AtomicI32 = AtomicI32::new(0);
    static IS_BESIDE: AtomicBool = AtomicBool::new(false);
    static STOPS: AtomicUsize = AtomicUsize::new(0);
    static WORKED: AtomicUsize = AtomicUsize::new(0);
    static ABORTED: AtomicUsize = AtomicUsize::new(0);
    static HUNG: AtomicUsize = AtomicUsize::new(0);
    static BROKE: AtomicUsize = AtomicUsize::new(0);
    /// The instruction at which the last copy hung or broke.
    static WHERE: AtomicUsize = AtomicUsize::new(0);

    /// Ends the stepping for the code that returns to this context.
    fn run_on(context: *mut libc::ucontext_t) {
        // SAFETY: the kernel has handed this context to the handler, which alone uses it.
        let registers = unsafe { &mut (*context).uc_mcontext.gregs };
        registers[libc::REG_EFL.cast_unsigned() as usize] &= !TRAP_FLAG;
    }

    fn instruction(context: *mut libc::ucontext_t) -> usize {
        // SAFETY: as in `run_on`.
        let registers = unsafe { &(*context).uc_mcontext.gregs };
        usize::try_from(registers[libc::REG_RIP.cast_unsigned() as usize]).unwrap_or(0)
    }

    /// Behind each instruction: a copy of the process plays the handler, this one waits and counts.
    extern "C" fn on_trap(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let context = context.cast::<libc::ucontext_t>();
        if IS_OVER.load(Relaxed) {
            return run_on(context);
        }
        // Too many of one failure say no more than a few, and each costs its time.
        if HUNG.load(Relaxed) >= 3 || BROKE.load(Relaxed) >= 300 {
            return run_on(context);
        }
        let seen = SEEN.fetch_add(1, Relaxed);
        if seen >= ALL_OF && !seen.is_multiple_of(ONE_IN) {
            return;
        }
        STOPS.fetch_add(1, Relaxed);
        // The plain system call: fork(3) would have MeMS take its locks first.
        // SAFETY: the copy has this thread only, and does nothing but what a handler may.
        let copy = unsafe { libc::syscall(libc::SYS_fork) };
        if copy == 0 {
            child::watchdog(PATIENCE_SECONDS);
            IS_COPY.store(true, Relaxed);
            match HANDLER.get().map(String::as_str) {
                Some("keeps") => {
                    *KEPT.lock().unwrap() = HANDLER_SIZES.map(|size| Piece::new(size, 8, 77));
                }
                Some("forks") => fork_beside_a_thread(),
                _ => allocate_in_handler(),
            }
            return run_on(context);
        }
        let mut status = 0;
        let copy = i32::try_from(copy).unwrap_or(-1);
        // SAFETY: `status` is a place for the answer.
        unsafe { libc::waitpid(copy, &raw mut status, 0) };
        let by = if libc::WIFSIGNALED(status) { libc::WTERMSIG(status) } else { 0 };
        let counter = match by {
            0 if libc::WEXITSTATUS(status) == 0 => &WORKED,
            libc::SIGABRT => &ABORTED,
            libc::SIGALRM => &HUNG,
            _ => &BROKE,
        };
        counter.fetch_add(1, Relaxed);
        if core::ptr::eq(counter, &raw const HUNG) || core::ptr::eq(counter, &raw const BROKE) {
            WHERE.store(instruction(context), Relaxed);
        }
    }

    /// Sets the trap flag.
    fn step_from_here() {
        // SAFETY: only a flag changes, whose traps have a handler; the stack is as before.
        unsafe { core::arch::asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
    }

    /// A thread that has a heap, and vanishes in the fork.
    extern "C" fn live_beside(_: *mut libc::c_void) -> *mut libc::c_void {
        let pieces = HANDLER_SIZES.map(|size| Piece::new(size, 8, 78));
        pieces.into_iter().flatten().for_each(Piece::free);
        IS_BESIDE.store(true, Relaxed);
        loop {
            // SAFETY: no preconditions.
            unsafe { libc::pause() };
        }
    }

    fn fork_beside_a_thread() {
        let (mut thread, none) = (0, core::ptr::null_mut());
        // SAFETY: the thread lives as long as the process.
        unsafe { libc::pthread_create(&raw mut thread, core::ptr::null(), live_beside, none) };
        // It may wait for a lock of the thread that was interrupted.
        for _ in 0..20 {
            if IS_BESIDE.load(Relaxed) {
                break;
            }
            // SAFETY: no preconditions.
            unsafe { libc::usleep(100) };
        }
        // SAFETY: the child goes on where this thread was interrupted.
        FORKED.store(unsafe { libc::fork() }, Relaxed);
    }

    /// Whether the child that the handler has forked, if it has, ended well. Where that was stopped with a line, as the
    /// thread beside held a lock for long, so is this process.
    fn has_child_ended_well() -> bool {
        let (child, mut status) = (FORKED.load(Relaxed), 0);
        if child <= 0 {
            return true;
        }
        // SAFETY: `status` is a place for the answer.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        if libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT {
            // SAFETY: no preconditions.
            unsafe { libc::abort() };
        }
        status == 0
    }

    /// The end of a copy: the operation is done; is the heap whole?
    fn end_of_copy() {
        if IS_COPY.load(Relaxed) {
            let is_whole = has_child_ended_well() && MEMS.check().is_ok();
            let kept = KEPT.lock().unwrap();
            // Another owner of a slot that is kept has written to it by then.
            let others: Vec<_> = (0..200).map(|stamp| Piece::new(40, 8, stamp)).collect();
            let is_kept = kept.iter().flatten().all(Piece::is_intact);
            others.into_iter().flatten().for_each(Piece::free);
            allocate_in_handler();
            child::exit_now(if is_whole && is_kept { 0 } else { 1 });
        }
    }

    /// Runs in a child whose standard error is read: steps through an operation, prints the counts.
    pub(super) fn main(operation: &str, size: usize, handler: &str) {
        let keeps = HANDLER.get_or_init(|| handler.to_owned()) == "keeps";
        let kept: Vec<Piece> = (0..50).filter_map(|stamp| Piece::new(size, 8, stamp)).collect();
        let mut piece = Piece::new(size, 8, 1);
        if operation == "refill" {
            MEMS.thread_flush();
        }
        install(libc::SIGTRAP, on_trap as *const () as usize);
        step_from_here();
        match operation {
            "pair" => {
                let other = MEMS.mems_malloc(size, 8);
                if let Some(other) = other {
                    // SAFETY: the block is live and nothing uses it.
                    let _ = unsafe { MEMS.mems_free(other.as_ptr()) };
                }
            }
            // Through the slow ways of malloc and free, that is, as magazines have so few places at first.
            "fill" => {
                let filled: [_; 100] = core::array::from_fn(|_| MEMS.mems_malloc(size, 8));
                for block in filled.into_iter().flatten() {
                    // SAFETY: the block is live and nothing uses it.
                    let _ = unsafe { MEMS.mems_free(block.as_ptr()) };
                }
            }
            "refill" => {
                core::hint::black_box(MEMS.mems_malloc(size, 8));
            }
            "flush" => MEMS.thread_flush(),
            "realloc" => {
                piece.iter_mut().for_each(|piece| assert!(piece.resize(size * 2)));
            }
            _ => {
                core::hint::black_box(MEMS.stats());
            }
        }
        IS_OVER.store(true, Relaxed);
        end_of_copy();
        assert!(kept.iter().chain(&piece).all(Piece::is_intact));
        let count = |counter: &AtomicUsize| counter.load(Relaxed);
        println!(
            "{} stops: {} worked, {} aborted, {} hung, {} broke",
            count(&STOPS),
            count(&WORKED),
            count(&ABORTED),
            count(&HUNG),
            count(&BROKE)
        );
        // Where a thread's cache changes hands in a few instructions, a handler that keeps what it takes is not found.
        let has_windows = keeps && ["pair", "fill"].contains(&operation) && !MEMS.settings().canary;
        let most_broken = if has_windows { count(&STOPS) / 40 } else { 0 };
        if count(&HUNG) > 0 || count(&BROKE) > most_broken {
            let base = main as *const () as usize;
            eprintln!(
                "the last at {:#x}, {:+#x} from this program's main",
                count(&WHERE),
                count(&WHERE).wrapping_sub(base)
            );
            child::exit_now(1);
        }
    }

    /// Whether there is one message for each copy that aborted. A debug build may find that a slot which the handler
    /// keeps is handed out twice.
    pub(super) fn judge(outcome: child::Outcome, handler: &str) -> Result<String, String> {
        let finds_laws = cfg!(debug_assertions) && handler == "keeps";
        let is_message =
            |line: &&str| line.contains(MESSAGE) || (finds_laws && line.contains(BROKEN_LAW));
        let messages = outcome.stderr.lines().filter(is_message).count();
        let counts = outcome.success()?.trim_end().to_owned();
        if counts.contains(&format!(" {messages} aborted")) {
            Ok(counts)
        } else {
            Err(format!("{counts}, but {messages} messages"))
        }
    }
}

/// What the timer's handler has done.
static INTERRUPTIONS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_timer(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    INTERRUPTIONS.fetch_add(1, Relaxed);
    allocate_in_handler();
}

/// Allocates while a timer interrupts, until enough interruptions have gone well.
fn allocate_under_timer() {
    child::watchdog(PATIENCE_SECONDS);
    install(libc::SIGVTALRM, on_timer as *const () as usize);
    let every = libc::timeval { tv_sec: 0, tv_usec: 137 };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: the timer is initialised.
    let set =
        unsafe { libc::setitimer(libc::ITIMER_VIRTUAL, &raw const timer, core::ptr::null_mut()) };
    assert_eq!(set, 0);
    while INTERRUPTIONS.load(Relaxed) < 20 {
        allocate_in_handler();
    }
    child::exit_now(0);
}

/// Many children, each interrupted until it has worked or aborted.
fn timer_case() -> Result<Answer, String> {
    let (mut worked, mut aborted) = (0, 0);
    for round in 0..scaled(30, 120) {
        let outcome = child::run("timer");
        if outcome.aborted_with(MESSAGE) {
            aborted += 1;
        } else if outcome.status.success() {
            worked += 1;
        } else {
            return Err(format!("child {round}: {}", outcome.success().unwrap_err()));
        }
    }
    Ok(Answer::Passed(format!("{worked} worked, {aborted} aborted with a message")))
}

/// An operation, the size of its blocks, and whether the handler keeps what it takes.
#[cfg(target_arch = "x86_64")]
const STEPPED: [(&str, usize, &str); 15] = [
    ("pair", 40, "frees"),
    ("pair", 64, "frees"),
    ("pair", 70_000, "frees"),
    ("fill", 40, "frees"),
    ("realloc", 1000, "frees"),
    ("realloc", 100_000, "frees"),
    ("stats", 64, "frees"),
    ("pair", 40, "keeps"),
    ("pair", 70_000, "keeps"),
    ("fill", 40, "keeps"),
    ("refill", 40, "keeps"),
    ("flush", 40, "keeps"),
    ("pair", 40, "forks"),
    ("fill", 40, "forks"),
    ("flush", 40, "forks"),
];

#[cfg(target_arch = "x86_64")]
fn stepping_cases(trials: &mut Trials) {
    let step = |operation: &str, size: usize, handler: &str, hardened: &str| {
        if cfg!(debug_assertions) && ["stats", "fill"].contains(&operation) {
            return Ok(Answer::Skipped("too many instructions in a debug build".to_owned()));
        }
        let mut stepped = child::this_program(&format!("step {operation} {size} {handler}"));
        // A step takes a millisecond. Were a second of it a pause, the operation would send all caches home, and
        // whether it does would depend on the machine's speed.
        stepped.env("MEMS_DECAY_MS", "600000").env("MEMS_HARDEN", hardened);
        stepping::judge(child::output_of(&mut stepped), handler).map(Answer::Passed)
    };
    for (operation, size, handler) in STEPPED {
        let name = format!("behind_each_instruction_of_{operation}_{size}_that_{handler}");
        trials.case(name, move || step(operation, size, handler, "0"));
    }
    trials.case("behind_each_instruction_of_a_hardened_pair_that_keeps", move || {
        step("pair", 40, "keeps", "1")
    });
}

#[cfg(not(target_arch = "x86_64"))]
fn stepping_cases(trials: &mut Trials) {
    trials.case("behind_each_instruction", || Ok(Answer::Skipped("x86-64 only".to_owned())));
}

fn main() -> ExitCode {
    let role = child::role().unwrap_or_default();
    match role.split(' ').collect::<Vec<_>>()[..] {
        ["timer"] => allocate_under_timer(),
        #[cfg(target_arch = "x86_64")]
        ["step", operation, size, handler] => {
            stepping::main(operation, size.parse().expect("a size"), handler);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let mut trials = Trials::alone();
    stepping_cases(&mut trials);
    trials.case("a_timer_at_any_moment", timer_case);
    trials.finish()
}
