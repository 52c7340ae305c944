//! Settings, each shown by a child: what the environment says is in force, and does what it promises.
//!
//! The cases run this program in roles: a role is the name of a part below, or a kind of misuse and a size.
#![allow(unsafe_code, reason = "frees wrong addresses, and touches what nobody may touch")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;
mod in_force;

use core::alloc::GlobalAlloc;
use core::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;

use helpers::child::{self, Outcome, output_of, this_program};
use helpers::misuses::{KINDS, NOT_STOPPED, Scene, live_in};
use helpers::piece::{MEMS, Piece, layout};
use helpers::proc::mappings;
use helpers::trials::{Answer, Trials, ensure};
use helpers::{Rng, scaled};
use mems::{MemsAlloc, MisuseKind, OnMisuse};

/// What this program is built with; the environment overrides it.
#[global_allocator]
static GLOBAL: MemsAlloc = MemsAlloc::builder().decay_ms(77).retained_bytes(5 << 20).build();

const MIB: usize = 1 << 20;
/// Seconds until SIGALRM ends a child that hangs.
const PATIENCE_SECONDS: u32 = 60;
/// Every mode that finds mistakes, and all of them together.
const MODES: [(&str, &str); 7] = [
    ("MEMS_ZERO_ON_FREE", "1"),
    ("MEMS_CHECK", "500"),
    ("MEMS_GUARD", "1"),
    ("MEMS_CANARY", "1"),
    ("MEMS_QUARANTINE", "256K"),
    ("MEMS_HARDEN", "1"),
    ("MEMS_MISUSE", "report"),
];

/// Runs this program as the child `name` with these variables.
fn run(name: &str, variables: &[(&str, &str)]) -> Outcome {
    let mut command = this_program(name);
    output_of(command.envs(variables.iter().copied()))
}

/// The settings in force, as text.
fn show() {
    println!("{:?}", GLOBAL.settings());
    assert_eq!(GLOBAL.settings(), MEMS.settings(), "the static that was used first decides");
}

fn allocate(size: usize) -> *mut u8 {
    // SAFETY: the size is not 0.
    let block = unsafe { MEMS.alloc(layout(size, 8)) };
    assert!(!block.is_null(), "there is memory");
    block
}

fn free(block: *mut u8, size: usize) {
    // SAFETY: upheld by some callers only; that is for MeMS to find out.
    unsafe { MEMS.dealloc(block, layout(size, 8)) };
}

/// Writes to the byte at an offset of a block, whether it may be or not.
fn write_at(block: *mut u8, offset: usize) {
    // SAFETY: the callers that write beyond a block want that to be found.
    unsafe { block.wrapping_add(offset).write_volatile(0x5A) };
}

/// Writes one byte behind a block, and frees it.
fn overrun(size: usize) {
    let block = allocate(size);
    write_at(block, size - 1);
    write_at(block, size);
    println!("{:#x}", block.addr() + size);
    free(block, size);
}

/// Writes to a block after its free, and frees others until it would be used again.
fn write_after_free() {
    let block = allocate(1000);
    free(block, 1000);
    write_at(block, 500);
    println!("{:#x}", block.addr() + 500);
    (0..2000).for_each(|_| free(allocate(1000), 1000));
}

/// A byte of a block that was freed.
fn read_after_free() {
    let (block, other) = (allocate(1000), allocate(1000));
    (0..1000).for_each(|offset| write_at(block, offset));
    free(block, 1000);
    // SAFETY: it is not; the memory of a slab stays mapped.
    let found = unsafe { block.wrapping_add(500).read_volatile() };
    println!("{found:#x}");
    free(other, 1000);
}

/// Touches the first byte behind a large block.
fn touch_behind(size: usize) {
    let block = allocate(size);
    write_at(block, size - 1);
    println!("inside");
    // SAFETY: it is not, which is the point.
    black_box(unsafe { block.wrapping_add(size).read_volatile() });
}

/// More large blocks than can have a guard: all are served, and what else needs mappings finds some.
fn many_large_blocks() {
    const SIZE: usize = 40_000;
    let before = mappings();
    for _ in 0..2 {
        let blocks: Vec<_> = (0..40_000).map(|_| allocate(SIZE)).collect();
        println!("{} mappings more", mappings() - before);
        assert!((1000..20_000).contains(&(mappings() - before)), "some have guards, few mappings");
        std::thread::spawn(|| free(allocate(SIZE), SIZE)).join().expect("a thread can be had");
        blocks.iter().for_each(|block| free(*block, SIZE));
        assert!(mappings() < before + 1000, "{} mappings are left", mappings());
    }
    MEMS.check().unwrap();
}

/// A block in quarantine is freed once more, after its neighbours were.
fn double_free_in_quarantine() {
    let blocks: Vec<_> = (0..100).map(|_| allocate(64)).collect();
    blocks.iter().for_each(|block| free(*block, 64));
    let again: Vec<_> = (0..100).map(|_| allocate(64)).collect();
    assert!(again.iter().all(|block| !blocks.contains(block)), "none is used again");
    free(blocks[50], 64);
}

/// Sizes of one class are told apart by a hardened heap, which knows the size asked for.
fn wrong_size_within_class() {
    free(allocate(1000), 1001);
}

/// Three misuses are refused one by one; the heap is as before.
fn go_on() {
    let (block, size) = (allocate(64), 64);
    let gone = allocate(size);
    free(gone, size);
    let before = MEMS.stats();
    free(gone, size);
    free(block.wrapping_add(8), size);
    // SAFETY: it is not: the size is another class's.
    assert!(unsafe { MEMS.realloc(block, layout(500, 8), 600) }.is_null());
    assert!(MEMS.validate(block, layout(size, 8)).is_ok());
    assert_eq!((MEMS.stats().blocks, MEMS.stats().allocated), (before.blocks, before.allocated));
    free(block, size);
    MEMS.check().unwrap();
}

/// A program that does nothing wrong: blocks of all sizes with contents, from several threads.
fn work() {
    let threads: Vec<_> = (0..3_u64)
        .map(|seed| {
            std::thread::spawn(move || {
                let (mut rng, mut live) = (Rng::quiet(seed), Vec::new());
                for round in 0..scaled(1500, 10_000) {
                    let bits = if rng.once_in(20) { 21 } else { 12 };
                    let made = if rng.once_in(4) { Piece::zeroed } else { Piece::new };
                    let piece = made(rng.size(bits), 1 << rng.below(14), rng.next());
                    live.push(piece.expect("there is memory"));
                    if rng.once_in(8) {
                        let (index, size) = (rng.below(live.len()), rng.size(17));
                        assert!(live[index].resize(size));
                    }
                    if live.len() > 100 || rng.once_in(3) {
                        live.swap_remove(rng.below(live.len())).free();
                    }
                    if round % 500 == 0 {
                        MEMS.trim();
                    }
                }
                live.into_iter().for_each(Piece::free);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("the work is correct"));
    MEMS.check().unwrap();
}

/// Slots that came one after the other lie in order, or not.
fn order_of_slots() {
    let slots: Vec<_> = (0..500).map(|_| allocate(4000).addr()).collect();
    println!("{}", if slots.is_sorted() { "sorted" } else { "shuffled" });
}

/// What stays cached of blocks that were freed.
fn cached() {
    for _ in 0..20 {
        let blocks: Vec<_> = (0..500).map(|_| allocate(4000)).collect();
        blocks.iter().for_each(|block| free(*block, 4000));
    }
    println!("{}", MEMS.stats().cached);
}

/// Frees 100 MiB and works on for at most `rounds` rounds, until all but a little has gone back.
fn decay(rounds: usize) {
    let before = MEMS.stats().resident;
    let blocks: Vec<_> = (0..20).map(|_| allocate(5 * MIB)).collect();
    for block in &blocks {
        (0..5 * MIB).step_by(4096).for_each(|offset| write_at(*block, offset));
    }
    blocks.iter().for_each(|block| free(*block, 5 * MIB));
    for _ in 0..rounds {
        if MEMS.stats().resident <= before + 2 * MIB {
            return println!("gone");
        }
        // A block of the free list, whose user looks at the clock.
        Piece::new(100, 1 << 17, 1).expect("there is memory").free();
    }
    println!("kept");
}

/// Memory that the kernel might back by huge pages, and what it says of it.
fn huge_pages() {
    let block = allocate(64 * MIB);
    (0..64 * MIB).step_by(4096).for_each(|offset| write_at(block, offset));
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("/proc/self/smaps");
    let mut inside = false;
    for line in maps.lines() {
        if let Some((start, end)) = line.split_whitespace().next().and_then(|r| r.split_once('-')) {
            let number = |text| usize::from_str_radix(text, 16).ok();
            if let (Some(start), Some(end)) = (number(start), number(end)) {
                inside = (start..end).contains(&block.addr());
            }
        } else if inside && line.starts_with("VmFlags") {
            let flags = [(" nh", "declined"), (" hg", "wanted")];
            let said = flags.iter().find(|(flag, _)| line.contains(flag));
            println!("{}", said.map_or("allowed", |(_, said)| said));
        }
    }
}

/// The part of a child.
fn part(name: &str) -> ExitCode {
    child::watchdog(PATIENCE_SECONDS);
    match name {
        "show" => show(),
        "overrun-small" => overrun(24),
        "overrun-whole-class" => overrun(64),
        "overrun-large" => overrun(100_001),
        "write-after-free" => write_after_free(),
        "read-after-free" => read_after_free(),
        "touch-behind-large" => touch_behind(40_000),
        "many-large-blocks" => many_large_blocks(),
        "touch-behind-huge" => touch_behind(40_000_000),
        "double-free" => double_free_in_quarantine(),
        "wrong-size" => wrong_size_within_class(),
        "go-on" => go_on(),
        "work" => work(),
        "order" => order_of_slots(),
        "cached" => cached(),
        "huge-pages" => huge_pages(),
        "decay" => decay(usize::MAX),
        "decay-for-a-while" => decay(2_000),
        _ => panic!("no part {name}"),
    }
    ExitCode::SUCCESS
}

/// Commits one misuse. Does not come back unless MeMS misses it.
fn commit(kind: &str, size: &str) -> ExitCode {
    child::watchdog(PATIENCE_SECONDS);
    live_in();
    let (_, misuse) = KINDS.iter().find(|(name, _)| *name == kind).expect("a kind");
    misuse(&Scene::new(size.parse().expect("a size")));
    ExitCode::from(NOT_STOPPED)
}

/// All kinds of misuse are stopped under a mode: a small block's or a large one's, in turns.
fn all_misuse_is_stopped(mode: (&str, &str)) -> Result<Answer, String> {
    for (index, (kind, _)) in KINDS.iter().enumerate() {
        let size = ["64", "70000"][index % 2];
        let outcome = output_of(this_program(&format!("{kind} {size}")).envs([mode]));
        let named = outcome.stdout.lines().last().unwrap_or_default();
        let is_stopped = outcome.aborted_with("ADDRESS NOT FOUND");
        if !is_stopped || named.is_empty() || !outcome.stderr.contains(named) {
            return Err(format!("{kind} of {size} bytes: {outcome:?}"));
        }
    }
    Ok(Answer::Passed(format!("{} kinds", KINDS.len())))
}

/// The child ends well and says this.
fn says(name: &str, variables: &[(&str, &str)], words: &[&str]) -> Result<Answer, String> {
    let outcome = run(name, variables);
    let has_all = words.iter().all(|word| outcome.stdout.contains(word));
    ensure(outcome.status.success() && has_all && outcome.stderr.is_empty(), &outcome)
}

/// The child is stopped with a line that has these words and the address that it named.
fn stopped(name: &str, variables: &[(&str, &str)], words: &str) -> Result<Answer, String> {
    let outcome = run(name, variables);
    let named = outcome.stdout.trim_end();
    ensure(outcome.aborted_with(words) && outcome.stderr.contains(named), &outcome)
}

/// What changes where blocks lie.
fn where_blocks_lie(trials: &mut Trials) {
    trials.case("no_huge_pages", || {
        says("huge-pages", &[], &["allowed"])?;
        says("huge-pages", &[("MEMS_NO_HUGE_PAGES", "1")], &["declined"])
    });
    trials.case("huge_pages_where_they_are_wanted", || {
        says("huge-pages", &[("MEMS_HUGE_PAGES", "1")], &["wanted"])?;
        let both = [("MEMS_HUGE_PAGES", "1"), ("MEMS_NO_HUGE_PAGES", "1")];
        says("huge-pages", &both, &["declined"])
    });
    trials.case("caches_as_large_as_they_may_be", || {
        let held = |variables: &[(&str, &str)]| {
            let outcome = run("cached", variables);
            outcome.stdout.trim_end().parse::<usize>().map_err(|_| format!("{outcome:?}"))
        };
        let (free, bound) = (held(&[])?, held(&[("MEMS_CACHE_BYTES", "16K")])?);
        if free > 100_000 && bound <= (16 << 10) + 60 * 2 * 4096 && bound < free / 2 {
            return Ok(Answer::Passed(format!("{free} bytes, and {bound} of 16 KiB")));
        }
        Err(format!("{free} bytes cached, {bound} under a bound of 16 KiB"))
    });
    trials.case("idle_pages_go_back_or_are_retained", || {
        let soon = ("MEMS_DECAY_MS", "4");
        says("decay", &[("MEMS_RETAINED_BYTES", "0"), soon], &["gone"])?;
        says("decay-for-a-while", &[("MEMS_RETAINED_BYTES", "1G"), soon], &["kept"])?;
        says("decay-for-a-while", &[("MEMS_DECAY_MS", "1000000000")], &["kept"])
    });
    trials.case("random_slots", || {
        says("order", &[], &["sorted"])?;
        says("order", &[("MEMS_HARDEN", "1")], &["shuffled"])
    });
}

/// What each mode finds.
fn what_is_found(trials: &mut Trials) {
    for name in ["overrun-small", "overrun-whole-class", "overrun-large"] {
        trials.case(format!("canary_{}", name.replace('-', "_")), move || {
            stopped(name, &[("MEMS_CANARY", "1")], "BLOCK OVERRUN")
        });
    }
    trials.case("quarantine_write_after_free", || {
        let variables = [("MEMS_QUARANTINE", "100K")];
        stopped("write-after-free", &variables, "WRITE AFTER FREE")
    });
    trials.case("check_and_quarantine_at_exit", || {
        let variables = [("MEMS_QUARANTINE", "100M"), ("MEMS_CHECK", "1000000000")];
        stopped("write-after-free", &variables, "HEAP DAMAGED")
    });
    trials.case("check_and_quarantine_every_100_calls", || {
        let variables = [("MEMS_QUARANTINE", "100M"), ("MEMS_CHECK", "100")];
        stopped("write-after-free", &variables, "HEAP DAMAGED")
    });
    trials.case("quarantine_double_free", || {
        stopped("double-free", &[("MEMS_QUARANTINE", "100K")], "double free of")
    });
    trials.case("a_wrong_size_of_the_same_class", || {
        says("wrong-size", &[], &[])?;
        stopped("wrong-size", &[("MEMS_ZERO_ON_FREE", "1")], "wrong size for")
    });
    trials.case("zero_on_free_leaves_no_byte", || {
        says("read-after-free", &[], &["0x5a"])?;
        says("read-after-free", &[("MEMS_ZERO_ON_FREE", "1")], &["0x0"])
    });
    for name in ["touch-behind-large", "touch-behind-huge"] {
        trials.case(format!("guard_{}", name.replace('-', "_")), move || {
            let outcome = run(name, &[("MEMS_GUARD", "1")]);
            let is_segv = outcome.status.signal() == Some(libc::SIGSEGV);
            ensure(is_segv && outcome.stdout.contains("inside"), &outcome)
        });
    }
    trials.case("guards_leave_mappings_to_the_program", || {
        says("many-large-blocks", &[("MEMS_GUARD", "1")], &["mappings more"])
    });
    for (name, hardened) in [
        ("misuse_report_goes_on", &[][..]),
        ("misuse_report_goes_on_hardened", &[("MEMS_HARDEN", "1")]),
    ] {
        trials.case(name, move || {
            let variables = [&[("MEMS_MISUSE", "report")], hardened].concat();
            let outcome = run("go-on", &variables);
            let lines = outcome.stderr.matches("ADDRESS NOT FOUND").count();
            ensure(outcome.status.success() && lines == 3, &outcome)
        });
    }
}

fn main() -> ExitCode {
    if let Some(role) = child::role() {
        return role.split_once(' ').map_or_else(|| part(&role), |(kind, size)| commit(kind, size));
    }
    let mut trials = Trials::side_by_side();
    in_force::what_is_in_force(&mut trials);
    in_force::what_is_ignored(&mut trials);
    where_blocks_lie(&mut trials);
    what_is_found(&mut trials);
    for mode in MODES {
        trials.case(format!("correct_work_under_{}", mode.0), move || says("work", &[mode], &[]));
        if mode.0 != "MEMS_MISUSE" {
            trials.case(format!("misuse_under_{}", mode.0), move || all_misuse_is_stopped(mode));
        }
    }
    trials.case("kinds_of_misuse_are_values", || {
        let found = MEMS.validate(core::ptr::without_provenance(16), layout(8, 8));
        assert_eq!(found.map_err(|misuse| misuse.kind), Err(MisuseKind::Foreign));
        assert_eq!(GLOBAL.settings().on_misuse, OnMisuse::Abort);
        Ok(Answer::Passed(String::new()))
    });
    trials.finish()
}
