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
        Self::ended(expand(pattern.to_bytes(), None)?.0)
    }

    /// The path that `pattern` stands for, with the number of this process before its ending if it is not in it.
    pub(crate) fn numbered_before(pattern: &CStr, ending: &str) -> Option<Self> {
        let (mut path, found) = expand(pattern.to_bytes().strip_suffix(ending.as_bytes())?, None)?;
        if !found.process {
            write!(path, ".{}", this_process()).ok()?;
        }
        path.write_str(ending).ok()?;
        Self::ended(path)
    }

    /// The path that `pattern` stands for, where `%n` is the number of a look as well: those of the process and of the
    /// look behind it if they are not in it.
    #[cfg(all(feature = "std", feature = "report"))]
    pub(crate) fn of_look(pattern: &CStr, number: u32) -> Option<Self> {
        let (mut path, found) = expand(pattern.to_bytes(), Some(number))?;
        if !found.process {
            write!(path, ".{}", this_process()).ok()?;
        }
        if !found.look {
            write!(path, ".{number}").ok()?;
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

/// Which numbers are in a path.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    process: bool,
    look: bool,
}

/// What a pattern stands for, where `%n` is a number if there is one.
fn expand<const N: usize>(pattern: &[u8], look: Option<u32>) -> Option<(StackText<N>, Found)> {
    let (mut path, mut found) = (StackText::new(), Found::default());
    let mut rest = pattern;
    while let Some((first, behind)) = rest.split_first() {
        let taken;
        (taken, rest) = match (first, behind, look) {
            (b'%', [b'p', behind @ ..], _) => {
                found.process = true;
                (write!(path, "{}", this_process()), behind)
            }
            (b'%', [b'n', behind @ ..], Some(number)) => {
                found.look = true;
                (write!(path, "{number}"), behind)
            }
            (b'%', [b'%', behind @ ..], _) => (path.write_bytes(b"%"), behind),
            _ => (path.write_bytes(&[*first]), behind),
        };
        taken.ok()?;
    }
    Some((path, found))
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
        let path = PathText::<40>::numbered_before(pattern, "")?;
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
    fn the_number_stands_before_an_ending() {
        let pid = std::process::id();
        let before = |pattern, ending| {
            let path = PathText::<40>::numbered_before(pattern, ending)?;
            Some(path.as_c_str().to_str().expect("text").to_owned())
        };
        assert_eq!(before(c"a/b.pb.gz", ".pb.gz"), Some(format!("a/b.{pid}.pb.gz")));
        assert_eq!(before(c"%p.txt", ".txt"), Some(format!("{pid}.txt")));
        assert_eq!(before(c"a.txt", ".json"), None);
    }

    #[test]
    #[cfg(all(feature = "std", feature = "report"))]
    fn a_look_has_two_numbers() {
        let pid = std::process::id();
        let of_look = |pattern| {
            let path = PathText::<40>::of_look(pattern, 7)?;
            Some(path.as_c_str().to_str().expect("text").to_owned())
        };
        assert_eq!(of_look(c"mems"), Some(format!("mems.{pid}.7")));
        assert_eq!(of_look(c"%n-%p"), Some(format!("7-{pid}")));
        assert_eq!(of_look(c"a%p"), Some(format!("a{pid}.7")));
        assert_eq!(of_look(c"%n"), Some(format!("7.{pid}")));
        assert_eq!(expanded(c"%n"), Some("%n".to_owned()));
    }

    #[test]
    fn what_is_too_long_is_refused_not_cut() {
        let longest = c"123456789012345678901234567890123456789";
        assert_eq!(expanded(longest).map(|path| path.len()), Some(39));
        assert_eq!(numbered(longest), None);
        assert_eq!(expanded(c"1234567890123456789012345678901234567890"), None);
    }
}
