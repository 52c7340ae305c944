//! What the tests share: where the library is, how a C program is built, how one runs with and without the library.
#![allow(unsafe_code, reason = "limits are set between fork and exec")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "every test binary uses a part")]

#[path = "../../../tests/helpers/child.rs"]
pub(crate) mod child;
#[path = "../../../tests/helpers/trials.rs"]
pub(crate) mod trials;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) use child::{Outcome, output_of};

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
    let sources = Path::new(PACKAGE).join("tests/c");
    if is_newer(&program, &sources) {
        return Ok(program);
    }
    // Another process may run the same test at this moment: the program appears as a whole.
    let part = program.with_extension(std::process::id().to_string());
    let mut command = Command::new(compiler);
    // Mistakes are what these programs are about: the compiler must neither see nor use them.
    command.args(["-O0", "-w", "-fno-builtin", "-pthread"]).args(flags);
    command.arg(sources.join(source)).arg("-ldl").arg("-o").arg(&part);
    let output = command.output().expect("the compiler");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{source} does not compile:\n{complaint}");
    std::fs::rename(&part, &program).expect("the program gets its name");
    Ok(program)
}

/// Whether a program was built after the last change of any of the sources.
fn is_newer(program: &Path, sources: &Path) -> bool {
    let time = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    let files = std::fs::read_dir(sources).expect("the sources").flatten();
    time(program)
        .is_some_and(|built| files.map(|file| time(&file.path())).all(|it| it < Some(built)))
}

/// Runs a command, bounded in time and without core files.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let prepare = || {
        child::no_core_files();
        child::watchdog(PATIENCE_SECONDS);
        Ok(())
    };
    // SAFETY: the closure makes a few system calls and allocates nothing.
    unsafe { command.pre_exec(prepare) };
    output_of(command.stdin(Stdio::null()))
}

/// Runs a command with the library in front of libc.
pub(crate) fn run_preloaded(command: &mut Command) -> Outcome {
    run(command.env("LD_PRELOAD", library()))
}
