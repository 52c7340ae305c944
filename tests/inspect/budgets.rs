//! A test that fails where code allocates more than it may, and what it says then.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::hint::black_box;
use std::panic;
use std::thread;

use helpers::child;
use mems::{Budget, BudgetError, RegionError};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

#[inline(never)]
fn parse(count: usize) -> Vec<String> {
    // Not by a tail call, which leaves no frame.
    black_box((0..count).map(|number| format!("field number {number}")).collect())
}

#[inline(never)]
fn remember(count: usize) {
    (0..count).for_each(|_| {
        black_box(vec![1_u8; 300].leak());
    });
}

fn message<T>(budget: Budget, run: impl FnOnce() -> T) -> String {
    match budget.check(run) {
        Err(BudgetError::Exceeded { message, .. }) => message,
        Err(error) => panic!("{error}"),
        Ok(_) => "it holds".to_owned(),
    }
}

#[track_caller]
fn has_all(message: &str, wanted: &[&str]) {
    println!("{message}\n");
    for part in wanted {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn what_holds_returns_the_answer() {
    let budget = Budget::new().allocations(101).peak_bytes(8 << 10).allocated_bytes(8 << 10);
    assert_eq!(budget.assert(|| parse(100).len()), 100);
    let kept = Budget::new().left_blocks(101).left_bytes(8 << 10).assert(|| parse(100));
    assert_eq!(kept.len(), 100);
}

#[test]
fn what_is_left_behind_is_named() {
    let said = message(Budget::new(), || {
        drop(parse(5));
        remember(3);
    });
    let lines = ["3 blocks left behind, 0 may be", "left behind by", "3 blocks,     960 B"];
    has_all(&said, &lines);
    has_all(&said, &["inspect_budgets::remember"]);
    if cfg!(debug_assertions) {
        has_all(&said, &["/tests/inspect/budgets.rs:26", "from inspect_budgets::what_is_left"]);
    }
    assert!(!said.contains("parse") && !said.contains("allocated by"), "{said}");
    let said = message(Budget::new().left_blocks(3).left_bytes(959), || remember(3));
    has_all(&said, &["960 bytes left behind, 959 may be", "budgets::remember"]);
}

#[test]
fn what_was_freed_again_is_named() {
    let run = || drop(black_box(parse(100)));
    let said = message(Budget::new().allocations(100), run);
    has_all(&said, &["101 blocks allocated, 100 may be", "allocated by", "budgets::parse"]);
    let said = message(Budget::new().peak_bytes(1000), run);
    has_all(&said, &["bytes live at a time, 1000 may be", "budgets::parse"]);
    let said = message(Budget::new().allocated_bytes(1000), run);
    has_all(&said, &["bytes allocated, 1000 may be", " blocks, ", "budgets::parse"]);
}

#[test]
fn a_panic_says_it() {
    let panicked = panic::catch_unwind(|| Budget::new().assert(|| remember(1)));
    let message = panicked.unwrap_err().downcast::<String>().expect("a text");
    has_all(
        &message,
        &["the budget for memory is exceeded", "1 block left behind", "         1 block, "],
    );
}

#[test]
fn threads_are_counted_on_request() {
    let run = || thread::spawn(|| remember(20)).join().unwrap();
    assert!(!message(Budget::new().left_blocks(19), run).contains("remember"), "not without");
    let said = message(Budget::new().left_blocks(19).with_threads(), run);
    has_all(&said, &["blocks left behind, 19 may be", "20 blocks,", "budgets::remember"]);
}

/// Who has asked for anything is known by stacks, which another profile forgets.
#[test]
fn a_profile_in_between_does_not_lie() {
    let mut is_unknown = false;
    for _ in 0..3 {
        let said = message(Budget::new(), || {
            remember(2);
            GLOBAL.profile().start(1 << 20);
            remember(2);
            GLOBAL.profile().stop();
        });
        has_all(&said, &["4 blocks left behind"]);
        is_unknown |= said.contains("(unknown)");
        assert!(!said.contains("parse"), "{said}");
    }
    assert!(is_unknown);
}

/// Runs this test again under settings with which nothing can be counted.
#[test]
fn what_cannot_be_measured_fails() {
    if child::role().is_some() {
        let answer = Budget::new().check(|| ());
        assert_eq!(answer, Err(BudgetError::Region(RegionError::NoThreadHeaps)));
        return println!("{}", answer.unwrap_err());
    }
    let mut again = child::this_test("what_cannot_be_measured_fails");
    let outcome = child::output_of(again.env("MEMS_HARDEN", "1"));
    let is_said = outcome.stdout.contains("cannot be measured: a region needs a heap");
    assert!(outcome.status.success() && is_said, "{outcome:?}");
}
