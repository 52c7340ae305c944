//! What a thread heap notes while it serves a region: blocks of the free list, which belong to no thread.
//!
//! The thread notes those it is handed out and those it frees, in a mapping of its own. All other threads pay one test
//! of a flag for each such block.

use core::fmt;
use core::mem::ManuallyDrop;

use super::sync::Cell;
use crate::base::array::Array;

/// How many notes are made before the first tidying.
const FIRST_TIDY: usize = 4096;
/// The bit of a noted address that says that the block was freed. Blocks start at multiples of 16.
const FREED: usize = 1;

/// The start of a block, with the bit [`FREED`] where it was freed, and the turn in which that was noted.
pub(crate) type Note = [usize; 2];

/// The notes of a thread heap.
pub(crate) struct Notes {
    is_on: Cell<bool>,
    /// None before the first one.
    notes: Cell<Option<Array<Note>>>,
    /// How many notes are tidied, [`FIRST_TIDY`] at the least.
    tidy_at: Cell<usize>,
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notes").field("is_on", &self.is_on).finish_non_exhaustive()
    }
}

impl Notes {
    /// Of a heap that serves no region.
    pub(super) const fn off() -> Self {
        Self { is_on: Cell::new(false), notes: Cell::new(None), tidy_at: Cell::new(0) }
    }

    /// Forgets everything, whatever state it is in: the thread vanished in a fork, perhaps while it made a note, so the
    /// memory that its notes had is lost to the child.
    pub(super) fn forget(&self) {
        self.is_on.set(false);
        self.tidy_at.set(0);
        let _lost = ManuallyDrop::new(self.notes.take());
    }

    /// Whether the heap serves a region.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.get()
    }

    /// The heap serves a region from now on.
    #[cfg(feature = "std")]
    pub(crate) fn begin(&self) {
        self.is_on.set(true);
    }

    /// The region is over. Returns its notes.
    #[cfg(feature = "std")]
    pub(crate) fn end(&self) -> Array<Note> {
        self.is_on.set(false);
        self.take()
    }

    /// Adds the notes of an inner region.
    #[cfg(feature = "std")]
    pub(crate) fn add(&self, notes: &Array<Note>) {
        notes.iter().for_each(|[note, _]| self.note(*note));
    }

    /// Shows each noted block that was not freed since to `each`: where it starts.
    #[cfg(feature = "std")]
    pub(crate) fn for_each_kept(&self, mut each: impl FnMut(usize)) {
        let mut notes = self.take();
        tidy(&mut notes);
        notes.iter().for_each(|[start, _]| each(*start));
        self.notes.set(Some(notes));
    }

    /// Notes that the thread was handed out a block of the free list, if it is in a region.
    #[inline]
    pub(crate) fn note_block(&self, address: usize) {
        if self.is_on() {
            self.note(address);
        }
    }

    /// Notes that the thread frees a block of the free list, if it is in a region.
    #[inline]
    pub(crate) fn note_free(&self, address: usize) {
        if self.is_on() {
            self.note(address | FREED);
        }
    }

    fn take(&self) -> Array<Note> {
        self.notes.take().unwrap_or(Array::new())
    }

    #[cold]
    fn note(&self, note: usize) {
        let mut notes = self.take();
        if notes.len() >= FIRST_TIDY.max(self.tidy_at.get()) {
            tidy(&mut notes);
            self.tidy_at.set(2 * notes.len());
        }
        let turn = notes.last().map_or(0, |[_, turn]| turn + 1);
        // Without memory for it the block is not counted.
        let noted = notes.push([note, turn]);
        self.notes.set(Some(notes));
        let _ = noted;
    }
}

/// Keeps the notes of blocks that were not freed since.
fn tidy(notes: &mut Array<Note>) {
    notes.items_mut().sort_unstable_by_key(|[note, turn]| (note & !FREED, *turn));
    let mut kept = 0;
    for index in 0..notes.len() {
        let (now, next) = (notes.get(index).copied(), notes.get(index + 1).copied());
        let Some([note, _]) = now else { break };
        let is_last = next.is_none_or(|[next, _]| (next ^ note) & !FREED != 0);
        if is_last && note & FREED == 0 {
            notes.items_mut()[kept] = [note, kept];
            kept += 1;
        }
    }
    notes.truncate(kept);
}
