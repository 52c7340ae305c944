//! A program whose allocator is broken ends with a line, whatever lock is held, and never unwinds.
#![allow(unsafe_code, reason = "sets an alarm")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test that finds something wrong ends")]

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Output};

use super::no_unwind;

/// Set for a child: the test that it is to play.
const ROLE: &str = "MEMS_TEST_ROLE";

/// Seconds that a child has.
const TIME: u32 = 30;

/// Runs `action` if this process is the child of the test `name`, and never comes back if so; else runs the child.
pub(crate) fn in_child(name: &str, action: impl FnOnce()) -> Output {
    if env::var_os(ROLE).is_some() {
        // SAFETY: it has no preconditions. A child that hangs ends by SIGALRM.
        unsafe { libc::alarm(TIME) };
        let unwound = catch_unwind(AssertUnwindSafe(action)).is_err();
        println!("{}", if unwound { "UNWOUND" } else { "RETURNED" });
        std::process::exit(0);
    }
    let test = env::current_exe().expect("this program");
    let mut child = Command::new(test);
    child.args(["--exact", name, "--nocapture"]);
    child.env(ROLE, name).output().expect("a child")
}

/// Looks whether a child ended with a line that begins like this.
pub(crate) fn assert_ended(output: &Output, line: &str) {
    let (out, err) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
    let out = String::from_utf8_lossy(out);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{out}{err}");
    assert!(!out.contains("UNWOUND") && !out.contains("RETURNED"), "{out}");
    assert!(err.lines().any(|other| other.starts_with(line)), "{err}");
}

#[test]
fn a_panic_inside_does_not_come_out() {
    assert_eq!(no_unwind(|| 7), 7);
    let output = in_child("base::fatal::tests::a_panic_inside_does_not_come_out", || {
        no_unwind(|| panic!("inside"));
    });
    assert_ended(&output, "mems: THE ALLOCATOR IS BROKEN: it panicked");
    assert!(String::from_utf8_lossy(&output.stderr).contains("inside"), "the panic says why");
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
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}
