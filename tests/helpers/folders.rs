//! Programs in folders of their own, and what they leave there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::child::this_program;

/// An empty folder of this test's.
pub(crate) fn folder(name: &str) -> PathBuf {
    let test = env!("CARGO_CRATE_NAME");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Runs this program in a role, in a folder, with variables.
pub(crate) fn command(role: &str, folder: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = this_program(role);
    command.current_dir(folder).envs(variables.iter().copied());
    command
}

/// The names in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().into_string().expect("a name")).collect();
    names.sort();
    names
}
