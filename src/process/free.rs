//! Taking a block back: the fast path, and where it leads when the block is not an own small slot.
//!
//! [`free`] finds the slab of the address in the slab map, the slot by one multiplication, swaps its state byte, and
//! pushes it onto the magazine. A slot of another heap's slab goes to the outbox. Large blocks go the same way, as
//! slabs of one slot.
//!
//! Down from there: [`free_other`] an own large slot, [`free_remote`] one of another heap's slab; [`free_claimed`] what
//! the caches have no place for; [`free_slow`] a block of the free list, and every mistake. These are `extern "C"`: a
//! call by that convention does not unwind, so the way there is a jump.
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
use crate::slabs::slot::{FreeSlot, NotFreed};

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
            Err(NotFreed::NotLive(state)) => stop_not_live(address, layout, state),
            Err(NotFreed::NoSlot) => {}
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
                    free_claimed(slot, slab);
                }
                return;
            }
            Err(NotFreed::NotLive(state)) => stop_not_live(address, layout, state),
            Err(NotFreed::NoSlot) => {}
        }
    }
    free_slow(address, layout);
}

/// A free of another heap's slot, or a mistake. `class` is the layout's.
#[inline(never)]
extern "C" fn free_remote(address: usize, layout: Layout, slab: &'static Slab, class: Class) {
    if settings::is_plain()
        && class == slab.class()
        && let Some(slot) = slab.free(address)
    {
        if let Err(slot) = thread::current().outbox(class).push(slot) {
            free_claimed(slot, slab);
        }
    } else {
        free_slow(address, layout);
    }
}

/// The rest of a free whose slot is claimed and has no place in the calling thread's caches.
#[cold]
#[inline(never)]
extern "C" fn free_claimed(slot: FreeSlot, slab: &'static Slab) {
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

#[cold]
#[inline(never)]
extern "C" fn stop_not_live(address: usize, layout: Layout, state: u8) -> ! {
    stop(&not_live(address, Some(layout), state))
}

/// Takes a block back under whatever settings are in force, or says what is wrong with it.
pub(crate) fn release(address: usize, layout: Option<Layout>) -> Result<(), Misuse> {
    match hardened() {
        Some((mut heap, settings)) => heap.release(address, layout, settings),
        None => PROCESS_HEAP.release(address, layout),
    }
}

/// Takes a block back whose first `kept` bytes have moved elsewhere.
pub(super) fn free_moved(address: usize, layout: Layout, kept: usize) {
    if !settings::is_plain() || DEPOT.map.find(address).is_some() {
        return free(address, layout);
    }
    thread::current().notes.note_free(address);
    if let Err(misuse) = DEPOT.heap.release_moved(address, layout.size(), kept) {
        stop(&misuse);
    }
}
