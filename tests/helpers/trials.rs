//! The cases of a test binary without a harness. `libtest-mimic` runs them, so that `--list`, filters and `--exact`
//! mean what they mean everywhere.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use libtest_mimic::{Arguments, Completion, Trial};

/// What a case answers.
pub(crate) enum Answer {
    /// All held, and a remark.
    Passed(String),
    /// It cannot be shown here, and why.
    Skipped(String),
}

/// What a case does.
pub(crate) type Case = fn() -> Result<Answer, String>;

/// An error that shows `what` was found, unless a condition holds.
pub(crate) fn ensure(holds: bool, what: impl core::fmt::Debug) -> Result<Answer, String> {
    if holds { Ok(Answer::Passed(String::new())) } else { Err(format!("{what:?}")) }
}

/// An error with these figures unless a condition holds; with it they are the remark.
pub(crate) fn shown(figures: String, holds: bool) -> Result<Answer, String> {
    if holds { Ok(Answer::Passed(figures)) } else { Err(figures) }
}

/// The cases of a binary, collected until they run.
#[derive(Debug)]
pub(crate) struct Trials {
    threads: Option<usize>,
    cases: Vec<Trial>,
    /// Remarks of the cases that have passed.
    remarks: Arc<Mutex<Vec<String>>>,
}

impl Trials {
    /// Cases that have the process for themselves: they run in turn on the main thread, and there is no other one.
    pub(crate) fn alone() -> Self {
        Self { threads: Some(1), cases: Vec::new(), remarks: Arc::default() }
    }

    /// Cases that only start other processes: they run on as many threads as the user wants.
    pub(crate) fn side_by_side() -> Self {
        Self { threads: None, ..Self::alone() }
    }

    /// Adds a case. A panic in it is a failure.
    pub(crate) fn case(
        &mut self,
        name: impl Into<String>,
        case: impl FnOnce() -> Result<Answer, String> + Send + 'static,
    ) {
        let (name, remarks) = (name.into(), Arc::clone(&self.remarks));
        let title = name.clone();
        self.cases.push(Trial::ignorable_test(name, move || {
            let start = Instant::now();
            match case()? {
                Answer::Passed(remark) => {
                    let seconds = start.elapsed().as_secs_f64();
                    if !remark.is_empty() {
                        let line = format!("{title} ({seconds:.2} s): {remark}");
                        remarks.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                    }
                    Ok(Completion::Completed)
                }
                Answer::Skipped(why) => Ok(Completion::ignored_with(why)),
            }
        }));
    }

    /// Adds all of these.
    pub(crate) fn cases<const N: usize>(&mut self, cases: [(&str, Case); N]) {
        cases.into_iter().for_each(|(name, case)| self.case(name, case));
    }

    /// Does what the command line asks for: runs the cases, or some of them, or lists them.
    pub(crate) fn finish(self) -> ExitCode {
        super::child::no_core_files();
        let mut arguments = Arguments::from_args();
        arguments.test_threads = self.threads.or(arguments.test_threads);
        let conclusion = libtest_mimic::run(&arguments, self.cases);
        for remark in self.remarks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            println!("{remark}");
        }
        conclusion.exit_code()
    }
}
