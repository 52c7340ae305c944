//! Threads that vanish in a fork, and what becomes of their heaps in the child: those of threads that ended.
//!
//! A vanished thread was in the middle of whatever it did with its own heap. Of that only this is relied on: the words
//! that say which slots are home, and the places below the top of a magazine. A slot may be in two of them, as each is
//! entered where it comes before it is taken out where it was, or in one that it has left long ago: so each is looked
//! up before it is put anywhere. And it may be in none: the one that a thread was just handing out or taking in is lost
//! to the child.
//!
//! No other heap was in the middle of anything, since the thread that forks has all locks. But their slabs may have
//! slots on the way home of which they were never told.

use super::class::Class;
use super::depot::Depot;
use super::slab::Slab;
use super::thread_heap::ThreadHeap;

impl Depot {
    /// After a fork, in the child: makes the heaps whose threads `has_vanished` those of threads that ended. Returns
    /// whether there are any. There is no other thread, and no other heap is in use at this moment. O(map + slots / 64
    /// + cached slots).
    pub(crate) fn take_over(
        &'static self,
        has_vanished: impl Fn(&'static ThreadHeap) -> bool,
    ) -> bool {
        let made = self.pool.lock().all_heaps();
        let vanished = || made.clone().filter(|heap| has_vanished(heap));
        let others = || made.clone().filter(|heap| !has_vanished(heap));
        if vanished().next().is_none() {
            return false;
        }
        // A thread may have vanished before it told the owner.
        made.clone().for_each(|heap| heap.notified.forget());
        self.pool.lock().descriptors.all().for_each(|slab| slab.notice.forget());
        vanished().for_each(ThreadHeap::forget_lists);
        others().for_each(|heap| heap.mark_cached(true));
        for slab in self.map.all() {
            let Some(owner) = slab.owner().map(ThreadHeap::named) else { continue };
            if has_vanished(owner) {
                slab.recount();
                owner.list_recounted(slab);
            } else {
                owner.collect_untold(slab);
            }
        }
        vanished().for_each(|heap| heap.send_vanished_home());
        others().for_each(|heap| heap.mark_cached(false));
        let mut pool = self.pool.lock();
        vanished().for_each(|heap| pool.retire(heap));
        true
    }

    /// Puts a slot home that a vanished thread had cached, unless it has come elsewhere.
    fn put_home(&self, address: usize) {
        let place = self.map.find_slot(address);
        if let Some((slab, index)) = place.filter(|(slab, index)| slab.is_nowhere(*index))
            && let Some(owner) = slab.owner()
        {
            let owner = ThreadHeap::named(owner);
            slab.put_found(index);
            owner.budget.take_back(slab.class(), 1);
            owner.enlist(slab);
        }
    }
}

impl ThreadHeap {
    /// Forgets its slabs, which are recounted and listed one by one.
    fn forget_lists(&'static self) {
        for class in Class::all() {
            self.list(class).listed.set(None);
            self.list(class).empty.set(0);
            self.list(class).count.set(0);
        }
        self.empty_bytes.set(0);
        self.round.end();
        self.budget.begin_anew(0);
    }

    /// Marks the slots in its caches, or unmarks them.
    fn mark_cached(&self, on: bool) {
        for class in Class::all() {
            self.stack(class).mark(on);
            self.outbox(class).mark(on);
        }
    }

    /// Takes in what others freed of an own slab, whether or not they have said so.
    fn collect_untold(&'static self, slab: &'static Slab) {
        if slab.has_news() {
            self.collect(slab);
        }
    }

    /// Lists a slab that was recounted, if it has free slots.
    fn list_recounted(&'static self, slab: &'static Slab) {
        self.slab_count(slab.class()).update(|count| count + 1);
        self.budget.give_of(slab);
        if slab.has_free() {
            self.enlist(slab);
        }
    }

    /// Sends home what is cached, and forgets the places and regions: the thread vanished perhaps while it moved a
    /// magazine, so that its ends do not belong together. What memory they had is lost to the child.
    fn send_vanished_home(&'static self) {
        for class in Class::all() {
            let (stack, outbox) = (self.stack(class), self.outbox(class));
            let addresses = stack.vanished_addresses().chain(outbox.addresses());
            addresses.for_each(|address| self.depot().put_home(address));
            stack.forget_places();
            outbox.forget_places();
        }
        self.large_bytes.set(0);
        self.forget_places_and_regions();
    }
}
