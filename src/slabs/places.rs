//! Places: how many slots the magazines and outboxes of a thread heap have room for.
//!
//! A magazine begins small with each thread. It doubles where the thread misses slots, up to [`MISS_BYTES`] of them;
//! further where frees overflow it as well, as far as the heap's [`budget`](super::budget) allows for all magazines
//! together. Places stay as long as the heap has a thread: what a magazine may hold is less than it has places for
//! where it had to shrink.

use core::slice;

use super::class::Class;
use super::thread_heap::ThreadHeap;
use crate::base::addr;
use crate::base::array::Zeroable;
use crate::base::bump::Bump;
use crate::base::fatal::debug_law;
use crate::settings;

/// The first capacity of a magazine.
const FIRST_CAPACITY: usize = 8;
/// No magazine holds more slots.
const MAX_CAPACITY: usize = 2048;
/// A magazine grows to this on misses alone.
const MISS_CAPACITY: usize = 64;
/// On misses alone a magazine gets places for no more bytes of slots.
const MISS_BYTES: usize = 16 << 10;
/// No magazine of a large class has places for more bytes of slots, unless these are two.
const LARGE_MAGAZINE_BYTES: usize = 512 << 10;
/// Slots of an outbox.
const OUTBOX_CAPACITY: usize = 64;
/// No outbox has places for more bytes of slots.
const OUTBOX_BYTES: usize = 8 << 10;

/// What a magazine of a class may always hold.
fn miss_capacity(class: Class) -> usize {
    MISS_CAPACITY.min(MISS_BYTES / class.shape().slot_bytes).max(2 * FIRST_CAPACITY)
}

impl ThreadHeap {
    /// Doubles what the magazine of a class may hold after a miss, if it is small still.
    pub(super) fn enlarge_after_miss(&'static self, class: Class) {
        if self.stack(class).capacity() < miss_capacity(class) {
            self.enlarge(class);
        }
    }

    /// Doubles what the magazine of a class may hold, within its limits.
    pub(super) fn enlarge(&'static self, class: Class) {
        let (stack, slot_bytes) = (self.stack(class), class.shape().slot_bytes);
        let held = stack.capacity();
        let bytes = if class.is_large() {
            LARGE_MAGAZINE_BYTES
        } else {
            let others = self.small_place_bytes.get() - held * slot_bytes;
            let left = self.budget.most_cached().saturating_sub(others);
            left.max(miss_capacity(class) * slot_bytes)
        };
        let capacity = self.capacity_within(class, held, held * 2, bytes);
        if capacity <= held {
            return;
        }
        if capacity > stack.places_len() {
            // A power of two, so that what the smaller arrays had is less than the largest one has.
            match self.new_places(capacity.next_power_of_two()) {
                Some(places) => stack.move_to(places),
                None => return,
            }
        }
        self.set_capacity(class, held, capacity);
    }

    /// Lets magazines hold less where all together may hold more than the budget has for them: the largest slots go
    /// home first, half of the places of each class.
    pub(super) fn shrink_magazines(&'static self) {
        for class in Class::all_small().rev() {
            if self.small_place_bytes.get() <= self.budget.most_cached() {
                break;
            }
            let held = self.stack(class).capacity();
            let capacity = (held / 2).max(miss_capacity(class));
            if capacity < held {
                self.shrink(class, held, capacity);
            }
        }
    }

    /// Lets all magazines begin small: another thread has the heap now, whose magazines are empty.
    pub(super) fn start_small(&'static self) {
        for class in Class::all_small() {
            let held = self.stack(class).capacity();
            if held > FIRST_CAPACITY {
                self.shrink(class, held, FIRST_CAPACITY);
            }
        }
        self.budget.begin_anew(self.budget.given_bytes());
        self.was_empty.set(false);
    }

    fn shrink(&'static self, class: Class, held: usize, capacity: usize) {
        self.send_home(class, self.stack(class).len().saturating_sub(capacity));
        self.set_capacity(class, held, capacity);
    }

    /// Lets the magazine of a class hold `capacity` slots, for which it has places.
    fn set_capacity(&self, class: Class, held: usize, capacity: usize) {
        self.stack(class).limit(capacity);
        self.count_places(class, held, capacity);
        if !class.is_large() {
            let slot_bytes = class.shape().slot_bytes;
            let others = self.small_place_bytes.get() - held * slot_bytes;
            self.small_place_bytes.set(others + capacity * slot_bytes);
        }
    }

    /// Gives the outbox of a class its places, if it has none.
    pub(super) fn open_outbox(&self, class: Class) {
        let outbox = self.outbox(class);
        let capacity = self.capacity_within(class, 0, OUTBOX_CAPACITY, OUTBOX_BYTES);
        if outbox.capacity() == 0
            && let Some(places) = self.new_places(capacity)
        {
            outbox.open(places);
            self.count_places(class, 0, capacity);
        }
    }

    /// `count` places for slots, all zero.
    fn new_places<P: Zeroable>(&self, count: usize) -> Option<&'static [P]> {
        let (bytes, align) = (count * size_of::<P>(), align_of::<P>());
        let mut left = self.space.get();
        let start = match left.take(bytes, align) {
            Some(start) => start,
            None => {
                let run = self.depot().take_place_run(bytes)?;
                run.next.set(self.place_runs.get());
                self.place_runs.set(Some(run));
                left = Bump::of(&run.piece.range());
                left.take(bytes, align)?
            }
        };
        self.space.set(left);
        let start = addr::pointer(start.get())?.cast();
        #[expect(unsafe_code, reason = "places in memory that was taken for them")]
        // SAFETY: the memory is zero, which is a value of `P`, aligned, this heap's alone, and never unmapped.
        Some(unsafe { slice::from_raw_parts(start.as_ptr(), count) })
    }

    /// As many slots as are wished for, or as a limit of `bytes` and the settings allow beside what all others `held`,
    /// but two in any case.
    fn capacity_within(&self, class: Class, held: usize, wish: usize, bytes: usize) -> usize {
        let slot_bytes = class.shape().slot_bytes;
        debug_law!(
            held * slot_bytes <= self.place_bytes.get(),
            "the bytes of places are summed up"
        );
        let others = self.place_bytes.get() - held * slot_bytes;
        let bytes = bytes.min(settings::cache_bytes().saturating_sub(others));
        let most = (bytes / slot_bytes).clamp(2, MAX_CAPACITY);
        wish.clamp(FIRST_CAPACITY.min(most), most)
    }

    /// Counts that a magazine or outbox may hold `after` slots now.
    fn count_places(&self, class: Class, before: usize, after: usize) {
        let slot_bytes = class.shape().slot_bytes;
        self.place_bytes.set(self.place_bytes.get() - before * slot_bytes + after * slot_bytes);
    }
}
