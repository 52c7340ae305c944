//! Memory for records: what is kept for ever, and *pieces*, which are in use or wait.
//!
//! A piece is made once and serves again, always for a record of the same kind, so that a late reader meets what he
//! knows. While it waits, its pages may go back where no other piece on them is in use: then it reads as zero.
//!
//! Owns: *chunks* of memory that the heap below has committed, and how much of each is in use. The pool's lock guards
//! all of it.
//!
//! Invariants: **I1** `users` says how many pieces in use lie on a page, at least in part, and counts one more where
//! something is kept; **I2** a page that is not dirty has no users, and is zero.
#![allow(
    unsafe_code,
    reason = "promises under which lock cells are touched, lays out what is kept, and clears pieces"
)]

use core::ops::Range;
use core::ptr::NonNull;

use super::sync::Cell;
use crate::base::addr;
use crate::base::bits::ones_within;
use crate::base::bump::Bump;
use crate::base::fatal::debug_law;
use crate::base::law::{BrokenLaw, law};
use crate::base::os::{Os, System};
use crate::heap::Heap;

/// Pages of a chunk.
const CHUNK_PAGES: usize = 64;
/// Pages that are taken at once for what is kept, so that it shares none with pieces.
const KEPT_PAGES: usize = 4;

/// What is known of a run of [`CHUNK_PAGES`] pages.
pub(super) struct Chunk {
    start: usize,
    page_bytes: usize,
    users: [Cell<u16>; CHUNK_PAGES],
    /// A bit for each page that may have memory; that had no users when it was looked at last; that the system has
    /// taken for good.
    dirty: Cell<u64>,
    seen: Cell<u64>,
    lost: Cell<u64>,
    next: Option<&'static Self>,
}

// SAFETY: the cells are touched under the pool's lock.
unsafe impl Sync for Chunk {}

impl core::fmt::Debug for Chunk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Chunk").field("start", &self.start).finish_non_exhaustive()
    }
}

impl Chunk {
    /// The bits of the pages on which there are these bytes.
    fn pages(&self, first: usize, len: usize) -> u64 {
        ones_within(first / self.page_bytes, (first + len).div_ceil(self.page_bytes), 0)
    }

    /// Changes how many use these pages, one by one.
    fn count(&self, pages: u64, change: impl Fn(u16) -> u16) {
        let used = self.users.iter().enumerate().filter(|(page, _)| pages >> page & 1 == 1);
        used.for_each(|(_, users)| users.update(&change));
    }

    /// Counts one more who uses these pages.
    fn begin_use(&self, pages: u64) {
        self.count(pages, |users| users + 1);
        self.dirty.update(|dirty| dirty | pages);
        self.seen.update(|seen| seen & !pages);
    }

    /// The pages that may have memory, and that nobody uses.
    pub(super) fn idle(&self) -> u64 {
        let unused = self.users.iter().rev().map(|users| users.get() == 0);
        self.dirty.get() & unused.fold(0, |bits, is_unused| bits << 1 | u64::from(is_unused))
    }

    /// Notes which pages are idle. Those that were so before, without a use in between.
    pub(super) fn note_idle(&self, idle: u64) -> u64 {
        self.seen.replace(idle) & idle
    }

    /// Where a run of pages starts, and its bytes.
    pub(super) const fn page_run(&self, first: usize, count: usize) -> (usize, usize) {
        (self.start + first * self.page_bytes, count * self.page_bytes)
    }

    /// The piece that was made of some of its addresses.
    pub(super) fn piece(&'static self, range: &Range<usize>) -> Piece {
        #[expect(clippy::cast_possible_truncation, reason = "a chunk is a few MiB at the most")]
        let (first, len) = ((range.start - self.start) as u32, range.len() as u32);
        Piece { chunk: self, first, len }
    }

    /// Notes that the bytes of a run, which are whole pages, are zero and have no memory.
    pub(super) fn mark_clean(&self, start: usize, len: usize) {
        let pages = self.pages(start - self.start, len);
        debug_law!(self.idle() & pages == pages, "nobody uses what goes back (I1)");
        self.dirty.update(|dirty| dirty & !pages);
    }

    /// Notes that pages have gone and do not come back: what lies there is never used again.
    pub(super) fn lose(&self, start: usize, len: usize) {
        self.mark_clean(start, len);
        self.lost.update(|lost| lost | self.pages(start - self.start, len));
    }

    /// The chunk that was added before this one.
    pub(super) const fn before(&self) -> Option<&'static Self> {
        self.next
    }

    /// Checks its laws.
    fn check(&self) -> Result<(), BrokenLaw> {
        let is_used = |page: &usize| self.users.get(*page).is_some_and(|users| users.get() > 0);
        for page in (0..CHUNK_PAGES).filter(|page| self.dirty.get() >> page & 1 == 0) {
            law(!is_used(&page), "who uses a page has memory (I2)", self.page_run(page, 1).0)?;
        }
        Ok(())
    }

    /// Bytes without memory.
    fn clean_bytes(&self) -> usize {
        self.dirty.get().count_zeros() as usize * self.page_bytes
    }
}

/// Memory for one record, in use or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    chunk: &'static Chunk,
    first: u32,
    len: u32,
}

impl Piece {
    /// Where it lies.
    pub(super) const fn chunk(self) -> &'static Chunk {
        self.chunk
    }

    /// Its addresses.
    pub(super) const fn range(self) -> Range<usize> {
        let start = self.chunk.start + self.first as usize;
        start..start + self.len as usize
    }

    fn pages(self) -> u64 {
        self.chunk.pages(self.first as usize, self.len as usize)
    }

    /// Nobody uses it any more, until somebody [uses it again](Piece::use_again).
    pub(super) fn wait(self) {
        self.chunk.count(self.pages(), |users| users - 1);
    }

    /// It is in use again. `false` where its memory has gone for good.
    pub(super) fn use_again(self) -> bool {
        let is_there = self.chunk.lost.get() & self.pages() == 0;
        if is_there {
            self.chunk.begin_use(self.pages());
        }
        is_there
    }

    /// Makes all its bytes zero. It waits, and nobody else refers to it.
    pub(super) fn clear(self) {
        let Range { start, end } = self.range();
        let page_bytes = self.chunk.page_bytes;
        for page in 0..CHUNK_PAGES {
            let (first, _) = self.chunk.page_run(page, 1);
            let (from, to) = (first.max(start), (first + page_bytes).min(end));
            if from < to
                && self.chunk.dirty.get() >> page & 1 == 1
                && let Some(bytes) = addr::pointer(from)
            {
                // SAFETY: the bytes are the piece's, which nobody refers to, and never unmapped.
                unsafe { bytes.write_bytes(0, to - from) };
            }
        }
    }
}

/// A place for a value that stays for ever.
struct Kept<T>(NonNull<T>);

impl<T> Kept<T> {
    fn put(self, value: T) -> &'static T {
        // SAFETY: the place is aligned, long enough, and nobody else's.
        unsafe { self.0.write(value) };
        // SAFETY: it was just initialised, and what is kept is never unmapped.
        unsafe { self.0.as_ref() }
    }
}

/// Where records come from.
#[derive(Debug)]
pub(super) struct Records {
    /// All chunks, the newest one first.
    chunks: Option<&'static Chunk>,
    /// What is committed for further ones.
    ahead: Bump,
    /// What the newest one has left for pieces.
    rest: Bump,
    /// What is left for what is kept.
    kept: Bump,
}

impl Records {
    /// None yet.
    pub(super) const fn new() -> Self {
        Self { chunks: None, ahead: Bump::EMPTY, rest: Bump::EMPTY, kept: Bump::EMPTY }
    }

    /// A value that stays for ever; of a page at the most.
    pub(super) fn keep<T>(&mut self, heap: &Heap<System>, value: T) -> Option<&'static T> {
        let place = match self.take_kept() {
            Some(place) => place,
            None => {
                self.open_kept(heap)?;
                self.take_kept()?
            }
        };
        Some(place.put(value))
    }

    /// A place among what is kept, if there is one left.
    fn take_kept<T>(&mut self) -> Option<Kept<T>> {
        let start = self.kept.take(size_of::<T>(), align_of::<T>())?;
        addr::pointer(start.get()).map(|place| Kept(place.cast()))
    }

    /// A new piece of zero bytes, in use, of a part of a chunk at the most.
    pub(super) fn piece(&mut self, heap: &Heap<System>, len: usize, align: usize) -> Option<Piece> {
        let piece = match self.take_piece(len, align) {
            Some(piece) => piece,
            None => {
                self.add_chunk(heap)?;
                self.take_piece(len, align)?
            }
        };
        // Its first page may have gone with the pieces that wait there, for good.
        if piece.use_again() { Some(piece) } else { None }
    }

    /// Takes a piece out of the newest chunk that nobody uses yet.
    fn take_piece(&mut self, len: usize, align: usize) -> Option<Piece> {
        let start = self.rest.take(len, align)?.get();
        Some(self.chunks?.piece(&(start..start + len)))
    }

    /// The newest chunk.
    pub(super) const fn newest_chunk(&self) -> Option<&'static Chunk> {
        self.chunks
    }

    /// Bytes that have no memory, as they were never used or have gone back.
    pub(super) fn clean_bytes(&self) -> usize {
        self.chunks().map(Chunk::clean_bytes).sum()
    }

    /// Checks the laws of all chunks.
    pub(super) fn check(&self) -> Result<(), BrokenLaw> {
        self.chunks().try_for_each(Chunk::check)
    }

    fn chunks(&self) -> impl Iterator<Item = &'static Chunk> {
        core::iter::successors(self.chunks, |chunk| chunk.before())
    }

    /// Takes pages for what is kept out of the newest chunk, or a new one.
    fn open_kept(&mut self, heap: &Heap<System>) -> Option<()> {
        let page_bytes = System.page_size();
        let len = KEPT_PAGES * page_bytes;
        let Some(start) = self.rest.take(len, page_bytes) else {
            // What is kept begins with the chunk then.
            self.kept = Bump::EMPTY;
            return self.add_chunk(heap);
        };
        self.kept = Bump::of(&(start.get()..start.get() + len));
        let chunk = self.chunks?;
        chunk.begin_use(chunk.pages(start.get() - chunk.start, len));
        Some(())
    }

    /// Adds a chunk, and if there is no memory for what is kept, pages for that.
    #[cold]
    fn add_chunk(&mut self, heap: &Heap<System>) -> Option<()> {
        let page_bytes = System.page_size();
        let len = CHUNK_PAGES * page_bytes;
        let start = match self.ahead.take(len, page_bytes) {
            Some(start) => start.get(),
            None => {
                self.ahead.add(&heap.commit_records(len)?);
                self.ahead.take(len, page_bytes)?.get()
            }
        };
        let mut rest = Bump::of(&(start..start + len));
        let (mut place, mut kept_pages) = (self.take_kept(), 0);
        if place.is_none() {
            kept_pages = ones_within(0, KEPT_PAGES, 0);
            let kept_len = KEPT_PAGES * page_bytes;
            let kept = rest.take(kept_len, page_bytes)?.get();
            self.kept = Bump::of(&(kept..kept + kept_len));
            place = self.take_kept();
        }
        let chunk = place?.put(Chunk {
            start,
            page_bytes,
            users: [const { Cell::new(0) }; CHUNK_PAGES],
            dirty: Cell::new(0),
            seen: Cell::new(0),
            lost: Cell::new(0),
            next: self.chunks,
        });
        chunk.begin_use(kept_pages);
        (self.chunks, self.rest) = (Some(chunk), rest);
        Some(())
    }
}
