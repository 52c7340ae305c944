//! What a thread heap has of one class beside its magazine: slabs, and places.

use super::magazine::Places;
use super::slab::Slab;
use super::sync::Cell;

/// What a heap has of one class beside its magazine.
#[derive(Debug)]
pub(crate) struct ClassLists {
    /// Slabs with slots in their free words, lowest addresses first.
    pub(crate) listed: Cell<Option<&'static Slab>>,
    /// How many of them are empty, and the least since the last period.
    pub(super) empty: Cell<usize>,
    pub(super) least_empty: Cell<usize>,
    /// The places of the magazine, of which it may use a part.
    pub(super) places: Cell<Option<Places>>,
    /// How many of the slots in the magazine are marked.
    pub(super) marked: Cell<u32>,
    /// Whether the magazine ran empty since it was last full.
    pub(super) has_missed: Cell<bool>,
    /// Slabs of the class, listed or not.
    pub(super) count: Cell<usize>,
}

impl ClassLists {
    /// No slabs.
    pub(super) const fn new() -> Self {
        Self {
            listed: Cell::new(None),
            empty: Cell::new(0),
            least_empty: Cell::new(0),
            places: Cell::new(None),
            marked: Cell::new(0),
            has_missed: Cell::new(false),
            count: Cell::new(0),
        }
    }

    /// Forgets how it was used. It has no slabs.
    pub(super) fn forget_use(&self) {
        self.least_empty.set(0);
        self.has_missed.set(false);
    }
}
