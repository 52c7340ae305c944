//! This very program, run again as a child, and how it ended.
//!
//! What a child does is its *role*: words in an environment variable, so that arguments keep the meaning that a test
//! harness gives them. A child that may hang sets an alarm(2) for itself: it then ends by `SIGALRM`, which no test
//! takes for an answer.
#![allow(unsafe_code, reason = "limits and alarms come from libc")]
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

/// The environment variable that has a child's role.
pub(crate) const ROLE: &str = "MEMS_TEST_ROLE";

/// The role of this process, if it is a child: words with spaces between them.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// How a child ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Whether it ended by SIGABRT with a line on standard error that has these words.
    pub(crate) fn aborted_with(&self, words: &str) -> bool {
        self.aborted_with_line(|line| line.contains(words))
    }

    /// Whether it ended by SIGABRT with a line on standard error that begins with these words.
    pub(crate) fn aborted_saying(&self, words: &str) -> bool {
        self.aborted_with_line(|line| line.starts_with(words))
    }

    fn aborted_with_line(&self, is_meant: impl Fn(&str) -> bool) -> bool {
        self.status.signal() == Some(libc::SIGABRT) && self.stderr.lines().any(is_meant)
    }

    /// An error unless the child ended well.
    pub(crate) fn success(self) -> Result<String, String> {
        if self.status.success() { Ok(self.stdout) } else { Err(self.describe()) }
    }

    /// What a failure prints.
    pub(crate) fn describe(&self) -> String {
        let how = if self.status.signal() == Some(libc::SIGALRM) { "HANGS: " } else { "" };
        format!("{how}{}: {}{}", self.status, self.stdout, self.stderr.trim_end())
    }
}

/// Waits for the end of a command and keeps what it wrote.
pub(crate) fn output_of(command: &mut Command) -> Outcome {
    let output = command.output().expect("the child starts");
    Outcome {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A command that runs this program in a role.
pub(crate) fn this_program(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.env(ROLE, role);
    command
}

/// A command that runs one test of this program, which finds that it has a [`role`]: its own name.
pub(crate) fn this_test(name: &str) -> Command {
    let mut command = this_program(name);
    command.args(["--exact", name, "--nocapture"]);
    command
}

/// Runs this program in a role.
pub(crate) fn run(role: &str) -> Outcome {
    output_of(&mut this_program(role))
}

/// Runs this program in a role, under a limit on its addresses (`ulimit -v`) from its first instruction on.
///
/// libc's own malloc, which std's threads use for their destructors, reserves 64 MiB for each thread as long as it
/// finds the addresses; one arena for all leaves them to the program.
pub(crate) fn run_limited(role: &str, address_bytes: u64, libc_arenas: usize) -> Outcome {
    let mut command = this_program(role);
    command.env("MALLOC_ARENA_MAX", libc_arenas.to_string());
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            set_limit(libc::RLIMIT_AS, address_bytes);
            Ok(())
        });
    }
    output_of(&mut command)
}

/// Sets the soft limit of a resource. The hard one stays.
pub(crate) fn set_limit(resource: libc::__rlimit_resource_t, soft: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the answer.
    unsafe { libc::getrlimit(resource, &raw mut limit) };
    limit.rlim_cur = soft.min(limit.rlim_max);
    // SAFETY: `limit` is initialised.
    let set = unsafe { libc::setrlimit(resource, &raw const limit) };
    assert_eq!(set, 0, "setrlimit");
}

/// Children that abort leave no core file.
pub(crate) fn no_core_files() {
    set_limit(libc::RLIMIT_CORE, 0);
}

/// Runs `life` in a child that inherits what there is, and ends by SIGALRM after some seconds. Answers what it says.
/// The child has no other thread; nothing that another one may have held is to be used there.
pub(crate) fn forked(
    patience_seconds: u32,
    life: impl FnOnce() -> Result<String, String>,
) -> Result<String, String> {
    let (mut reader, mut writer) = io::pipe().expect("a pipe");
    // SAFETY: by what the caller is told.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        watchdog(patience_seconds);
        let (code, text) = match life() {
            Ok(text) => (0, text),
            Err(text) => (1, text),
        };
        writer.write_all(text.as_bytes()).expect("the parent reads");
        exit_now(code);
    }
    drop(writer);
    let (mut text, mut status) = (String::new(), 0);
    reader.read_to_string(&mut text).expect("what the child says");
    // SAFETY: `status` is a place for the answer.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    if status == 0 { Ok(text) } else { Err(format!("status {status:#x}: {text}")) }
}

/// Ends this process by SIGALRM if it still runs after `seconds`.
pub(crate) fn watchdog(seconds: u32) {
    // SAFETY: alarm(2) has no preconditions.
    unsafe { libc::alarm(seconds) };
}

/// Ends this process at once, without destructors or handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Ends this process and a child by `exit`, so that both write what is due.
pub(crate) fn fork_and_exit() {
    // SAFETY: there is no other thread.
    let pid = unsafe { libc::fork() };
    println!("{}", std::process::id());
    if pid != 0 {
        let mut status = 0;
        // SAFETY: `status` is a place for the answer.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(status, 0);
    }
}
