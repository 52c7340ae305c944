//! Outboxes: where slots of other heaps' slabs wait that a thread has freed, until they go home together.
//!
//! A place names a slot and its slab, so that on the way home nobody has to look that up again.
//!
//! Invariant: **I1** the first `len` places hold slots, each of them one that was pushed and has not been taken out.

use super::slab::Slab;
use super::slab::claim::SentSlot;
use super::slot;
use super::sync::Cell;
use crate::base::array::Zeroable;
use crate::base::fatal::debug_law;

/// A place for a slot that was sent; zero bytes are a place without one.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct SentPlace {
    address: usize,
    slab: Option<&'static Slab>,
}

// SAFETY: 0 is a number, and no reference.
#[expect(unsafe_code, reason = "says of what zero bytes are a value")]
unsafe impl Zeroable for Cell<SentPlace> {}

/// Places for slots that were sent.
pub(super) type SentPlaces = &'static [Cell<SentPlace>];

/// The slots of a class that wait.
#[derive(Debug)]
pub(crate) struct Outbox {
    places: Cell<Option<SentPlaces>>,
    len: Cell<usize>,
}

impl Outbox {
    /// An outbox without places.
    pub(super) const fn empty() -> Self {
        Self { places: Cell::new(None), len: Cell::new(0) }
    }

    fn places(&self) -> SentPlaces {
        self.places.get().unwrap_or_default()
    }

    fn held(&self) -> impl Iterator<Item = SentSlot> {
        let held = self.places().iter().take(self.len.get()).map(Cell::get);
        held.filter_map(|place| Some(SentSlot::new(place.address, place.slab?)))
    }

    /// Slots that wait.
    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    /// Slots that can wait.
    pub(super) fn capacity(&self) -> usize {
        self.places().len()
    }

    /// Gives it places. It has none yet.
    pub(super) fn open(&self, places: SentPlaces) {
        debug_law!(self.capacity() == 0, "it is opened once");
        self.places.set(Some(places));
    }

    /// Lets a slot wait, or gives it back where there is no place.
    #[inline]
    pub(crate) fn push(&self, slot: SentSlot) -> Result<(), SentSlot> {
        let len = self.len.get();
        let Some(place) = self.places().get(len) else { return Err(slot) };
        place.set(SentPlace { address: slot.address(), slab: Some(slot.slab()) });
        self.len.set(len + 1);
        Ok(())
    }

    /// Takes all slots out, the oldest first.
    pub(super) fn take_all(&self, take: impl FnMut(SentSlot)) {
        self.held().for_each(take);
        self.len.set(0);
    }

    /// The addresses of the slots that wait, the oldest first.
    pub(super) fn addresses(&self) -> impl Iterator<Item = usize> {
        self.held().map(|slot| slot.address())
    }

    /// Marks the slots that wait, or unmarks them.
    pub(super) fn mark(&self, on: bool) {
        let states = self.held().filter_map(|sent| {
            let slab = sent.slab();
            slab.state(slab.slot_index(sent.address())?)
        });
        states.for_each(|state| slot::mark(state, on));
    }

    /// Forgets its places, whatever state they are in.
    pub(super) fn forget_places(&self) {
        self.places.set(None);
        self.len.set(0);
    }
}
