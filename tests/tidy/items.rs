//! The items of a file, or of an inline module: tokens in the order of the file, with their attributes.
//!
//! This is no parser of Rust: an item ends at a `;`, or behind its first braces if it is not a `const`, a `static`, a
//! `type` or a `use`. No token is lost, whatever the code.

use crate::tokens::Token;

/// A declaration with its attributes.
#[derive(Debug)]
pub(crate) struct Item<'t, 'a> {
    /// What stands between `#[` and `]`.
    pub(crate) attributes: Vec<&'t [Token<'a>]>,
    /// From the visibility to the closing brace or the semicolon; never empty.
    pub(crate) tokens: &'t [Token<'a>],
}

/// The items in `rest`. Attributes of the file itself (`#![...]`) are left out.
pub(crate) fn items<'t, 'a>(mut rest: &'t [Token<'a>]) -> Vec<Item<'t, 'a>> {
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (attributes, behind) = attributes(rest);
        let (tokens, behind) = behind.split_at(item_len(behind));
        if !tokens.is_empty() && text(tokens, 0) != ";" {
            items.push(Item { attributes, tokens });
        }
        rest = behind;
    }
    items
}

impl<'t, 'a> Item<'t, 'a> {
    /// What is declared, without the visibility.
    pub(crate) fn declaration(&self) -> &'t [Token<'a>] {
        without_visibility(self.tokens)
    }

    /// The line in which it begins.
    pub(crate) fn line(&self) -> usize {
        self.tokens[0].line
    }

    /// The name `x` of a `mod x;`.
    pub(crate) fn declared_module(&self) -> Option<&'a str> {
        let declaration = self.declaration();
        let is_one = text(declaration, 0) == "mod" && text(declaration, 2) == ";";
        is_one.then(|| text(declaration, 1))
    }

    /// What stands between the braces of a `mod x { ... }`.
    pub(crate) fn inline_module(&self) -> Option<&'t [Token<'a>]> {
        match self.declaration() {
            [keyword, _, open, body @ .., _] if keyword.text == "mod" && open.text == "{" => {
                Some(body)
            }
            _ => None,
        }
    }

    /// Whether it is compiled only where `condition` holds: `#[cfg(test)]`, alone or with more conditions.
    pub(crate) fn is_only_for(&self, condition: &str) -> bool {
        let is_named =
            |words: &[Token<'_>], word: &str| words.iter().any(|token| token.text == word);
        self.attributes.iter().any(|words| {
            text(words, 0) == "cfg"
                && is_named(words, condition)
                && !is_named(words, "not")
                && !is_named(words, "any")
        })
    }

    /// Whether it has an attribute of this name.
    pub(crate) fn has_attribute(&self, name: &str) -> bool {
        self.attributes.iter().any(|words| text(words, 0) == name)
    }
}

/// The text of a token, or nothing behind the last one.
pub(crate) fn text<'a>(tokens: &[Token<'a>], at: usize) -> &'a str {
    tokens.get(at).map_or("", |token| token.text)
}

/// Splits the attributes off the start of `rest`.
fn attributes<'t, 'a>(mut rest: &'t [Token<'a>]) -> (Vec<&'t [Token<'a>]>, &'t [Token<'a>]) {
    let mut attributes = Vec::new();
    while text(rest, 0) == "#" {
        let is_of_file = text(rest, 1) == "!";
        let open = if is_of_file { 2 } else { 1 };
        if text(rest, open) != "[" {
            break;
        }
        let close = closing(rest, open);
        if !is_of_file {
            attributes.push(&rest[open + 1..close]);
        }
        rest = &rest[(close + 1).min(rest.len())..];
    }
    (attributes, rest)
}

/// The number of tokens of the item at the start of `tokens`; at least 1 if there are any.
fn item_len(tokens: &[Token<'_>]) -> usize {
    let ends_with_braces = !ends_with_semicolon(without_visibility(tokens));
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].text {
            ";" => return at + 1,
            "(" | "[" => at = closing(tokens, at),
            "{" => {
                at = closing(tokens, at);
                if ends_with_braces {
                    return (at + 1).min(tokens.len());
                }
            }
            _ => {}
        }
        at += 1;
    }
    tokens.len()
}

/// Whether a declaration ends with a semicolon though it may contain braces.
fn ends_with_semicolon(declaration: &[Token<'_>]) -> bool {
    match text(declaration, 0) {
        "static" | "type" | "use" => true,
        "const" => !matches!(text(declaration, 1), "fn" | "unsafe" | "extern" | "async"),
        _ => false,
    }
}

fn without_visibility<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    match (text(tokens, 0), text(tokens, 1)) {
        ("pub", "(") => &tokens[(closing(tokens, 1) + 1).min(tokens.len())..],
        ("pub", _) => &tokens[1..],
        _ => tokens,
    }
}

/// The place of the bracket that closes the one at `open`, or of the end.
pub(crate) fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len()
}

/// The first two words of what each item of `code` declares.
fn heads(code: &str) -> Vec<String> {
    let tokens = crate::tokens::tokens(code);
    let head = |item: &Item<'_, '_>| {
        let declaration = item.declaration();
        format!("{} {}", text(declaration, 0), text(declaration, 1))
    };
    items(&tokens).iter().map(head).collect()
}

#[test]
fn items_end_where_they_end() {
    let code = "
        #![no_std]
        pub(crate) fn a() -> impl Iterator<Item = u8> { [1; 2] }
        struct B(u8);
        const C: B = B { 0: 1 };
        const fn d() {}
        pub(in crate::x) static E: [u8; 2] = { [0; 2] };
        macro_rules! f { ($x:expr) => { fn g() {} }; }
        thread_local! { static H: u8 = 0; }
        use i::{j, k};
        impl L for M { fn n() {} }
        unsafe extern \"C\" { fn o(); }
        mod p;";
    let expected = [
        "fn a",
        "struct B",
        "const C",
        "const fn",
        "static E",
        "macro_rules !",
        "thread_local !",
        "use i",
        "impl L",
        "unsafe extern",
        "mod p",
    ];
    assert_eq!(heads(code), expected);
}

#[test]
fn modules_are_told_by_where_their_code_stands() {
    let tokens = crate::tokens::tokens("pub(crate) mod a; mod b { use c; } mod d {} fn e() {}");
    let items = items(&tokens);
    let declared: Vec<_> = items.iter().map(Item::declared_module).collect();
    assert_eq!(declared, [Some("a"), None, None, None]);
    let inline: Vec<_> = items.iter().map(|item| item.inline_module().map(<[_]>::len)).collect();
    assert_eq!(inline, [None, Some(3), Some(0), None]);
}

#[test]
fn conditions_are_read_from_attributes() {
    let is_for_tests = |code| items(&crate::tokens::tokens(code))[0].is_only_for("test");
    assert!(is_for_tests("#[cfg(test)] mod a {}"));
    assert!(is_for_tests("#[allow(x)] #[cfg(all(test, feature = \"std\"))] mod a {}"));
    assert!(!is_for_tests("#[cfg(not(test))] mod a {}"));
    assert!(!is_for_tests("#[cfg(any(test, unix))] mod a {}"));
    assert!(!is_for_tests("#![cfg_attr(test, allow(x))] mod a {}"));
    assert!(!is_for_tests("#[cfg_attr(test, allow(x))] mod a {}"));
}

#[test]
fn code_that_is_cut_off_still_gives_items() {
    for code in ["#[a", "#[a]", "pub(", "fn a() {", "mod a {", ") ] }", "#"] {
        let tokens = crate::tokens::tokens(code);
        assert!(items(&tokens).len() <= tokens.len());
    }
}
