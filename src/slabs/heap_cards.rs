//! What is kept of each thread heap: where it is, and whether it is *vacant*. The memory of a vacant heap waits for a
//! thread that needs one, and may have gone back meanwhile.
//!
//! The name of a vacant heap may still be read from a slab that was its own. Who puts a slab on its list there, later
//! than he ought to, does no harm: the slab has ended, and waits until the list is looked at or for ever.

use super::names::HeapName;
use super::records::Piece;
use super::sync::{AtomicBool, Cell, Ordering};

/// What is kept of a heap.
#[derive(Debug)]
pub(crate) struct HeapCard {
    pub(super) heap: HeapName,
    /// Which one it was, counted from 1.
    pub(super) number: u64,
    /// Its memory.
    pub(super) piece: Piece,
    is_vacant: AtomicBool,
    /// The next one that is vacant.
    pub(super) next_vacant: Cell<Option<&'static Self>>,
    /// The one that was made before.
    made_before: Option<&'static Self>,
}

// SAFETY: the cell is touched under the pool's lock.
#[expect(unsafe_code, reason = "promises who touches the cell")]
unsafe impl Sync for HeapCard {}

impl HeapCard {
    /// Of a heap that is about to be made.
    pub(super) const fn new(
        heap: HeapName,
        number: u64,
        piece: Piece,
        made_before: Option<&'static Self>,
    ) -> Self {
        let (is_vacant, next_vacant) = (AtomicBool::new(false), Cell::new(None));
        Self { heap, number, piece, is_vacant, next_vacant, made_before }
    }

    /// Whether nobody may look at the heap. Stays as it is while the caller holds the pool's lock.
    pub(super) fn is_vacant(&self) -> bool {
        self.is_vacant.load(Ordering::Relaxed)
    }

    pub(super) fn set_vacant(&self, is_vacant: bool) {
        self.is_vacant.store(is_vacant, Ordering::Relaxed);
    }

    /// This one and all that were made before.
    pub(super) fn all_from(
        last: Option<&'static Self>,
    ) -> impl Iterator<Item = &'static Self> + Clone {
        core::iter::successors(last, |card| card.made_before)
    }
}
