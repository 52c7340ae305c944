//! Making thread heaps, and vacating them: of a heap whose thread has ended, and of which nothing is left, the memory
//! waits for the next thread that needs a heap, and may go back meanwhile.

use super::class::Class;
use super::depot::{Depot, Pool};
use super::heap_cards::HeapCard;
use super::names::HeapName;
use super::place_runs::PlaceRun;
use super::thread_heap::ThreadHeap;
use crate::base::addr;
use crate::base::fatal::debug_law;

impl Depot {
    /// A heap that is nobody's: one that was vacated, or a new one.
    #[expect(unsafe_code, reason = "lays out a record in memory of its own")]
    pub(super) fn make_heap(&'static self, pool: &mut Pool) -> Option<&'static ThreadHeap> {
        let card = match pool.take_vacant() {
            Some(card) => card,
            None => pool.new_card(self)?,
        };
        let place = addr::pointer(card.piece.range().start)?.cast::<ThreadHeap>();
        // SAFETY: the memory was made for a heap, and nobody has it: it is zero, or as `give_up` has left it.
        unsafe { ThreadHeap::make_at(place, self, card) };
        card.set_vacant(false);
        // SAFETY: it was just initialised, and is never unmapped.
        Some(unsafe { place.as_ref() })
    }

    /// Takes the heap of a thread that ended, as [`Depot::retire_heap`] does, or vacates it if nothing is left of it.
    pub(super) fn retire_or_vacate(&self, heap: &'static ThreadHeap) {
        let mut pool = self.pool.lock();
        if heap.is_left() { pool.retire(heap) } else { pool.vacate(heap) }
    }
}

impl Pool {
    /// A vacant heap's card, whose memory is in use again.
    fn take_vacant(&mut self) -> Option<&'static HeapCard> {
        loop {
            let card = self.heaps.vacant?;
            self.heaps.vacant = card.next_vacant.take();
            if card.piece.use_again() {
                return Some(card);
            }
        }
    }

    /// The cards of all vacant heaps.
    pub(super) fn vacant_cards(&self) -> impl Iterator<Item = &'static HeapCard> {
        core::iter::successors(self.heaps.vacant, |card| card.next_vacant.get())
    }

    /// The card of a heap that is to be made.
    #[expect(unsafe_code, reason = "vouches for a heap's address")]
    fn new_card(&mut self, depot: &Depot) -> Option<&'static HeapCard> {
        let (len, align) = (size_of::<ThreadHeap>(), align_of::<ThreadHeap>());
        let piece = self.records.piece(&depot.heap, len, align)?;
        let start = addr::pointer(piece.range().start)?;
        // SAFETY: a heap is going to lie there, before anybody knows the name.
        let name = unsafe { HeapName::at(start.addr()) };
        // Number 0 is nobody's, so a key of zero bytes is no slab's.
        let number = self.heaps.count + 1;
        let card = HeapCard::new(name, number, piece, self.heaps.made);
        // Nobody looks before it is made.
        card.set_vacant(true);
        let card = self.records.keep(&depot.heap, card)?;
        (self.heaps.count, self.heaps.made) = (number, Some(card));
        Some(card)
    }

    /// Lets the memory of a heap wait that has no thread, and of which nothing is left.
    fn vacate(&mut self, heap: &'static ThreadHeap) {
        debug_law!(!heap.is_retired() && !heap.is_left(), "nobody needs it");
        let Some(card) = heap.card else { return };
        heap.give_up(|run| self.place_runs.put(run));
        card.set_vacant(true);
        card.piece.wait();
        card.next_vacant.set(self.heaps.vacant.replace(card));
    }
}

impl ThreadHeap {
    /// Whether something is left of a heap whose thread has ended.
    pub(super) fn is_left(&self) -> bool {
        let is_cached = |class| self.stack(class).len() > 0 || self.outbox(class).len() > 0;
        self.has_slabs()
            || self.notified.has_any()
            || self.held.get() != 0
            || self.outer.get().is_some()
            || self.inner.get().is_some()
            || Class::all().any(is_cached)
    }

    /// Makes it as new, and hands its runs of places to `give`.
    fn give_up(&self, give: impl FnMut(&'static PlaceRun)) {
        for class in Class::all() {
            self.stack(class).forget_places();
            self.outbox(class).forget_places();
            self.list(class).forget_use();
        }
        self.forget_places_and_regions();
        self.budget.begin_anew(0);
        self.round.end();
        self.was_empty.set(false);
        // Each is asked for the next one before it is handed on.
        let mut next = self.place_runs.take();
        core::iter::from_fn(|| {
            let run = next?;
            next = run.next.take();
            Some(run)
        })
        .for_each(give);
    }
}
