//! A stream of bytes in the form of gzip (RFC 1952), stored as it is: what reads a profile wants the form, and need not
//! wait for an allocator's compressor.

/// Bytes of a block; the form allows 65,535.
const BLOCK: usize = 8 << 10;
/// The header: deflate, no flags, no time, no system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// For each byte what it does to the checksum: CRC-32 of the polynomial that gzip has, reflected.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        let (mut rest, mut bit) = (byte as u32, 0);
        while bit < 8 {
            rest = rest >> 1 ^ if rest & 1 == 1 { 0xedb8_8320 } else { 0 };
            bit += 1;
        }
        table[byte as usize] = rest;
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

/// Hands what is written on as gzip.
pub(super) struct Gzip<E, S: FnMut(&[u8]) -> Result<(), E>> {
    block: [u8; BLOCK],
    len: usize,
    check: u32,
    total: u32,
    has_begun: bool,
    sink: S,
}

impl<E, S: FnMut(&[u8]) -> Result<(), E>> Gzip<E, S> {
    pub(super) const fn new(sink: S) -> Self {
        Self { block: [0; BLOCK], len: 0, check: u32::MAX, total: 0, has_begun: false, sink }
    }

    /// Takes some bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), E> {
        for byte in bytes {
            if self.len == BLOCK {
                self.put_block(false)?;
            }
            self.block[self.len] = *byte;
            self.len += 1;
            let index = (self.check ^ u32::from(*byte)) & 0xff;
            self.check = self.check >> 8 ^ TABLE[index as usize];
            self.total = self.total.wrapping_add(1);
        }
        Ok(())
    }

    /// Writes what is left, the checksum, and the length.
    pub(super) fn finish(&mut self) -> Result<(), E> {
        self.put_block(true)?;
        (self.sink)(&(!self.check).to_le_bytes())?;
        (self.sink)(&self.total.to_le_bytes())
    }

    fn put_block(&mut self, is_last: bool) -> Result<(), E> {
        if !self.has_begun {
            self.has_begun = true;
            (self.sink)(&HEADER)?;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a block is that short")]
        let len = self.len as u16;
        let ([low, high], [not_low, not_high]) = (len.to_le_bytes(), (!len).to_le_bytes());
        (self.sink)(&[u8::from(is_last), low, high, not_low, not_high])?;
        let bytes = self.block.get(..self.len).unwrap_or_default();
        self.len = 0;
        (self.sink)(bytes)
    }
}
