//! After start-up MeMS makes no memory system call but `mmap` and `munmap`: an example under `strace -f`.
//!
//! Start-up is over, exactly, when the program first names a file that it was given as an argument: what comes before
//! is the loader's and the Rust runtime's. It is given files, since opendir(3) calls libc's malloc, which uses `brk`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// All other system calls by which a process gets, gives back or changes memory of its own.
const FORBIDDEN: [&str; 12] = [
    "brk",
    "mremap",
    "madvise",
    "mprotect",
    "pkey_mprotect",
    "process_madvise",
    "remap_file_pages",
    "mlock",
    "mlockall",
    "memfd_create",
    "shmat",
    "userfaultfd",
];

/// The example's program, built if it is not there.
fn quickstart() -> PathBuf {
    let here = std::env::current_exe().expect("this program has a path");
    let profile = here.ancestors().nth(2).expect("target/PROFILE/deps/PROGRAM").to_path_buf();
    let program = profile.join("examples/quickstart");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--offline", "--quiet", "--example", "quickstart", "--target-dir"]);
    build.arg(profile.parent().expect("a target folder"));
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    if !cfg!(feature = "std") {
        build.arg("--no-default-features");
    }
    if !program.exists() {
        assert!(build.status().expect("cargo starts").success(), "the example builds");
    }
    program
}

/// The system call's name of a line of `strace -f`.
fn call_of(line: &str) -> &str {
    let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || c.is_whitespace());
    line.split('(').next().unwrap_or_default()
}

#[test]
fn an_example_maps_and_unmaps_and_nothing_else() {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("SKIPPED: strace is not installed");
        return;
    }
    let program = quickstart();
    let log = program.with_file_name(format!("heap_strace.{}", std::process::id()));
    let manifest = env!("CARGO_MANIFEST_DIR");
    let files =
        ["src/lib.rs", "src/heap/mod.rs", "Cargo.lock"].map(|name| format!("{manifest}/{name}"));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-s", "4096", "-o"]).arg(&log).arg(&program).args(&files);
    let output = strace.output().expect("strace starts");
    let trace = fs::read_to_string(&log).expect("strace writes its log");
    fs::remove_file(&log).expect("the log is ours");
    if !output.status.success() && trace.is_empty() {
        println!("SKIPPED: strace may not trace here: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let is_start = |line: &&str| call_of(line) != "execve" && line.contains(&files[0]);
    let begin = trace.lines().position(|line| is_start(&line)).expect("the program opens its file");
    let after: Vec<&str> = trace.lines().skip(begin).collect();
    let wrong: Vec<_> = after.iter().filter(|line| FORBIDDEN.contains(&call_of(line))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let count = |name: &str| after.iter().filter(|line| call_of(line) == name).count();
    let (maps, unmaps) = (count("mmap"), count("munmap"));
    println!("{} calls after start-up, of them {maps} mmap, {unmaps} munmap", after.len());
    assert!(maps > 0, "the example grows its heap");
}
