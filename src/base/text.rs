//! Text without a heap: a buffer on the stack, and a writer to a file descriptor that stands on it.

use core::fmt::{self, Write};

use rustix::fd::BorrowedFd;

/// Text in a buffer on the stack; what does not fit is dropped.
#[derive(Debug)]
pub(crate) struct StackText<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> StackText<N> {
    /// No text.
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    /// The text so far.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The text so far, without a last letter that was cut.
    #[cfg(feature = "report")]
    pub(crate) fn as_str(&self) -> &str {
        valid_text(self.as_bytes())
    }

    /// Drops all text behind the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Takes all of `bytes` or as many as fit; an `Err` says that some were dropped.
    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) -> fmt::Result {
        if self.take(bytes) == bytes.len() { Ok(()) } else { Err(fmt::Error) }
    }

    /// Takes as much of `text` as fits and says how many bytes that was.
    fn take(&mut self, text: &[u8]) -> usize {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let taken = text.len().min(room.len());
        room[..taken].copy_from_slice(&text[..taken]);
        self.len += taken;
        taken
    }
}

impl<const N: usize> Write for StackText<N> {
    /// See [`StackText::write_bytes`].
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes())
    }
}

/// Bytes as text, as far as they are text.
pub(crate) fn valid_text(bytes: &[u8]) -> &str {
    let len = str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    str::from_utf8(bytes.get(..len).unwrap_or_default()).unwrap_or_default()
}

/// Writes `bytes` to a file descriptor, all of them or as many as it takes.
pub(crate) fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> fmt::Result {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(written) if written > 0 => bytes = bytes.get(written..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            _ => return Err(fmt::Error),
        }
    }
    Ok(())
}

/// Bytes gathered before a write.
const BUFFER_BYTES: usize = 4096;

/// Text to a file descriptor, in writes of 4 KiB. Allocates nothing.
#[derive(Debug)]
pub struct FdText<'fd> {
    fd: BorrowedFd<'fd>,
    buffer: StackText<BUFFER_BYTES>,
}

impl<'fd> FdText<'fd> {
    /// A writer to `fd`.
    pub const fn new(fd: BorrowedFd<'fd>) -> Self {
        Self { fd, buffer: StackText::new() }
    }

    /// Writes what is still in the buffer.
    pub fn flush(&mut self) -> fmt::Result {
        let written = write_all(self.fd, self.buffer.as_bytes());
        self.buffer.truncate(0);
        written
    }
}

impl Write for FdText<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut bytes = text.as_bytes();
        loop {
            let taken = self.buffer.take(bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(());
            }
            self.flush()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_on_the_stack_is_cut_not_grown() {
        let mut text = StackText::<8>::new();
        assert_eq!(write!(text, "{}", 12345), Ok(()));
        assert_eq!(write!(text, "{}", 67890), Err(fmt::Error));
        assert_eq!(text.as_bytes(), b"12345678");
        text.truncate(0);
        assert_eq!(text.as_bytes(), b"");
    }

    #[test]
    fn text_longer_than_the_buffer_arrives_whole() {
        use std::io::{Read, Seek};
        use std::os::fd::AsRawFd;
        let path = std::env::temp_dir().join(format!("mems-text-{}", std::process::id()));
        let mut file = std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .expect("a file");
        let mut expected = String::new();
        #[expect(unsafe_code, reason = "std's descriptor as rustix's")]
        // SAFETY: the file is open until the end of the test.
        let fd = unsafe { BorrowedFd::borrow_raw(file.as_raw_fd()) };
        let mut text = FdText::new(fd);
        for line in 0..5_000 {
            writeln!(text, "line {line}").expect("written");
            expected += &format!("line {line}\n");
        }
        text.flush().expect("written");
        let mut found = String::new();
        file.rewind().expect("rewind");
        file.read_to_string(&mut found).expect("read");
        std::fs::remove_file(&path).expect("remove");
        assert!(found == expected);
    }
}
