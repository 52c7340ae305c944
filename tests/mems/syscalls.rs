//! What the kernel sees: between two marks a heap lives and dies, with `mmap` and `munmap` and no other memory call,
//! and every `munmap` takes back one whole `mmap`.
//!
//! The test runs its own binary again under `strace`, so that what std and libc do before and after the marks does not
//! count. The marks are writes to standard error, which std does not buffer.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that finds something wrong ends")]

use std::io::Write as _;
use std::process::Command;

use mems::Mems;

const BEGIN: &[u8] = b"mems: the heap begins\n";
const END: &[u8] = b"mems: the heap has ended\n";
/// More segments than one step of the nodes' memory holds.
const BLOCKS: usize = 4_000;

/// Run by [`between_the_marks_there_is_only_mmap_and_munmap`] once more under `strace`.
#[test]
fn a_heap_lives_and_dies() {
    let mut blocks = [mems::FIRST_ADDRESS; BLOCKS];
    std::io::stderr().write_all(BEGIN).expect("a mark");
    let mut heap = Mems::with_page_size(4096);
    for (index, block) in blocks.iter_mut().enumerate() {
        *block = heap.malloc(1 + index % 700).expect("memory");
    }
    heap.bytes_mut(blocks[7]).expect("live").fill(7);
    for block in blocks.iter().step_by(2) {
        assert_eq!(heap.free(*block), Ok(()));
    }
    assert_eq!(heap.malloc(100_000).map(|block| heap.get(block).is_some()), Ok(true));
    assert!(heap.free(blocks[0]).is_err());
    heap.finish();
    assert!(heap.malloc(5).is_ok());
    drop(heap);
    std::io::stderr().write_all(END).expect("a mark");
}

/// The lines of a trace between the marks, of the thread that made them, without its number.
fn between_marks(trace: &str) -> Vec<&str> {
    let is_mark = |line: &&str, mark: &[u8]| {
        line.contains("write(2") && line.contains(String::from_utf8_lossy(mark).trim_end())
    };
    let begin = trace.lines().find(|line| is_mark(line, BEGIN)).expect("the first mark");
    let thread = begin.split(' ').next().expect("strace -f numbers every line");
    let of_thread = trace.lines().filter(|line| line.split(' ').next() == Some(thread));
    let behind = of_thread.skip_while(|line| !is_mark(line, BEGIN)).skip(1);
    let calls = behind.take_while(|line| !is_mark(line, END));
    calls.map(|line| line[thread.len()..].trim_start()).collect()
}

/// Address and length of a mapping, from the line of the call that made it or took it back.
fn mapping(call: &str) -> (String, String) {
    let (arguments, result) = call.rsplit_once(" = ").expect("a finished call");
    let mut words = arguments.split(['(', ',', ')']).map(str::trim);
    let (name, first, len) = (words.next(), words.next(), words.next());
    let start = if name == Some("mmap") { Some(result.trim()) } else { first };
    (start.expect("an address").to_owned(), len.expect("a length").to_owned())
}

#[test]
fn between_the_marks_there_is_only_mmap_and_munmap() {
    if !Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|it| it.success())
    {
        println!("skipped: strace is not here, or may not trace");
        return;
    }
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/mems_syscalls.trace");
    let traced = Command::new("strace")
        .args(["-f", "-e", "trace=%memory,write", "-s", "100", "-o", file])
        .arg(std::env::current_exe().expect("this binary"))
        .args(["--exact", "syscalls::a_heap_lives_and_dies", "--nocapture", "--test-threads=1"])
        .output()
        .expect("strace runs");
    assert!(traced.status.success(), "{traced:?}");
    let trace = std::fs::read_to_string(file).expect("the trace");
    let calls = between_marks(&trace);
    let (mut live, mut mapped) = (Vec::new(), 0);
    for call in &calls {
        if call.starts_with("mmap(NULL, ") {
            live.push(mapping(call));
            mapped += 1;
        } else {
            assert!(call.starts_with("munmap(0x"), "{call}");
            let at = live.iter().position(|it| *it == mapping(call));
            live.swap_remove(at.unwrap_or_else(|| panic!("{call}: not a whole mapping")));
        }
    }
    assert!(mapped > BLOCKS * 350 / 4096, "{mapped} calls of mmap: {calls:?}");
    assert!(live.is_empty(), "left behind: {live:?}");
}
