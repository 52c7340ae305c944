//! The process heap without settings: small and large requests to slots, all others to the free list.
//!
//! The fast paths stand above, in [`malloc`](super::malloc) and [`free`](super::free), and end here where a thread's
//! caches do not suffice. What lies in no slab is the free list's affair.
//!
//! Locks, in their order: `shared` (the heap of threads without one of their own), then those of the depot.

use core::sync::atomic::{AtomicU8, Ordering};

use super::thread;
use crate::base::addr;
use crate::base::clock;
use crate::base::lock::Lock;
use crate::heap::{Allocation, Misuse, MisuseKind};
use crate::slabs::class::Class;
use crate::slabs::depot::DEPOT;
use crate::slabs::magazine::Entry;
use crate::slabs::slab::{LIVE, Slab};
use crate::slabs::slab_map::SlabMap;
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
    pub(crate) fn allocate(&self, size: usize, align: usize) -> Option<Allocation> {
        self.allocate_once(size, align).or_else(|| self.allocate_after_flush(size, align))
    }

    /// Where there is no more memory, free slots that are cached may stand in the way of a run that would serve.
    #[cold]
    pub(super) fn allocate_after_flush(&self, size: usize, align: usize) -> Option<Allocation> {
        if size > DEPOT.heap.stats().mapped {
            return None;
        }
        self.flush();
        self.allocate_once(size, align)
    }

    fn allocate_once(&self, size: usize, align: usize) -> Option<Allocation> {
        match Class::of_any(size, align) {
            Some(class) => self.allocate_slot(class, size, align),
            None => self.allocate_from_list(size, align),
        }
    }

    /// A block of the free list.
    fn allocate_from_list(&self, size: usize, align: usize) -> Option<Allocation> {
        self.flush_idle_caches();
        let allocation = DEPOT.heap.allocate(size, align)?;
        thread::current().notes.note_block(allocation.start.addr().get());
        Some(allocation)
    }

    pub(super) fn allocate_slot(
        &self,
        class: Class,
        size: usize,
        align: usize,
    ) -> Option<Allocation> {
        let take = |heap: &'static ThreadHeap| match heap.hand_out(class) {
            Some(slot) => Some((slot, false)),
            None => heap.refill(class).map(|slot| (slot, heap.take_fresh(slot))),
        };
        let slot = match thread::current_or_new() {
            Some(heap) => take(heap),
            None => self.with_shared(take),
        };
        match slot {
            Some((slot, is_zero)) => Some(Allocation { start: addr::pointer(slot)?, is_zero }),
            // No memory for a slab, but perhaps for a block.
            None => self.allocate_from_list(size, align),
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

    /// Takes the block at `address` back, which was asked for with this size and alignment if the caller knows them:
    /// the whole check, as a value.
    pub(crate) fn release(
        &self,
        address: usize,
        layout: Option<(usize, usize)>,
    ) -> Result<(), Misuse> {
        let size = layout.map(|(size, _)| size);
        let Some(slab) = DEPOT.map.find(address) else {
            // Noted first: once it is free the address may be another thread's.
            thread::current().notes.note_free(address);
            return DEPOT.heap.release(address, size);
        };
        let entry = claim(slab, address, layout)?;
        self.with_heap(|heap| heap.take_in(slab, entry));
        Ok(())
    }

    /// Lets `action` use the calling thread's heap, or the shared one. Without memory for either nothing is done: a
    /// slot stays free then, and is lost.
    pub(super) fn with_heap(&self, action: impl FnOnce(&'static ThreadHeap)) {
        match thread::current_or_new() {
            Some(heap) => action(heap),
            None => {
                let _ = self.with_shared(|heap| {
                    action(heap);
                    Some(())
                });
            }
        }
    }

    /// Whether a free of `address` with this size and alignment would be accepted.
    pub(crate) fn validate(
        &self,
        address: usize,
        layout: Option<(usize, usize)>,
    ) -> Result<(), Misuse> {
        match DEPOT.map.find(address) {
            Some(slab) => check_slot(slab, address, layout).and_then(|state| {
                if state.load(Ordering::Relaxed) == LIVE {
                    Ok(())
                } else {
                    Err(not_live(address, layout))
                }
            }),
            None => DEPOT.heap.validate_address(address, layout.map(|(size, _)| size)),
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

    /// Makes the block at `address` serve another size where it is. `false` where it cannot.
    pub(crate) fn resize(
        &self,
        address: usize,
        old: (usize, usize),
        new_size: usize,
    ) -> Result<bool, Misuse> {
        if let Some(slab) = DEPOT.map.find(address) {
            self.validate(address, Some(old))?;
            let new = Class::of_any(new_size, old.1);
            return Ok(match new {
                Some(class) if class == slab.class() => true,
                Some(class) if class.is_large() && slab.class().is_large() => {
                    DEPOT.resize_slab(slab, class)
                }
                _ => false,
            });
        }
        if Class::of_any(new_size, old.1).is_some() && Class::of_any(old.0, old.1).is_none() {
            // What has become so small moves to a slot, so that the run is free as a whole.
            DEPOT.heap.validate_address(address, Some(old.0))?;
            return Ok(false);
        }
        DEPOT.heap.resize(address, Some(old.0), new_size)
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
            flush(heap);
        }
        if self.shared.lock().is_some() {
            let _ = self.with_shared(flush);
        }
        DEPOT.tidy_retired();
    }

    /// As [`ThreadHeap::flush_if_idle`], for the calling thread's heap, or the one that it shares with others.
    fn flush_idle_caches(&self) {
        let heap = thread::current();
        if !heap.is_nobody() {
            heap.flush_if_idle(clock::milliseconds());
        } else if let Some(shared) = self.shared.try_lock()
            && let Some(heap) = *shared
        {
            heap.flush_if_idle(clock::milliseconds());
        }
    }
}

/// The state byte of the slot at `address`, if it is the start of one of this layout's class.
#[inline]
fn check_slot(
    slab: &'static Slab,
    address: usize,
    layout: Option<(usize, usize)>,
) -> Result<&'static AtomicU8, Misuse> {
    let Some(state) = slab.state_at(address) else { return Err(interior(slab, address, layout)) };
    match layout {
        Some((size, align)) if Class::of_any(size, align) != Some(slab.class()) => {
            Err(wrong_class(slab, state, address, layout))
        }
        _ => Ok(state),
    }
}

/// Makes the slot at `address` free, if it is live and of this layout's class.
#[inline]
fn claim(
    slab: &'static Slab,
    address: usize,
    layout: Option<(usize, usize)>,
) -> Result<Entry, Misuse> {
    check_slot(slab, address, layout)?;
    match slab.take_back(address) {
        Some(state) => Ok(Entry::new(address, state)),
        None => Err(not_live(address, layout)),
    }
}

#[cold]
pub(super) fn not_live(address: usize, layout: Option<(usize, usize)>) -> Misuse {
    let size = layout.map(|(size, _)| size);
    Misuse { kind: MisuseKind::DoubleFree, address, size, block: None }
}

#[cold]
fn wrong_class(
    slab: &Slab,
    state: &AtomicU8,
    address: usize,
    layout: Option<(usize, usize)>,
) -> Misuse {
    if state.load(Ordering::Relaxed) != LIVE {
        return not_live(address, layout);
    }
    let (size, block) = (layout.map(|(size, _)| size), Some((address, slab.shape().slot_bytes)));
    Misuse { kind: MisuseKind::WrongSize, address, size, block }
}

/// An address in a slab that is not the start of a slot.
#[cold]
fn interior(slab: &Slab, address: usize, layout: Option<(usize, usize)>) -> Misuse {
    let size = layout.map(|(size, _)| size);
    let slot = slab.slot_with(address).filter(|(index, _)| slab.is_live(*index));
    let block = slot.map(|(index, _)| (slab.slot_start(index), slab.shape().slot_bytes));
    let kind = match block {
        _ if !address.is_multiple_of(8) => MisuseKind::Misaligned,
        Some(_) => MisuseKind::Interior,
        None => MisuseKind::DoubleFree,
    };
    Misuse { kind, address, size, block }
}
