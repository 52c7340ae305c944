//! Taking a block back: the fast path, and where it leads when the block is not an own small slot.
//!
//! [`free`] finds the slab of the address in the slab map, the slot by one multiplication, tests and changes its state
//! byte, and pushes it onto the magazine. A slot of another heap's slab goes to the outbox. Large blocks go the same
//! way, as slabs of one slot.
//!
//! Down from there: [`free_other`] an own large slot, [`free_remote`] one of another heap's slab; [`overflow`] and
//! [`take_in`] what the caches have no place for; [`free_slow`] a block of the free list, and every mistake. These are
//! `extern "C"`: a call by that convention does not unwind, so the way there is a jump.
#![allow(improper_ctypes_definitions, reason = "called from Rust only")]

use core::alloc::Layout;

use super::begin::{refuse, stop};
use super::hardened::hardened;
use super::plain::{PROCESS_HEAP, not_live};
use super::thread;
use crate::heap::Misuse;
use crate::settings;
use crate::slabs::class::{Class, EVERY_SLOT_ALIGN};
use crate::slabs::depot::DEPOT;
use crate::slabs::slab::Slab;
use crate::slabs::slot::{self, FreeSlot, Refused, SentSlot};

/// Takes the block at `address` back, which was asked for with this layout. Ends the process if there is no such block.
#[inline]
pub(crate) fn free(address: usize, layout: Layout) {
    if layout.align() <= EVERY_SLOT_ALIGN
        && let Some(class) = Class::of(layout.size(), layout.align())
        && let magazine = thread::current().magazine(class)
        && let Some(slab) = DEPOT.map.find(address)
    {
        if slab.key() != magazine.place() {
            return free_remote(address, layout, slab, class);
        }
        match slab.free_own(address) {
            Ok(slot) => {
                if let Err(slot) = magazine.push(slot) {
                    overflow(slot, class);
                }
                return;
            }
            Err(Refused::NotLive(state)) => return free_not_live(address, layout, state),
            Err(_) => {}
        }
    }
    free_other(address, layout);
}

/// A slot for which the calling thread's magazine has no place.
#[cold]
#[inline(never)]
extern "C" fn overflow(slot: FreeSlot, class: Class) {
    thread::inside(thread::current(), |heap| heap.overflow(class, slot));
}

/// A free that is not of an own small slot with a usual alignment: an own large one, one of another heap's slab, a
/// block of the free list, or a mistake.
#[inline(never)]
extern "C" fn free_other(address: usize, layout: Layout) {
    if let Some(class) = Class::of_layout(layout)
        && let heap = thread::current()
        && let Some(slab) = DEPOT.map.find(address)
    {
        if slab.key() != heap.key(class) {
            return free_remote(address, layout, slab, class);
        }
        match slab.free_own(address) {
            Ok(slot) => {
                if let Err(slot) = heap.push(class, slot) {
                    overflow(slot, class);
                }
                return;
            }
            Err(Refused::NotLive(state)) => return free_not_live(address, layout, state),
            Err(_) => {}
        }
    }
    free_slow(address, layout);
}

/// A free of another heap's slot, or a mistake. `class` is the layout's.
#[inline(never)]
extern "C" fn free_remote(address: usize, layout: Layout, slab: &'static Slab, class: Class) {
    if settings::is_plain() && class == slab.class() {
        match slab.send(address, class) {
            Ok(slot) => {
                if let Err(slot) = thread::current().outbox(class).push(slot) {
                    take_in(slot, slab);
                }
                return;
            }
            Err(Refused::NotLive(state)) => return free_not_live(address, layout, state),
            Err(_) => {}
        }
    }
    free_slow(address, layout);
}

/// The rest of a free of another heap's slot, for which the calling thread has no place.
#[cold]
#[inline(never)]
extern "C" fn take_in(slot: SentSlot, slab: &'static Slab) {
    PROCESS_HEAP.with_heap(|heap| heap.take_in(slab, slot));
}

/// A free of a block of the free list, a mistake, or any free while settings concern every call or are not fixed yet.
#[cold]
#[inline(never)]
extern "C" fn free_slow(address: usize, layout: Layout) {
    if settings::is_plain() {
        PROCESS_HEAP.release(address, Some(layout)).unwrap_or_else(|misuse| stop(&misuse));
    } else {
        release(address, Some(layout)).unwrap_or_else(|misuse| refuse(&misuse));
    }
}

/// A free of a slot that was not live.
#[cold]
#[inline(never)]
extern "C" fn free_not_live(address: usize, layout: Layout, state: u8) {
    if slot::may_be_put_back(state) {
        return free_slow(address, layout);
    }
    stop(&not_live(address, Some(layout), state));
}

/// Takes a block back under whatever settings are in force, or says what is wrong with it.
pub(crate) fn release(address: usize, layout: Option<Layout>) -> Result<(), Misuse> {
    match hardened() {
        Some((mut heap, settings)) => heap.release(address, layout, settings),
        None => PROCESS_HEAP.release(address, layout),
    }
}
