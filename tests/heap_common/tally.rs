//! The cases of a test binary without a harness: run in turn, timed, counted; the last line says how many passed.

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

/// What a case answers.
pub(crate) enum Answer {
    /// All held, and a remark.
    Passed(String),
    /// It cannot be shown here, and why.
    Skipped(String),
}

/// What has come out so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Tally {
    /// Runs a case; a panic is a failure.
    pub(crate) fn case(&mut self, name: &str, case: impl FnOnce() -> Result<Answer, String>) {
        let start = Instant::now();
        let answer = catch_unwind(AssertUnwindSafe(case));
        let seconds = start.elapsed().as_secs_f64();
        let (word, remark) = match answer {
            Ok(Ok(Answer::Passed(remark))) => {
                self.passed += 1;
                ("ok", remark)
            }
            Ok(Ok(Answer::Skipped(why))) => {
                self.skipped += 1;
                ("SKIPPED", why)
            }
            Ok(Err(why)) => {
                self.failed += 1;
                ("FAILED", why)
            }
            Err(_) => {
                self.failed += 1;
                ("FAILED", "it panicked, see above".to_owned())
            }
        };
        println!("{name:<44} {word:<7} {seconds:6.2} s  {remark}");
    }

    /// Prints the last line; the exit code says whether all passed.
    pub(crate) fn finish(self) -> ExitCode {
        if self.skipped > 0 {
            println!("{} skipped", self.skipped);
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
