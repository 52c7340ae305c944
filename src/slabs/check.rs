//! The laws of a thread heap, and of what waits in the pool: what lists, counts and sums say is so.

use super::class::{CLASS_PLACES, Class};
use super::depot::Pool;
use super::slab::Slab;
use super::slot::SENT;
use super::thread_heap::ThreadHeap;
use crate::base::law::{BrokenLaw, law};

/// What a heap's slabs of a class ought to sum up to.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// Slabs, those of all large classes together.
    count: usize,
    /// Slabs with free slots.
    listed: usize,
    /// Slabs without other slots.
    empty: usize,
}

/// What a heap has bytes of.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Bytes {
    /// Slots that magazines and outboxes may hold, and of those the small ones of magazines.
    places: usize,
    small_places: usize,
    /// Empty slabs.
    empty: usize,
    /// Small slots that are not in the free words.
    given: usize,
}

impl Pool {
    /// Checks the laws of what waits, and of its memory. O(chunks + descriptors that wait).
    ///
    /// # Errors
    ///
    /// The first law found broken, and the address of the record or its page.
    pub(crate) fn check(&self) -> Result<(), BrokenLaw> {
        self.records.check()?;
        for slab in self.descriptors.all() {
            let is_spare = slab.start() == 0 && !slab.is_listed.get();
            law(is_spare, "a descriptor that waits has no slab", slab.name().number())?;
        }
        let mut vacant = self.vacant_cards();
        vacant.try_for_each(|card| {
            law(card.is_vacant(), "what waits for a thread is vacant", card.heap.number())
        })
    }
}

impl ThreadHeap {
    /// Checks every law of the heap and of its slabs. The caller is its thread, or holds the lock that stands for it;
    /// no slab of one slot changes its class meanwhile. O(map + slots).
    ///
    /// # Errors
    ///
    /// The first law found broken, and the address of the slab, slot or heap that breaks it.
    pub(crate) fn check(&'static self) -> Result<(), BrokenLaw> {
        let (mut sums, mut bytes) = ([Sums::default(); CLASS_PLACES], Bytes::default());
        for slab in self.depot().map.all().filter(|slab| self.owns(slab)) {
            let (class, start) = (slab.class(), slab.start());
            slab.check()?;
            law(slab.key() == self.key(class), "a slab's key names its owner and class", start)?;
            let is_listed = slab.is_listed.get();
            law(is_listed == slab.has_free(), "a slab is listed if it has free slots (I3)", start)?;
            sums[class.descriptor_index()].count += 1;
            sums[class.index()].listed += usize::from(is_listed);
            if slab.is_empty() {
                sums[class.index()].empty += 1;
                bytes.empty += slab.slab_bytes();
            }
            if !class.is_large() {
                bytes.given += slab.given_count() * class.shape().slot_bytes;
            }
        }
        for class in Class::all() {
            self.check_lists(class, sums[class.index()])?;
            let (stack, outbox) = (self.stack(class), self.outbox(class));
            let stack_bytes = stack.capacity() * class.shape().slot_bytes;
            bytes.places += stack_bytes + outbox.capacity() * class.shape().slot_bytes;
            bytes.small_places += if class.is_large() { 0 } else { stack_bytes };
            law(stack.are_marks_hidden(), "marked slots are counted and hidden", stack_bytes)?;
            self.check_slots(class, stack.addresses(), true)?;
            self.check_slots(class, outbox.addresses(), false)?;
        }
        let name = self.name().number();
        let summed_up = Bytes {
            places: self.place_bytes.get(),
            small_places: self.small_place_bytes.get(),
            empty: self.empty_bytes.get(),
            given: self.budget.given_bytes(),
        };
        law(summed_up == bytes, "bytes of places and slots are summed up (I4)", name)?;
        law(
            self.large_bytes.get() == self.cached_bytes_of(Class::all_large()),
            "so are those of large slots (I4)",
            name,
        )
    }

    /// Checks the lists of a class.
    fn check_lists(&'static self, class: Class, sums: Sums) -> Result<(), BrokenLaw> {
        let (lists, name) = (self.list(class), self.name().number());
        if class.index() == class.descriptor_index() {
            let count = self.slab_count(class).get();
            law(count == sums.count, "the slabs are counted (I4)", name)?;
        }
        law(lists.empty.get() == sums.empty, "the empty slabs are counted (I4)", name)?;
        let (mut before, mut next, mut listed) = (None::<&'static Slab>, lists.listed.get(), 0);
        while let Some(slab) = next {
            let start = slab.start();
            listed += 1;
            law(listed <= sums.listed, "a slab is listed once (I3)", start)?;
            law(
                self.owns(slab) && slab.class() == class,
                "a list has own slabs of a class",
                start,
            )?;
            let is_linked = slab.prev.get().map(Slab::name) == before.map(Slab::name);
            law(is_linked, "a list is linked both ways", start)?;
            (before, next) = (Some(slab), slab.next.get());
        }
        law(listed == sums.listed, "every slab with free slots is listed (I3)", name)?;
        Ok(())
    }

    /// Checks the slots at these addresses, which a magazine of a class holds, of own slabs, or an outbox, of others'.
    fn check_slots(
        &'static self,
        class: Class,
        addresses: impl Iterator<Item = usize>,
        is_own: bool,
    ) -> Result<(), BrokenLaw> {
        for address in addresses {
            let place = self.depot().map.find_slot(address);
            law(place.is_some(), "what is cached is a slot", address)?;
            let Some((slab, index)) = place else { continue };
            law(slab.class() == class, "a slot is cached with others of its class", address)?;
            law(!slab.is_live(index), "what is cached is not live (I1)", address)?;
            law(!slab.is_in_free_words(index), "a slot is in one place (I1)", address)?;
            let is_sent = slab.state_now(index) == SENT;
            law(is_sent != is_own, "what is in an outbox was sent, and nothing else", address)?;
            law(!is_own || self.owns(slab), "a magazine has slots of own slabs", address)?;
        }
        Ok(())
    }
}
