//! The paths by which code names other modules: those that begin with `crate::`, `super::` or `self::`.
//!
//! They are found in `use` declarations and inline, in types, expressions and attributes. What a macro writes as
//! `$crate::` is left out: it is resolved where the macro is used, and there it has to go through public names.

use crate::items::text;
use crate::tokens::Token;

/// A path that code names.
#[derive(Debug)]
pub(crate) struct Use<'a> {
    /// The inline modules around it, from the outermost.
    inside: Vec<&'a str>,
    /// Its segments as they are written. A `*` is one; a `self` in braces is left out.
    segments: Vec<&'a str>,
    /// Where it is written; in braces, where its own part is.
    pub(crate) line: usize,
}

/// All paths that the code of a file names, in its order.
pub(crate) fn uses<'a>(tokens: &[Token<'a>]) -> Vec<Use<'a>> {
    let mut reader = Reader { tokens, at: 0, depth: 0, inside: Vec::new(), found: Vec::new() };
    while reader.at < tokens.len() {
        reader.read();
    }
    reader.found
}

impl<'a> Use<'a> {
    /// The path from the root of the crate, when the file of the module `own` names it. None if it leads out of the
    /// crate.
    pub(crate) fn resolve(&self, own: &[&'a str]) -> Option<Vec<&'a str>> {
        let mut path = match self.segments[0] {
            "crate" => Vec::new(),
            _ => [own, &self.inside].concat(),
        };
        for segment in &self.segments {
            match *segment {
                "crate" | "self" => {}
                "super" => drop(path.pop()?),
                name => path.push(name),
            }
        }
        Some(path)
    }

    /// The path as it is written.
    pub(crate) fn text(&self) -> String {
        self.segments.join("::")
    }
}

/// Goes through the tokens of a file once.
struct Reader<'t, 'a> {
    tokens: &'t [Token<'a>],
    at: usize,
    /// Braces that are open.
    depth: i32,
    /// The inline modules that are open, each with the depth at which its braces stand.
    inside: Vec<(&'a str, i32)>,
    found: Vec<Use<'a>>,
}

impl<'a> Reader<'_, 'a> {
    /// The token that is `ahead` of the next one; nothing at the end.
    fn peek(&self, ahead: usize) -> &'a str {
        text(self.tokens, self.at + ahead)
    }

    fn is_word(&self, ahead: usize) -> bool {
        self.tokens.get(self.at + ahead).is_some_and(Token::is_word)
    }

    /// Reads one token, or all of a path, a `use` or the head of an inline module.
    fn read(&mut self) {
        match self.peek(0) {
            // Not the `use<'a>` of a return type.
            "use" if self.peek(1) != "<" => {
                self.at += 1;
                self.read_use_tree(&[]);
            }
            "mod" if self.is_word(1) && self.peek(2) == "{" => {
                self.inside.push((self.peek(1), self.depth));
                self.at += 2;
            }
            "crate" | "self" | "super" if self.is_start_of_path() => self.read_path(),
            mark => {
                self.at += 1;
                self.count_brace(mark);
            }
        }
    }

    fn count_brace(&mut self, mark: &str) {
        if mark == "{" {
            self.depth += 1;
        } else if mark == "}" {
            self.depth -= 1;
            self.inside.pop_if(|(_, depth)| *depth == self.depth);
        }
    }

    /// Whether the next word begins a path, and is neither part of one nor a visibility.
    fn is_start_of_path(&self) -> bool {
        let before = |back| self.at.checked_sub(back).map_or("", |at| text(self.tokens, at));
        let is_visibility = (before(3), before(2), before(1)) == ("pub", "(", "in");
        self.peek(1) == "::" && !matches!(before(1), "::" | "$") && !is_visibility
    }

    /// Reads a path in a type, an expression or an attribute.
    fn read_path(&mut self) {
        let line = self.tokens[self.at].line;
        let mut segments = vec![self.peek(0)];
        self.at += 1;
        while self.peek(0) == "::" && self.is_word(1) {
            segments.push(self.peek(1));
            self.at += 2;
        }
        self.add(segments, line);
    }

    /// Reads what a `use` declares, or a part of its braces; `prefix` is what stands before them.
    fn read_use_tree(&mut self, prefix: &[&'a str]) {
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        let mut segments = prefix.to_vec();
        loop {
            match self.peek(0) {
                "" | "," | "}" | ";" => return self.add(segments, line),
                "{" => return self.read_use_group(&segments),
                "::" => self.at += 1,
                "as" => self.at += 2,
                segment => {
                    segments.push(segment);
                    self.at += 1;
                }
            }
        }
    }

    /// Reads the braces of a `use`.
    fn read_use_group(&mut self, prefix: &[&'a str]) {
        self.at += 1;
        while !matches!(self.peek(0), "" | "}" | ";") {
            self.read_use_tree(prefix);
            if self.peek(0) == "," {
                self.at += 1;
            }
        }
        self.at += 1;
    }

    /// Notes a path if it is one of this crate's.
    fn add(&mut self, mut segments: Vec<&'a str>, line: usize) {
        if segments.len() > 1 {
            segments.pop_if(|last| *last == "self");
        }
        if matches!(segments.first(), Some(&("crate" | "self" | "super"))) {
            let inside = self.inside.iter().map(|(name, _)| *name).collect();
            self.found.push(Use { inside, segments, line });
        }
    }
}

/// The paths that `code` names, each from the root of the crate, as named by the file of `crate::a::b`.
fn paths(code: &str) -> Vec<String> {
    let tokens = crate::tokens::tokens(code);
    let path =
        |used: &Use<'_>| used.resolve(&["a", "b"]).map_or("out".into(), |path| path.join("::"));
    uses(&tokens).iter().map(path).collect()
}

#[test]
fn use_declarations_name_each_of_their_leaves() {
    assert_eq!(paths("use crate::x::Y;"), ["x::Y"]);
    assert_eq!(paths("pub(super) use super::x as y;"), ["a::x"]);
    assert_eq!(
        paths("use super::{self, x::{self as z, Y, *}, super::Z,};"),
        ["a", "a::x", "a::x::Y", "a::x::*", "Z"]
    );
    assert_eq!(paths("use {crate::x, self::y, std::z};"), ["x", "a::b::y"]);
    assert_eq!(paths("use super::*; use crate::r#try::X;"), ["a::*", "r#try::X"]);
    assert!(paths("use std::fmt; use ::core::mem; use x::{y, z};").is_empty());
}

#[test]
fn paths_are_found_inline() {
    let code = "
        #[derive(crate::Plain)]
        fn f(x: &super::x::X) -> Vec<crate::y::Y<self::Z>> { crate::z::new::<super::super::W>() }";
    assert_eq!(paths(code), ["Plain", "a::x::X", "y::Y", "a::b::Z", "z::new", "W"]);
    assert_eq!(paths("fn f() -> impl Sized + use<'_> { super::x() }"), ["a::x"]);
    assert_eq!(paths("super::super::super::x()"), ["out"]);
}

#[test]
fn not_all_such_words_are_paths() {
    let code = "
        pub(crate) fn f(&self) { self.x(self) }
        pub(in crate::a) struct X { pub(super) y: u8 }
        macro_rules! m { () => { $crate::x::y() } }
        // crate::x
        const S: &str = \"crate::x\";
        macro_rules! n { () => { use $crate::x::{y, z}; } }";
    assert!(paths(code).is_empty(), "{:?}", paths(code));
}

#[test]
fn inline_modules_are_one_step_down() {
    let code = "
        mod word { use super::super::x; mod deep { use super::y; fn f() { if true { self::z() } } } }
        mod tests { use super::*; use self::w; }
        use super::v;";
    let expected =
        ["a::x", "a::b::word::y", "a::b::word::deep::z", "a::b::*", "a::b::tests::w", "a::v"];
    assert_eq!(paths(code), expected);
}

#[test]
fn a_path_knows_its_line() {
    let tokens =
        crate::tokens::tokens("use crate::{\n    x,\n    y::{\n        Z,\n    },\n};\nsuper::w()");
    let lines: Vec<_> = uses(&tokens).iter().map(|used| used.line).collect();
    assert_eq!(lines, [2, 4, 7]);
}
