//! Text in pages and pictures.

use core::fmt::{self, Write};

/// Text for a page or a picture: what has a meaning in HTML is replaced.
pub(super) struct Escaped<'out, W: Write>(pub(super) &'out mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            match letter {
                '&' => self.0.write_str("&amp;")?,
                '<' => self.0.write_str("&lt;")?,
                '>' => self.0.write_str("&gt;")?,
                '"' => self.0.write_str("&quot;")?,
                // C0 controls but the line end, C1 ones, and what is no letter, are no text.
                '\n' => self.0.write_char(letter)?,
                '\u{fffe}' | '\u{ffff}' => self.0.write_char('\u{fffd}')?,
                _ if letter.is_control() => self.0.write_char('\u{fffd}')?,
                _ => self.0.write_char(letter)?,
            }
        }
        Ok(())
    }
}
