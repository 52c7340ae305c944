//! The process heap: small and large requests to magazines and slabs, all others to the free list.
//!
//! The paths of one block: [`Process::malloc`] pops a slot off the calling thread's magazine; if it is empty, the
//! thread's heap refills it. [`Process::free`] finds the slab of the address in the owner table, the slot by one
//! multiplication, swaps its state byte, and pushes it onto the magazine; a slot of another heap's slab goes to the
//! outbox. Large blocks go the same way, as slabs of one slot. What lies in no slab is the free list's affair.
//!
//! Locks, in their order: `shared` (the heap of threads without one of their own), `pool`, then those of the heap below.

use core::ptr;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use super::class::Class;
use super::magazine::Entry;
use super::owners::Owners;
use super::pool::{self, Pool};
use super::purge;
use super::slab::{FREE, LIVE, Slab};
use super::thread;
use super::thread_heap::ThreadHeap;
use crate::base::lock::Lock;
use crate::base::os::System;
use crate::base::{addr, fatal};
use crate::front;
use crate::heap::{Allocation, Heap, Misuse, MisuseKind};
use crate::settings::{self, Settings};

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
    flushes: AtomicU32::new(0),
};

/// The process heap.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) heap: Heap<System>,
    pub(crate) owners: Owners,
    pub(super) pool: Lock<Pool>,
    pub(super) shared: Lock<Option<&'static ThreadHeap>>,
    /// How often all threads were asked to send their caches home.
    pub(super) flushes: AtomicU32,
}

/// Sends everything home and retires the heap of a thread that ends.
#[cfg(feature = "std")]
pub(super) fn retire(heap: &'static ThreadHeap) {
    heap.let_go();
    pool::retire_heap(heap);
}

impl Process {
    /// Hands out `size` bytes aligned to `align`, a power of two: their start, or null.
    ///
    /// The fast path of the whole allocator: about ten instructions, no call, nothing kept on the stack. `built` holds
    /// from now on if this is the first call of all.
    #[inline]
    pub(crate) fn malloc(&self, size: usize, align: usize, built: &Settings) -> *mut u8 {
        if align <= EVERY_SLOT_ALIGN
            && let Some(class) = Class::of(size, align)
        {
            match thread::current().magazine(class).hand_out() {
                Some(slot) => addr::raw_pointer(slot),
                None => malloc_slot_slow(size, align, class, built),
            }
        } else {
            malloc_other(size, align, built)
        }
    }

    /// As [`Process::malloc`], with what is known of the bytes.
    pub(crate) fn allocate(&self, size: usize, align: usize) -> Option<Allocation> {
        self.allocate_once(size, align).or_else(|| self.allocate_after_flush(size, align))
    }

    /// Where there is no more memory, free slots that are cached may stand in the way of a run that would serve.
    #[cold]
    fn allocate_after_flush(&self, size: usize, align: usize) -> Option<Allocation> {
        if size > self.heap.stats().mapped {
            return None;
        }
        self.flush();
        self.allocate_once(size, align)
    }

    fn allocate_once(&self, size: usize, align: usize) -> Option<Allocation> {
        match Class::of_any(size, align) {
            Some(class) => self.allocate_slot(class, size, align),
            None => self.allocate_large(size, align),
        }
    }

    /// A block of the free list.
    fn allocate_large(&self, size: usize, align: usize) -> Option<Allocation> {
        self.flush_idle_caches();
        let allocation = self.heap.allocate(size, align)?;
        thread::current().measuring.note_block(allocation.start.addr().get());
        Some(allocation)
    }

    fn allocate_slot(&self, class: Class, size: usize, align: usize) -> Option<Allocation> {
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
            None => self.allocate_large(size, align),
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
        if align <= EVERY_SLOT_ALIGN
            && let Some(class) = Class::of(size, align)
            && let heap = thread::current()
            && let magazine = heap.magazine(class)
            && let Some(slab) = self.owners.find(address)
        {
            if slab.key() != magazine.place() {
                return free_remote(address, size, align, slab, class);
            }
            if let Some(state) = own_state(slab, address) {
                if !IS_UNCHECKED && state.swap(FREE, Ordering::Relaxed) != LIVE {
                    stop_double_free(address, size);
                }
                let entry = Entry::new(address, state);
                if !magazine.push(entry) {
                    overflow(entry, class);
                }
                return;
            }
        }
        free_other(address, size, align);
    }

    /// As [`Process::free`], of a block whose first `kept` bytes have moved elsewhere.
    pub(crate) fn free_moved(&self, address: usize, size: usize, align: usize, kept: usize) {
        if !settings::is_plain() || self.owners.find(address).is_some() {
            return self.free(address, size, align);
        }
        thread::current().measuring.note_free(address);
        if let Err(misuse) = self.heap.release_moved(address, size, kept) {
            stop(&misuse);
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
            // Noted first: once it is free the address may be another thread's.
            thread::current().measuring.note_free(address);
            return self.heap.release(address, size);
        };
        let entry = claim(slab, address, layout)?;
        self.with_heap(|heap| take_in(heap, slab, entry));
        Ok(())
    }

    /// Lets `action` use the calling thread's heap, or the shared one. Without memory for either nothing is done: a slot
    /// stays free then, and is lost.
    fn with_heap(&self, action: impl FnOnce(&'static ThreadHeap)) {
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
            let new = Class::of_any(new_size, old.1);
            return Ok(match new {
                Some(class) if class == slab.class() => true,
                Some(class) if class.is_large() && slab.class().is_large() => {
                    pool::resize_slab(slab, class)
                }
                _ => false,
            });
        }
        if Class::of_any(new_size, old.1).is_some() && Class::of_any(old.0, old.1).is_none() {
            // What has become so small moves to a slot, so that the run is free as a whole.
            self.heap.validate_address(address, Some(old.0))?;
            return Ok(false);
        }
        self.heap.resize(address, Some(old.0), new_size)
    }

    /// Gives back what [`Process::flush`] frees, all holes, and the free pages in slabs. Returns their bytes.
    pub(crate) fn trim(&self) -> usize {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.flush();
        purge::purge_slabs() + self.heap.trim()
    }

    /// Lets blocks and records take no more than `bytes`.
    pub(crate) fn set_limit(&self, bytes: usize) {
        self.heap.set_limit(Owners::share_left_of(bytes));
    }

    /// Sends the calling thread's cached slots home and ends its empty slabs, and those of threads that ended.
    pub(crate) fn flush(&self) {
        let flush = |heap: &'static ThreadHeap| {
            heap.let_go();
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

/// Whether this build is one that shows what checking costs, and good for nothing else: frees of a thread's own slots are
/// believed.
const IS_UNCHECKED: bool = cfg!(mems_unchecked);

/// The state byte of an own slot that starts at `address`.
#[inline]
fn own_state(slab: &'static Slab, address: usize) -> Option<&'static AtomicU8> {
    static BELIEVED: AtomicU8 = AtomicU8::new(LIVE);
    if IS_UNCHECKED { Some(&BELIEVED) } else { slab.own_state_at(address) }
}

#[cold]
#[inline(never)]
fn malloc_slot_slow(size: usize, align: usize, class: Class, built: &Settings) -> *mut u8 {
    if !settings::is_plain() {
        return front::malloc(size, align, built);
    }
    let slot = PROCESS.allocate_slot(class, size, align);
    start_of(slot.or_else(|| PROCESS.allocate_after_flush(size, align)))
}

/// Large blocks, and those with a special alignment.
#[inline(never)]
fn malloc_other(size: usize, align: usize, built: &Settings) -> *mut u8 {
    match Class::of_any(size, align).and_then(|class| thread::current().hand_out(class)) {
        Some(slot) => addr::raw_pointer(slot),
        None => malloc_slow(size, align, built),
    }
}

#[cold]
#[inline(never)]
fn malloc_slow(size: usize, align: usize, built: &Settings) -> *mut u8 {
    if !settings::is_plain() {
        return front::malloc(size, align, built);
    }
    start_of(PROCESS.allocate(size, align))
}

fn start_of(allocation: Option<Allocation>) -> *mut u8 {
    allocation.map_or(ptr::null_mut(), |allocation| allocation.start.as_ptr())
}

/// A slot for which the calling thread's magazine has no place.
#[cold]
#[inline(never)]
fn overflow(entry: Entry, class: Class) {
    thread::current().overflow(class, entry);
}

/// A free that is not of an own small slot: an own large one, one of another heap's slab, a block of the free list, or a
/// mistake.
#[inline(never)]
fn free_other(address: usize, size: usize, align: usize) {
    if let Some(class) = Class::of_any(size, align)
        && let heap = thread::current()
        && let Some(slab) = PROCESS.owners.find(address)
    {
        if slab.key() != heap.key(class) {
            return free_remote(address, size, align, slab, class);
        }
        if let Some(state) = slab.own_state_at(address) {
            if state.swap(FREE, Ordering::Relaxed) != LIVE {
                stop_double_free(address, size);
            }
            let entry = Entry::new(address, state);
            if class.is_large() && heap.push_large(class, entry) {
                return;
            }
            return free_claimed(entry, slab);
        }
    }
    free_slow(address, size, align);
}

/// A free of another heap's slot, or a mistake. `class` is the layout's.
#[inline(never)]
fn free_remote(address: usize, size: usize, align: usize, slab: &'static Slab, class: Class) {
    if settings::is_plain()
        && class == slab.class()
        && let Some(state) = slab.take_back(address)
    {
        let entry = Entry::new(address, state);
        if !thread::current().outbox(class).push(entry) {
            free_claimed(entry, slab);
        }
    } else {
        free_slow(address, size, align);
    }
}

/// The rest of a free whose slot is claimed and has no place in the calling thread's caches.
#[cold]
#[inline(never)]
fn free_claimed(entry: Entry, slab: &'static Slab) {
    PROCESS.with_heap(|heap| take_in(heap, slab, entry));
}

#[cold]
#[inline(never)]
fn free_slow(address: usize, size: usize, align: usize) {
    if !settings::is_plain() {
        return front::free(address, size, align);
    }
    if let Err(misuse) = PROCESS.release(address, Some((size, align))) {
        stop(&misuse);
    }
}

/// Takes a claimed slot into a heap that is the caller's for the moment.
fn take_in(heap: &'static ThreadHeap, slab: &Slab, entry: Entry) {
    let class = slab.class();
    if slab.key() != heap.key(class) {
        return heap.post(class, entry);
    }
    let is_in = if class.is_large() {
        heap.push_large(class, entry)
    } else {
        heap.magazine(class).push(entry)
    };
    if !is_in {
        heap.overflow(class, entry);
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
