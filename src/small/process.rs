//! The process heap: small requests to magazines and slabs, all others to the free list.
//!
//! The paths of one block: [`Process::malloc`] pops a slot off the calling thread's magazine; if it is empty, the
//! thread's heap refills it. [`Process::free`] finds the slab of the address in the owner table, the slot by one
//! multiplication, swaps its state byte, and pushes it onto the magazine; a slot of another heap's slab goes to the
//! outbox. What lies in no slab is the free list's affair.
//!
//! Locks, in their order: `shared` (the heap of threads without one of their own), `pool`, then those of the heap below.

use core::ptr;
use core::sync::atomic::{AtomicU8, Ordering};

use super::class::Class;
use super::magazine::Entry;
use super::owners::Owners;
use super::pool::{self, Pool};
use super::slab::{FREE, LIVE, Slab};
use super::thread;
use super::thread_heap::ThreadHeap;
use crate::base::lock::Lock;
use crate::base::os::System;
use crate::base::{addr, fatal};
use crate::heap::{Allocation, Heap, Misuse, MisuseKind};

/// Every slot is aligned to this, the largest alignment for which the class depends on the size alone.
const EVERY_SLOT_ALIGN: usize = 8;

/// What the process heap reserves at first: 1/8 of the addresses a process has.
const RESERVATION: usize = 16 << 40;

/// The process heap. A debugger finds everything from here.
#[used]
pub(crate) static PROCESS: Process = Process {
    heap: Heap::with_os(System, RESERVATION),
    owners: Owners::new(),
    pool: Lock::new(Pool::new()),
    shared: Lock::new(None),
};

/// The process heap.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) heap: Heap<System>,
    pub(crate) owners: Owners,
    pub(super) pool: Lock<Pool>,
    pub(super) shared: Lock<Option<&'static ThreadHeap>>,
}

/// A slot that somebody frees, found and claimed.
struct Freed {
    slab: &'static Slab,
    entry: Entry,
}

/// Sends everything home and retires the heap of a thread that ends.
#[cfg(feature = "std")]
pub(super) fn retire(heap: &'static ThreadHeap) {
    heap.flush();
    heap.end_empty_slabs(pool::end_slab);
    pool::retire_heap(heap);
}

impl Process {
    /// Hands out `size` bytes aligned to `align`, a power of two: their start, or null.
    ///
    /// The fast path of the whole allocator: about ten instructions, no call, nothing kept on the stack.
    #[inline]
    pub(crate) fn malloc(&self, size: usize, align: usize) -> *mut u8 {
        if align <= EVERY_SLOT_ALIGN
            && let Some(class) = Class::of(size, align)
        {
            match thread::current().magazine(class).hand_out() {
                Some(slot) => addr::raw_pointer(slot),
                None => malloc_slot_slow(class, size, align),
            }
        } else {
            malloc_other(size, align)
        }
    }

    /// As [`Process::malloc`], with what is known of the bytes.
    pub(crate) fn allocate(&self, size: usize, align: usize) -> Option<Allocation> {
        match Class::of(size, align) {
            Some(class) => self.allocate_slot(class, size, align),
            None => self.heap.allocate(size, align),
        }
    }

    fn allocate_slot(&self, class: Class, size: usize, align: usize) -> Option<Allocation> {
        let take = |heap: &'static ThreadHeap| {
            heap.magazine(class).hand_out().or_else(|| heap.refill(class))
        };
        let slot = match thread::current_or_new() {
            Some(heap) => take(heap),
            None => self.with_shared(take),
        };
        match slot {
            Some(slot) => Some(Allocation { start: addr::pointer(slot)?, is_zero: false }),
            // No memory for a slab, but perhaps for a block.
            None => self.heap.allocate(size, align),
        }
    }

    /// Lets `action` use the heap of threads that have none, if there is memory for one.
    #[cold]
    fn with_shared<R>(&self, action: impl FnOnce(&'static ThreadHeap) -> Option<R>) -> Option<R> {
        let mut shared = self.shared.lock();
        let heap = match *shared {
            Some(heap) => heap,
            None => *shared.insert(pool::acquire_heap()?),
        };
        action(heap)
    }

    /// Takes the block at `address` back, which was asked for with this size and alignment. Ends the process if there is
    /// no such block. The fast path takes back a slot of the calling thread's own slabs.
    #[inline]
    pub(crate) fn free(&self, address: usize, size: usize, align: usize) {
        let heap = thread::current();
        if align <= EVERY_SLOT_ALIGN
            && let Some(class) = Class::of(size, align)
            && let Some(slab) = self.owners.find(address)
            && slab.key() == heap.key(class)
            && let Some(state) = slab.state_at(address)
        {
            if state.swap(FREE, Ordering::Relaxed) != LIVE {
                stop_double_free(address, size);
            }
            let entry = Entry::new(address, state);
            if !heap.magazine(class).push(entry) {
                heap.overflow(class, entry);
            }
        } else {
            free_other(address, size, align);
        }
    }

    /// Takes the block at `address` back, which was asked for with this size and alignment if the caller knows them:
    /// the whole check, as a value.
    pub(crate) fn release(
        &self,
        address: usize,
        layout: Option<(usize, usize)>,
    ) -> Result<(), Misuse> {
        let size = layout.map(|(size, _)| size);
        let Some(slab) = self.owners.find(address) else {
            return self.heap.release(address, size);
        };
        let freed = claim(slab, address, layout)?;
        let class = slab.class();
        let take = |heap: &'static ThreadHeap| {
            if freed.slab.key() != heap.key(class) {
                heap.post(class, freed.entry);
            } else if !heap.magazine(class).push(freed.entry) {
                heap.overflow(class, freed.entry);
            }
        };
        match thread::current_or_new() {
            Some(heap) => take(heap),
            None => {
                // Without memory for a heap the slot is not used again: it stays free, and is lost.
                let _ = self.with_shared(|heap| {
                    take(heap);
                    Some(())
                });
            }
        }
        Ok(())
    }

    /// Whether a free of `address` with this size and alignment would be accepted.
    pub(crate) fn validate(
        &self,
        address: usize,
        layout: Option<(usize, usize)>,
    ) -> Result<(), Misuse> {
        match self.owners.find(address) {
            Some(slab) => check_slot(slab, address, layout).and_then(|state| {
                if state.load(Ordering::Relaxed) == LIVE {
                    Ok(())
                } else {
                    Err(not_live(address, layout))
                }
            }),
            None => self.heap.validate_address(address, layout.map(|(size, _)| size)),
        }
    }

    /// The bytes that the block at `address` has.
    pub(crate) fn usable_size(&self, address: usize) -> Option<usize> {
        match self.owners.find(address) {
            Some(slab) => {
                let index = slab.slot_index(address)?;
                slab.is_live(index).then_some(slab.shape().slot_bytes)
            }
            None => self.heap.usable_size_at(address),
        }
    }

    /// Makes the block at `address` serve another size where it is. `false` where it cannot.
    pub(crate) fn resize(
        &self,
        address: usize,
        old: (usize, usize),
        new_size: usize,
    ) -> Result<bool, Misuse> {
        if let Some(slab) = self.owners.find(address) {
            self.validate(address, Some(old))?;
            return Ok(Class::of(new_size, old.1) == Some(slab.class()));
        }
        if Class::of(new_size, old.1).is_some() && Class::of(old.0, old.1).is_none() {
            // What has become small moves to a slot, so that the large run is free as a whole.
            self.heap.validate_address(address, Some(old.0))?;
            return Ok(false);
        }
        self.heap.resize(address, Some(old.0), new_size)
    }

    /// Sends the calling thread's cached slots home and ends its empty slabs, and those of threads that ended.
    pub(crate) fn flush(&self) {
        let flush = |heap: &'static ThreadHeap| {
            heap.flush();
            heap.end_empty_slabs(pool::end_slab);
            Some(())
        };
        if let Some(heap) = thread::current_or_new() {
            flush(heap);
        }
        if self.shared.lock().is_some() {
            let _ = self.with_shared(flush);
        }
        pool::tidy_retired();
    }
}

#[cold]
#[inline(never)]
fn malloc_slot_slow(class: Class, size: usize, align: usize) -> *mut u8 {
    start_of(PROCESS.allocate_slot(class, size, align))
}

/// Large blocks, and those with a special alignment.
#[inline(never)]
fn malloc_other(size: usize, align: usize) -> *mut u8 {
    start_of(PROCESS.allocate(size, align))
}

fn start_of(allocation: Option<Allocation>) -> *mut u8 {
    allocation.map_or(ptr::null_mut(), |allocation| allocation.start.as_ptr())
}

/// A free that is not of an own slot: another heap's slot, a block of the free list, or a mistake.
#[inline(never)]
fn free_other(address: usize, size: usize, align: usize) {
    if let Err(misuse) = PROCESS.release(address, Some((size, align))) {
        stop(&misuse);
    }
}

#[cold]
#[inline(never)]
fn stop_double_free(address: usize, size: usize) -> ! {
    stop(&not_live(address, Some((size, 1))))
}

/// Ends the process over a wrong address.
#[cold]
#[inline(never)]
pub(crate) fn stop(misuse: &Misuse) -> ! {
    fatal::die(format_args!("{misuse}"))
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
        Some((size, align)) if Class::of(size, align) != Some(slab.class()) => {
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
) -> Result<Freed, Misuse> {
    let state = check_slot(slab, address, layout)?;
    if !take_state(slab, state, address) {
        return Err(not_live(address, layout));
    }
    Ok(Freed { slab, entry: Entry::new(address, state) })
}

/// Makes a slot free through the state byte that was found for `address`, if it is live.
///
/// The slab is not the caller's, so unless the slot is live it may end, and its descriptor serve another run, after the
/// byte was found: then the byte is that of a slot elsewhere, to which it is left.
#[inline]
pub(super) fn take_state(slab: &Slab, state: &'static AtomicU8, address: usize) -> bool {
    if state.swap(FREE, Ordering::AcqRel) != LIVE {
        return false;
    }
    let is_meant = slab.state_at(address).is_some_and(|now| ptr::eq(now, state));
    if !is_meant {
        state.store(LIVE, Ordering::Release);
    }
    is_meant
}

#[cold]
fn not_live(address: usize, layout: Option<(usize, usize)>) -> Misuse {
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
