//! Malloc's slow way: what a thread heap does when its magazine of a class is empty. (Or [`armed`](super::armed): then
//! it does what is due, and hands out what the magazine holds. Or the next slot is [marked](super::marks).)
//!
//! In this order: slots that were used before, of its own slabs or sent home by others; own slots that were never used;
//! a slab of a thread that ended; a new slab. Slots of other heaps that wait in the outbox are no supply: one that was
//! freed twice is recognised when it comes home, so it must come home before it is handed out. They are sent there when
//! there is nothing that was used before.

use super::class::Class;
use super::slab::Slab;
use super::slot::HandedOut;
use super::thread_heap::ThreadHeap;
use crate::base::fatal::debug_law;
use crate::settings;

impl ThreadHeap {
    /// Hands out a slot although the magazine is empty, or armed, or the next one is to be sampled.
    #[cold]
    #[inline(never)]
    pub(crate) fn refill(&'static self, class: Class) -> Option<HandedOut> {
        debug_law!(!self.is_nobody(), "nobody's heap is never written");
        // Of a slot that was not handed out after all, or by a thread that vanished in a fork, nobody has asked.
        self.fresh_slot.set(0);
        let marked = self.stack(class).hand_out_marked();
        let slot = if marked.is_some() { marked } else { self.refill_or_armed(class) };
        if class.is_large() {
            self.count_large();
        }
        slot
    }

    fn refill_or_armed(&'static self, class: Class) -> Option<HandedOut> {
        if self.stack(class).len() > 0 {
            self.count_armed();
        }
        self.keep_house();
        if self.stack(class).len() == 0 {
            self.enlarge_after_miss(class);
            self.list(class).has_missed.set(true);
            self.restock(class)?;
        }
        self.stack(class).hand_out()
    }

    /// Puts slots into an empty magazine. Those that were used before come first, lowest addresses first, wherever they
    /// are; then those that would make further pages resident.
    fn restock(&'static self, class: Class) -> Option<()> {
        let recycled = || self.recycled_slab(class);
        let recycled_after = |has_news| if has_news { recycled() } else { None };
        let slab = recycled()
            .or_else(|| recycled_after(self.drain()))
            // Some may be of slabs that were adopted meanwhile.
            .or_else(|| recycled_after(self.deliver(class)));
        if let Some(slab) = slab {
            self.take_from(slab, slab.recycled_count());
        } else {
            let slab = match self.list(class).listed.get() {
                Some(slab) => slab,
                None => self.another_slab(class)?,
            };
            self.take_from(slab, usize::MAX);
        }
        Some(())
    }

    /// Lists a slab of a thread that ended, or a new one.
    #[cold]
    fn another_slab(&'static self, class: Class) -> Option<&'static Slab> {
        // What a region is handed out lies in slabs that began in it.
        let is_apart = self.notes.is_on() || self.marks.is_every();
        let adopted = if is_apart { None } else { self.depot().adopt(self, class) };
        let slab = adopted.or_else(|| self.new_slab(class))?;
        self.list_new(slab);
        Some(slab)
    }

    fn new_slab(&'static self, class: Class) -> Option<&'static Slab> {
        let slots = self.wanted_slots(class);
        let (slab, is_fresh) = self.depot().new_slab(self.name(), class, slots)?;
        self.fresh_slot.set(if is_fresh && class.is_large() { slab.start() } else { 0 });
        Some(slab)
    }

    /// Takes up to `most` slots of a listed slab into the magazine, but no more than half of what that holds.
    fn take_from(&'static self, slab: &'static Slab, most: usize) {
        let class = slab.class();
        let stack = self.stack(class);
        let wanted = (stack.capacity() / 2).saturating_sub(stack.len()).min(most);
        if wanted > 0 && slab.is_empty() {
            self.uncount_empty(slab);
        }
        let count = slab.free_count().min(wanted);
        let mut raised = stack.raise(count);
        slab.take(count, |slot| raised.put(slot));
        raised.done();
        self.budget.give(class, count);
        self.note_live();
        if settings::random_slots() {
            stack.shuffle();
        }
        self.mark_newest(class, count);
        if !slab.has_free() {
            self.unlist(slab);
        }
    }
}
