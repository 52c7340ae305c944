//! Text to what `std` writes to.

use core::fmt;

/// Lets text go to a [`std::io::Write`], which has errors of its own.
#[derive(Debug)]
pub struct IoText<'out, W: std::io::Write> {
    out: &'out mut W,
    error: Option<std::io::Error>,
}

impl<'out, W: std::io::Write> IoText<'out, W> {
    /// Text that goes to `out`, in pieces as they come: `out` should have a buffer.
    pub const fn new(out: &'out mut W) -> Self {
        Self { out, error: None }
    }

    /// What became of the text, given what the writing function answered.
    ///
    /// # Errors
    ///
    /// The first error of `out`.
    pub fn finish(self, written: fmt::Result) -> std::io::Result<()> {
        match (written, self.error) {
            (_, Some(error)) => Err(error),
            (Ok(()), None) => Ok(()),
            (Err(fmt::Error), None) => Err(std::io::ErrorKind::Other.into()),
        }
    }
}

impl<W: std::io::Write> fmt::Write for IoText<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.out.write_all(text.as_bytes()).map_err(|error| {
            self.error = Some(error);
            fmt::Error
        })
    }
}
