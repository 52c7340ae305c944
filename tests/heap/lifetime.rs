//! The heap before main and after it.
#![allow(unsafe_code, reason = "registers functions with the loader and with libc")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use std::process::ExitCode;
use std::sync::Mutex;

use helpers::child;
use helpers::piece::{MEMS, Piece};
use helpers::trials::{Answer, Trials};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// Blocks made before main.
static EARLY: Mutex<Vec<Piece>> = Mutex::new(Vec::new());
/// What the last words of a child are.
const LAST_WORDS: &str = "all is well after main\n";
const BLOCKS: usize = 500;

extern "C" fn before_main() {
    let made = (0..BLOCKS).filter_map(|size| Piece::new(size * 7, 8, size as u64));
    EARLY.lock().expect("nobody else is here").extend(made);
    // SAFETY: the handler is a function of this program that does not unwind.
    unsafe { libc::atexit(after_main) };
}

/// Registered before anything else, so it runs behind the destructors and handlers of all others.
extern "C" fn after_main() {
    let late: Vec<Piece> = (0..BLOCKS).filter_map(|size| Piece::new(size * 5, 8, 9)).collect();
    let mut early = EARLY.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let is_well = late.len() == BLOCKS && early.iter().chain(&late).all(Piece::is_intact);
    early.drain(..).chain(late).for_each(Piece::free);
    let is_well = is_well && MEMS.check().is_ok();
    if is_well && child::role().is_some() {
        // SAFETY: the words are initialised, and so long.
        let written = unsafe { libc::write(1, LAST_WORDS.as_ptr().cast(), LAST_WORDS.len()) };
        assert_eq!(written.cast_unsigned(), LAST_WORDS.len());
    }
}

/// The loader calls what this section points to, first of all.
#[used]
// SAFETY: the section holds pointers to functions without parameters, which is what this is.
#[unsafe(link_section = ".init_array.00101")]
static BEFORE_MAIN: extern "C" fn() = before_main;

fn before_main_case() -> Result<Answer, String> {
    let mut early = EARLY.lock().expect("nobody has panicked");
    assert_eq!(early.len(), BLOCKS);
    assert!(early.iter().all(Piece::is_intact));
    let half = BLOCKS / 2;
    early.drain(..half).for_each(Piece::free);
    Ok(Answer::Passed(format!("{half} blocks of {BLOCKS} freed")))
}

/// A child ends while 4 detached threads go on allocating.
fn end_among_threads() -> ! {
    child::watchdog(20);
    let (say, heard) = std::sync::mpsc::channel();
    for seed in 0..4 {
        let say = say.clone();
        std::thread::spawn(move || {
            loop {
                Piece::new(100, 8, seed).expect("there is memory").free();
                let _ = say.send(());
            }
        });
    }
    (0..1000).for_each(|_| heard.recv().expect("they live"));
    std::process::exit(0)
}

fn after_main_case(how: &'static str, rounds: usize) -> Result<Answer, String> {
    for round in 0..rounds {
        let text = child::run(how).success()?;
        if !text.ends_with(LAST_WORDS) {
            return Err(format!(
                "round {round}: the handler has not said that all is well: {text:?}"
            ));
        }
    }
    Ok(Answer::Passed(format!("{rounds} children")))
}

fn main() -> ExitCode {
    match child::role().as_deref() {
        Some("end") => return ExitCode::SUCCESS,
        Some("end-among-threads") => end_among_threads(),
        _ => {}
    }
    let mut trials = Trials::alone();
    trials.case("blocks_from_before_main", before_main_case);
    trials.case("blocks_after_main", || after_main_case("end", 5));
    trials
        .case("blocks_after_main_while_threads_work", || after_main_case("end-among-threads", 30));
    trials.finish()
}
