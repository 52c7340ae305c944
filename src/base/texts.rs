//! Texts, each kept once, in mappings of their own.
#![cfg_attr(
    not(all(feature = "profile", feature = "report")),
    allow(
        dead_code,
        reason = "only a profile has texts, and only what is written of it all of them"
    )
)]

use core::fmt::{self, Write};

use super::array::Array;
use super::index::Index;
use super::os::OutOfMemory;

/// Where a text lies.
#[derive(Clone, Copy, Debug)]
struct Kept {
    first: usize,
    len: usize,
}

/// Texts by number: that of the empty one is 0.
#[derive(Debug)]
pub(crate) struct Texts {
    bytes: Array<u8>,
    /// All but the empty one.
    texts: Array<Kept>,
    /// Their places there.
    index: Index,
}

impl Texts {
    /// No text but the empty one.
    pub(crate) const fn new() -> Self {
        Self { bytes: Array::new(), texts: Array::new(), index: Index::new() }
    }

    /// The text with this number.
    pub(crate) fn get(&self, number: u32) -> &str {
        number.checked_sub(1).map_or("", |place| self.at(place))
    }

    fn at(&self, place: u32) -> &str {
        self.texts.get(place as usize).map_or("", |kept| {
            let bytes = self.bytes.get(kept.first..kept.first + kept.len).unwrap_or_default();
            str::from_utf8(bytes).unwrap_or_default()
        })
    }

    /// All of them, by their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..).take(self.texts.len() + 1).map(|number| self.get(number))
    }

    /// The number of a text, which is kept if it is new.
    pub(crate) fn intern(&mut self, text: &str) -> Result<u32, OutOfMemory> {
        let first = self.bytes.len();
        self.append(text)?;
        self.end(first)
    }

    /// The number of what is displayed so.
    pub(crate) fn intern_displayed(
        &mut self,
        text: fmt::Arguments<'_>,
    ) -> Result<u32, OutOfMemory> {
        let first = self.bytes.len();
        let mut end = End(self);
        if end.write_fmt(text).is_err() {
            self.bytes.truncate(first);
            return Err(OutOfMemory);
        }
        self.end(first)
    }

    fn append(&mut self, text: &str) -> Result<(), OutOfMemory> {
        let len = self.bytes.len();
        let appended = text.bytes().try_for_each(|byte| self.bytes.push(byte));
        appended.inspect_err(|_| self.bytes.truncate(len))
    }

    /// Keeps what lies behind the other texts, if it is new.
    fn end(&mut self, first: usize) -> Result<u32, OutOfMemory> {
        let text = self.bytes.get(first..).unwrap_or_default();
        if text.is_empty() {
            return Ok(0);
        }
        self.index.reserve()?;
        let (hash, len) = (hash_of(text), text.len());
        let is_meant = |place| self.at(place).as_bytes() == text;
        match self.index.find(hash, is_meant) {
            Ok(place) => {
                self.bytes.truncate(first);
                Ok(place + 1)
            }
            Err(free) => {
                let place = self.index.next();
                self.texts.push(Kept { first, len })?;
                self.index.enter(free, hash);
                Ok(place + 1)
            }
        }
    }
}

/// Writes behind the other texts.
struct End<'texts>(&'texts mut Texts);

impl Write for End<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.append(text).map_err(|_| fmt::Error)
    }
}

/// A number for a text; others have another one as a rule (FNV-1a, mixed).
fn hash_of(text: &[u8]) -> u64 {
    let sum = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = sum.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_kept_once() {
        let mut texts = Texts::new();
        let mut numbers = Vec::new();
        for number in (0..3000).chain(0..3000) {
            let interned = texts.intern_displayed(format_args!("{number:x} of these"));
            numbers.push(interned.expect("memory"));
        }
        assert_eq!(texts.get(0), "");
        assert_eq!(numbers[..3000], numbers[3000..]);
        assert_eq!(texts.intern("b of these"), Ok(numbers[11]));
        assert_eq!(texts.get(numbers[11]), "b of these");
        assert_eq!(texts.iter().count(), 3001);
        assert_eq!(texts.intern(""), Ok(0));
    }
}
