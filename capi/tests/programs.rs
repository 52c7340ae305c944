//! Programs of C and C++ against both libraries: each prints, byte for byte, what `tests/c/NAME.expected` holds.
//!
//! `MEMS_BLESS=1 cargo test` writes these files anew; read the difference before it is committed.
#![allow(clippy::std_instead_of_core, reason = "tests use std")]
#![allow(missing_docs, reason = "a test binary has no interface")]

mod support;

use std::process::Command;

use support::{PACKAGE, Program, compiler, has, libraries, skip};

const C_STANDARDS: [&str; 8] = ["c89", "gnu89", "c99", "gnu99", "c11", "gnu11", "c17", "gnu17"];
const CXX_STANDARDS: [&str; 5] = ["c++11", "c++14", "c++17", "gnu++17", "c++20"];

/// A program of one file of C.
fn check(name: &str) {
    let source = format!("{name}.c");
    Program { name, sources: &[&source], flags: &["-std=gnu11"] }.check();
}

#[test]
fn blocks_are_packed_and_found_by_first_fit() {
    check("chains");
}

#[test]
fn holes_merge_inside_their_span() {
    check("merging");
}

#[test]
fn a_wrong_address_is_reported_and_changes_nothing() {
    check("invalid_free");
}

#[test]
fn every_byte_of_a_block_has_a_place() {
    check("places");
}

#[test]
fn init_and_finish_leave_nothing_behind() {
    let flags = ["-std=gnu11", "-DPAGE_SIZE=8192"];
    Program { name: "lifecycle", sources: &["lifecycle.c"], flags: &flags }.check();
}

#[test]
fn the_programs_page_size_is_used() {
    for size in ["1000", "1024", "65536"] {
        let name = format!("pages_{size}");
        let define = format!("-DPAGE_SIZE={size}");
        let flags = ["-std=gnu11", &define];
        Program { name: &name, sources: &["pages.c"], flags: &flags }.check();
    }
}

#[test]
fn text_appears_in_the_order_of_the_calls() {
    check("order");
}

#[test]
fn two_translation_units_share_the_heap() {
    let flags = ["-std=gnu11"];
    Program { name: "units", sources: &["units_a.c", "units_b.c"], flags: &flags }.check();
}

#[test]
fn cxx_programs_use_the_header() {
    let flags = ["-std=c++11", "-pedantic"];
    Program { name: "cxx", sources: &["cxx.cpp"], flags: &flags }.check();
}

#[test]
fn threads_share_the_heap() {
    check("threads");
}

#[test]
fn functions_declared_by_hand_are_exported() {
    let flags = ["-std=gnu11", "-Wno-strict-prototypes"];
    Program { name: "no_header", sources: &["no_header.c"], flags: &flags }.check();
}

#[test]
fn the_shared_library_can_be_loaded_by_name() {
    let shared = &libraries()[1];
    let program = Program { name: "loaded", sources: &["loaded.c"], flags: &["-std=gnu11"] };
    let Some(path) = program.build(shared) else { return };
    program.compare(&Command::new(path).arg(shared).output().expect("the program"), shared);
}

#[test]
fn records_say_what_the_text_says() {
    check("records");
}

#[test]
fn the_process_heap_gives_plain_pointers_and_stops_mistakes() {
    let flags = ["-std=gnu11", "-fno-builtin", "-Wno-use-after-free"];
    let sources = ["process_heap.c"];
    Program { name: "process_heap", sources: &sources, flags: &flags }.check();
}

#[test]
fn the_process_heap_prints_itself_in_order() {
    check("process_print");
}

#[test]
fn no_allocator_is_called() {
    let flags = ["-std=gnu11", "-fno-builtin"];
    Program { name: "no_allocator", sources: &["no_allocator.c"], flags: &flags }.check();
}

#[test]
fn the_header_suits_every_standard() {
    let languages = [("c", "units_b.c", &C_STANDARDS[..]), ("c++", "cxx.cpp", &CXX_STANDARDS[..])];
    for (language, source, standards) in languages {
        let Some(compiler) = compiler(source) else { return skip("no compiler") };
        for standard in standards {
            let mut command = Command::new(&compiler);
            command.args(["-x", language, &format!("-std={standard}"), "-fsyntax-only"]);
            command.args(["-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-pedantic", "-Werror"]);
            command.args(["-include", &format!("{PACKAGE}/include/mems.h"), "/dev/null"]);
            let output = command.output().expect("the compiler");
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{standard}:\n{complaint}");
        }
    }
}

/// The names of the system calls in the lines of a trace from one mark to the next.
fn calls_between<'a>(trace: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let lines = trace.lines().skip_while(|line| !line.contains(from)).skip(1);
    let lines = lines.take_while(|line| !line.contains(to));
    lines.filter_map(|line| line.split('(').next()).collect()
}

#[test]
fn memory_comes_from_mmap_and_goes_by_munmap() {
    if !has("strace") {
        return skip("no strace");
    }
    let flags = ["-std=gnu11"];
    let program = Program { name: "system_calls", sources: &["system_calls.c"], flags: &flags };
    let library = &libraries()[0];
    let Some(path) = program.build(library) else { return };
    let log = path.with_extension("trace");
    let mut strace = Command::new("strace");
    strace.args(["-e", "signal=none", "-o"]).arg(&log).arg(&path);
    let run = strace.output().expect("strace");
    let trace = std::fs::read_to_string(&log).unwrap_or_default();
    if !trace.contains("begin") {
        return skip(&format!("strace may not trace: {}", String::from_utf8_lossy(&run.stderr)));
    }
    program.compare(&run, library);
    let work = calls_between(&trace, "begin", "print");
    for call in &work {
        assert!(["mmap", "munmap"].contains(call), "{call}");
    }
    let count = |name| work.iter().filter(|call| **call == name).count();
    // Every mapping goes back; the one beyond all memory was refused.
    assert_eq!(count("mmap"), count("munmap") + 1);
    assert!(count("mmap") > 250);
    assert_eq!(calls_between(&trace, "print", "endend"), ["write", "write"]);
}

#[test]
fn the_example_runs() {
    let sources = ["../../example/example.c"];
    let program = Program { name: "example", sources: &sources, flags: &["-std=c99"] };
    for library in libraries() {
        let Some(path) = program.build(library) else { return };
        program.compare(&Command::new(path).output().expect("the program"), library);
    }
}
