//! The slabs of a thread heap: those with free slots listed, lowest addresses first, so that the others can empty.

use super::class::{Class, FEW_SLABS};
use super::class_lists::ClassLists;
use super::slab::Slab;
use super::sync::Cell;
use super::thread_heap::ThreadHeap;
use crate::base::fatal::debug_law;

/// How far a slab that gets its first free slot looks for its place in the list, which is in address order so far.
const SORT_STEPS: usize = 8;

impl ThreadHeap {
    /// Lists a slab that got slots into its free words (I3), or ends it if it is one empty slab too many.
    pub(super) fn enlist(&'static self, slab: &'static Slab) {
        debug_law!(self.owns(slab), "a heap lists its own slabs");
        debug_law!(slab.has_free(), "a slab with free slots is listed (I3)");
        let lists = self.list(slab.class());
        if !slab.is_listed.get() {
            self.list_by_address(slab, lists);
        }
        if slab.is_empty() {
            let bytes = self.empty_bytes.get() + slab.slab_bytes();
            let is_kept = !slab.class().is_large() && bytes <= self.budget.most_empty();
            if is_kept || self.is_retired() {
                self.count_empty(slab);
            } else {
                self.unlist(slab);
                self.uncount(slab);
                self.depot().end_slab(slab);
            }
        }
    }

    /// Counts a listed slab that has become empty.
    fn count_empty(&self, slab: &Slab) {
        self.list(slab.class()).empty.update(|empty| empty + 1);
        self.empty_bytes.update(|bytes| bytes + slab.slab_bytes());
    }

    /// Counts a listed slab that was empty, and is about to be used or to end.
    pub(super) fn uncount_empty(&self, slab: &Slab) {
        let lists = self.list(slab.class());
        let left = lists.empty.get() - 1;
        lists.empty.set(left);
        lists.least_empty.set(lists.least_empty.get().min(left));
        self.empty_bytes.update(|bytes| bytes - slab.slab_bytes());
    }

    /// A listed slab with free slots that were used before: the first one, or the one behind it if that is new.
    pub(super) fn recycled_slab(&self, class: Class) -> Option<&'static Slab> {
        let first = self.list(class).listed.get()?;
        [Some(first), first.next.get()].into_iter().flatten().find(|slab| slab.recycled_count() > 0)
    }

    /// How many slots the next slab of a class ought to have.
    pub(super) fn wanted_slots(&self, class: Class) -> usize {
        let [few, many] = class.shape().slots;
        (if self.slab_count(class).get() < FEW_SLABS { few } else { many }) as usize
    }

    /// How many slabs of a class it has, listed or not. Those of all large classes are counted together, since a slab
    /// of one slot may change its class.
    pub(super) fn slab_count(&self, class: Class) -> &Cell<usize> {
        &self.lists[class.descriptor_index()].count
    }

    /// Whether it has any slabs.
    pub(crate) fn has_slabs(&self) -> bool {
        self.lists.iter().any(|lists| lists.count.get() > 0)
    }

    /// Lists a slab that has become this heap's; slots are going to be taken from it at once.
    pub(super) fn list_new(&'static self, slab: &'static Slab) {
        self.renew_view();
        debug_law!(self.owns(slab), "a heap lists its own slabs");
        debug_law!(slab.has_free(), "a slab with free slots is listed (I3)");
        let lists = self.list(slab.class());
        self.slab_count(slab.class()).update(|count| count + 1);
        self.list_by_address(slab, lists);
        self.budget.give_of(slab);
        if slab.is_empty() {
            self.count_empty(slab);
        }
    }

    fn list_by_address(&self, slab: &'static Slab, lists: &ClassLists) {
        debug_law!(!slab.is_listed.get(), "a slab is listed once");
        let (mut before, mut behind) = (None::<&'static Slab>, lists.listed.get());
        for _ in 0..SORT_STEPS {
            match behind {
                Some(other) if other.start() < slab.start() => {
                    (before, behind) = (behind, other.next.get());
                }
                _ => break,
            }
        }
        slab.prev.set(before);
        slab.next.set(behind);
        match before {
            Some(before) => before.next.set(Some(slab)),
            None => lists.listed.set(Some(slab)),
        }
        if let Some(behind) = behind {
            behind.prev.set(Some(slab));
        }
        slab.is_listed.set(true);
    }

    /// Takes a slab out of the list of its class.
    pub(super) fn unlist(&self, slab: &'static Slab) {
        debug_law!(slab.is_listed.get(), "it is listed");
        let (prev, next) = (slab.prev.take(), slab.next.take());
        match prev {
            Some(prev) => prev.next.set(next),
            None => self.list(slab.class()).listed.set(next),
        }
        if let Some(next) = next {
            next.prev.set(prev);
        }
        slab.is_listed.set(false);
        self.round.leave_out(slab, next);
    }

    /// Counts that a slab is about to end, or to become another heap's.
    fn uncount(&self, slab: &Slab) {
        self.slab_count(slab.class()).update(|count| count - 1);
    }

    /// Gives a slab with free slots away; the caller holds the pool's lock and this heap is retired (I2).
    pub(super) fn give_slab(&'static self, class: Class) -> Option<&'static Slab> {
        debug_law!(self.is_retired(), "a running thread keeps its slabs (I2)");
        let slab = self.list(class).listed.get()?;
        if slab.is_empty() {
            self.uncount_empty(slab);
        }
        self.unlist(slab);
        self.uncount(slab);
        self.budget.take_back_of(slab);
        Some(slab)
    }

    /// Takes all empty slabs out of the lists, and ends each with `end`.
    pub(crate) fn end_empty_slabs(&'static self, mut end: impl FnMut(&'static Slab)) {
        for class in Class::all() {
            self.end_empty_slabs_of(class, usize::MAX, &mut end);
        }
    }

    /// Ends the empty slabs that were of no use in the last period.
    pub(super) fn end_unused_slabs(&'static self) {
        for class in Class::all() {
            let lists = self.list(class);
            self.end_empty_slabs_of(class, lists.least_empty.get(), |slab| {
                self.depot().end_slab(slab);
            });
            let empty = lists.empty.get();
            // Not written where it is that already: most classes are never used.
            if lists.least_empty.get() != empty {
                lists.least_empty.set(empty);
            }
        }
    }

    /// Takes up to `most` empty slabs of a class out of the list.
    fn end_empty_slabs_of(
        &'static self,
        class: Class,
        most: usize,
        mut end: impl FnMut(&'static Slab),
    ) {
        let lists = self.list(class);
        let (mut left, mut next) = (most.min(lists.empty.get()), lists.listed.get());
        while left > 0
            && let Some(slab) = next
        {
            next = slab.next.get();
            if slab.is_empty() {
                left -= 1;
                self.uncount_empty(slab);
                self.unlist(slab);
                self.uncount(slab);
                end(slab);
            }
        }
    }

    /// Takes free slots of a listed slab out of use for good: their memory is not there any more.
    pub(crate) fn lose(&self, slab: &'static Slab, first: usize, count: usize) {
        if slab.is_empty() {
            self.uncount_empty(slab);
        }
        slab.lose(first, count);
        self.budget.give(slab.class(), count);
        if !slab.has_free() {
            self.unlist(slab);
        }
    }
}
