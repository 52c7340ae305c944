//! A snapshot as a file: words of 8 bytes, the lowest byte first. See `docs/snapshot-format.md`.
//!
//! A reader believes nothing: every count, number and order is checked, memory is only asked for as words arrive, and a
//! file that is cut, changed or made up gives an error.
#![cfg_attr(
    not(any(feature = "std", feature = "report")),
    allow(dead_code, reason = "nobody writes the file")
)]

use core::fmt;

use super::records::{
    ClassRecord, MAX_CLASSES, PackedSegment, SegmentState, SlabRecord, SnapshotSpan,
    SnapshotThread, ThreadState,
};
use super::snapshot::Snapshot;
use crate::base::array::Array;
use crate::base::os::OutOfMemory;
use crate::base::thread_name::NAME_BYTES;

/// The first word.
const MAGIC: u64 = u64::from_le_bytes(*b"MeMSsnap");
/// The only version there is.
const VERSION: u64 = 3;
/// The most words of a record.
const MAX_WORDS: usize = 7;
/// Slots that a slab of a file may have.
const MAX_SLOTS: u32 = 1 << 24;

/// Why a file is not taken for a snapshot.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// It does not begin like one.
    NotASnapshot,
    /// It was written in a version of the format that this crate does not know.
    UnknownVersion(u64),
    /// It ends too early.
    Truncated,
    /// It does not hold what it should: which law is broken.
    Broken(&'static str),
    /// The system gives no memory for the snapshot.
    OutOfMemory,
    /// The file could not be read.
    #[cfg(feature = "std")]
    Io(std::io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASnapshot => f.write_str("not a snapshot of MeMS"),
            Self::UnknownVersion(version) => write!(f, "a snapshot of unknown version {version}"),
            Self::Truncated => f.write_str("the snapshot ends too early"),
            Self::Broken(law) => write!(f, "a broken snapshot: {law}"),
            Self::OutOfMemory => f.write_str("out of memory"),
            #[cfg(feature = "std")]
            Self::Io(error) => write!(f, "the snapshot cannot be read: {error}"),
        }
    }
}

impl core::error::Error for ReadError {}

impl From<OutOfMemory> for ReadError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// A record as words.
trait Record: Copy {
    /// How many there are.
    const WORDS: usize;

    /// The words; those behind the last one are 0.
    fn to_words(self) -> [u64; MAX_WORDS];

    /// The record of these words, if there is one.
    fn from_words(words: [u64; MAX_WORDS]) -> Option<Self>;
}

/// A word as a number of bytes or things. All machines MeMS runs on have 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits")]
const fn number(word: u64) -> usize {
    word as usize
}

impl Record for u64 {
    const WORDS: usize = 1;

    fn to_words(self) -> [u64; MAX_WORDS] {
        [self, 0, 0, 0, 0, 0, 0]
    }

    fn from_words([word, ..]: [u64; MAX_WORDS]) -> Option<Self> {
        Some(word)
    }
}

impl Record for SnapshotSpan {
    const WORDS: usize = 3;

    fn to_words(self) -> [u64; MAX_WORDS] {
        [self.start as u64, self.size as u64, self.fresh as u64, 0, 0, 0, 0]
    }

    fn from_words([start, size, fresh, ..]: [u64; MAX_WORDS]) -> Option<Self> {
        Some(Self { start: number(start), size: number(size), fresh: number(fresh) })
    }
}

impl Record for PackedSegment {
    const WORDS: usize = 2;

    fn to_words(self) -> [u64; MAX_WORDS] {
        [self.start as u64, self.size_and_state as u64, 0, 0, 0, 0, 0]
    }

    fn from_words([start, size_and_state, ..]: [u64; MAX_WORDS]) -> Option<Self> {
        let segment = Self { start: number(start), size_and_state: number(size_and_state) };
        segment.known_state().map(|_| segment)
    }
}

/// Two numbers in one word, the first one lower.
const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// The numbers of [`pair`].
#[expect(clippy::cast_possible_truncation, reason = "the two halves of the word")]
const fn unpair(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

impl Record for SlabRecord {
    const WORDS: usize = 7;

    fn to_words(self) -> [u64; MAX_WORDS] {
        let (start, size, first_word) =
            (self.start as u64, self.size as u64, self.first_word as u64);
        let (shape, pages) = (pair(self.class, self.slots), pair(self.given_back, self.sent));
        [start, size, self.owner, shape, u64::from(self.carved), first_word, pages]
    }

    fn from_words(words: [u64; MAX_WORDS]) -> Option<Self> {
        let [start, size, owner, shape, carved, first, pages] = words;
        let ((class, slots), (given_back, sent)) = (unpair(shape), unpair(pages));
        let (start, size, first_word) = (number(start), number(size), number(first));
        let carved = u32::try_from(carved).ok()?;
        let is_possible = (1..=MAX_SLOTS).contains(&slots)
            && carved <= slots
            && given_back.saturating_add(sent) as usize <= size;
        let slab = Self { start, size, owner, class, slots, carved, given_back, sent, first_word };
        is_possible.then_some(slab)
    }
}

impl Record for ClassRecord {
    const WORDS: usize = 1;

    fn to_words(self) -> [u64; MAX_WORDS] {
        [self.0 as u64, 0, 0, 0, 0, 0, 0]
    }

    fn from_words([slot_bytes, ..]: [u64; MAX_WORDS]) -> Option<Self> {
        (slot_bytes > 0).then_some(Self(number(slot_bytes)))
    }
}

impl Record for SnapshotThread {
    const WORDS: usize = 4;

    fn to_words(self) -> [u64; MAX_WORDS] {
        let name = u128::from_le_bytes(self.name);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the name")]
        let (low, high) = (name as u64, (name >> 64) as u64);
        [self.number, pair(self.state as u32, self.thread_id), low, high, 0, 0, 0]
    }

    fn from_words([heap, state_and_id, low, high, ..]: [u64; MAX_WORDS]) -> Option<Self> {
        let (state, thread_id) = unpair(state_and_id);
        let state = *ThreadState::ALL.get(state as usize)?;
        let name: [u8; NAME_BYTES] = (u128::from(high) << 64 | u128::from(low)).to_le_bytes();
        Some(Self::new(heap, state, thread_id, name))
    }
}

/// The next value of a checksum: FNV-1a (Fowler, Noll, Vo 1991), a word instead of a byte at a time. Every step is
/// reversible, so a single changed word always shows.
const fn checked(sum: u64, word: u64) -> u64 {
    (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3)
}

/// The checksum of nothing.
const CHECK_START: u64 = 0xcbf2_9ce4_8422_2325;

/// Gathers words and hands them on as bytes.
struct Words<E, F: FnMut(&[u8]) -> Result<(), E>> {
    bytes: [u8; 4096],
    len: usize,
    check: u64,
    sink: F,
}

impl<E, F: FnMut(&[u8]) -> Result<(), E>> Words<E, F> {
    fn word(&mut self, word: u64) -> Result<(), E> {
        if self.len == self.bytes.len() {
            self.flush()?;
        }
        if let Some(place) = self.bytes.get_mut(self.len..self.len + 8) {
            place.copy_from_slice(&word.to_le_bytes());
            self.len += 8;
        }
        self.check = checked(self.check, word);
        Ok(())
    }

    fn column<T: Record>(&mut self, column: &Array<T>) -> Result<(), E> {
        for record in column.iter() {
            for word in record.to_words().into_iter().take(T::WORDS) {
                self.word(word)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), E> {
        (self.sink)(self.bytes.get(..self.len).unwrap_or_default())?;
        self.len = 0;
        Ok(())
    }
}

/// Takes words from bytes.
struct Source<F: FnMut(&mut [u8; 8]) -> Result<(), ReadError>> {
    check: u64,
    read: F,
}

impl<F: FnMut(&mut [u8; 8]) -> Result<(), ReadError>> Source<F> {
    fn word(&mut self) -> Result<u64, ReadError> {
        let mut bytes = [0; 8];
        (self.read)(&mut bytes)?;
        let word = u64::from_le_bytes(bytes);
        self.check = checked(self.check, word);
        Ok(word)
    }

    fn column<T: Record>(&mut self, count: u64, column: &mut Array<T>) -> Result<(), ReadError> {
        for _ in 0..count {
            let mut words = [0; MAX_WORDS];
            for word in words.iter_mut().take(T::WORDS) {
                *word = self.word()?;
            }
            column
                .push(T::from_words(words).ok_or(ReadError::Broken("a record is impossible"))?)?;
        }
        Ok(())
    }
}

/// Goes on if a law holds.
fn law(holds: bool, law: &'static str) -> Result<(), ReadError> {
    if holds { Ok(()) } else { Err(ReadError::Broken(law)) }
}

impl Snapshot {
    /// Hands the file to `sink`, piece by piece.
    pub(crate) fn write_bytes<E>(&self, sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut words = Words { bytes: [0; 4096], len: 0, check: CHECK_START, sink };
        let s = &self.stats;
        let sums = [
            s.active,
            s.resident,
            s.mapped,
            s.reserved,
            s.metadata,
            s.free_running,
            s.free_sleeping,
            s.free_ended,
            s.dirty,
            s.clean,
        ];
        let counts = [
            self.spans.len(),
            self.segments.len(),
            self.slabs.len(),
            self.words.len(),
            self.classes.len(),
            self.threads.len(),
        ];
        for word in [MAGIC, VERSION, self.page_size as u64, self.taken_by] {
            words.word(word)?;
        }
        for number in sums.into_iter().chain(counts) {
            words.word(number as u64)?;
        }
        words.column(&self.spans)?;
        words.column(&self.segments)?;
        words.column(&self.slabs)?;
        words.column(&self.words)?;
        words.column(&self.classes)?;
        words.column(&self.threads)?;
        words.word(words.check)?;
        words.flush()
    }

    /// Writes the snapshot as a file. `out` gets pieces of 4 KiB.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    #[cfg(feature = "std")]
    pub fn write_to<W: std::io::Write>(&self, out: &mut W) -> std::io::Result<()> {
        self.write_bytes(|bytes| out.write_all(bytes))
    }

    /// Reads what [`Snapshot::write_to`] wrote, and nothing behind it. Reads 8 bytes at a time, so a file wants a
    /// `BufReader`.
    ///
    /// # Errors
    ///
    /// [`ReadError`]: it is not a snapshot, or not a whole one.
    #[cfg(feature = "std")]
    pub fn read_from<R: std::io::Read>(input: &mut R) -> Result<Self, ReadError> {
        Self::read(|bytes| {
            input.read_exact(bytes).map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => ReadError::Truncated,
                _ => ReadError::Io(error),
            })
        })
    }

    /// The snapshot of a file's bytes.
    ///
    /// # Errors
    ///
    /// [`ReadError`]: they are not a snapshot, or not a whole one, or something follows.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut rest = bytes;
        let snapshot = Self::read(|word| {
            let (head, tail) = rest.split_first_chunk().ok_or(ReadError::Truncated)?;
            *word = *head;
            rest = tail;
            Ok(())
        })?;
        law(rest.is_empty(), "nothing follows the checksum")?;
        Ok(snapshot)
    }

    fn read(read: impl FnMut(&mut [u8; 8]) -> Result<(), ReadError>) -> Result<Self, ReadError> {
        let mut source = Source { check: CHECK_START, read };
        if source.word()? != MAGIC {
            return Err(ReadError::NotASnapshot);
        }
        match source.word()? {
            VERSION => {}
            version => return Err(ReadError::UnknownVersion(version)),
        }
        let page_size = number(source.word()?);
        law(page_size.is_power_of_two() && page_size <= 1 << 30, "a page is a power of two")?;
        let mut snapshot = Self::empty(page_size);
        snapshot.taken_by = source.word()?;
        let sums = &mut snapshot.stats;
        let mapped = [
            &mut sums.active,
            &mut sums.resident,
            &mut sums.mapped,
            &mut sums.reserved,
            &mut sums.metadata,
            &mut sums.free_running,
            &mut sums.free_sleeping,
            &mut sums.free_ended,
            &mut sums.dirty,
            &mut sums.clean,
        ];
        for sum in mapped {
            *sum = number(source.word()?);
        }
        let mut counts = [0; 6];
        for count in &mut counts {
            *count = source.word()?;
        }
        let [spans, segments, slabs, words, classes, threads] = counts;
        source.column(spans, &mut snapshot.spans)?;
        source.column(segments, &mut snapshot.segments)?;
        source.column(slabs, &mut snapshot.slabs)?;
        source.column(words, &mut snapshot.words)?;
        source.column(classes, &mut snapshot.classes)?;
        source.column(threads, &mut snapshot.threads)?;
        let check = source.check;
        law(source.word()? == check, "the checksum is that of the words before it")?;
        snapshot.accept()?;
        snapshot.count();
        Ok(snapshot)
    }

    /// Checks the invariants of a snapshot whose records are possible, each for itself.
    fn accept(&self) -> Result<(), ReadError> {
        let order = "spans and segments are in address order and do not overlap";
        let mut end = 0;
        for span in self.spans.iter() {
            let next = span.start.checked_add(span.size).ok_or(ReadError::Broken(order))?;
            law(span.size > 0 && span.start >= end, order)?;
            law(span.fresh >= span.start && span.fresh <= next, "fresh bytes end a span")?;
            end = next;
        }
        law(self.classes.len() <= MAX_CLASSES, "there are at most 128 classes")?;
        let (mut end, mut slabs, mut words) = (0, self.slabs.iter(), 0);
        for segment in self.segments.iter() {
            let next = segment.start.checked_add(segment.size()).ok_or(ReadError::Broken(order))?;
            law(segment.size() > 0 && segment.start >= end, order)?;
            end = next;
            if segment.state() == SegmentState::Slab {
                let slab = slabs.next().ok_or(ReadError::Broken("each slab is described"))?;
                words = self.accept_slab(slab, *segment, words)?;
            }
        }
        law(slabs.next().is_none(), "each slab is a segment")?;
        law(words == self.words.len(), "each word is a slab's")?;
        let mut numbers = self.threads.iter().map(|thread| thread.number);
        law(numbers.by_ref().is_sorted_by(|a, b| a < b), "threads are in order")
    }

    /// Checks a slab whose words begin at `first_word`, and says where they end.
    fn accept_slab(
        &self,
        slab: &SlabRecord,
        segment: PackedSegment,
        first_word: usize,
    ) -> Result<usize, ReadError> {
        let no_class = ReadError::Broken("a slab has a class");
        let class = self.classes.get(slab.class as usize).ok_or(no_class)?;
        let fits = slab.start == segment.start && slab.size == segment.size();
        law(fits, "a slab is a segment")?;
        let slots = slab.slots as usize;
        let has_room = class.0.checked_mul(slots).is_some_and(|bytes| bytes <= slab.size);
        law(has_room, "a slab has room for its slots")?;
        law(slab.first_word == first_word, "the words of slabs follow one another")?;
        let end = first_word + 2 * slab.words();
        let words = self.words.get(first_word..end);
        let words = words.ok_or(ReadError::Broken("a slab has its words"))?;
        let (live, cached) = words.split_at(slab.words());
        for (index, (live, cached)) in live.iter().zip(cached).enumerate() {
            let bits = (slots - index * 64).min(64);
            let none = if bits == 64 { 0 } else { u64::MAX << bits };
            law(live & cached == 0, "no slot is live and cached")?;
            law((live | cached) & none == 0, "no bit stands for a slot that is none")?;
        }
        Ok(end)
    }
}
