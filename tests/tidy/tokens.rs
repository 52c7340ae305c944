//! Rust code as a list of tokens: words, literals and marks, each with its line.
//!
//! Comments and lifetimes are left out. Strings and characters stay in one piece each, so nothing in them is taken for
//! code. A mark is one character, except `::`.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An identifier or a keyword.
    Word,
    /// A string, a character or a number.
    Literal,
    /// One character of punctuation, or `::`.
    Mark,
}

/// A piece of code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    kind: Kind,
    /// As it stands in the file: a raw identifier has its `r#`, a string its quotes.
    pub(crate) text: &'a str,
    /// Of its first character, from 1.
    pub(crate) line: usize,
}

impl Token<'_> {
    /// Whether it is an identifier or a keyword.
    pub(crate) fn is_word(&self) -> bool {
        self.kind == Kind::Word
    }

    /// Whether it is a string, a character or a number.
    pub(crate) fn is_literal(&self) -> bool {
        self.kind == Kind::Literal
    }
}

/// The tokens of a file.
pub(crate) fn tokens(code: &str) -> Vec<Token<'_>> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), code, 1);
    while !rest.is_empty() {
        let (kind, len) = first_piece(rest);
        let (text, behind) = rest.split_at(len);
        tokens.extend(kind.map(|kind| Token { kind, text, line }));
        line += text.matches('\n').count();
        rest = behind;
    }
    tokens
}

/// The first piece of `code`: its length in bytes, and its kind if it is a token.
fn first_piece(code: &str) -> (Option<Kind>, usize) {
    let first = code.chars().next().unwrap_or(' ');
    if first.is_whitespace() {
        (None, run(code, char::is_whitespace))
    } else if code.starts_with("//") {
        (None, run(code, |c| c != '\n'))
    } else if code.starts_with("/*") {
        (None, block_comment(code))
    } else if let Some(len) = string(code).or_else(|| character(code)) {
        (Some(Kind::Literal), len)
    } else if first == '\'' {
        (None, 1 + run(&code[1..], is_of_word))
    } else if first.is_ascii_digit() {
        (Some(Kind::Literal), run(code, is_of_word))
    } else if is_of_word(first) {
        let prefix = if code.starts_with("r#") { 2 } else { 0 };
        (Some(Kind::Word), prefix + run(&code[prefix..], is_of_word))
    } else {
        (Some(Kind::Mark), if code.starts_with("::") { 2 } else { first.len_utf8() })
    }
}

/// Whether words and numbers are made of this character.
fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the run of such characters at the start of `code`.
fn run(code: &str, is_part: impl Fn(char) -> bool) -> usize {
    code.find(|c| !is_part(c)).unwrap_or(code.len())
}

/// The length of the comment at the start of `code`, with the comments in it.
fn block_comment(code: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < code.len() {
        let rest = &code.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

/// The length of the string at the start of `code`, or of the byte character, if one starts there.
fn string(code: &str) -> Option<usize> {
    let prefix = run(code, |c| matches!(c, 'b' | 'c' | 'r'));
    let (letters, behind) = code.split_at(prefix);
    if letters.ends_with('r') {
        return raw_string(behind).map(|len| prefix + len);
    }
    if letters == "b" && behind.starts_with('\'') {
        return character(behind).map(|len| prefix + len);
    }
    let text = behind.strip_prefix('"')?;
    let mut is_escaped = false;
    let end = text.find(|c| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    });
    Some(end.map_or(code.len(), |end| prefix + 1 + end + 1))
}

/// The length of `#"..."#`, with any number of `#`, at the start of `code`.
fn raw_string(code: &str) -> Option<usize> {
    let hashes = run(code, |c| c == '#');
    let text = code[hashes..].strip_prefix('"')?;
    let quote = format!("\"{}", &code[..hashes]);
    Some(text.find(&quote).map_or(code.len(), |end| hashes + 1 + end + quote.len()))
}

/// The length of the character literal at the start of `code`, if it is one and not a lifetime.
fn character(code: &str) -> Option<usize> {
    let mut inside = code.strip_prefix('\'')?.char_indices();
    let (_, first) = inside.next()?;
    let end = if first == '\\' {
        inside.next()?;
        inside.find(|&(_, c)| c == '\'')
    } else {
        inside.next().filter(|&(_, c)| c == '\'')
    };
    end.map(|(at, _)| 1 + at + 1)
}

/// The texts of the tokens of `code`.
fn texts(code: &str) -> Vec<&str> {
    tokens(code).iter().map(|token| token.text).collect()
}

#[test]
fn comments_are_left_out() {
    assert_eq!(texts("a // b\nc /* d /* e */ f */ g\n//! h\n/// i"), ["a", "c", "g"]);
    assert_eq!(texts("a /* never closed"), ["a"]);
    assert_eq!(texts("a / b /*/ c */ d"), ["a", "/", "b", "d"]);
}

#[test]
fn strings_stay_in_one_piece() {
    assert_eq!(texts(r#"f("a \" { // b", c)"#), ["f", "(", r#""a \" { // b""#, ",", "c", ")"]);
    assert_eq!(texts(r#""\\" a"#), [r#""\\""#, "a"]);
    assert_eq!(texts(r##"r#"a " b"# c"##), [r##"r#"a " b"#"##, "c"]);
    assert_eq!(
        texts(r##"br#"a"# cr"\" b"x" c"y" d"##)[..5],
        [r##"br#"a"#"##, r#"cr"\""#, r#"b"x""#, r#"c"y""#, "d"]
    );
    assert_eq!(texts("\"never closed"), ["\"never closed"]);
}

#[test]
fn characters_are_told_from_lifetimes() {
    assert_eq!(texts("'{' '\"' '\\'' '\\u{7b}' b'{' b'\\'' 'é'").len(), 7);
    assert_eq!(texts("<'a, 'b>(x: &'a str) 'z: loop")[..5], ["<", ",", ">", "(", "x"]);
    assert_eq!(texts("f::<'_>('a')"), ["f", "::", "<", ">", "(", "'a'", ")"]);
}

#[test]
fn words_may_be_raw() {
    assert_eq!(texts("r#mod::bar br crab"), ["r#mod", "::", "bar", "br", "crab"]);
    assert!(tokens("r#mod").iter().all(Token::is_word));
    assert!(tokens("1_000u32 0x1f 'x' \"x\"").iter().all(Token::is_literal));
}

#[test]
fn tokens_know_their_lines() {
    let lines: Vec<_> =
        tokens("a\n\"b\nc\" d\n/* e\n */ f").iter().map(|token| token.line).collect();
    assert_eq!(lines, [1, 2, 3, 5]);
}
