//! What the heap does to the process's mappings. Pages that go back do not use them up: not in the child of a fork, not
//! where memory is locked, and not beside a program that has used them up itself. And the program's own are left alone.
//!
//! In the role `huge-pages` the program is a child that lies on huge pages.
#![allow(unsafe_code, reason = "forks, maps, and allocates by hand")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use std::alloc::{alloc, dealloc};
use std::fs;
use std::process::ExitCode;

use helpers::piece::{MEMS, layout};
use helpers::proc::{mappings, status_bytes};
use helpers::trials::{Answer, Trials};
use helpers::{child, scaled};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

const PAGE: usize = 4096;
const MIB: usize = 1 << 20;
/// Blocks of a page; twice as many runs as there may be mappings.
const BLOCKS: usize = 160_000;
/// Seconds until SIGALRM ends a child that hangs.
const PATIENCE_SECONDS: u32 = 100;

fn most_mappings() -> usize {
    let text = fs::read_to_string("/proc/sys/vm/max_map_count").expect("a number");
    text.trim().parse().expect("a number")
}

/// How many mappings there are now, if no more than a quarter of what a process may have has come.
fn few_mappings(before: usize) -> Result<usize, String> {
    let after = mappings();
    let is_few = after <= before + most_mappings() / 4 + 100;
    if is_few { Ok(after) } else { Err(format!("{before} mappings, then {after}")) }
}

/// A block of a page, with its number in it.
fn allocate(number: usize) -> Option<*mut usize> {
    // SAFETY: the layout has a size.
    let block = unsafe { alloc(layout(PAGE, 8)) }.cast::<usize>();
    if block.is_null() {
        return None;
    }
    // SAFETY: the block is ours and has room for it.
    unsafe { block.write(number) };
    Some(block)
}

fn free(block: *mut usize, number: usize) {
    // SAFETY: the block is ours.
    assert_eq!(unsafe { block.read() }, number, "contents of {block:p}");
    // SAFETY: the block is live, and nothing refers to it.
    unsafe { dealloc(block.cast(), layout(PAGE, 8)) };
}

fn allocate_all() -> Vec<*mut usize> {
    (0..BLOCKS).map(|number| allocate(number).expect("there is memory")).collect()
}

/// Runs `life` in a child that inherits what there is. Answers what it says.
fn in_child(life: impl FnOnce() -> Result<String, String>) -> Result<String, String> {
    child::forked(PATIENCE_SECONDS, life)
}

/// Maps `len` bytes where nothing is.
fn map(len: usize, protection: i32) -> Option<*mut u8> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: without an address the kernel maps over nothing.
    let start = unsafe { libc::mmap(core::ptr::null_mut(), len, protection, flags, -1, 0) };
    (start != libc::MAP_FAILED).then_some(start.cast())
}

/// Gives back what [`map`] gave.
fn unmap(start: *mut u8, len: usize) {
    // SAFETY: the mapping is this program's, and nothing refers to it.
    assert_eq!(unsafe { libc::munmap(start.cast(), len) }, 0);
}

/// Whether everything that needs a mapping, and all that was freed, can still be had.
fn everything_is_served(freed: usize) -> Result<(), String> {
    unmap(map(PAGE, libc::PROT_READ).ok_or("mmap fails")?, PAGE);
    let thread = std::thread::Builder::new().spawn(|| allocate(7).map(|block| free(block, 7)));
    thread.map_err(|error| error.to_string())?.join().map_err(|_| "a thread died")?;
    let served = (0..freed).take_while(|number| allocate(*number).is_some()).count();
    if served < freed { Err(format!("{served} of {freed} blocks are served")) } else { Ok(()) }
}

/// Frees blocks, the first of which has the number `first`.
fn free_all(blocks: &[*mut usize], first: usize) {
    blocks.iter().enumerate().for_each(|(more, block)| free(*block, first + more));
}

/// Frees every second block, and says how many.
fn free_every_second(blocks: &[*mut usize]) -> usize {
    let every_second = blocks.iter().enumerate().step_by(2);
    every_second.map(|(number, block)| free(*block, number)).count()
}

/// Found on Linux 6.1: after a request that had failed, what the program mapped next lay where the heap grew to.
fn gap_case() -> Result<Answer, String> {
    const LEN: usize = 16 * MIB;
    let text = in_child(|| {
        // Refused where memory and swap space are smaller, unless everything is granted.
        let is_refused = Vec::<u8>::new().try_reserve_exact(20 << 30).is_err();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let mappings: Vec<_> = (0..8).filter_map(|_| map(LEN, protection)).collect();
        let pages = || {
            let in_mapping =
                |start: *mut u8| (0..LEN).step_by(PAGE).map(move |at| start.wrapping_add(at));
            mappings.clone().into_iter().flat_map(in_mapping)
        };
        for page in pages() {
            // SAFETY: the byte is in a mapping of this program's.
            unsafe { page.write(1) };
        }
        let blocks: Vec<_> = (0..250).filter_map(|_| allocate_large(100 * MIB)).collect();
        // SAFETY: the byte is in a mapping of this program's, which the heap may have taken: this is what is asked.
        let is_gone = |page: &*mut u8| unsafe { page.read() } != 1;
        let lost = pages().filter(is_gone).count();
        let said = format!("refused: {is_refused}, {} blocks, {lost} pages lost", blocks.len());
        if lost > 0 { Err(said) } else { Ok(said) }
    })?;
    Ok(Answer::Passed(text))
}

fn allocate_large(size: usize) -> Option<*mut u8> {
    // SAFETY: the layout has a size.
    let block = unsafe { alloc(layout(size, 16)) };
    (!block.is_null()).then_some(block)
}

/// A child that frees every second block of what it has inherited, and trims.
fn holes_case() -> Result<Answer, String> {
    let blocks = allocate_all();
    let text = in_child(|| {
        let before = mappings();
        let freed = free_every_second(&blocks);
        let mapped = MEMS.stats().mapped;
        let given_back: usize = (0..3).map(|_| MEMS.trim()).sum();
        let after = few_mappings(before)?;
        everything_is_served(freed)?;
        if MEMS.stats().mapped > mapped + MIB {
            return Err("what was freed was lost".into());
        }
        MEMS.check().map_err(|broken| broken.to_string())?;
        Ok(format!("{before} -> {after} mappings, {} MiB back", given_back / MIB))
    })?;
    free_all(&blocks, 0);
    Ok(Answer::Passed(text))
}

/// A child whose trims give large runs back, again and again, and small ones of what it has allocated itself.
fn runs_case() -> Result<Answer, String> {
    let blocks = allocate_all();
    let text = in_child(|| {
        let before = mappings();
        let (first, rest) = blocks.split_at(BLOCKS / 2);
        free_all(first, 0);
        let resident = status_bytes("VmRSS:");
        MEMS.trim();
        let gone = resident.saturating_sub(status_bytes("VmRSS:"));
        let wanted = BLOCKS / 2 * PAGE * 9 / 10;
        if gone < wanted {
            return Err(format!("{gone} of {wanted} bytes went back"));
        }
        for _ in 0..scaled(8, 60) {
            free_all(&allocate_all(), 0);
            MEMS.trim();
        }
        let after = few_mappings(before)?;
        free_all(rest, BLOCKS / 2);
        MEMS.trim();
        let left = status_bytes("VmRSS:");
        Ok(format!("{before} -> {after} mappings, {} MiB left", left / MIB))
    })?;
    free_all(&blocks, 0);
    Ok(Answer::Passed(text))
}

/// What mlockall(2) has locked stays locked, and is one mapping still.
fn locked_case() -> Result<Answer, String> {
    let text = in_child(|| {
        // What others have left goes back now, and not by its age in between.
        MEMS.trim();
        let blocks: Vec<_> = (0..BLOCKS / 4).filter_map(allocate).collect();
        // SAFETY: no preconditions.
        if unsafe { libc::mlockall(libc::MCL_CURRENT) } != 0 {
            return Ok("skipped: memory cannot be locked".into());
        }
        let (before, locked) = (mappings(), status_bytes("VmLck:"));
        let freed = free_every_second(&blocks);
        MEMS.trim();
        let (after, still_locked) = (mappings(), status_bytes("VmLck:"));
        if after > before + 10 || still_locked < locked {
            return Err(format!("{before} -> {after} mappings, {locked} -> {still_locked} locked"));
        }
        everything_is_served(freed)?;
        Ok(format!("{before} -> {after} mappings, {} MiB locked", locked / MIB))
    })?;
    Ok(match text.strip_prefix("skipped: ") {
        Some(why) => Answer::Skipped(why.into()),
        None => Answer::Passed(text),
    })
}

/// Maps single pages, no two of which the kernel can merge, until it gives no more.
fn use_up_mappings() -> Vec<*mut u8> {
    let mut pages = Vec::with_capacity(1 << 20);
    let protections = [libc::PROT_READ, libc::PROT_NONE];
    pages.extend(protections.iter().cycle().map_while(|protection| map(PAGE, *protection)));
    pages
}

/// What a trim did while there were no mappings left.
struct Refused {
    freed: usize,
    mapped: usize,
    given_back: usize,
    pages: usize,
}

/// Blocks for which another thread may care.
struct Blocks(Vec<*mut usize>);

// SAFETY: one thread uses them at a time.
unsafe impl Sync for Blocks {}

impl Blocks {
    /// Frees half of them, in runs, and trims in vain.
    fn trim_in_vain(&self) -> Refused {
        let pages = use_up_mappings();
        let in_runs = |number: &usize| number % 8 < 4;
        let freed = (0..self.0.len()).filter(in_runs).map(|at| free(self.0[at], at)).count();
        let (mapped, given_back) = (MEMS.stats().mapped, MEMS.trim());
        pages.iter().for_each(|page| unmap(*page, PAGE));
        Refused { freed, mapped, given_back, pages: pages.len() }
    }
}

/// A trim that the system refuses loses nothing: by the thread that has made the blocks, or by another one while that
/// sleeps.
fn refused_case(trim: fn(&Blocks) -> Refused) -> Result<Answer, String> {
    let text = in_child(|| {
        let blocks = Blocks((0..20_000).filter_map(allocate).collect());
        in_child(|| {
            // The runs that the child of a child has inherited are those that the kernel does not merge.
            let Refused { freed, mapped, given_back, pages } = trim(&blocks);
            everything_is_served(freed)?;
            MEMS.check().map_err(|broken| broken.to_string())?;
            let more = MEMS.stats().mapped - mapped;
            if more > MIB || given_back > freed * PAGE / 2 {
                return Err(format!("{more} bytes more, {given_back} given back"));
            }
            Ok(format!("{pages} mappings of the program's, {given_back} bytes back"))
        })
    })?;
    Ok(Answer::Passed(text))
}

fn trim_on_another_thread(blocks: &Blocks) -> Refused {
    std::thread::scope(|scope| {
        let trimming = scope.spawn(|| blocks.trim_in_vain());
        trimming.join().expect("it ends")
    })
}

/// The child that wants huge pages: what goes back between blocks stays a part of its mapping. Says how much was huge.
fn on_huge_pages() {
    let before = mappings();
    let blocks = allocate_all();
    let maps = fs::read_to_string("/proc/self/smaps").expect("/proc/self/smaps");
    let lines = maps.lines().filter_map(|line| line.strip_prefix("AnonHugePages:"));
    let kib = lines.filter_map(|rest| rest.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    let huge = kib.sum::<usize>() / 1024;
    let freed = free_every_second(&blocks);
    let given_back = MEMS.trim();
    assert!(given_back >= freed * PAGE / 2, "{given_back} of {freed} pages");
    let after = mappings();
    assert!(after <= before + 20, "{before} -> {after} mappings");
    everything_is_served(freed).expect("all is as it was");
    MEMS.check().expect("no law is broken");
    println!("{before} -> {after} mappings, {huge} of {} MiB huge", BLOCKS * PAGE / MIB);
}

/// Whether the system gives huge pages to those who ask for them.
fn has_huge_pages() -> bool {
    let enabled = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    enabled.is_ok_and(|text| !text.contains("[never]"))
}

fn huge_pages_case() -> Result<Answer, String> {
    let mut command = child::this_program("huge-pages");
    let text = child::output_of(command.env("MEMS_HUGE_PAGES", "1")).success()?;
    let huge =
        text.split(", ").nth(1).and_then(|part| part.split(' ').next()?.parse::<usize>().ok());
    // A machine whose memory is full has none, so half of them are enough.
    let wanted = if has_huge_pages() { BLOCKS * PAGE / MIB / 2 } else { 0 };
    if huge >= Some(wanted) { Ok(Answer::Passed(text.trim().into())) } else { Err(text) }
}

fn main() -> ExitCode {
    child::watchdog(4 * PATIENCE_SECONDS);
    if child::role().as_deref() == Some("huge-pages") {
        on_huge_pages();
        return ExitCode::SUCCESS;
    }
    let mut trials = Trials::alone();
    // The first one, so that no room is left to take the place of what is lost.
    trials.case("a_trim_that_the_system_refuses_loses_nothing", || {
        refused_case(Blocks::trim_in_vain)
    });
    trials.case("a_trim_that_the_system_refuses_loses_nothing_of_a_thread_that_sleeps", || {
        refused_case(trim_on_another_thread)
    });
    trials.case("a_request_that_fails_leaves_no_gap", gap_case);
    trials.case("a_child_that_frees_every_second_block", holes_case);
    trials.case("a_child_gives_large_runs_back", runs_case);
    trials.case("locked_memory_stays_locked", locked_case);
    trials.case("huge_pages_leave_one_mapping", huge_pages_case);
    trials.finish()
}
