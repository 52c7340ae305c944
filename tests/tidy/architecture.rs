//! ARCHITECTURE.md tells the truth: the files that it names are there, and the functions of its numbered steps and the
//! locks of its table are declared in the files that it names for them.

use crate::tokens::{Token, tokens};
use crate::tree::{Finding, Tree};

/// The page.
const PAGE: &str = "ARCHITECTURE.md";
/// Words that declare the name behind them.
const DECLARING: [&str; 6] = ["fn", "struct", "enum", "static", "const", "type"];

/// Finds files and names that are not where the page says.
pub(crate) fn true_steps(tree: &Tree) -> Vec<Finding> {
    let Some((page, text)) = tree.file(PAGE) else {
        return vec![Finding::new(
            PAGE,
            1,
            "write this page: the picture, the locks, the steps of a block",
        )];
    };
    let mut findings = Vec::new();
    let mut file = None;
    for (line, number) in text.lines().zip(1..) {
        if !line.starts_with(' ') {
            file = None;
        }
        let is_step =
            line.starts_with(|first: char| first.is_ascii_digit()) || line.starts_with("   ");
        let mut names = Vec::new();
        for quoted in line.split('`').skip(1).step_by(2) {
            if is_path(quoted) {
                if !tree.files().any(|(path, _)| {
                    path == quoted || quoted.ends_with('/') && path.starts_with(quoted)
                }) {
                    findings.push(Finding::new(page, number, format!("there is no {quoted}")));
                }
                file = tree.file(quoted);
            } else if is_name(quoted) {
                names.push((quoted, file));
            }
        }
        for (name, named_for) in names {
            // In a table's row the file stands behind the lock's name.
            let is_lock = line.starts_with(&format!("| `{name}` | `src/"));
            let wanted = if is_lock { file } else { named_for.filter(|_| is_step) };
            if let Some((path, code)) = wanted
                && !declares(&tokens(code), name)
            {
                findings.push(Finding::new(page, number, format!("{path} declares no `{name}`")));
            }
        }
    }
    findings
}

fn is_path(quoted: &str) -> bool {
    quoted.contains('/') && (quoted.ends_with(".rs") || quoted.ends_with('/'))
}

fn is_name(quoted: &str) -> bool {
    !quoted.is_empty() && quoted.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a file has an item, or a field, of this name.
fn declares(code: &[Token<'_>], name: &str) -> bool {
    code.windows(2).any(|pair| {
        (DECLARING.contains(&pair[0].text) && pair[1].text == name)
            || (pair[0].text == name && pair[1].text == ":")
    })
}

#[test]
fn a_name_that_moved_is_found() {
    let steps = "1. `src/a.rs`: `first`, then `second`; `src/b.rs`:\n   `third`.\n\nElsewhere `fourth` is a word.\n";
    let good = [
        (PAGE, steps),
        ("src/a.rs", "fn first() {}\nconst fn second() {}"),
        ("src/b.rs", "struct third;"),
    ];
    assert_eq!(true_steps(&Tree::of(&good)), []);
    let moved = [
        (PAGE, steps),
        ("src/a.rs", "fn first() {}\nfn third() {}"),
        ("src/b.rs", "fn second() {}"),
    ];
    let found = [
        Finding::new(PAGE, 1, "src/a.rs declares no `second`"),
        Finding::new(PAGE, 2, "src/b.rs declares no `third`"),
    ];
    assert_eq!(true_steps(&Tree::of(&moved)), found);
}

#[test]
fn a_lock_that_moved_is_found() {
    let table = "| lock | where |\n|---|---|\n| `pool` | `src/a.rs` | slabs |\n";
    let good = [(PAGE, table), ("src/a.rs", "struct A { pool: Lock<Pool> }")];
    assert_eq!(true_steps(&Tree::of(&good)), []);
    let moved = [(PAGE, table), ("src/a.rs", "struct A;")];
    assert_eq!(
        true_steps(&Tree::of(&moved)),
        [Finding::new(PAGE, 3, "src/a.rs declares no `pool`")]
    );
}

#[test]
fn a_file_that_moved_is_found() {
    let page = "See `src/a.rs` and `src/b/`.\n";
    let found = [
        Finding::new(PAGE, 1, "there is no src/a.rs"),
        Finding::new(PAGE, 1, "there is no src/b/"),
    ];
    assert_eq!(true_steps(&Tree::of(&[(PAGE, page)])), found);
    assert_eq!(true_steps(&Tree::of(&[(PAGE, page), ("src/a.rs", ""), ("src/b/c.rs", "")])), []);
}

#[test]
fn the_page_is_missed() {
    assert_eq!(true_steps(&Tree::default()).len(), 1);
}
