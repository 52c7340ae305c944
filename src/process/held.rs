//! A block whose bytes are being moved elsewhere: held, so that no free takes it meanwhile.
//!
//! A slot of another heap's slab is claimed by its state byte, a block of the free list by its mark there. A slot of
//! the thread's own slabs needs neither: nobody but this thread hands it out again, so it is enough to look whether it
//! is live once its new place is found, and then to free it as ever.

use core::alloc::Layout;

use super::free::free;
use super::plain::{Looks, PROCESS_HEAP, ProcessHeap, check_slot, not_live};
use super::thread;
use crate::heap::Misuse;
use crate::slabs::class::Class;
use crate::slabs::depot::DEPOT;
use crate::slabs::slab::Slab;
use crate::slabs::slot::{self, BusySlot, Refused};
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
    /// As a slot of an own slab.
    Own,
    /// As a slot of this slab.
    Slot(BusySlot, &'static Slab),
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
            if new == Some(class) {
                return match slab.state_now(index) {
                    slot::LIVE => Ok(Resized::Here),
                    state if slot::may_be_put_back(state) && looks.look_again() => continue,
                    state => Err(not_live(address, Some(old), state)),
                };
            }
            if let Some(held) = hold_slot(slab, class, (address, old), &mut looks)? {
                return match new {
                    Some(new) if held.resize_slab(slab, new)? => {
                        held.keep().map(|()| Resized::Here)
                    }
                    _ => Ok(Resized::Elsewhere(held)),
                };
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
        let held = Held { address, layout: old, how: How::Run };
        Ok(if is_done { Resized::Here } else { Resized::Elsewhere(held) })
    }

    /// Holds the block at `address`.
    pub(super) fn hold(&self, address: usize, layout: Layout) -> Result<Held, Misuse> {
        let mut looks = Looks::new();
        while let Some(slab) = DEPOT.map.find(address) {
            let class = slab.class();
            check_slot(slab, class, address, Some(layout))?;
            if let Some(held) = hold_slot(slab, class, (address, layout), &mut looks)? {
                return Ok(held);
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

/// Holds a slot that starts at the address. `None` if that is to be looked at again.
fn hold_slot(
    slab: &'static Slab,
    class: Class,
    (address, layout): (usize, Layout),
    looks: &mut Looks,
) -> Result<Option<Held>, Misuse> {
    let held = |how| Ok(Some(Held { address, layout, how }));
    let is_own = slab.key() == thread::current().key(class);
    let refused = if is_own {
        match slab.own_state(address) {
            slot::LIVE => return held(How::Own),
            state => Refused::NotLive(state),
        }
    } else {
        note_held(address);
        match slab.hold(address, class) {
            Ok(busy) => return held(How::Slot(busy, slab)),
            Err(refused) => {
                note_held(0);
                refused
            }
        }
    };
    match refused {
        Refused::NotLive(state) if !slot::may_be_put_back(state) || !looks.look_again() => {
            Err(not_live(address, Some(layout), state))
        }
        _ => Ok(None),
    }
}

fn hold_run(address: usize, layout: Layout) -> Result<Held, Misuse> {
    note_held(address);
    let held = DEPOT.heap.hold(address, layout.size());
    if held.is_err() {
        note_held(0);
    }
    held.map(|()| Held { address, layout, how: How::Run })
}

/// Makes the one slot of an own slab one of another class where it is, if there is room.
fn resize_own_slab(slab: &'static Slab, held: &Held, class: Class) -> Result<bool, Misuse> {
    note_held(held.address);
    let busy = slab.hold(held.address, slab.class());
    let resized = busy.map(|busy| {
        let is_done = DEPOT.resize_slab(slab, class);
        (busy.keep(), is_done)
    });
    note_held(0);
    match resized {
        Ok((true, is_done)) => Ok(is_done),
        Ok((false, _)) => Err(Misuse::frees_raced(held.address)),
        Err(_) => held.check().map(|()| false),
    }
}

/// Does so for a slab of the heap that threads share, which is the calling thread's while it has the lock.
fn resize_shared_slab(slab: &'static Slab, class: Class) -> bool {
    let shared = PROCESS_HEAP.shared.lock();
    shared.is_some_and(|heap| slab.key() == heap.key(slab.class()))
        && DEPOT.resize_slab(slab, class)
}

impl Held {
    /// Makes the one slot of its slab one of another class where it is, if there is room, and if the calling thread may
    /// change the slab.
    fn resize_slab(&self, slab: &'static Slab, class: Class) -> Result<bool, Misuse> {
        match &self.how {
            _ if !class.is_large() || !slab.class().is_large() => Ok(false),
            How::Own => resize_own_slab(slab, self, class),
            How::Slot(..) => Ok(resize_shared_slab(slab, class)),
            How::Run => Ok(false),
        }
    }

    /// Whether it is live still.
    pub(super) fn check(&self) -> Result<(), Misuse> {
        match self.how {
            How::Own => PROCESS_HEAP.validate(self.address, Some(self.layout)),
            How::Slot(..) | How::Run => Ok(()),
        }
    }

    /// Leaves it as it was.
    pub(super) fn keep(self) -> Result<(), Misuse> {
        let is_kept = match self.how {
            How::Own => true,
            How::Slot(busy, _) => busy.keep(),
            How::Run => {
                DEPOT.heap.stop_holding(self.address);
                true
            }
        };
        note_held(0);
        if is_kept { Ok(()) } else { Err(Misuse::frees_raced(self.address)) }
    }

    /// Frees it, whose first `kept` bytes have moved elsewhere.
    pub(super) fn free(self, kept: usize) -> Result<(), Misuse> {
        let Self { address, layout, how } = self;
        let freed = match how {
            How::Own => {
                free(address, layout);
                return Ok(());
            }
            How::Slot(busy, slab) => {
                busy.send().map_or(Err(Misuse::frees_raced(address)), |slot| {
                    PROCESS_HEAP.with_heap(|heap| heap.take_in(slab, slot));
                    Ok(())
                })
            }
            How::Run => {
                thread::current().notes.note_free(address);
                DEPOT.heap.release_held(address, layout.size(), kept)
            }
        };
        note_held(0);
        freed
    }
}

/// Notes which block the calling thread holds, for the child of a fork that the thread is not in. A thread without a
/// heap of its own has no place for that: what it holds stays held in the child.
fn note_held(address: usize) {
    let heap: &ThreadHeap = thread::current();
    if !heap.is_nobody() {
        heap.held.set(address);
    }
}
