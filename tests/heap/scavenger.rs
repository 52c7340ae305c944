//! A scavenger gives memory back for a process that makes no calls, ends when it is dropped, and disturbs no fork.
#![allow(unsafe_code, reason = "forks, and touches blocks")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::time::Duration;
use std::fs::File;
use std::io::Read as _;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use helpers::load::fill_and_free;
use helpers::piece::{MEMS, Piece};
use helpers::trials::{Answer, Trials, shown};
use helpers::{Rng, child, scaled};
use mems::{MemsAlloc, Scavenger};

const DECAY_MS: usize = 400;

#[global_allocator]
static GLOBAL: MemsAlloc = MemsAlloc::builder().decay_ms(DECAY_MS).build();

const MIB: usize = 1 << 20;
const PATIENCE_SECONDS: u32 = 120;

/// Resident bytes of this process, asked without an allocation: one could make the heap look by itself.
fn resident() -> usize {
    let mut text = [0_u8; 128];
    let mut file = File::open("/proc/self/statm").expect("/proc/self/statm");
    let len = file.read(&mut text).expect("a line");
    let text = core::str::from_utf8(&text[..len]).expect("digits");
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a number of pages") * 4096
}

/// Makes 150 MiB of blocks of all sizes dirty and frees them.
fn be_busy(rng: &mut Rng) {
    fill_and_free(rng, 150 * MIB);
    MEMS.thread_flush();
}

fn an_idle_process() -> Result<Answer, String> {
    let mut rng = Rng::announced("an idle process", 0x1d1e);
    be_busy(&mut rng);
    let freed = resident();
    // Time is the subject here: nobody calls the heap, so nothing goes back.
    thread::sleep(Duration::from_millis(3 * DECAY_MS as u64));
    let alone = resident();
    be_busy(&mut rng);
    let scavenger = Scavenger::start(Duration::from_millis(50)).expect("a thread");
    thread::sleep(Duration::from_millis(3 * DECAY_MS as u64));
    let scavenged = resident();
    drop(scavenger);
    MEMS.check().map_err(|broken| broken.to_string())?;
    let figures = format!(
        "{} MiB freed, {} MiB after {} ms, {} MiB with a scavenger",
        freed / MIB,
        alone / MIB,
        3 * DECAY_MS,
        scavenged / MIB
    );
    let holds = alone * 10 >= freed * 9 && scavenged <= 20 * MIB;
    shown(figures, holds)
}

fn it_ends_when_it_is_dropped() -> Result<Answer, String> {
    let scavenger = Scavenger::start(Duration::from_secs(3600)).expect("a thread");
    let start = Instant::now();
    drop(scavenger);
    let elapsed = start.elapsed();
    drop(Scavenger::start(Duration::ZERO).expect("a thread"));
    let text = format!("{} us", elapsed.as_micros());
    if elapsed < Duration::from_secs(10) { Ok(Answer::Passed(text)) } else { Err(text) }
}

/// Children of a busy process with a scavenger find every lock open and every law kept, and may drop their copy.
fn forks_beside_it() -> Result<Answer, String> {
    let mut rng = Rng::announced("forks", 0xf0);
    let mut scavenger = Some(Scavenger::start(Duration::from_millis(1)).expect("a thread"));
    let forks = scaled(30, 100);
    for fork in 0..forks {
        let pieces: Vec<_> =
            (0..40).map(|_| Piece::new(MIB, 8, rng.next()).expect("there is memory")).collect();
        pieces.into_iter().for_each(Piece::free);
        // SAFETY: the child runs what a single thread may, and ends by `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            child::watchdog(20);
            drop(scavenger.take());
            let is_well = MEMS.check().is_ok() && Piece::new(5 * MIB, 8, 1).is_some();
            let own = Scavenger::start(Duration::from_millis(1)).is_ok();
            child::exit_now(i32::from(!(is_well && own)));
        }
        let mut status = 0;
        // SAFETY: `status` is a valid place for the answer.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if waited != pid || status != 0 {
            return Err(format!("fork {fork}: status {status:#x}"));
        }
    }
    drop(scavenger);
    MEMS.check().map_err(|broken| broken.to_string())?;
    Ok(Answer::Passed(format!("{forks} forks")))
}

fn main() -> ExitCode {
    child::watchdog(PATIENCE_SECONDS);
    let mut trials = Trials::alone();
    trials.case("an_idle_process", an_idle_process);
    trials.case("it_ends_when_it_is_dropped", it_ends_when_it_is_dropped);
    trials.case("forks_beside_it", forks_beside_it);
    trials.finish()
}
