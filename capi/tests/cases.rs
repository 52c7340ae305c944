//! The shared cases, which say what every implementation of MeMS must print, against both libraries.
//!
//! They are no part of this repository; where the folder `../shared/mems-cases` is not beside it, the test is skipped.
#![allow(clippy::std_instead_of_core, reason = "tests use std")]
#![allow(missing_docs, reason = "a test binary has no interface")]
#![allow(dead_code, reason = "the support is that of all test binaries")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{PACKAGE, compiler, has, libraries, skip};

/// The script that runs all cases, in `MEMS_CASES` or beside the repository.
fn script() -> Option<PathBuf> {
    let beside = Path::new(PACKAGE).join("../../shared/mems-cases");
    let folder = std::env::var_os("MEMS_CASES").map_or(beside, PathBuf::from);
    let script = folder.join("run.sh");
    script.exists().then_some(script)
}

#[test]
fn both_libraries_pass_every_case() {
    let Some(script) = script() else { return skip("no shared cases beside the repository") };
    if compiler("case.c").is_none() || !has("bash") {
        return skip("no C compiler or no bash");
    }
    for library in libraries() {
        let mut command = Command::new("bash");
        command.arg(&script).args(["-s", "-v"]).arg(format!("{PACKAGE}/include")).arg(library);
        let output = command.output().expect("bash");
        let report = String::from_utf8_lossy(&output.stdout);
        println!("{}\n{report}", library.display());
        assert!(output.status.success(), "{}:\n{report}", library.display());
    }
}
