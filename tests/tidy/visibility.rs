//! What only one file uses is private to it: `pub(crate)` and `pub(super)` tell a reader to look for users elsewhere.
//!
//! A user is another file that has the item's name as a word. Three things are not judged: a `pub(super)` within an
//! inline module, since it goes no further than its own file; what is in an inline module of tests; and a type that
//! other files get to see without naming it, in a signature or a field.

use std::collections::{BTreeMap, BTreeSet};

use crate::items::{closing, items, text};
use crate::tokens::{Token, tokens};
use crate::tree::{Finding, Tree, places};

/// A declared item.
#[derive(Clone, Copy, Debug)]
struct Declared<'a> {
    name: Token<'a>,
    is_type: bool,
}

/// Finds items that other files may use, and none does.
pub(crate) fn no_wider_than_used(tree: &Tree) -> Vec<Finding> {
    let files: Vec<_> = tree.sources().map(|(path, code)| (path, tokens(code))).collect();
    let users = users_by_word(&files);
    let mut findings = Vec::new();
    for (path, tokens) in &files {
        let shown = shown_words(tokens);
        for Declared { name, is_type } in wide_items(tokens, false) {
            let is_shown = is_type && shown.contains(name.text);
            let has_users = users.get(name.text).is_some_and(|users| users.len() > 1);
            if !is_shown && !has_users {
                let advice =
                    format!("no other file uses `{}`: make it private, or delete it", name.text);
                findings.push(Finding::new(path, name.line, advice));
            }
        }
    }
    findings
}

/// The files that have each word.
fn users_by_word<'a>(files: &[(&'a str, Vec<Token<'a>>)]) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut users = BTreeMap::<_, BTreeSet<_>>::new();
    for (path, tokens) in files {
        for word in tokens.iter().filter(|token| token.is_word()) {
            users.entry(word.text).or_default().insert(*path);
        }
    }
    users
}

/// The words in what a file shows to others: signatures, fields, variants and associated types. A type's name counts
/// only where it is used, not where it is declared.
fn shown_words<'a>(tokens: &[Token<'a>]) -> BTreeSet<&'a str> {
    let starts = (0..tokens.len()).filter(|at| matches!(tokens[*at].text, "pub" | "type"));
    let parts = starts.map(|at| &tokens[at..at + shown_len(&tokens[at..])]);
    let pairs = parts.flat_map(|part| part.windows(2));
    pairs.filter(|pair| !is_type_keyword(pair[0].text)).map(|pair| pair[1].text).collect()
}

/// How many tokens of a declaration other files get to see: all but the body of a function or a struct.
fn shown_len(declaration: &[Token<'_>]) -> usize {
    let (mut at, mut has_public_body) = (0, false);
    while at < declaration.len() {
        match declaration[at].text {
            "enum" | "trait" => has_public_body = true,
            "(" | "[" => at = closing(declaration, at),
            "{" if has_public_body => return closing(declaration, at),
            "{" | "}" | ")" | ";" => return at,
            _ => {}
        }
        at += 1;
    }
    declaration.len()
}

fn is_type_keyword(word: &str) -> bool {
    matches!(word, "struct" | "enum" | "union" | "trait" | "type")
}

/// All items that are `pub(crate)` or `pub(super)`.
fn wide_items<'a>(tokens: &[Token<'a>], is_inline: bool) -> Vec<Declared<'a>> {
    let mut wide = Vec::new();
    for item in items(tokens) {
        match item.inline_module() {
            Some(_) if item.is_only_for("test") => {}
            Some(body) => wide.extend(wide_items(body, true)),
            None => wide.extend((0..item.tokens.len()).filter_map(|at| {
                let behind = behind_visibility(&item.tokens[at..], is_inline)?;
                declared(behind)
            })),
        }
    }
    wide
}

/// What follows the visibility at the start of `tokens`, if that lets other files in.
fn behind_visibility<'t, 'a>(tokens: &'t [Token<'a>], is_inline: bool) -> Option<&'t [Token<'a>]> {
    let [keyword, open, scope, close, behind @ ..] = tokens else { return None };
    let is_wide = scope.text == "crate" || scope.text == "super" && !is_inline;
    (keyword.text == "pub" && open.text == "(" && is_wide && close.text == ")").then_some(behind)
}

/// What is declared at the start of `tokens`. Fields and re-exports are not.
fn declared<'a>(tokens: &[Token<'a>]) -> Option<Declared<'a>> {
    let is_modifier = |token: &Token<'_>| {
        matches!(token.text, "const" | "unsafe" | "async" | "extern") || token.is_literal()
    };
    let modifiers = tokens.iter().take_while(|token| is_modifier(token)).count();
    let keyword = text(tokens, modifiers);
    let is_type = is_type_keyword(keyword);
    let name = match keyword {
        "fn" | "static" => modifiers + if text(tokens, modifiers + 1) == "mut" { 2 } else { 1 },
        _ if is_type => modifiers + 1,
        // The keyword was the `const` before it.
        _ if modifiers > 0 => modifiers,
        _ => return None,
    };
    let name = tokens.get(name).filter(|name| name.is_word() && name.text != "_").copied()?;
    Some(Declared { name, is_type })
}

/// Where this rule finds something if a file has this code, and another one uses `Used` and `used`.
fn places_with(code: &str) -> Vec<String> {
    places(no_wider_than_used, &[("src/a.rs", code), ("src/b.rs", "use super::a::{Used, used};")])
}

#[test]
fn a_wide_item_without_users_is_found() {
    let items = [
        "fn alone() {}",
        "const fn alone() {}",
        "unsafe fn alone() {}",
        "unsafe extern \"C\" fn alone() {}",
        "struct Alone;",
        "enum Alone {}",
        "unsafe trait Alone {}",
        "type Alone = u8;",
        "const ALONE: u8 = 0;",
        "static ALONE: u8 = 0;",
        "static mut ALONE: u8 = 0;",
        "union Alone { x: u8 }",
    ];
    for item in items {
        for visibility in ["pub(crate)", "pub(super)"] {
            let code = format!("//! Alone.\n{visibility} {item}\nfn f() {{ alone(Alone, ALONE) }}");
            assert_eq!(places_with(&code), ["src/a.rs:2"], "{code}");
        }
        assert!(places_with(item).is_empty(), "{item}");
        assert!(places_with(&format!("pub {item}")).is_empty(), "{item}");
    }
    assert_eq!(places_with("impl X {\n    pub(crate) fn alone() {}\n}"), ["src/a.rs:2"]);
}

#[test]
fn a_wide_item_with_users_is_fine() {
    assert!(
        places_with("pub(crate) fn used() {}\npub(super) struct Used { pub(crate) field: u8 }")
            .is_empty()
    );
    assert!(
        places_with("pub(crate) use b::alone; pub(crate) mod alone; pub(crate) const _: () = ();")
            .is_empty()
    );
}

#[test]
fn the_name_in_a_comment_or_a_string_is_no_use() {
    let user = "// alone\nconst S: &str = \"alone\";";
    let files =
        [("src/a.rs", "pub(crate) fn alone() {}"), ("src/b.rs", user), ("tests/c.rs", "alone()")];
    assert_eq!(places(no_wider_than_used, &files), ["src/a.rs:1"]);
}

#[test]
fn inline_modules_have_an_outside_in_the_same_file() {
    assert!(places_with("mod word { pub(super) fn alone() {} }").is_empty());
    assert_eq!(places_with("mod word {\n    pub(crate) fn alone() {}\n}"), ["src/a.rs:2"]);
    assert!(
        places_with("#[cfg(test)]\npub(crate) mod tests { pub(crate) fn alone() {} }").is_empty()
    );
}

#[test]
fn a_type_may_be_shown_without_being_named() {
    let shows = [
        "pub(crate) fn used() -> [Alone; 2] {}",
        "pub(super) struct Used { x: u8, pub(super) y: Alone }",
        "pub(crate) enum Used { X(Alone) }",
        "pub(crate) trait Used { fn x() -> Alone; }",
        "impl Deref for Used { type Target = Alone; }",
        "pub(crate) fn used(x: [u8; 2]) -> impl Iterator<Item = Alone> {}",
    ];
    for show in shows {
        assert!(places_with(&format!("pub(crate) struct Alone;\n{show}")).is_empty(), "{show}");
        let function = show.replace("Alone", "alone");
        assert_eq!(
            places_with(&format!("pub(crate) fn alone() {{}}\n{function}")),
            ["src/a.rs:1"],
            "{function}"
        );
    }
    let hides = [
        "fn f() -> Alone {}",
        "pub(crate) fn used() { Alone }",
        "pub(crate) struct Used { x: Alone }",
    ];
    for hide in hides {
        assert_eq!(
            places_with(&format!("pub(crate) struct Alone;\n{hide}")),
            ["src/a.rs:1"],
            "{hide}"
        );
    }
}
