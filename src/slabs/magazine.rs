//! Magazines: a thread's stacks of free slots, one for each class, in memory of their own.
//!
//! An entry names a slot and its state byte, so that malloc is a compare, a pop and a store. The name goes back to
//! Bonwick and Adams (2001).
//!
//! Invariants: **I1** `floor <= top <= ceiling`, all three into one array of [`Places`] that stays for ever (or all
//! null); **I2** the places below `top` hold entries, made of references that live as long as the process.
#![allow(unsafe_code, reason = "a stack of plain pointers: this is the fast path")]

use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicU8, Ordering};

use super::slab::LIVE;
use crate::base::random;

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
    fn hand_out(self) -> usize {
        // SAFETY: an entry below `top` was made from a reference that lives as long as the process (I2).
        unsafe { &*self.state }.store(LIVE, Ordering::Relaxed);
        self.slot
    }
}

/// Places for entries.
pub(crate) type Places = &'static [Cell<Entry>];

/// A stack of free slots.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Magazine {
    top: Cell<*const Cell<Entry>>,
    floor: Cell<*const Cell<Entry>>,
    ceiling: Cell<*const Cell<Entry>>,
    /// Whether it ran empty since it was last full.
    pub(super) has_missed: Cell<bool>,
}

impl Magazine {
    /// A magazine without places.
    pub(crate) const fn empty() -> Self {
        Self {
            top: Cell::new(ptr::null()),
            floor: Cell::new(ptr::null()),
            ceiling: Cell::new(ptr::null()),
            has_missed: Cell::new(false),
        }
    }

    /// A number that no other magazine has.
    #[inline]
    pub(crate) fn place(&self) -> usize {
        (&raw const *self).addr()
    }

    /// Takes the newest slot and hands it out: its address.
    #[inline]
    pub(crate) fn hand_out(&self) -> Option<usize> {
        let top = self.top.get();
        if top == self.floor.get() {
            return None;
        }
        // SAFETY: `top` is above the floor, so the place below it is one of the array's (I1).
        let newest = unsafe { top.sub(1) };
        self.top.set(newest);
        // SAFETY: it was below `top`, so it holds an entry (I2).
        let entry = unsafe { &*newest }.get();
        Some(entry.hand_out())
    }

    /// Puts a slot on top. `false` where there is no place.
    #[inline]
    pub(crate) fn push(&self, entry: Entry) -> bool {
        let top = self.top.get();
        if top == self.ceiling.get() {
            return false;
        }
        // SAFETY: `top` is below the ceiling, so it is one of the array's places (I1).
        unsafe { &*top }.set(entry);
        // SAFETY: one further is at most the ceiling (I1).
        self.top.set(unsafe { top.add(1) });
        true
    }

    /// The places, those that hold entries first.
    fn places(&self) -> Places {
        if self.floor.get().is_null() {
            return &[];
        }
        // SAFETY: floor and ceiling are the ends of an array of places that stays for ever (I1).
        unsafe { core::slice::from_raw_parts(self.floor.get(), self.capacity()) }
    }

    fn set_len(&self, len: usize) {
        debug_assert!(len <= self.capacity(), "I1");
        self.top.set(self.floor.get().wrapping_add(len));
    }

    /// Slots it holds.
    pub(crate) fn len(&self) -> usize {
        (self.top.get().addr() - self.floor.get().addr()) / size_of::<Entry>()
    }

    /// Slots it can hold.
    pub(crate) fn capacity(&self) -> usize {
        (self.ceiling.get().addr() - self.floor.get().addr()) / size_of::<Entry>()
    }

    /// Moves to a larger array.
    pub(super) fn move_to(&self, places: Places) {
        let len = self.len();
        for (old, new) in self.places().iter().zip(places).take(len) {
            new.set(old.get());
        }
        let ends = places.as_ptr_range();
        self.floor.set(ends.start);
        self.ceiling.set(ends.end);
        self.set_len(len);
    }

    /// Turns the newest `count` entries around, so that the first pushed is the first handed out.
    pub(super) fn reverse_newest(&self, count: usize) {
        let len = self.len();
        let Some(newest) = self.places().get(len - count..len) else { return };
        for (low, high) in newest.iter().zip(newest.iter().rev()).take(count / 2) {
            low.swap(high);
        }
    }

    /// Puts the entries into random order (Fisher and Yates 1938).
    pub(super) fn shuffle(&self) {
        let Some(entries) = self.places().get(..self.len()) else { return };
        let mut random = random::Random::seeded();
        for last in (1..entries.len()).rev() {
            if let (Some(one), Some(other)) =
                (entries.get(last), entries.get(random.below(last + 1)))
            {
                one.swap(other);
            }
        }
    }

    /// Takes the oldest `count` entries out and hands each to `take`.
    pub(super) fn take_oldest(&self, count: usize, mut take: impl FnMut(Entry)) {
        let (places, len) = (self.places(), self.len());
        let count = count.min(len);
        for place in places.iter().take(count) {
            take(place.get());
        }
        for (to, from) in places.iter().zip(places.iter().take(len).skip(count)) {
            to.set(from.get());
        }
        self.set_len(len - count);
    }

    /// Forgets all entries, whatever state they are in.
    pub(super) fn forget(&self) {
        self.top.set(self.floor.get());
    }

    /// Forgets its places, whatever state they are in.
    pub(super) fn forget_places(&self) {
        self.top.set(ptr::null());
        self.floor.set(ptr::null());
        self.ceiling.set(ptr::null());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(count: usize) -> Places {
        let none = Entry { slot: 0, state: ptr::null() };
        Box::leak((0..count).map(|_| Cell::new(none)).collect())
    }

    #[test]
    fn a_shuffle_loses_nothing_and_keeps_no_order() {
        static STATE: AtomicU8 = AtomicU8::new(0);
        let magazine = Magazine::empty();
        magazine.shuffle();
        magazine.move_to(places(1000));
        assert!((1..=1000).all(|slot| magazine.push(Entry::new(slot, &STATE))));
        magazine.shuffle();
        let mut slots: Vec<_> = core::iter::from_fn(|| magazine.hand_out()).collect();
        assert!(!slots.is_sorted() && !slots.is_sorted_by(|one, other| one > other));
        slots.sort_unstable();
        assert!(slots.into_iter().eq(1..=1000));
    }

    #[test]
    fn the_newest_goes_first_and_the_oldest_home() {
        static STATE: AtomicU8 = AtomicU8::new(0);
        let magazine = Magazine::empty();
        assert_eq!((magazine.hand_out(), magazine.len(), magazine.capacity()), (None, 0, 0));
        assert!(!magazine.push(Entry::new(8, &STATE)));
        magazine.move_to(places(4));
        assert!((1..=4).all(|slot| magazine.push(Entry::new(slot, &STATE))));
        assert!(!magazine.push(Entry::new(5, &STATE)), "full");
        magazine.move_to(places(8));
        assert!(magazine.push(Entry::new(5, &STATE)));
        let mut home = Vec::new();
        magazine.take_oldest(2, |entry| home.push(entry.slot));
        assert_eq!(home, [1, 2]);
        magazine.reverse_newest(2);
        let handed_out: Vec<_> = core::iter::from_fn(|| magazine.hand_out()).collect();
        assert_eq!(handed_out, [4, 5, 3]);
        assert_eq!(STATE.load(Ordering::Relaxed), LIVE);
    }
}
