//! A block whose bytes are being moved elsewhere: held, so that no free takes it meanwhile.
//!
//! A slot is claimed by its state byte, a block of the free list by its mark there. A small slot of the thread's own
//! slabs needs neither: nobody but this thread hands it out again, so it is enough to look whether it is live once its
//! new place is found, and then to free it as ever.

use core::alloc::Layout;

use super::free::free;
use super::plain::{Looks, PROCESS_HEAP, ProcessHeap, check_slot};
use super::sampling;
use super::thread;
use crate::heap::Misuse;
use crate::slabs::class::Class;
use crate::slabs::depot::DEPOT;
use crate::slabs::slab::Slab;
use crate::slabs::slab::claim::BusySlot;
use crate::slabs::slot::{self, Refused};
use crate::slabs::thread_heap::ThreadHeap;

/// What a realloc has done to a block.
pub(super) enum Resized {
    /// It serves the other size where it is.
    Here,
    /// Its bytes have to be moved.
    Elsewhere(Held),
}

/// A live block that is held. It is kept or freed in the end.
#[must_use = "a block that is held cannot be freed"]
pub(super) struct Held {
    address: usize,
    layout: Layout,
    how: How,
}

/// How a block is held.
enum How {
    /// As a small slot of an own slab.
    Own,
    /// As a slot of this slab.
    Slot(BusySlot),
    /// As a block of the free list.
    Run,
}

impl ProcessHeap {
    /// Makes the block at `address` serve another size, with the same alignment, where it is, or holds it.
    pub(super) fn resize(
        &self,
        address: usize,
        old: Layout,
        new_size: usize,
    ) -> Result<Resized, Misuse> {
        let new = Class::of_any(new_size, old.align());
        let mut looks = Looks::new();
        while let Some(slab) = DEPOT.map.find(address) {
            let class = slab.class();
            let index = check_slot(slab, class, address, Some(old))?;
            let held = if new == Some(class) {
                match slab.state_now(index) {
                    slot::LIVE => return Ok(Resized::Here),
                    slot::SAMPLED => {
                        sampling::resize_slot(address, class, new_size);
                        return Ok(Resized::Here);
                    }
                    state => Err(Refused::NotLive(state)),
                }
            } else {
                hold_slot(slab, class, index, address)
            };
            match held {
                Ok(how) => {
                    let held = Held { address, layout: old, how };
                    return match new {
                        Some(new) if resize_slab(slab, new) => {
                            held.reclassed([class, new], new_size).keep().map(|()| Resized::Here)
                        }
                        _ => Ok(Resized::Elsewhere(held)),
                    };
                }
                Err(refused) => looks.judge(refused, address, Some(old))?,
            }
        }
        if new.is_some() && Class::of_layout(old).is_none() {
            // What has become so small moves to a slot, so that the run is free as a whole.
            return hold_run(address, old).map(Resized::Elsewhere);
        }
        note_held(address);
        let resized = DEPOT.heap.resize_or_hold(address, old.size(), new_size);
        if resized != Ok(false) {
            note_held(0);
        }
        let is_done = resized?;
        if is_done {
            sampling::resize_run(address, new_size);
        }
        let held = Held { address, layout: old, how: How::Run };
        Ok(if is_done { Resized::Here } else { Resized::Elsewhere(held) })
    }

    /// Holds the block at `address`.
    pub(super) fn hold(&self, address: usize, layout: Layout) -> Result<Held, Misuse> {
        let mut looks = Looks::new();
        while let Some(slab) = DEPOT.map.find(address) {
            let class = slab.class();
            let index = check_slot(slab, class, address, Some(layout))?;
            match hold_slot(slab, class, index, address) {
                Ok(how) => return Ok(Held { address, layout, how }),
                Err(refused) => looks.judge(refused, address, Some(layout))?,
            }
        }
        hold_run(address, layout)
    }

    /// Lets the block at `address` be freed again that a thread has held which vanished in a fork.
    pub(super) fn stop_holding(&self, address: usize) {
        match DEPOT.map.find_slot(address) {
            Some((slab, index)) => slab.stop_holding(index),
            None => DEPOT.heap.stop_holding(address),
        }
    }
}

/// Whether a slab of `class` is one of the calling thread's own.
fn is_own(slab: &Slab, class: Class) -> bool {
    slab.key() == thread::current().key(class)
}

/// Holds slot `index`, which starts at the address.
fn hold_slot(
    slab: &'static Slab,
    class: Class,
    index: usize,
    address: usize,
) -> Result<How, Refused> {
    // A large one is claimed by its owner, too: it may get another class where it is.
    if !class.is_large() && is_own(slab, class) {
        match slab.state_now(index) {
            slot::LIVE => return Ok(How::Own),
            slot::SAMPLED => {}
            state => return Err(Refused::NotLive(state)),
        }
    }
    noting(address, || {
        slab.hold(address, class).or_else(|why| hold_other(slab, class, address, why))
    })
    .map(How::Slot)
}

/// Holds a slot that was not live: one that the profile knows.
#[cold]
fn hold_other(
    slab: &'static Slab,
    class: Class,
    address: usize,
    why: Refused,
) -> Result<BusySlot, Refused> {
    if why == Refused::NotLive(slot::SAMPLED) {
        slab.hold_sampled(address, class)
    } else {
        Err(why)
    }
}

/// Holds a block of the free list.
fn hold_run(address: usize, layout: Layout) -> Result<Held, Misuse> {
    let held = noting(address, || DEPOT.heap.hold(address, layout.size()));
    held.map(|()| Held { address, layout, how: How::Run })
}

/// Makes the one slot of a slab, which is held, one of another class where it is, if there is room, and if the calling
/// thread may change the slab: its own, or one of the heap that threads share, while it has the lock of that.
fn resize_slab(slab: &'static Slab, class: Class) -> bool {
    let before = slab.class();
    if !class.is_large() || !before.is_large() {
        return false;
    }
    if is_own(slab, before) {
        return DEPOT.resize_slab(slab, class);
    }
    let shared = PROCESS_HEAP.shared.lock();
    shared.is_some_and(|heap| slab.key() == heap.key(before)) && DEPOT.resize_slab(slab, class)
}

impl Held {
    /// Whether it is live still.
    pub(super) fn check(&self) -> Result<(), Misuse> {
        match self.how {
            How::Own => PROCESS_HEAP.validate(self.address, Some(self.layout)),
            How::Slot(_) | How::Run => Ok(()),
        }
    }

    /// Says that it has another class now, and serves `new_size` bytes.
    #[inline]
    fn reclassed(self, classes: [Class; 2], new_size: usize) -> Self {
        if sampling::has_records() { self.reclassed_in_profile(classes, new_size) } else { self }
    }

    #[cold]
    fn reclassed_in_profile(mut self, classes: [Class; 2], new_size: usize) -> Self {
        if let How::Slot(busy) = &mut self.how {
            busy.is_sampled = thread::inside(thread::current(), |heap| {
                sampling::reclass(heap, self.address, classes, new_size, busy.is_sampled)
            });
        }
        self
    }

    /// Says that its bytes have moved to the block at `to`.
    pub(super) fn follow(&self, to: usize) {
        let may_be_sampled = match &self.how {
            How::Own => false,
            How::Slot(busy) => busy.is_sampled,
            How::Run => sampling::has_records(),
        };
        if may_be_sampled {
            sampling::follow(self.address, to);
        }
    }

    /// Leaves it as it was.
    pub(super) fn keep(self) -> Result<(), Misuse> {
        let is_kept = match self.how {
            How::Own => true,
            How::Slot(busy) => busy.keep(),
            How::Run => {
                DEPOT.heap.stop_holding(self.address);
                true
            }
        };
        note_held(0);
        if is_kept { Ok(()) } else { Err(Misuse::frees_raced(self.address)) }
    }

    /// Frees it, whose bytes have moved elsewhere.
    pub(super) fn free(self) -> Result<(), Misuse> {
        let Self { address, layout, how } = self;
        let freed = match how {
            How::Own => {
                free(address, layout);
                return Ok(());
            }
            How::Slot(busy) if busy.is_sampled => {
                PROCESS_HEAP.take_in_sampled(address, || busy.send())
            }
            How::Slot(busy) => busy.send().map_or(Err(Misuse::frees_raced(address)), |slot| {
                PROCESS_HEAP.with_heap(|heap| heap.take_in(slot));
                Ok(())
            }),
            How::Run => {
                let heap = thread::current();
                heap.notes.note_free(address);
                sampling::settle_run(sampling::end_run(heap, address), true);
                DEPOT.heap.release_held(address, layout.size())
            }
        };
        note_held(0);
        freed
    }
}

/// Notes a block that the calling thread is about to hold, unless it cannot.
fn noting<T, E>(address: usize, hold: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    note_held(address);
    hold().inspect_err(|_| note_held(0))
}

/// Notes which block the calling thread holds, for the child of a fork that the thread is not in. A thread without a
/// heap of its own has no place for that: what it holds stays held in the child.
fn note_held(address: usize) {
    let heap: &ThreadHeap = thread::current();
    if !heap.is_nobody() {
        heap.held.set(address);
    }
}
