//! The prose is plain English, and speaks of nothing that a reader does not have.
//!
//! What must not be written stands here in two halves, so that this file, too, can be judged by its rules.

use crate::tree::{Finding, Tree, places};

/// Phrases that one has to read twice, each with what to write instead.
const PHRASES: [(&str, &str, &str); 9] = [
    ("refused ", "unheard", "say what is refused, and why"),
    ("for want", " of", "say `without`, or that it ran out"),
    ("who", "ever", "name who it is: the caller, the thread, the reader"),
    ("so ", "many", "give the number, or its name"),
    ("see to it", " that", "say `make sure that`"),
    ("sees to it", " that", "say `makes sure that`"),
    ("let go", " of", "say `release` or `free`"),
    ("lets go", " of", "say `releases` or `frees`"),
    ("is let", " go", "say `is released` or `is freed`"),
];

/// Folders of one machine.
const PRIVATE_FOLDERS: [(&str, &str); 2] = [("/wo", "rk/"), ("/ro", "ot/")];

/// Finds phrases that are not plain, in code and prose, also where a line ends within one.
pub(crate) fn plain(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in
        tree.files().filter(|(path, _)| path.ends_with(".rs") || path.ends_with(".md"))
    {
        let prose = Prose::of(text);
        for (first, second, instead) in PHRASES {
            let phrase = format!("{first}{second}");
            let found = prose.lines_with(&phrase).into_iter();
            findings.extend(
                found.map(|line| Finding::new(path, line, format!("not \"{phrase}\": {instead}"))),
            );
        }
    }
    findings
}

/// Finds docs that say of an item only what another one does: a reader who meets it there has to look twice.
pub(crate) fn docs_that_stand_alone(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust_files() {
        for (line, number) in text.lines().zip(1..) {
            let doc = line.trim_start();
            if ["As", "Like"].iter().any(|word| doc.starts_with(&format!("/// {word} [`"))) {
                let advice = "say what it does, then what it has in common with the other one";
                findings.push(Finding::new(path, number, advice));
            }
        }
    }
    findings
}

/// Finds absolute paths into folders that only one machine has.
pub(crate) fn without_private_folders(tree: &Tree) -> Vec<Finding> {
    let folders = PRIVATE_FOLDERS.map(|(first, second)| format!("{first}{second}"));
    let mut findings = Vec::new();
    for (path, text) in tree.files() {
        for (line, number) in text.lines().zip(1..) {
            for folder in folders.iter().filter(|folder| has_absolute(line, folder)) {
                let advice =
                    format!("no other machine has {folder}: name a path inside the repository");
                findings.push(Finding::new(path, number, advice));
            }
        }
    }
    findings
}

/// Whether `line` has a path that begins with `folder`, rather than one that only has it inside.
fn has_absolute(line: &str, folder: &str) -> bool {
    let is_inside = |c: char| c.is_alphanumeric() || "_-.~*})>".contains(c);
    line.match_indices(folder).any(|(at, _)| !line[..at].ends_with(is_inside))
}

/// The text of a file as one line in lower case, without the marks of comments. A paragraph ends with two spaces.
struct Prose {
    text: String,
    /// Where each line of the file begins.
    starts: Vec<usize>,
}

impl Prose {
    fn of(text: &str) -> Self {
        let mut prose = Self { text: String::new(), starts: Vec::new() };
        for line in text.lines() {
            prose.starts.push(prose.text.len());
            prose.text.push_str(&words_of(line).to_lowercase());
            prose.text.push(' ');
        }
        prose
    }

    /// The number of the line in which each of the phrase's occurrences begins.
    fn lines_with(&self, phrase: &str) -> Vec<usize> {
        let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
        let is_whole = |at: &usize| {
            let (before, behind) = (&self.text[..*at], &self.text[at + phrase.len()..]);
            !before.ends_with(is_of_word) && !behind.starts_with(is_of_word)
        };
        let found = self.text.match_indices(phrase).map(|(at, _)| at).filter(is_whole);
        found.map(|at| self.starts.partition_point(|start| *start <= at)).collect()
    }
}

/// The words of a line with one space between them. The mark of a comment or a quotation before them is left out, and
/// so is the `\` behind them that continues a string.
fn words_of(line: &str) -> String {
    let marks = |c: char| c.is_whitespace() || "/!>".contains(c);
    let line = line.trim_start_matches(marks).trim_end_matches('\\');
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// All phrases that are not plain.
fn phrases() -> Vec<String> {
    PHRASES.iter().map(|(first, second, _)| format!("{first}{second}")).collect()
}

#[test]
fn every_phrase_is_found() {
    for phrase in phrases() {
        let text = format!("# Title\n\nThis is ({phrase}), as it were.\n");
        assert_eq!(places(plain, &[("a.md", &text)]), ["a.md:3"], "{text}");
        assert_eq!(places(plain, &[("a.rs", &text.to_uppercase())]), ["a.rs:3"], "{text}");
        assert!(places(plain, &[("a.toml", &text)]).is_empty());
    }
}

#[test]
fn a_phrase_is_found_across_lines() {
    for phrase in phrases() {
        for mark in ["", "//! ", "/// ", "    // ", "> "] {
            let broken = phrase.replace(' ', &format!("\n{mark}"));
            let text = format!("{mark}Plain words,\n{mark}and then {broken} it.\n");
            assert_eq!(places(plain, &[("a.rs", &text)]), ["a.rs:2"], "{text}");
        }
        let string = format!("\nprint(\"{}\")", phrase.replace(' ', " \\\n    "));
        assert_eq!(places(plain, &[("a.rs", &string)]), ["a.rs:2"], "{string}");
    }
}

#[test]
fn a_phrase_is_made_of_whole_words_of_one_paragraph() {
    for phrase in phrases() {
        let inside = format!("x{phrase}, {phrase}s, {phrase}_x");
        assert!(places(plain, &[("a.rs", &inside)]).is_empty(), "{inside}");
    }
    for phrase in phrases().iter().filter(|phrase| phrase.contains(' ')) {
        for gap in ["\n\n", "; ", "-"] {
            let apart = phrase.replace(' ', gap);
            assert!(places(plain, &[("a.rs", &apart)]).is_empty(), "{apart}");
        }
    }
}

#[test]
fn a_doc_that_leans_on_another_is_found() {
    let code = format!("//! A file.\n/// {} [`other`], with more.\nfn one() {{}}\n", "As");
    let found = docs_that_stand_alone(&Tree::of(&[("src/a.rs", &code)]));
    assert_eq!(found.len(), 1);
    let code = "//! A file.\n/// Does it as [`other`] does.\nfn one() {}\n";
    assert_eq!(docs_that_stand_alone(&Tree::of(&[("src/a.rs", code)])), []);
}

#[test]
fn a_private_folder_is_found() {
    for (first, second) in PRIVATE_FOLDERS {
        let folder = format!("{first}{second}");
        for text in
            [format!("x\n{folder}a"), format!("x\ncd \"{folder}a\""), format!("x\nfile://{folder}")]
        {
            assert_eq!(places(without_private_folders, &[("a.sh", &text)]), ["a.sh:2"], "{text}");
        }
        for text in [format!("target{folder}"), format!("..{folder}"), format!("{{here}}{folder}a")]
        {
            assert!(places(without_private_folders, &[("a.sh", &text)]).is_empty(), "{text}");
        }
    }
}
