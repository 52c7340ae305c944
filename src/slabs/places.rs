//! Places: how many slots the magazines and outboxes of a thread heap have room for.

use super::class::Class;
use super::magazine::Magazine;
use super::thread_heap::ThreadHeap;
use crate::base::fatal::debug_law;
use crate::settings;

/// The first capacity of a magazine.
const FIRST_CAPACITY: usize = 8;
/// No magazine holds more slots, nor more than [`MAGAZINE_BYTES`] of them. With 64 KiB batches of 512-byte and 4-KiB
/// blocks took a fifth longer, and no program less memory: a magazine grows only where many slots go in and out.
const MAX_CAPACITY: usize = 1024;
/// No magazine has places for more bytes of slots.
const MAGAZINE_BYTES: usize = 512 << 10;
/// Slots of an outbox.
const OUTBOX_CAPACITY: usize = 64;
/// No outbox has places for more bytes of slots.
const OUTBOX_BYTES: usize = 16 << 10;

impl ThreadHeap {
    /// Doubles a magazine, within its limits.
    pub(super) fn enlarge(&'static self, magazine: &Magazine, class: Class) {
        self.give_places(magazine, magazine.capacity() * 2, MAGAZINE_BYTES, class);
    }

    /// Gives a magazine or outbox as many places as are wished for, or as its limit of `bytes` and the settings allow,
    /// but two in any case.
    fn give_places(&self, magazine: &Magazine, wish: usize, bytes: usize, class: Class) {
        let (slot_bytes, held) = (class.shape().slot_bytes, magazine.capacity());
        debug_law!(
            held * slot_bytes <= self.place_bytes.get(),
            "the bytes of places are summed up"
        );
        let others = self.place_bytes.get() - held * slot_bytes;
        let bytes = bytes.min(settings::cache_bytes().saturating_sub(others));
        let most = (bytes / slot_bytes).clamp(2, MAX_CAPACITY);
        let capacity = wish.clamp(FIRST_CAPACITY.min(most), most);
        if capacity > held
            && let Some(places) = self.depot.places(&self.space, capacity)
        {
            magazine.move_to(places);
            self.place_bytes.set(others + capacity * slot_bytes);
        }
    }

    /// Gives the outbox of a class its places, if it has none.
    pub(super) fn open_outbox(&self, class: Class) {
        self.give_places(self.outbox(class).stack(), OUTBOX_CAPACITY, OUTBOX_BYTES, class);
    }
}
