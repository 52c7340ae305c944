//! A program whose allocator is broken ends with a line, whatever lock is held, and never unwinds.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that finds something wrong ends")]

#[path = "../../../tests/helpers/child.rs"]
mod child;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::child::Outcome;
use super::no_unwind;

/// Seconds until SIGALRM ends a child that hangs.
const PATIENCE_SECONDS: u32 = 30;

/// Runs `action` if this process is the child of the test `name`, and never comes back if so; else runs the child.
pub(crate) fn in_child(name: &str, action: impl FnOnce()) -> Outcome {
    if child::role().is_none() {
        return child::output_of(&mut child::this_test(name));
    }
    child::no_core_files();
    child::watchdog(PATIENCE_SECONDS);
    let unwound = catch_unwind(AssertUnwindSafe(action)).is_err();
    println!("{}", if unwound { "UNWOUND" } else { "RETURNED" });
    std::process::exit(0);
}

/// Looks whether a child ended with a line that begins with these words.
pub(crate) fn assert_ended(outcome: &Outcome, words: &str) {
    assert!(outcome.aborted_saying(words), "{}", outcome.describe());
    assert!(!["UNWOUND", "RETURNED"].iter().any(|word| outcome.stdout.contains(word)));
}

#[test]
fn a_panic_inside_does_not_come_out() {
    assert_eq!(no_unwind(|| 7), 7);
    let output = in_child("base::fatal::tests::a_panic_inside_does_not_come_out", || {
        no_unwind(|| panic!("inside"));
    });
    assert_ended(&output, "mems: THE ALLOCATOR IS BROKEN: it panicked");
    assert!(output.stderr.contains("inside"), "the panic says why");
}

#[test]
#[cfg(debug_assertions)]
fn a_broken_law_ends_the_process_without_a_panic() {
    let output =
        in_child("base::fatal::tests::a_broken_law_ends_the_process_without_a_panic", || {
            debug_law!(true, "what is so");
            debug_law!(1 + 1 == 3, "one and one is three");
        });
    assert_ended(
        &output,
        "mems: THE ALLOCATOR IS BROKEN: this does not hold: one and one is three (",
    );
    assert!(!output.stderr.contains("panicked"));
}
