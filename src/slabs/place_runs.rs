//! Runs of memory for places: a thread heap takes its places from them, and when it is vacated they wait for others.

use super::records::{Piece, Records};
use super::sync::Cell;
use crate::base::os::System;
use crate::heap::Heap;

/// The bytes of the smallest run. Each further size has twice as many.
const LEAST_BYTES: usize = 4 << 10;
/// Sizes there are. Of the largest run one array of places takes all.
const SIZES: usize = 4;

/// A run, which stays one.
#[derive(Debug)]
pub(super) struct PlaceRun {
    pub(super) piece: Piece,
    /// The one behind it on the list of its heap, or of those that wait.
    pub(super) next: Cell<Option<&'static Self>>,
}

// SAFETY: the cell is touched by the heap that has the run, or under the pool's lock while none does.
#[expect(unsafe_code, reason = "promises who touches the cell")]
unsafe impl Sync for PlaceRun {}

/// The runs that wait, by size.
#[derive(Debug)]
pub(super) struct PlaceRuns([Option<&'static PlaceRun>; SIZES]);

/// Which size a run of that many bytes has, or more.
fn size_of_run(bytes: usize) -> Option<usize> {
    (0..SIZES).find(|size| LEAST_BYTES << size >= bytes)
}

impl PlaceRuns {
    /// None.
    pub(super) const fn new() -> Self {
        Self([None; SIZES])
    }

    /// A run of at least `bytes`, all zero: one that waits, or a new one.
    pub(super) fn take(
        &mut self,
        records: &mut Records,
        heap: &Heap<System>,
        bytes: usize,
    ) -> Option<&'static PlaceRun> {
        let size = size_of_run(bytes)?;
        let waiting = self.0.get_mut(size)?;
        while let Some(run) = *waiting {
            *waiting = run.next.take();
            run.piece.clear();
            if run.piece.use_again() {
                return Some(run);
            }
        }
        let piece = records.piece(heap, LEAST_BYTES << size, 64)?;
        records.keep(heap, PlaceRun { piece, next: Cell::new(None) })
    }

    /// Lets a run wait of which nobody has a place any more.
    pub(super) fn put(&mut self, run: &'static PlaceRun) {
        let size = size_of_run(run.piece.range().len());
        if let Some(waiting) = size.and_then(|size| self.0.get_mut(size)) {
            run.piece.wait();
            run.next.set(waiting.replace(run));
        }
    }
}
