//! What the system calls a thread.

use core::ffi::CStr;
use core::fmt::Write;

use rustix::fs::{Mode, OFlags};

use super::text::{StackText, valid_text};

/// Bytes of a name, the zero behind it included.
pub(crate) const NAME_BYTES: usize = 16;

/// The name that the system has for a thread of this process, closed with zeros; nothing where there is none.
pub(crate) fn thread_name(thread_id: u32) -> [u8; NAME_BYTES] {
    read_name(thread_id).unwrap_or([0; NAME_BYTES])
}

/// What the system calls the calling thread.
pub(crate) fn own_thread_id() -> u32 {
    rustix::thread::gettid().as_raw_pid().cast_unsigned()
}

/// The name of the calling thread. No file is opened.
#[expect(unsafe_code, reason = "asks the kernel, without an owned string")]
pub(crate) fn own_thread_name() -> [u8; NAME_BYTES] {
    let mut name = [0; NAME_BYTES];
    // SAFETY: the kernel writes 16 bytes at the most, the last one a zero.
    let error = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    if error == 0 { name } else { [0; NAME_BYTES] }
}

/// A name as text, as far as it is text: the system cuts names after 15 bytes, also within a letter.
pub(crate) fn name_text(name: &[u8; NAME_BYTES]) -> &str {
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
    let bytes = name.get(..len).unwrap_or_default();
    match valid_text(bytes) {
        "" if len > 0 => "?",
        text => text,
    }
}

fn read_name(thread_id: u32) -> Option<[u8; NAME_BYTES]> {
    let mut path = StackText::<64>::new();
    write!(path, "/proc/self/task/{thread_id}/comm\0").ok()?;
    let path = CStr::from_bytes_with_nul(path.as_bytes()).ok()?;
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut name = [0; NAME_BYTES];
    let len = rustix::io::read(&file, &mut name).ok()?;
    // The last byte is a line end.
    name.get_mut(len.saturating_sub(1)..)?.fill(0);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_between_letters() {
        let name = |bytes: &[u8]| {
            let mut name = [0; NAME_BYTES];
            name[..bytes.len()].copy_from_slice(bytes);
            name_text(&name).to_owned()
        };
        assert_eq!(name(b"worker-1"), "worker-1");
        assert_eq!(
            name("arbeiter-f\u{fc}r-\u{fc}".as_bytes().split_last().expect("bytes").1),
            "arbeiter-f\u{fc}r-"
        );
        assert_eq!((name(b"\xff\xfe"), name(b"")), ("?".to_owned(), String::new()));
    }
}
