//! The structure of the source tree, enforced: what a reader may rely on wherever the repository is opened.
//!
//! Each rule is a function from a [`Tree`] to its [`Finding`]s. Here each one runs on this repository; beside each rule
//! are tests that run it on small trees built in memory. No rule has a list of exceptions.
//!
//! From the ground up: [`tree`] reads the files; [`tokens`] cuts Rust code into words and marks; [`items`] groups those
//! by declaration; [`uses`] finds the paths that code names; [`modules`] follows the `mod` lists. The rest are rules.

mod tree;
mod tokens;
mod items;
mod uses;
mod modules;
mod floors;
mod halls;
mod lines;
mod visibility;
mod words;
mod architecture;

use tree::{Finding, Rule, Tree};

/// Runs a rule on this repository, and fails with all that it finds.
#[track_caller]
fn assert_tidy(rule: Rule) {
    let mut findings = rule(&Tree::of_repository());
    findings.sort();
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "{} findings:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn the_repository_is_read() {
    let tree = Tree::of_repository();
    for path in ["src/lib.rs", "tests/tidy/main.rs", "README.md", "Cargo.toml"] {
        assert!(tree.files().any(|(file, _)| file == path), "{path} is part of the tree");
    }
    assert!(!tree.files().any(|(path, _)| path.starts_with("target/") || path.starts_with('.')));
}

#[test]
fn a_file_uses_only_floors_below_its_own() {
    assert_tidy(floors::only_below);
}

#[test]
fn halls_hold_no_logic() {
    assert_tidy(halls::without_logic);
}

#[test]
fn every_source_file_is_declared() {
    assert_tidy(modules::no_dead_files);
}

#[test]
fn the_architecture_is_as_written() {
    assert_tidy(architecture::true_steps);
}

#[test]
fn files_and_lines_are_short() {
    assert_tidy(lines::short);
}

#[test]
fn every_file_opens_with_a_header() {
    assert_tidy(lines::with_header);
}

#[test]
fn docs_stand_alone() {
    assert_tidy(words::docs_that_stand_alone);
}

#[test]
fn the_prose_is_plain() {
    assert_tidy(words::plain);
}

#[test]
fn no_file_names_a_private_folder() {
    assert_tidy(words::without_private_folders);
}

#[test]
fn what_one_file_uses_is_private() {
    assert_tidy(visibility::no_wider_than_used);
}
