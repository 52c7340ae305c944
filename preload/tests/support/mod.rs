//! What the tests share: where the library is, how a C program is built, how one runs with and without the library.
#![allow(unsafe_code, reason = "limits are set between fork and exec")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "every test binary uses a part")]

#[path = "../../../tests/heap_common/tally.rs"]
pub(crate) mod tally;

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// The folder of this package.
pub(crate) const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");
/// A program that runs longer ends by SIGALRM, which no test takes for an answer.
const PATIENCE_SECONDS: u32 = 120;

/// The library of the profile under test; cargo has put it beside the tests.
pub(crate) fn library() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let library = test.parent().expect("a folder").join("libmems_preload.so");
    assert!(library.exists(), "cargo has not built {}", library.display());
    library
}

/// A folder for files of the tests.
pub(crate) fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Whether a tool is there.
pub(crate) fn has(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}

/// Builds a program of `tests/c`: its path, or why it could not be tried here.
pub(crate) fn build(source: &str, flags: &[&str]) -> Result<PathBuf, String> {
    let (variable, default) = if source.ends_with(".cpp") { ("CXX", "c++") } else { ("CC", "cc") };
    let compiler = std::env::var(variable).unwrap_or_else(|_| default.into());
    if !has(&compiler) {
        return Err(format!("no {compiler}"));
    }
    let program = scratch().join(source.replace('.', "_"));
    let mut command = Command::new(compiler);
    // Mistakes are what these programs are about: the compiler must neither see nor use them.
    command.args(["-O0", "-w", "-fno-builtin", "-pthread"]).args(flags);
    command.arg(format!("{PACKAGE}/tests/c/{source}")).arg("-ldl").arg("-o").arg(&program);
    let output = command.output().expect("the compiler");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{source} does not compile:\n{complaint}");
    Ok(program)
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Whether it was stopped over a wrong address.
    pub(crate) fn was_stopped(&self) -> bool {
        let says_why = |line: &str| line.starts_with("mems: ADDRESS NOT FOUND: ");
        self.status.signal() == Some(libc::SIGABRT) && self.stderr.lines().any(says_why)
    }

    /// What a failure prints.
    pub(crate) fn describe(&self) -> String {
        format!("{}: {}{}", self.status, self.stdout, self.stderr.trim_end())
    }
}

/// Runs a command, bounded in time and without core files.
pub(crate) fn run(command: &mut Command) -> Outcome {
    // SAFETY: the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(prepare) };
    let output = command.stdin(Stdio::null()).output().expect("the program starts");
    Outcome {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn prepare() -> std::io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is initialised.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    // SAFETY: alarm(2) has no preconditions.
    unsafe { libc::alarm(PATIENCE_SECONDS) };
    Ok(())
}

/// Runs a command with the library in front of libc.
pub(crate) fn run_preloaded(command: &mut Command) -> Outcome {
    run(command.env("LD_PRELOAD", library()))
}
