//! The slabs of a thread heap: those with free slots listed, lowest addresses first, so that the others can empty; and
//! descriptors that wait for a slab.

use core::cell::Cell;

use super::class::Class;
use super::pool;
use super::slab::Slab;
use super::thread_heap::ThreadHeap;

/// Bytes of empty slabs that a heap keeps of each class.
const KEPT_EMPTY_BYTES: usize = 512 << 10;
/// How far a slab that gets its first free slot looks for its place in the list, which is in address order so far.
const SORT_STEPS: usize = 8;

/// What a heap has of one class beside its magazine.
#[derive(Debug)]
pub(super) struct ClassLists {
    /// Slabs with slots in their free words, lowest addresses first.
    pub(super) listed: Cell<Option<&'static Slab>>,
    /// How many of them are empty.
    pub(super) empty: Cell<usize>,
    /// Descriptors without a slab.
    pub(super) waiting: Cell<Option<&'static Slab>>,
}

impl ClassLists {
    /// No slabs.
    pub(super) const fn new() -> Self {
        Self { listed: Cell::new(None), empty: Cell::new(0), waiting: Cell::new(None) }
    }
}

impl ThreadHeap {
    /// Sees to a slab that got slots into its free words: it is listed (I3), and goes if it is one empty slab too many.
    pub(super) fn enlist(&'static self, slab: &'static Slab) {
        let lists = self.list(slab.class());
        if !slab.is_listed.get() {
            self.list_by_address(slab, lists);
        }
        if slab.is_empty() {
            let kept = KEPT_EMPTY_BYTES / slab.shape().slab_bytes;
            if lists.empty.get() < kept || self.is_retired.get() {
                lists.empty.update(|empty| empty + 1);
            } else {
                self.unlist(slab);
                pool::end_slab(slab);
                self.wait(slab);
            }
        }
    }

    /// Lists a slab that slots are going to be taken from at once.
    pub(super) fn list_new(&self, slab: &'static Slab) {
        let lists = self.list(slab.class());
        self.list_by_address(slab, lists);
        lists.empty.update(|empty| empty + usize::from(slab.is_empty()));
    }

    fn list_by_address(&self, slab: &'static Slab, lists: &ClassLists) {
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
        let (prev, next) = (slab.prev.take(), slab.next.take());
        match prev {
            Some(prev) => prev.next.set(next),
            None => self.list(slab.class()).listed.set(next),
        }
        if let Some(next) = next {
            next.prev.set(prev);
        }
        slab.is_listed.set(false);
    }

    /// Keeps a descriptor whose slab has ended.
    pub(super) fn wait(&self, slab: &'static Slab) {
        let waiting = self.waiting(slab.class());
        slab.next.set(waiting.replace(Some(slab)));
    }

    /// A descriptor that waits for a slab.
    pub(super) fn take_waiting(&self, class: Class) -> Option<&'static Slab> {
        let waiting = self.waiting(class);
        let slab = waiting.get()?;
        waiting.set(slab.next.take());
        Some(slab)
    }

    /// Puts a descriptor back that [`ThreadHeap::take_waiting`] gave.
    pub(super) fn put_back_waiting(&self, slab: &'static Slab) {
        self.wait(slab);
    }

    /// Gives a slab with free slots away; the caller holds the pool's lock and this heap is retired (I2).
    pub(super) fn give_slab(&'static self, class: Class) -> Option<&'static Slab> {
        let slab = self.list(class).listed.get()?;
        if slab.is_empty() {
            self.list(class).empty.update(|empty| empty - 1);
        }
        self.unlist(slab);
        Some(slab)
    }
}
