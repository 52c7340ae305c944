//! Magazines: a thread's stacks of free slots, one for each class, in memory of their own.
//!
//! An entry names a slot and its state byte, so that malloc is a compare, a pop and a store. The name goes back to
//! Bonwick and Adams (2001).

use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicU8, Ordering};

use super::slab::LIVE;

/// A free slot.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Entry {
    /// Its address.
    pub(crate) slot: usize,
    /// Its state byte; null in a place that holds no entry.
    state: *const AtomicU8,
}

impl Entry {
    /// An entry for a slot.
    #[inline]
    pub(crate) const fn new(slot: usize, state: &'static AtomicU8) -> Self {
        Self { slot, state: ptr::from_ref(state) }
    }

    /// Says that the slot is handed out. The caller holds the entry, and so the slot.
    #[inline]
    #[expect(unsafe_code, reason = "the state byte is read from the entry")]
    fn hand_out(self) -> usize {
        // SAFETY: an entry that was pushed was made from a reference that lives as long as the process.
        unsafe { &*self.state }.store(LIVE, Ordering::Relaxed);
        self.slot
    }
}

/// Places for entries.
pub(crate) type Places = &'static [Cell<Entry>];

/// A stack of free slots.
#[derive(Debug)]
pub(crate) struct Magazine {
    places: Cell<Places>,
    count: Cell<usize>,
    /// Whether it ran empty since it was last full.
    pub(super) has_missed: Cell<bool>,
}

impl Magazine {
    /// A magazine without places.
    pub(crate) const fn empty() -> Self {
        Self { places: Cell::new(&[]), count: Cell::new(0), has_missed: Cell::new(false) }
    }

    /// Takes the newest slot and hands it out: its address.
    #[inline]
    pub(crate) fn hand_out(&self) -> Option<usize> {
        let rest = self.count.get().wrapping_sub(1);
        let entry = self.places.get().get(rest)?.get();
        self.count.set(rest);
        Some(entry.hand_out())
    }

    /// Puts a slot on top. `false` where there is no place.
    #[inline]
    pub(crate) fn push(&self, entry: Entry) -> bool {
        let count = self.count.get();
        let Some(place) = self.places.get().get(count) else { return false };
        place.set(entry);
        self.count.set(count + 1);
        true
    }

    /// Slots it holds.
    pub(crate) fn len(&self) -> usize {
        self.count.get()
    }

    /// Slots it can hold.
    pub(crate) fn capacity(&self) -> usize {
        self.places.get().len()
    }

    /// Moves to a larger array.
    pub(super) fn move_to(&self, places: Places) {
        for (old, new) in self.places.get().iter().zip(places).take(self.count.get()) {
            new.set(old.get());
        }
        self.places.set(places);
    }

    /// Turns the newest `count` entries around, so that the first pushed is the first handed out.
    pub(super) fn reverse_newest(&self, count: usize) {
        let (places, len) = (self.places.get(), self.count.get());
        let Some(newest) = places.get(len - count..len) else { return };
        for index in 0..count / 2 {
            newest[index].swap(&newest[count - 1 - index]);
        }
    }

    /// Takes the oldest `count` entries out and hands each to `take`.
    pub(super) fn take_oldest(&self, count: usize, mut take: impl FnMut(Entry)) {
        let (places, len) = (self.places.get(), self.count.get());
        let count = count.min(len);
        for place in places.iter().take(count) {
            take(place.get());
        }
        for index in count..len {
            places[index - count].set(places[index].get());
        }
        self.count.set(len - count);
    }

    /// Forgets all entries.
    pub(super) fn forget(&self) {
        self.count.set(0);
    }
}
