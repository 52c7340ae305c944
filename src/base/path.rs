//! Paths with the number of the process in them, on the stack.
#![cfg_attr(
    not(feature = "report"),
    allow(dead_code, reason = "only reports have files of their own")
)]

use core::ffi::CStr;
use core::fmt::{self, Write};

use super::text::StackText;

/// What a path of the system's may have at the most, with the zero behind it.
pub(crate) const PATH_BYTES: usize = 4096;

/// A path of less than `N` bytes.
#[derive(Debug)]
pub(crate) struct PathText<const N: usize>(StackText<N>);

impl<const N: usize> PathText<N> {
    /// The path that `pattern` stands for: `%p` is the number of this process, and `%%` a `%`. `None` if it is too
    /// long.
    pub(crate) fn expanded(pattern: &CStr) -> Option<Self> {
        Self::ended(expand(pattern)?.0)
    }

    /// The path that `pattern` stands for, with the number of this process behind it if it is not in it.
    pub(crate) fn numbered(pattern: &CStr) -> Option<Self> {
        let (mut path, has_number) = expand(pattern)?;
        if !has_number {
            write!(path, ".{}", this_process()).ok()?;
        }
        Self::ended(path)
    }

    /// A path with something behind it.
    pub(crate) fn appended(path: &CStr, suffix: fmt::Arguments<'_>) -> Option<Self> {
        let mut text = StackText::new();
        text.write_bytes(path.to_bytes()).ok()?;
        text.write_fmt(suffix).ok()?;
        Self::ended(text)
    }

    fn ended(mut path: StackText<N>) -> Option<Self> {
        path.write_bytes(b"\0").ok()?;
        CStr::from_bytes_with_nul(path.as_bytes()).ok()?;
        Some(Self(path))
    }

    /// The path as the system wants it.
    pub(crate) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_with_nul(self.0.as_bytes()).unwrap_or_default()
    }
}

/// What a pattern stands for, and whether the number of this process is in it.
fn expand<const N: usize>(pattern: &CStr) -> Option<(StackText<N>, bool)> {
    let (mut path, mut has_number) = (StackText::new(), false);
    let mut rest = pattern.to_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let taken;
        (taken, rest) = match (first, behind) {
            (b'%', [b'p', behind @ ..]) => {
                has_number = true;
                (write!(path, "{}", this_process()), behind)
            }
            (b'%', [b'%', behind @ ..]) => (path.write_bytes(b"%"), behind),
            _ => (path.write_bytes(&[*first]), behind),
        };
        taken.ok()?;
    }
    Some((path, has_number))
}

/// The number of this process.
pub(crate) fn this_process() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(pattern: &CStr) -> Option<String> {
        let path = PathText::<40>::expanded(pattern)?;
        Some(path.as_c_str().to_str().expect("text").to_owned())
    }

    fn numbered(pattern: &CStr) -> Option<String> {
        let path = PathText::<40>::numbered(pattern)?;
        Some(path.as_c_str().to_str().expect("text").to_owned())
    }

    #[test]
    fn the_number_of_the_process_stands_where_it_is_wanted() {
        let pid = std::process::id();
        assert_eq!(expanded(c"a/%p.html"), Some(format!("a/{pid}.html")));
        assert_eq!(expanded(c"%p%%p%p%"), Some(format!("{pid}%p{pid}%")));
        assert_eq!(expanded(c"100%/%x"), Some("100%/%x".to_owned()));
        assert_eq!(expanded(c""), Some(String::new()));
    }

    #[test]
    fn the_number_is_appended_where_it_is_missing() {
        let pid = std::process::id();
        assert_eq!(numbered(c"a/b"), Some(format!("a/b.{pid}")));
        assert_eq!(numbered(c"%p"), Some(pid.to_string()));
        assert_eq!(numbered(c"%%p"), Some(format!("%p.{pid}")));
    }

    #[test]
    fn what_is_too_long_is_refused_not_cut() {
        let longest = c"123456789012345678901234567890123456789";
        assert_eq!(expanded(longest).map(|path| path.len()), Some(39));
        assert_eq!(numbered(longest), None);
        assert_eq!(expanded(c"1234567890123456789012345678901234567890"), None);
    }
}
