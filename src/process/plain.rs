//! The process heap without settings: small and large requests to slots, all others to the free list.
//!
//! The fast paths stand above, in [`malloc`](super::malloc) and [`free`](super::free), and end here where a thread's
//! caches do not suffice. What lies in no slab is the free list's affair.
//!
//! Locks, in their order: `shared` (the heap of threads without one of their own), then those of the depot.

use core::alloc::Layout;

use super::counting;
use super::sampling;
use super::thread;
use crate::base::addr;
use crate::base::lock::Lock;
use crate::heap::{Allocation, Misuse};
use crate::slabs::class::{Class, EVERY_SLOT_ALIGN};
use crate::slabs::depot::DEPOT;
use crate::slabs::slab::Slab;
use crate::slabs::slab::claim::SentSlot;
use crate::slabs::slab_map::SlabMap;
use crate::slabs::slot::{self, Refused};
use crate::slabs::thread_heap::ThreadHeap;

/// The process heap.
pub(crate) static PROCESS_HEAP: ProcessHeap = ProcessHeap { shared: Lock::new(None) };

/// The process heap: the depot's slabs and free list, and a heap for threads that have none.
#[derive(Debug)]
pub(crate) struct ProcessHeap {
    pub(super) shared: Lock<Option<&'static ThreadHeap>>,
}

impl ProcessHeap {
    /// Hands out a block, with what is known of its bytes.
    pub(crate) fn allocate(&self, layout: Layout) -> Option<Allocation> {
        self.allocate_once(layout).or_else(|| self.allocate_after_flush(layout))
    }

    /// Where there is no more memory, free slots that are cached may stand in the way of a run that would serve.
    #[cold]
    pub(super) fn allocate_after_flush(&self, layout: Layout) -> Option<Allocation> {
        if layout.size() > DEPOT.heap.stats().mapped {
            return None;
        }
        self.flush();
        self.allocate_once(layout)
    }

    fn allocate_once(&self, layout: Layout) -> Option<Allocation> {
        match Class::of_layout(layout) {
            Some(class) => self.allocate_slot(class, layout),
            None => self.allocate_from_list(layout),
        }
    }

    /// A block of the free list.
    fn allocate_from_list(&self, layout: Layout) -> Option<Allocation> {
        self.keep_house();
        let allocation = DEPOT.heap.allocate(layout)?;
        // Whom a region follows may begin with this block.
        let followed = if counting::is_following() { thread::current_or_new() } else { None };
        let heap = followed.unwrap_or_else(thread::current);
        let address = allocation.start.addr().get();
        heap.notes.note_block(address);
        if sampling::is_on() || counting::is_on_for(heap) {
            thread::inside(heap, |heap| sampling::sample_run(heap, address, layout.size()));
        }
        Some(allocation)
    }

    /// A slot of the layout's class, or where there is no memory for a slab perhaps a block of the free list.
    pub(super) fn allocate_slot(&self, class: Class, layout: Layout) -> Option<Allocation> {
        let take = |heap: &'static ThreadHeap| {
            counting::leave_if_over(heap);
            sampling::draw_if_due(heap);
            if let Some(slot) = heap.hand_out(class) {
                return Some((slot, false));
            }
            let slot = heap.refill(class)?.address(|address| {
                sampling::sample_slot(heap, address, class, layout.size());
            });
            Some((slot, heap.take_fresh(slot)))
        };
        let slot = match thread::current_or_new() {
            Some(heap) => thread::inside(heap, take),
            None => self.with_shared(take),
        };
        match slot {
            Some((slot, is_zero)) => Some(Allocation { start: addr::pointer(slot)?, is_zero }),
            None => self.allocate_from_list(layout),
        }
    }

    /// Lets `action` use the heap of threads that have none, if there is memory for one.
    #[cold]
    fn with_shared<R>(&self, action: impl FnOnce(&'static ThreadHeap) -> Option<R>) -> Option<R> {
        let mut shared = self.shared.lock();
        let heap = match *shared {
            Some(heap) => heap,
            None => *shared.insert(DEPOT.acquire_heap()?),
        };
        action(heap)
    }

    /// Takes the block at `address` back, which was asked for with this layout if the caller knows that: the whole
    /// check, as a value.
    pub(crate) fn release(&self, address: usize, layout: Option<Layout>) -> Result<(), Misuse> {
        let mut looks = Looks::new();
        while let Some(slab) = DEPOT.map.find(address) {
            let class = slab.class();
            check_slot(slab, class, address, layout)?;
            match slab.send(address, class) {
                Ok(slot) => {
                    self.with_heap(|heap| {
                        // The thread is here perhaps because its view does not cover the slab.
                        heap.renew_view();
                        heap.take_in(slot);
                    });
                    return Ok(());
                }
                Err(Refused::NotLive(slot::SAMPLED)) => match slab.end_sampled(address, class) {
                    Ok(ending) => return self.take_in_sampled(address, || ending.send()),
                    Err(refused) => looks.judge(refused, address, layout)?,
                },
                Err(refused) => looks.judge(refused, address, layout)?,
            }
        }
        // Noted first: once it is free the address may be another thread's.
        let heap = thread::current();
        heap.notes.note_free(address);
        let ended = sampling::end_run(heap, address);
        let released = DEPOT.heap.release(address, size_of_layout(layout));
        sampling::settle_run(ended, released.is_ok());
        released
    }

    /// Takes a block back that the profile knows, and that nobody else can free: its record ends, and then it is sent.
    pub(super) fn take_in_sampled(
        &self,
        address: usize,
        send: impl FnOnce() -> Option<SentSlot>,
    ) -> Result<(), Misuse> {
        let is_marked = sampling::end(thread::current(), address);
        let slot = send().ok_or_else(|| Misuse::frees_raced(address))?;
        self.with_heap(|heap| {
            heap.renew_view();
            heap.take_in_sampled(slot, is_marked);
        });
        Ok(())
    }

    /// Lets `action` use the calling thread's heap, or the shared one. Without memory for either nothing is done: a
    /// slot stays free then, and is lost.
    pub(super) fn with_heap(&self, action: impl FnOnce(&'static ThreadHeap)) {
        match thread::current_or_new() {
            Some(heap) => thread::inside(heap, action),
            None => {
                let _ = self.with_shared(|heap| {
                    action(heap);
                    Some(())
                });
            }
        }
    }

    /// Whether a free of `address` with this layout would be accepted.
    #[inline]
    pub(crate) fn validate(&self, address: usize, layout: Option<Layout>) -> Result<(), Misuse> {
        let Some(slab) = DEPOT.map.find(address) else {
            return DEPOT.heap.validate_address(address, size_of_layout(layout));
        };
        let index = check_slot(slab, slab.class(), address, layout)?;
        match slab.state_now(index) {
            slot::LIVE | slot::SAMPLED => Ok(()),
            state => Err(not_live(address, layout, state)),
        }
    }

    /// The bytes that the block at `address` has.
    pub(crate) fn usable_size(&self, address: usize) -> Option<usize> {
        match DEPOT.map.find(address) {
            Some(slab) => {
                let index = slab.slot_index(address)?;
                slab.is_live(index).then_some(slab.shape().slot_bytes)
            }
            None => DEPOT.heap.usable_size_at(address),
        }
    }

    /// Lets blocks and records take no more than `bytes`.
    pub(crate) fn set_limit(&self, bytes: usize) {
        DEPOT.heap.set_limit(SlabMap::share_left_of(bytes));
    }

    /// Sends the calling thread's cached slots home and ends its empty slabs, and those of threads that ended.
    pub(crate) fn flush(&self) {
        let flush = |heap: &'static ThreadHeap| {
            heap.flush_and_end_slabs();
            Some(())
        };
        if let Some(heap) = thread::current_or_new() {
            thread::inside(heap, flush);
        }
        if self.shared.lock().is_some() {
            let _ = self.with_shared(flush);
        }
        DEPOT.tidy_retired();
    }

    /// Does what is due for the calling thread's heap; for the shared one, if it uses that. Returns the bytes of the
    /// free list that went back, and whether something may go back later.
    pub(super) fn keep_house(&self) -> (usize, bool) {
        let keep = |heap: &'static ThreadHeap| (heap.keep_house(), heap.has_waiting());
        let heap = thread::current();
        if !heap.is_nobody() {
            thread::inside(heap, keep)
        } else if let Some(shared) = self.shared.try_lock()
            && let Some(heap) = *shared
        {
            keep(heap)
        } else {
            (0, true)
        }
    }
}

/// How often an address is looked at again. A wrong free by another thread may have found the slot's state byte through
/// a descriptor that served another slab before, and is about to put it back.
pub(super) struct Looks(u32);

impl Looks {
    /// Each gives the processor away.
    const MOST: u32 = 64;

    pub(super) const fn new() -> Self {
        Self(0)
    }

    /// Waits if there is any use in looking again, or says what is wrong.
    #[cold]
    pub(super) fn judge(
        &mut self,
        refused: Refused,
        address: usize,
        layout: Option<Layout>,
    ) -> Result<(), Misuse> {
        let (state, may_change) = match refused {
            Refused::NotLive(state) => (state, slot::may_change(state)),
            Refused::NoSlot | Refused::Moved => (slot::FREE, true),
        };
        self.0 += 1;
        if !may_change || self.0 >= Self::MOST {
            return Err(not_live(address, layout, state));
        }
        rustix::thread::sched_yield();
        Ok(())
    }
}

fn size_of_layout(layout: Option<Layout>) -> Option<usize> {
    layout.map(|layout| layout.size())
}

/// The number of the slot at `address`, if it is the start of one, and its slab's class that of this layout.
///
/// Always in place: as a call it costs every realloc ten instructions.
#[inline(always)]
pub(super) fn check_slot(
    slab: &Slab,
    class: Class,
    address: usize,
    layout: Option<Layout>,
) -> Result<usize, Misuse> {
    let Some(index) = slab.slot_index(address) else { return Err(interior(slab, address, layout)) };
    match layout {
        Some(layout) if Class::of_layout(layout) != Some(class) => {
            Err(wrong_class(slab, index, address, layout))
        }
        _ => Ok(index),
    }
}

/// What is wrong with a free of the slot at `address`, whose state byte was found to be `state`.
#[cold]
pub(super) fn not_live(address: usize, layout: Option<Layout>, state: u8) -> Misuse {
    let size = size_of_layout(layout);
    if state == slot::BUSY {
        return Misuse::in_realloc(address, size);
    }
    let place = DEPOT.map.find_slot(address);
    if place.is_some_and(|(slab, index)| !slab.was_freed(index, state)) {
        Misuse::unallocated(address, size)
    } else {
        Misuse::double_free(address, size)
    }
}

#[cold]
fn wrong_class(slab: &Slab, index: usize, address: usize, layout: Layout) -> Misuse {
    if slab.is_live(index) {
        Misuse::wrong_size(address, Some(layout.size()), slab.shape().slot_bytes)
    } else {
        not_live(address, Some(layout), slab.state_now(index))
    }
}

/// An address in a slab that is not the start of a slot.
#[cold]
fn interior(slab: &Slab, address: usize, layout: Option<Layout>) -> Misuse {
    let size = size_of_layout(layout);
    let slot = slab.slot_with(address).filter(|(index, _)| slab.is_live(*index));
    let block = slot.map(|(index, _)| (slab.slot_start(index), slab.shape().slot_bytes));
    match block {
        _ if !address.is_multiple_of(EVERY_SLOT_ALIGN) => Misuse::misaligned(address, size, block),
        Some(block) => Misuse::interior(address, size, block),
        None => Misuse::unallocated(address, size),
    }
}
