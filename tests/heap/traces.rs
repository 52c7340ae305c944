//! What follows the line of a wrong free: stacks, and what a profile knows of the block. A part of the tests of
//! messages.

use core::alloc::GlobalAlloc;
use core::hint::black_box;
use std::ffi::CString;
use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use super::helpers::child::{self, Outcome, output_of};
use super::helpers::folders::{command, folder};
use super::helpers::piece::{MEMS, layout};
use super::helpers::trials::{Answer, Trials, ensure};
use super::{GLOBAL, LINE, PATIENCE_SECONDS, without_stderr};

const BYTES: usize = 100;

#[inline(never)]
fn open_session() -> usize {
    // SAFETY: the size is not 0.
    black_box(unsafe { MEMS.alloc(layout(BYTES, 8)) }).expose_provenance()
}

#[inline(never)]
fn drop_session(address: usize) {
    // SAFETY: a wrong address is for MeMS to find out.
    unsafe { MEMS.dealloc(core::ptr::with_exposed_provenance_mut(address), layout(BYTES, 8)) };
    black_box(());
}

#[inline(never)]
fn drop_again(address: usize) {
    drop_session(address);
    black_box(());
}

#[inline(never)]
fn drop_twice() {
    let session = open_session();
    drop_session(session);
    drop_again(session);
    black_box(());
}

/// Runs `action` on a thread with a name.
fn on_thread<R: Send + 'static>(name: &str, action: impl FnOnce() -> R + Send + 'static) -> R {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(action).expect("a thread");
    thread.join().expect("it ends")
}

/// One thread allocates, the second frees, and the third frees again.
fn by_three_threads() {
    GLOBAL.profile().start(1);
    // Threads that end have no names any more, so these wait for the end.
    let (sender, receiver) = mpsc::channel();
    let named = |name: &str, action: Box<dyn FnOnce() + Send>| {
        let life = move || {
            action();
            thread::park();
        };
        thread::Builder::new().name(name.into()).spawn(life).expect("a thread")
    };
    let sessions = sender.clone();
    let open = move || sessions.send(open_session()).expect("received");
    let _acceptor = named("acceptor", Box::new(open));
    let session = receiver.recv().expect("a session");
    let close = move || {
        drop_session(session);
        sender.send(0).expect("received");
    };
    let _worker = named("worker-2", Box::new(close));
    receiver.recv().expect("it is closed");
    on_thread("worker", move || drop_again(session));
}

extern "C" fn handle(_: i32) {
    drop_twice();
    black_box(());
}

/// A wrong free in a signal handler on a stack of this many bytes.
fn on_small_stack(bytes: usize) {
    // What the first call needs is not what this is about.
    drop_session(open_session());
    let stack = Box::leak(vec![0_u8; bytes].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: bytes };
    // SAFETY: the stack is nobody else's, and stays.
    assert_eq!(unsafe { libc::sigaltstack(&raw const stack, core::ptr::null_mut()) }, 0);
    // SAFETY: all zero is no flags and an empty mask.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    let handler: extern "C" fn(i32) = handle;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: the handler is one.
    unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, core::ptr::null_mut()) };
    // SAFETY: no preconditions.
    unsafe { libc::raise(libc::SIGUSR1) };
}

/// A wrong free while another thread is inside of dlopen, which holds the loader's lock while it opens a pipe that
/// nobody writes to.
fn beside_dlopen() {
    let path = CString::new("./pipe.so").expect("a path");
    // SAFETY: it is a string.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // SAFETY: no preconditions.
        sender.send(unsafe { libc::gettid() }).expect("received");
        // SAFETY: it is a string, and opens nothing.
        unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    });
    let thread = receiver.recv().expect("a thread");
    // The call in which a thread waits, first its number: open or openat.
    let is_waiting = || {
        let call = fs::read_to_string(format!("/proc/self/task/{thread}/syscall"));
        let state = fs::read_to_string(format!("/proc/self/task/{thread}/wchan"));
        let waits_in = |text: &str| {
            text.starts_with("257 ") || text.starts_with("2 ") || text.starts_with("56 ")
        };
        call.is_ok_and(|text| waits_in(&text)) || state.is_ok_and(|text| text.contains("fifo"))
    };
    while !is_waiting() {
        thread::yield_now();
    }
    drop_twice();
}

/// Standard error is a pipe that nobody reads, and SIGPIPE would end the program.
fn into_a_broken_pipe() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    // SAFETY: both are open.
    unsafe { libc::dup2(writer.as_raw_fd(), 2) };
    // SAFETY: that is what it was at first.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    drop_twice();
}

/// In the child of a fork whose other threads have vanished.
fn in_a_fork() {
    GLOBAL.profile().start(1);
    let other = thread::spawn(|| thread::sleep(core::time::Duration::from_secs(600)));
    // SAFETY: the child frees, and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop_twice();
    }
    let mut status = 0;
    // SAFETY: `status` is a place for the answer.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    drop(other);
    println!("signal {}", status & 0x7f);
    child::exit_now(0);
}

/// The part of a child.
pub(super) fn part(name: &str) {
    child::no_core_files();
    child::watchdog(PATIENCE_SECONDS);
    match name {
        "twice" => {
            let of = |function: fn(usize)| function as *const () as usize;
            println!("{} {}", of(drop_session), of(drop_again));
            std::io::stdout().flush().expect("written");
            on_thread("worker \u{fc}", drop_twice);
        }
        "threads" => by_three_threads(),
        "interior" => {
            GLOBAL.profile().start(1);
            drop_again(open_session() + 16);
        }
        "small-stack" => on_small_stack(SMALL_STACK + registers_bytes()),
        "dlopen" => beside_dlopen(),
        "pipe" => into_a_broken_pipe(),
        "fork" => in_a_fork(),
        "no-files" => {
            GLOBAL.profile().start(1);
            child::set_limit(libc::RLIMIT_NOFILE, 0);
            drop_twice();
        }
        _ => panic!("no part {name}"),
    }
}

/// The stack of a signal handler, in bytes, without what the kernel puts there. A debug build needs more.
const SMALL_STACK: usize = if cfg!(debug_assertions) { 14 << 10 } else { 6 << 10 };

/// Bytes that the kernel needs for the registers of who is interrupted.
fn registers_bytes() -> usize {
    const AT_MINSIGSTKSZ: libc::c_ulong = 51;
    // SAFETY: no preconditions.
    let bytes = unsafe { libc::getauxval(AT_MINSIGSTKSZ) };
    usize::try_from(bytes).expect("few").max(2048)
}

/// The lines behind the first one, if that is `first`, all are lines of MeMS, and the child ended as it should.
fn lines<'a>(outcome: &'a Outcome, first: &str) -> Result<Vec<&'a str>, String> {
    let lines: Vec<_> = outcome.stderr.lines().collect();
    let begins = lines.first().is_some_and(|line| line.starts_with(first));
    let is_trace = lines.iter().skip(1).all(|line| line.starts_with("mems:   "));
    if begins && is_trace && outcome.aborted_with(first) {
        Ok(lines.into_iter().skip(1).collect())
    } else {
        Err(outcome.describe())
    }
}

/// The functions below the first line that has these words, the innermost first; their ends are cut off.
fn stack_below<'a>(lines: &[&'a str], words: &str) -> Vec<&'a str> {
    let behind = lines.iter().skip_while(|line| !line.contains(words)).skip(1);
    let stack = behind.map_while(|line| line.strip_prefix("mems:     0x"));
    stack.filter_map(|line| line.split(' ').nth(1)?.split('+').next()).collect()
}

/// Whether functions stand on a stack in this order, the first one at its top.
fn begins_with(stack: &[&str], functions: &[&str]) -> bool {
    let mut rest = stack.iter();
    let is_there = |name: &&str| rest.any(|function| function.ends_with(*name));
    functions.iter().all(is_there) && stack.first().is_some_and(|top| top.ends_with(functions[0]))
}

fn run(role: &str) -> Outcome {
    child::run(&format!("trace {role}"))
}

/// Whether `offset` in a file is where `address` is in memory, of a function that begins at one of `starts`.
fn is_in_file(line: &str, file: &str, starts: &[usize]) -> bool {
    let hexadecimal = |text: &str| usize::from_str_radix(text, 16).ok();
    let Some((address, rest)) = line.trim_start_matches("mems:     0x").split_once(' ') else {
        return false;
    };
    let Some(offset) = rest.rsplit_once("+0x").and_then(|(_, text)| text.strip_suffix(')')) else {
        return false;
    };
    let (Some(address), Some(offset)) = (hexadecimal(address), hexadecimal(offset)) else {
        return false;
    };
    // All of a file is mapped at one distance, by whole pages.
    let is_near = |start: &usize| (*start..start + 0x400).contains(&address);
    rest.contains(file) && (address - offset) % 4096 == 0 && starts.iter().any(is_near)
}

fn the_freeing_function_is_named() -> Result<Answer, String> {
    let outcome = run("twice");
    let lines = lines(&outcome, LINE)?;
    let starts: Vec<usize> =
        outcome.stdout.split_whitespace().map(|text| text.parse().expect("a number")).collect();
    let own = std::env::current_exe().expect("a path").display().to_string();
    let thread =
        lines.first().is_some_and(|line| line.ends_with(" \"worker \u{fc}\" called it at"));
    let stack = stack_below(&lines, "called it at");
    let is_named = begins_with(&stack, &["drop_session", "drop_again", "drop_twice"]);
    let holds = [1, 2].iter().all(|line| is_in_file(lines[*line], &own, &starts));
    ensure(thread && is_named && holds, (outcome, own))
}

/// Without names: what the line says of the file leads `nm` of the whole one to the function.
fn a_stripped_program_has_offsets() -> Result<Answer, String> {
    let folder = folder("stripped");
    let own = std::env::current_exe().expect("a path");
    let file = folder.join("stripped");
    let strip = Command::new("strip").arg("-o").arg(&file).arg(&own).status();
    if !strip.is_ok_and(|status| status.success()) {
        return Ok(Answer::Skipped("no strip".to_owned()));
    }
    let outcome = output_of(Command::new(&file).env(child::ROLE, "trace twice"));
    let lines = lines(&outcome, LINE)?;
    let starts: Vec<usize> =
        outcome.stdout.split_whitespace().map(|text| text.parse().expect("a number")).collect();
    let path = file.display().to_string();
    let offsets = lines.iter().filter(|line| is_in_file(line, &path, &starts)).count();
    let has_name = lines.iter().any(|line| line.contains("drop_"));
    fs::remove_file(&file).expect("removed");
    ensure(offsets >= 2 && !has_name, outcome)
}

fn three_threads_are_named() -> Result<Answer, String> {
    let outcome = run("threads");
    let lines = lines(&outcome, LINE)?;
    let stack = |words| stack_below(&lines, words);
    let called = begins_with(&stack("\"worker\" called it at"), &["drop_session", "drop_again"]);
    let has = |begin: &str, end: &str| {
        lines.iter().any(|line| line.starts_with(begin) && line.ends_with(end))
    };
    let allocated = has("mems:   allocated ", " \"acceptor\" at")
        && begins_with(&stack("allocated "), &["open_session"]);
    let freed = has("mems:   freed ", " \"worker-2\" at")
        && begins_with(&stack("freed "), &["drop_session"])
        && !stack("freed ").iter().any(|name| name.ends_with("drop_again"));
    ensure(called && allocated && freed, outcome)
}

fn an_interior_pointer_has_who_allocated_the_block() -> Result<Answer, String> {
    let outcome = run("interior");
    let lines = lines(&outcome, "mems: ADDRESS NOT FOUND: free of an interior pointer 0x")?;
    let allocated = begins_with(&stack_below(&lines, "allocated "), &["open_session"]);
    let is_live = !lines.iter().any(|line| line.contains("freed "));
    ensure(allocated && is_live, outcome)
}

fn the_log_has_all() -> Result<Answer, String> {
    let folder = folder("trace");
    let outcome = without_stderr(command("trace threads", &folder, &[("MEMS_LOG", "log")]));
    let stderr = fs::read_to_string(folder.join("log")).unwrap_or_default();
    let outcome = Outcome { stderr, ..outcome };
    let lines = lines(&outcome, LINE)?;
    let has_all = ["called it at", "allocated ", "freed "]
        .iter()
        .all(|words| begins_with(&stack_below(&lines, words), &["_session"]));
    ensure(has_all, outcome)
}

pub(super) fn cases(trials: &mut Trials) {
    trials.case("the_freeing_function_is_named", the_freeing_function_is_named);
    trials.case("a_stripped_program_has_offsets", a_stripped_program_has_offsets);
    trials.case("three_threads_are_named", three_threads_are_named);
    trials.case(
        "an_interior_pointer_has_who_allocated_the_block",
        an_interior_pointer_has_who_allocated_the_block,
    );
    trials.case("the_log_has_all_of_it_where_standard_error_is_closed", the_log_has_all);
    trials.case("a_handler_on_a_small_stack_is_named", || {
        let outcome = run("small-stack");
        let stack = stack_below(&lines(&outcome, LINE)?, "called it at");
        ensure(
            begins_with(&stack, &["drop_session", "drop_again", "drop_twice", "handle"]),
            outcome,
        )
    });
    trials.case("the_loaders_lock_is_not_waited_for", || {
        let outcome = output_of(&mut command("trace dlopen", &folder("dlopen"), &[]));
        let stack = stack_below(&lines(&outcome, LINE)?, "called it at");
        ensure(begins_with(&stack, &["drop_session", "drop_again"]), outcome)
    });
    trials.case("a_pipe_that_nobody_reads_changes_nothing", || {
        let folder = folder("pipe");
        let outcome = output_of(&mut command("trace pipe", &folder, &[("MEMS_LOG", "log")]));
        let stderr = fs::read_to_string(folder.join("log")).unwrap_or_default();
        let outcome = Outcome { stderr, ..outcome };
        let stack = stack_below(&lines(&outcome, LINE)?, "called it at");
        ensure(begins_with(&stack, &["drop_session", "drop_again"]), outcome)
    });
    trials.case("the_child_of_a_fork_tells_the_same", || {
        let outcome = run("fork");
        let lines: Vec<_> = outcome.stderr.lines().collect();
        let freed = begins_with(&stack_below(&lines, "freed "), &["drop_session", "drop_twice"]);
        ensure(freed && outcome.stdout == format!("signal {}\n", libc::SIGABRT), outcome)
    });
    trials.case("without_descriptors_there_are_addresses", || {
        let outcome = run("no-files");
        let lines = lines(&outcome, LINE)?;
        let addresses = lines.iter().filter(|line| line.starts_with("mems:     0x")).count();
        let has_all = ["called it at", "allocated ", "freed "]
            .iter()
            .all(|words| lines.iter().any(|line| line.contains(words)));
        ensure(addresses > 6 && has_all && !lines.iter().any(|line| line.contains('(')), outcome)
    });
}
