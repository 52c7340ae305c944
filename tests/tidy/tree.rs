//! The text files of a repository, and what a rule says about them.
//!
//! A [`Tree`] is read from disk once per rule, or built in memory by a test. Paths are relative to the repository, with
//! `/` between their parts.

use core::fmt;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What the names of the files that the rules read end in, behind the last `.` or `/`.
const ENDINGS: [&str; 6] = ["rs", "md", "toml", "sh", "yml", "run"];

/// A rule of the source tree.
pub(crate) type Rule = fn(&Tree) -> Vec<Finding>;

/// The text files of a repository by path.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
}

/// A place that breaks a rule, and what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    advice: String,
}

impl Tree {
    /// The files of this repository. Hidden folders and build outputs are left out.
    pub(crate) fn of_repository() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut tree = Self::default();
        tree.read_folder(root, "");
        tree
    }

    /// The files that a test names, each with its text.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let owned = |&(path, text): &(&str, &str)| (path.to_owned(), text.to_owned());
        Self { files: files.iter().map(owned).collect() }
    }

    /// All files, in the order of their paths, with their texts.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The Rust files of the whole workspace.
    pub(crate) fn rust_files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(|(path, _)| path.ends_with(".rs"))
    }

    /// The Rust files of the crate `mems` itself.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rust_files().filter(|(path, _)| path.starts_with("src/"))
    }

    /// The file of this path, if there is one: its path and its text.
    pub(crate) fn file(&self, path: &str) -> Option<(&str, &str)> {
        self.files.get_key_value(path).map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Adds the files below `folder`; the paths of those in it begin with `prefix`.
    #[expect(clippy::panic, reason = "a repository that cannot be read fails every test")]
    fn read_folder(&mut self, folder: &Path, prefix: &str) {
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && name != "target" && !name.starts_with('.') {
                self.read_folder(&entry.path(), &format!("{path}/"));
            } else if is_file
                && ENDINGS.iter().any(|ending| path.rsplit(['.', '/']).next() == Some(ending))
            {
                let text = fs::read_to_string(entry.path());
                let text = text.unwrap_or_else(|error| panic!("{path}: {error}"));
                self.files.insert(path, text);
            }
        }
    }
}

impl Finding {
    /// A finding in the line of this number, from 1. The advice is a sentence that says what to do.
    pub(crate) fn new(path: &str, line: usize, advice: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, advice: advice.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.advice)
    }
}

/// Where a rule finds something in the files that a test names, as `path:line`.
pub(crate) fn places(rule: Rule, files: &[(&str, &str)]) -> Vec<String> {
    let findings = rule(&Tree::of(files));
    findings.iter().map(|finding| format!("{}:{}", finding.path, finding.line)).collect()
}

#[test]
fn a_finding_is_one_line_that_an_editor_can_follow() {
    let finding = Finding::new("src/heap/clear.rs", 7, "say it shorter");
    assert_eq!(finding.to_string(), "src/heap/clear.rs:7: say it shorter");
}

#[test]
fn the_sources_are_the_rust_files_of_src() {
    let tree = Tree::of(&[("src/a.rs", ""), ("src/a.md", ""), ("capi/src/a.rs", "")]);
    let paths = |files: &mut dyn Iterator<Item = (&str, &str)>| {
        files.map(|(path, _)| path.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths(&mut tree.sources()), ["src/a.rs"]);
    assert_eq!(paths(&mut tree.rust_files()), ["capi/src/a.rs", "src/a.rs"]);
}
