//! Protocol buffers, written: numbers, texts, and messages in messages
//! (<https://protobuf.dev/programming-guides/encoding>).
//!
//! A message's length comes before it, so each one is written twice: once to be counted.

/// What takes bytes.
pub(super) trait Sink {
    /// Why it may take no more.
    type Error;

    /// Takes some.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Counts bytes.
struct Count(u64);

impl Sink for Count {
    type Error = core::convert::Infallible;

    fn put(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0 += bytes.len() as u64;
        Ok(())
    }
}

/// A message that is being written.
pub(super) struct Message<'sink, S: Sink>(&'sink mut S);

/// What can be written as a message.
pub(super) trait Fields {
    /// Writes the fields.
    fn write<S: Sink>(&self, message: &mut Message<'_, S>) -> Result<(), S::Error>;
}

const VARINT: u64 = 0;
const LENGTH: u64 = 2;

impl<'sink, S: Sink> Message<'sink, S> {
    /// The outermost message.
    pub(super) const fn new(sink: &'sink mut S) -> Self {
        Self(sink)
    }

    /// Seven bits a byte, the lowest first.
    fn varint(&mut self, mut number: u64) -> Result<(), S::Error> {
        let (mut bytes, mut len) = ([0; 10], 0);
        loop {
            let low = number.to_le_bytes()[0] & 0x7f;
            number >>= 7;
            bytes[len] = low | if number > 0 { 0x80 } else { 0 };
            len += 1;
            if number == 0 {
                return self.0.put(bytes.get(..len).unwrap_or_default());
            }
        }
    }

    /// A number; 0 is what a field is that is left out.
    pub(super) fn number(&mut self, field: u64, number: u64) -> Result<(), S::Error> {
        if number == 0 {
            return Ok(());
        }
        self.varint(field << 3 | VARINT)?;
        self.varint(number)
    }

    /// A text, also an empty one.
    pub(super) fn text(&mut self, field: u64, text: &str) -> Result<(), S::Error> {
        self.varint(field << 3 | LENGTH)?;
        self.varint(text.len() as u64)?;
        self.0.put(text.as_bytes())
    }

    /// Numbers, packed.
    pub(super) fn numbers(
        &mut self,
        field: u64,
        numbers: impl Iterator<Item = u64> + Clone,
    ) -> Result<(), S::Error> {
        let mut count = Count(0);
        for number in numbers.clone() {
            let Ok(()) = Message(&mut count).varint(number);
        }
        self.varint(field << 3 | LENGTH)?;
        self.varint(count.0)?;
        numbers.into_iter().try_for_each(|number| self.varint(number))
    }

    /// A message.
    pub(super) fn message(&mut self, field: u64, fields: &impl Fields) -> Result<(), S::Error> {
        let mut count = Count(0);
        let Ok(()) = fields.write(&mut Message(&mut count));
        self.varint(field << 3 | LENGTH)?;
        self.varint(count.0)?;
        fields.write(&mut Message(self.0))
    }
}
