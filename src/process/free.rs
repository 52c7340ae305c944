//! Taking a block back: the fast path, and where it leads when the block is not an own small slot.
//!
//! [`free`] finds the slab of the address in the slab map, the slot by one multiplication, swaps its state byte, and
//! pushes it onto the magazine. A slot of another heap's slab goes to the outbox. Large blocks go the same way, as
//! slabs of one slot.

use core::sync::atomic::Ordering;

use super::begin::{refuse, stop};
use super::hardened::hardened;
use super::plain::{PROCESS_HEAP, not_live};
use super::thread;
use crate::heap::Misuse;
use crate::settings;
use crate::slabs::class::{Class, EVERY_SLOT_ALIGN};
use crate::slabs::depot::DEPOT;
use crate::slabs::magazine::Entry;
use crate::slabs::slab::{FREE, LIVE, Slab};

/// Takes the block at `address` back, which was asked for with this size and alignment. Ends the process if there is no
/// such block.
#[inline]
pub(crate) fn free(address: usize, size: usize, align: usize) {
    if align <= EVERY_SLOT_ALIGN
        && let Some(class) = Class::of(size, align)
        && let heap = thread::current()
        && let magazine = heap.magazine(class)
        && let Some(slab) = DEPOT.map.find(address)
    {
        if slab.key() != magazine.place() {
            return free_remote(address, size, align, slab, class);
        }
        if let Some(state) = slab.own_state_at(address) {
            if state.swap(FREE, Ordering::Relaxed) != LIVE {
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

/// A slot for which the calling thread's magazine has no place.
#[cold]
#[inline(never)]
fn overflow(entry: Entry, class: Class) {
    thread::current().overflow(class, entry);
}

/// A free that is not of an own small slot: an own large one, one of another heap's slab, a block of the free list, or
/// a mistake.
#[inline(never)]
fn free_other(address: usize, size: usize, align: usize) {
    if let Some(class) = Class::of_any(size, align)
        && let heap = thread::current()
        && let Some(slab) = DEPOT.map.find(address)
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
    PROCESS_HEAP.with_heap(|heap| heap.take_in(slab, entry));
}

#[cold]
#[inline(never)]
fn free_slow(address: usize, size: usize, align: usize) {
    if !settings::is_plain() {
        return free_by_settings(address, size, align);
    }
    if let Err(misuse) = PROCESS_HEAP.release(address, Some((size, align))) {
        stop(&misuse);
    }
}

/// A free while settings concern every call, or are not fixed yet.
#[cold]
#[inline(never)]
fn free_by_settings(address: usize, size: usize, align: usize) {
    if let Err(misuse) = release(address, Some((size, align))) {
        refuse(&misuse);
    }
}

#[cold]
#[inline(never)]
fn stop_double_free(address: usize, size: usize) -> ! {
    stop(&not_live(address, Some((size, 1))))
}

/// Takes a block back under whatever settings are in force, or says what is wrong with it.
pub(crate) fn release(address: usize, layout: Option<(usize, usize)>) -> Result<(), Misuse> {
    match hardened() {
        Some((mut heap, settings)) => heap.release(address, layout, settings),
        None => PROCESS_HEAP.release(address, layout),
    }
}

/// Takes a block back whose first `kept` bytes have moved elsewhere.
pub(super) fn free_moved(address: usize, size: usize, align: usize, kept: usize) {
    if !settings::is_plain() || DEPOT.map.find(address).is_some() {
        return free(address, size, align);
    }
    thread::current().notes.note_free(address);
    if let Err(misuse) = DEPOT.heap.release_moved(address, size, kept) {
        stop(&misuse);
    }
}
