//! Files are short, lines are narrow, and every file opens with what it is about.

use crate::tree::{Finding, Tree, places};

/// Lines that a Rust file may have, with its tests.
const MAX_LINES: usize = 500;
/// Characters that a line may have.
const MAX_COLUMNS: usize = 120;

/// Finds Rust files that are too long, and lines that are too wide.
pub(crate) fn short(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust_files() {
        for (line, number) in text.lines().zip(1..) {
            let columns = line.chars().count();
            if columns > MAX_COLUMNS {
                let advice =
                    format!("this line has {columns} columns: break it, {MAX_COLUMNS} fit");
                findings.push(Finding::new(path, number, advice));
            }
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            let advice =
                format!("this file has {lines} lines: split it where a second concept begins");
            findings.push(Finding::new(path, MAX_LINES + 1, advice));
        }
    }
    findings
}

/// Finds Rust files that do not begin with `//!`.
pub(crate) fn with_header(tree: &Tree) -> Vec<Finding> {
    let bare = tree.rust_files().filter(|(_, text)| !text.starts_with("//!"));
    let advice = "begin the file with `//!`: what it owns, its invariants, what it may touch";
    bare.map(|(path, _)| Finding::new(path, 1, advice)).collect()
}

#[test]
fn a_wide_line_is_found() {
    let code = format!("{}\n{}\n{}", "x".repeat(120), "é".repeat(120), "x".repeat(121));
    assert_eq!(places(short, &[("bench/src/a.rs", &code)]), ["bench/src/a.rs:3"]);
    assert!(places(short, &[("a.md", &code)]).is_empty());
}

#[test]
fn a_long_file_is_found() {
    assert!(places(short, &[("src/a.rs", &"\n".repeat(500))]).is_empty());
    assert_eq!(places(short, &[("src/a.rs", &"\n".repeat(501))]), ["src/a.rs:501"]);
}

#[test]
fn a_missing_header_is_found() {
    assert!(places(with_header, &[("tests/a.rs", "//! Doc.\n"), ("b.md", "# B")]).is_empty());
    assert_eq!(places(with_header, &[("tests/a.rs", "\n//! Doc.\n")]), ["tests/a.rs:1"]);
    assert_eq!(places(with_header, &[("a.rs", "/// Doc."), ("b.rs", "")]), ["a.rs:1", "b.rs:1"]);
}
