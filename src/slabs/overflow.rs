//! Free's slow ways: what a thread heap does with a slot for which a cache has no place.

use super::class::Class;
use super::large::LARGE_BYTES;
use super::raced::stop_raced;
use super::slab::claim::SentSlot;
use super::slot::FreeSlot;
use super::thread_heap::ThreadHeap;
use crate::base::fatal::debug_law;

impl ThreadHeap {
    /// Takes in a slot that was freed as one of another heap's slab. By now that may be an own one.
    pub(crate) fn take_in(&'static self, slot: SentSlot) {
        debug_law!(!self.is_nobody(), "nobody's heap is never written");
        let (class, address) = (slot.slab().class(), slot.address());
        if slot.slab().key() != self.key(class) {
            return self.post(class, slot);
        }
        match slot.come_home() {
            Some(slot) => self.take_in_own(class, slot),
            None => stop_raced(address),
        }
    }

    /// Takes in a free slot of an own slab.
    pub(crate) fn take_in_own(&'static self, class: Class, slot: FreeSlot) {
        if let Err(slot) = self.push(class, slot) {
            self.overflow(class, slot);
        }
    }

    /// Takes in a slot of an own slab although the magazine is full.
    #[cold]
    #[inline(never)]
    pub(crate) fn overflow(&'static self, class: Class, slot: FreeSlot) {
        debug_law!(!self.is_nobody(), "nobody's heap is never written");
        self.make_room_for(class, slot);
        self.keep_house_after_free();
    }

    fn make_room_for(&'static self, class: Class, slot: FreeSlot) {
        let (magazine, stack) = (self.magazine(class), self.stack(class));
        if self.list(class).has_missed.replace(false) || stack.capacity() == 0 {
            self.enlarge(class);
        }
        if class.is_large() {
            return self.overflow_large(class, slot);
        }
        let is_marked = slot.is_marked();
        let left = magazine.push(slot).or_else(|slot| {
            self.send_home(class, stack.capacity().div_ceil(2));
            magazine.push(slot)
        });
        self.settle(class, left, is_marked);
    }

    /// Does what is left to do with a slot for which there was to be a place.
    fn settle(&'static self, class: Class, left: Result<(), FreeSlot>, is_marked: bool) {
        match left {
            Ok(()) if is_marked => self.stack(class).count_newest_marked(),
            Ok(()) => {}
            // Where there is no memory for any places, it goes home, too.
            Err(slot) => self.put_one(slot.marked(false)),
        }
    }

    /// Takes in a slot that was freed as one that the profile knows, of another heap's slab or an own one. In a
    /// magazine the next block there is sampled as well if it `is_marked`; that is drawn where nobody knows.
    pub(crate) fn take_in_sampled(&'static self, slot: SentSlot, is_marked: Option<bool>) {
        let (class, address) = (slot.slab().class(), slot.address());
        if slot.slab().key() != self.key(class) {
            return self.post(class, slot);
        }
        let Some(slot) = slot.come_home() else { return stop_raced(address) };
        let draw = || self.marks.draw_one(class.shape().slot_bytes);
        let is_marked = self.marks.is_every() || is_marked.unwrap_or_else(draw);
        match self.push(class, slot.marked(is_marked)) {
            Ok(()) if is_marked => self.stack(class).count_newest_marked(),
            Ok(()) => {}
            Err(slot) => self.overflow(class, slot),
        }
    }

    /// Takes in a slot of another heap's slab.
    #[inline(never)]
    fn post(&'static self, class: Class, slot: SentSlot) {
        let outbox = self.outbox(class);
        let Err(slot) = outbox.push(slot) else { return };
        if !self.deliver(class) {
            self.open_outbox(class);
        }
        if let Err(slot) = outbox.push(slot) {
            self.send_one(&slot);
        }
        self.keep_house_after_free();
    }

    /// Sends large slots home until half of what a thread may keep is left, those of `spared` last.
    fn shrink_large(&'static self, spared: Class) {
        let others = || Class::all_large().filter(|class| *class != spared);
        for class in others().chain([spared]) {
            if self.large_bytes.get() <= LARGE_BYTES / 2 {
                break;
            }
            self.send_home(class, self.stack(class).len());
            self.count_large();
        }
    }

    /// Takes in a large slot although the magazine is full: slots of other sizes make room first.
    fn overflow_large(&'static self, class: Class, slot: FreeSlot) {
        self.shrink_large(class);
        let stack = self.stack(class);
        if stack.len() == stack.capacity() {
            self.send_home(class, stack.capacity().div_ceil(2));
            self.count_large();
        }
        let is_marked = slot.is_marked();
        self.settle(class, self.push(class, slot), is_marked);
    }
}
