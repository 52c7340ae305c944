//! Magazines: a thread's stacks of free slots, one for each class, in memory of their own.
//!
//! A place names a slot and its state byte, so that malloc is a compare, a pop and a store. The name goes back to
//! Bonwick and Adams (2001).
//!
//! The fast paths know where malloc and free have to stop, the `floor` and the `ceiling`. The slow ways know the array
//! ([`Stack`]): it begins at the bottom, where the floor lies as a rule, and may reach beyond the ceiling. A magazine
//! whose floor lies above all places is *armed*: malloc takes its slow way although there are slots. And it does so for
//! each slot that is [marked](super::marks), since the floor lies above the newest of these.
//!
//! Invariants: **I1** `bottom <= top <= ceiling`, all into one array of [`Places`] that stays for ever (or all null),
//! and `bottom <= floor`; **I2** the places below `top` hold slots, each of them one that was pushed and has not been
//! taken out; **I3** `marked` of these are marked, and none of them lies above the floor.
#![allow(unsafe_code, reason = "a stack of plain pointers: this is the fast path")]

use core::hint::assert_unchecked;
use core::iter::Rev;
use core::ptr;
use core::slice;
use core::sync::atomic::{AtomicPtr, fence};

use super::slot::{self, FreeSlot, LiveSlot};
use super::sync::{AtomicU8, Cell, Ordering};
use crate::base::array::Zeroable;
use crate::base::fatal::debug_law;
use crate::base::random;

/// A place for a free slot; zero bytes are a place without one.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Place {
    address: usize,
    state: Option<&'static AtomicU8>,
}

// SAFETY: 0 is a number, and no reference.
unsafe impl Zeroable for Cell<Place> {}

impl Place {
    #[inline]
    fn with(slot: FreeSlot) -> Self {
        let (address, state) = slot.into_parts();
        Self { address, state: Some(state) }
    }

    /// The slot in it.
    ///
    /// # Safety
    ///
    /// There is one, and the place is not looked at again before another is put there.
    #[inline]
    unsafe fn take_out(self) -> FreeSlot {
        // SAFETY: by the caller's contract there is a slot, and with it the reference.
        FreeSlot::new(self.address, unsafe { self.state.unwrap_unchecked() })
    }
}

/// Places for free slots.
pub(super) type Places = &'static [Cell<Place>];

/// The floor of a magazine that is armed.
const ARMED: *mut Cell<Place> = ptr::without_provenance_mut(usize::MAX);

/// A stack of free slots.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Magazine {
    top: Cell<*const Cell<Place>>,
    /// What any thread may raise above all places. Models do not follow it: whatever is read there is as good.
    floor: AtomicPtr<Cell<Place>>,
    ceiling: Cell<*const Cell<Place>>,
    /// The [`magic`](super::class::Shape::magic) of its class, beside what a free has to read anyway.
    magic: Cell<u64>,
}

/// A place of a magazine that is free: room for one more slot.
struct Room<'magazine> {
    magazine: &'magazine Magazine,
    top: &'static Cell<Place>,
}

impl Room<'_> {
    /// Puts a slot there, on top.
    #[inline]
    fn put(self, slot: FreeSlot) {
        self.top.set(Place::with(slot));
        // SAFETY: the place is below the ceiling, so one further is at most that (I1).
        self.magazine.top.set(unsafe { ptr::from_ref(self.top).add(1) });
    }
}

impl Magazine {
    /// A magazine without places.
    pub(crate) const fn empty() -> Self {
        Self {
            top: Cell::new(ptr::null()),
            floor: AtomicPtr::new(ptr::null_mut()),
            ceiling: Cell::new(ptr::null()),
            magic: Cell::new(0),
        }
    }

    /// Makes it one of a class with this [`magic`](super::class::Shape::magic).
    pub(super) fn set_magic(&self, magic: u64) {
        self.magic.set(magic);
    }

    /// Arms the magazine. Any thread may: its own comes to a slow way then, whatever else it does meanwhile.
    pub(super) fn arm(&self) {
        self.floor.store(ARMED, Ordering::Relaxed);
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
        if top <= self.floor.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: `top` is above the floor, so above the bottom, and the place below is one of the array's (I1).
        let newest = unsafe { top.sub(1) };
        self.top.set(newest);
        // SAFETY: the place is one of the array's (I1).
        let place = unsafe { &*newest }.get();
        // SAFETY: it was below `top`, so it held a slot (I2), and does not any more.
        let address = unsafe { place.take_out() }.hand_out();
        // SAFETY: no slot lies at 0. Said here, or callers who know that a block is not null test it all the same.
        unsafe { assert_unchecked(address != 0) };
        Some(address)
    }

    /// The [`magic`](super::class::Shape::magic) of its class.
    #[inline]
    pub(crate) fn magic(&self) -> u64 {
        self.magic.get()
    }

    /// Takes back a live slot of its own class and heap, if there is room. Nothing has changed if not.
    #[inline]
    pub(crate) fn take_back(&self, slot: LiveSlot) -> bool {
        match self.room() {
            Some(room) => {
                room.put(slot.free());
                true
            }
            None => false,
        }
    }

    /// The place on top, if there is one. Nothing has changed yet.
    #[inline]
    fn room(&self) -> Option<Room<'_>> {
        let top = self.top.get();
        if top == self.ceiling.get() {
            return None;
        }
        // SAFETY: `top` is below the ceiling, so it is one of the array's places (I1).
        Some(Room { magazine: self, top: unsafe { &*top } })
    }

    /// Puts a slot on top, or gives it back where there is no place.
    #[inline]
    pub(crate) fn push(&self, slot: FreeSlot) -> Result<(), FreeSlot> {
        match self.room() {
            Some(room) => {
                room.put(slot);
                Ok(())
            }
            None => Err(slot),
        }
    }
}

/// The places of slots that are put on top together, the first one uppermost, so that it is handed out first.
pub(super) struct Raised(Rev<slice::Iter<'static, Cell<Place>>>);

impl Raised {
    /// Puts the next slot there.
    #[inline]
    pub(super) fn put(&mut self, slot: FreeSlot) {
        let place = self.0.next();
        debug_law!(place.is_some(), "there is a place for each");
        if let Some(place) = place {
            place.set(Place::with(slot));
        }
    }

    /// Says that all slots are there (I2).
    pub(super) fn done(self) {
        debug_law!(self.0.len() == 0, "a slot for each place");
    }
}

/// A magazine with its array.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stack<'heap> {
    magazine: &'heap Magazine,
    array: &'heap Cell<Option<Places>>,
    marked: &'heap Cell<u32>,
}

impl<'heap> Stack<'heap> {
    /// That magazine with what else there is of its class.
    pub(super) const fn new(
        magazine: &'heap Magazine,
        array: &'heap Cell<Option<Places>>,
        marked: &'heap Cell<u32>,
    ) -> Self {
        Self { magazine, array, marked }
    }

    /// All places, those that hold slots first.
    fn places(self) -> Places {
        self.array.get().unwrap_or_default()
    }

    /// The place below which there are `len`.
    fn above(self, len: usize) -> *const Cell<Place> {
        self.array.get().map_or(ptr::null(), |places| places.as_ptr().wrapping_add(len))
    }

    /// Places between the bottom and `end`.
    fn below(self, end: *const Cell<Place>) -> usize {
        (end.addr() - self.above(0).addr()) / size_of::<Place>()
    }

    fn set_len(self, len: usize) {
        debug_law!(len <= self.capacity(), "I1");
        self.magazine.top.set(self.above(len));
    }

    /// Slots it holds.
    pub(super) fn len(self) -> usize {
        self.below(self.magazine.top.get())
    }

    /// Slots it may hold.
    pub(super) fn capacity(self) -> usize {
        self.below(self.magazine.ceiling.get())
    }

    /// Slots there are places for.
    pub(super) fn places_len(self) -> usize {
        self.places().len()
    }

    /// Lets it hold up to `capacity` slots, for which there are places, and of which it does not hold more.
    pub(super) fn limit(self, capacity: usize) {
        debug_law!(self.len() <= capacity && capacity <= self.places_len(), "I1");
        self.magazine.ceiling.set(self.above(capacity));
    }

    /// Moves to a larger array.
    pub(super) fn move_to(self, places: Places) {
        let len = self.len();
        debug_law!(len <= places.len(), "a larger array has room for all");
        for (old, new) in self.places().iter().zip(places).take(len) {
            new.set(old.get());
        }
        let ends = places.as_ptr_range();
        // Should the thread vanish in a fork, it has no magazine rather than half of each.
        self.magazine.top.set(ptr::null());
        fence(Ordering::Release);
        self.array.set(Some(places));
        // Where another thread arms it in this moment, it is not armed.
        if self.magazine.floor.load(Ordering::Relaxed) != ARMED {
            self.magazine.floor.store(ends.start.cast_mut(), Ordering::Relaxed);
        }
        self.magazine.ceiling.set(ends.end);
        fence(Ordering::Release);
        self.set_len(len);
        self.hide();
    }

    /// Makes room for `count` slots on top, for which there are places. The caller puts as many there at once.
    pub(super) fn raise(self, count: usize) -> Raised {
        let len = self.len();
        let places = self.places().get(len..len + count).unwrap_or_default();
        // Should the thread vanish in a fork, each slot is below the top or home still.
        self.set_len(len + count);
        fence(Ordering::Release);
        Raised(places.iter().rev())
    }

    /// Puts the slots into random order (Fisher and Yates 1938).
    pub(super) fn shuffle(self) {
        let Some(slots) = self.places().get(..self.len()) else { return };
        let mut random = random::Random::seeded();
        for last in (1..slots.len()).rev() {
            if let (Some(one), Some(other)) = (slots.get(last), slots.get(random.below(last + 1))) {
                one.swap(other);
            }
        }
    }

    /// The addresses of the slots it holds, the oldest first.
    pub(super) fn addresses(self) -> impl Iterator<Item = usize> {
        self.places().iter().take(self.len()).map(|place| place.get().address)
    }

    /// Takes the oldest `count` slots out and hands each to `take`.
    pub(super) fn take_oldest(self, count: usize, mut take: impl FnMut(FreeSlot)) {
        let (places, len) = (self.places(), self.len());
        let count = count.min(len);
        for place in places.iter().take(count) {
            // SAFETY: it lies below `top`, so there is a slot (I2), and others are moved over it below.
            let slot = unsafe { place.get().take_out() };
            // Marks end at home.
            if self.marked.get() > 0 && slot.is_marked() {
                self.marked.update(|marked| marked - 1);
                take(slot.marked(false));
            } else {
                take(slot);
            }
        }
        for (to, from) in places.iter().zip(places.iter().take(len).skip(count)) {
            to.set(from.get());
        }
        self.set_len(len - count);
        self.hide();
    }

    /// Marks the slots it holds, or unmarks them.
    pub(super) fn mark(self, on: bool) {
        let held = self.places().iter().take(self.len());
        held.filter_map(|place| place.get().state).for_each(|state| slot::mark(state, on));
    }

    /// The addresses below the top of a magazine whose thread has vanished; none where it was moving it. The last one
    /// may be that of a slot that lay in its place before.
    pub(super) fn vanished_addresses(self) -> impl Iterator<Item = usize> {
        let whole = Some(self).filter(|stack| !stack.magazine.top.get().is_null());
        whole.into_iter().flat_map(Self::addresses)
    }

    /// Forgets its places, whatever state they are in.
    pub(super) fn forget_places(self) {
        self.magazine.top.set(ptr::null());
        self.magazine.floor.store(ptr::null_mut(), Ordering::Relaxed);
        self.magazine.ceiling.set(ptr::null());
        self.array.set(None);
        self.marked.set(0);
    }
}

mod hidden;

#[cfg(test)]
mod tests {
    use super::super::slot::LIVE;
    use super::*;

    static STATE: [AtomicU8; 1000] = [const { AtomicU8::new(0) }; 1000];

    fn places(count: usize) -> Places {
        Box::leak((0..count).map(|_| Cell::new(Place { address: 0, state: None })).collect())
    }

    fn slot(number: usize) -> FreeSlot {
        FreeSlot::new(number, &STATE[number - 1])
    }

    #[test]
    fn a_shuffle_loses_nothing_and_keeps_no_order() {
        let (magazine, array, marked) = (Magazine::empty(), Cell::new(None), Cell::new(0));
        let stack = Stack::new(&magazine, &array, &marked);
        stack.shuffle();
        stack.move_to(places(1000));
        assert!((1..=1000).all(|number| magazine.push(slot(number)).is_ok()));
        stack.shuffle();
        let mut slots: Vec<_> = stack.addresses().collect();
        assert!(!slots.is_sorted() && !slots.is_sorted_by(|one, other| one > other));
        slots.sort_unstable();
        assert!(slots.into_iter().eq(1..=1000));
    }

    #[test]
    fn the_newest_goes_first_and_the_oldest_home() {
        let (magazine, array, marked) = (Magazine::empty(), Cell::new(None), Cell::new(0));
        let stack = Stack::new(&magazine, &array, &marked);
        assert_eq!((magazine.hand_out(), stack.len(), stack.capacity()), (None, 0, 0));
        assert!(magazine.push(slot(8)).is_err());
        stack.move_to(places(4));
        assert!((1..=4).all(|number| magazine.push(slot(number)).is_ok()));
        assert_eq!(magazine.push(slot(5)).map_err(|slot| slot.address()), Err(5), "full");
        stack.move_to(places(8));
        assert!(magazine.push(slot(5)).is_ok());
        let mut home = Vec::new();
        stack.take_oldest(2, |slot| home.push(slot.address()));
        assert_eq!(home, [1, 2]);
        let mut raised = stack.raise(2);
        (6..=7).for_each(|number| raised.put(slot(number)));
        raised.done();
        assert!(stack.addresses().eq([3, 4, 5, 7, 6]));
        assert_eq!([magazine.hand_out(), magazine.hand_out()], [Some(6), Some(7)]);
        stack.limit(3);
        assert_eq!((stack.len(), stack.capacity(), stack.places_len()), (3, 3, 8));
        assert!(magazine.push(slot(6)).is_err(), "its places reach further, and it may not");
        let handed_out: Vec<_> = core::iter::from_fn(|| magazine.hand_out()).collect();
        assert_eq!(handed_out, [5, 4, 3]);
        assert!([2, 3, 4].iter().all(|index| STATE[*index].load(Ordering::Relaxed) == LIVE));
    }
}
