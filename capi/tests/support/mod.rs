//! What the tests share: where the libraries are, how a C program is built and run, and how a test is skipped.
//!
//! A test that lacks a tool prints `skipped: ...` and passes, so that the suite runs on a machine without a C compiler.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The folder of this package.
pub(crate) const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");
/// What a program of C links beside the static library.
pub(crate) const SYSTEM_LIBRARIES: [&str; 3] = ["-lpthread", "-ldl", "-lm"];

/// Says that a test, or a part of one, could not run here.
pub(crate) fn skip(reason: &str) {
    println!("skipped: {reason}");
}

/// The C or C++ compiler, if there is one.
pub(crate) fn compiler(source: &str) -> Option<String> {
    let (variable, default) = if source.ends_with(".cpp") { ("CXX", "c++") } else { ("CC", "cc") };
    let name = std::env::var(variable).unwrap_or_else(|_| default.into());
    has(&name).then_some(name)
}

/// Whether a tool is there.
pub(crate) fn has(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The static and the shared library of the profile under test, the static one first.
pub(crate) fn libraries() -> &'static [PathBuf; 2] {
    static LIBRARIES: OnceLock<[PathBuf; 2]> = OnceLock::new();
    LIBRARIES.get_or_init(|| {
        let test = std::env::current_exe().expect("the test's own path");
        let beside = in_folder(test.parent().expect("a folder"));
        if beside.iter().all(|library| library.exists()) { beside } else { build() }
    })
}

fn in_folder(folder: &Path) -> [PathBuf; 2] {
    ["libmems_capi.a", "libmems_capi.so"].map(|name| folder.join(name))
}

/// Builds both libraries, where cargo has left none beside the tests.
fn build() -> [PathBuf; 2] {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libraries");
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--offline", "-p", "mems-capi", "--target-dir"]).arg(&target);
    if profile == "release" {
        cargo.arg("--release");
    }
    let status = cargo.current_dir(PACKAGE).status().expect("cargo");
    assert!(status.success(), "the libraries cannot be built");
    in_folder(&target.join(profile))
}

/// A program of C or C++ in `tests/c`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program<'a> {
    /// Its name, and that of its expected output without `.expected`.
    pub(crate) name: &'a str,
    /// Its files, the first of which says the language.
    pub(crate) sources: &'a [&'a str],
    /// Options beside those that every program gets.
    pub(crate) flags: &'a [&'a str],
}

impl Program<'_> {
    /// Builds the program with `library` and returns its path, or `None` without a compiler.
    pub(crate) fn build(&self, library: &Path) -> Option<PathBuf> {
        let Some(compiler) = compiler(self.sources[0]) else {
            skip(&format!("{}: no compiler", self.name));
            return None;
        };
        let extension = library.extension().expect("an extension").to_string_lossy();
        let program =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{extension}", self.name));
        let mut command = Command::new(compiler);
        command.args(["-O1", "-g0", "-Wall", "-Wextra", "-Werror"]).args(self.flags);
        command.arg(format!("-I{PACKAGE}/include"));
        command.args(self.sources.iter().map(|file| format!("{PACKAGE}/tests/c/{file}")));
        command.arg(library).args(SYSTEM_LIBRARIES).arg("-o").arg(&program);
        let folder = library.parent().expect("a folder");
        command.arg(format!("-Wl,-rpath,{}", folder.display()));
        let output = command.output().expect("the compiler");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} does not compile:\n{complaint}", self.name);
        Some(program)
    }

    /// Builds the program with each library, runs it into a pipe, and compares what it prints, byte for byte.
    pub(crate) fn check(&self) {
        for library in libraries() {
            let Some(program) = self.build(library) else { return };
            self.compare(&Command::new(program).output().expect("the program"), library);
        }
    }

    /// Compares a run with what is expected.
    pub(crate) fn compare(&self, run: &Output, library: &Path) {
        let (name, library) = (self.name, library.display());
        let errors = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{name} with {library}: {}\n{errors}", run.status);
        let path = format!("{PACKAGE}/tests/c/{name}.expected");
        if std::env::var_os("MEMS_BLESS").is_some() {
            fs::write(&path, &run.stdout).expect("the expected output");
        }
        let expected = fs::read(&path).expect("the expected output");
        if run.stdout != expected {
            let found = String::from_utf8_lossy(&run.stdout);
            let expected = String::from_utf8_lossy(&expected);
            let at = found.lines().zip(expected.lines()).position(|(one, other)| one != other);
            panic!("{name} with {library} differs, first in line {at:?} (from 0):\n{found}");
        }
    }
}
