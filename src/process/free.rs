//! Taking a block back: the fast path, and where it leads when the block is not an own small slot.
//!
//! [`free`] finds the slab map's entry for the address, the slot by one multiplication, and pushes it onto the
//! magazine. [`free_large`] does the same for slabs of one slot. All tests come before the first change, so there are
//! two ways on, which begin anew: [`free_foreign`] for a slot of another heap's slab, which goes to the outbox, and
//! [`free_other`] for everything else.
//!
//! Down from there: [`overflow`] and [`take_in`] what the caches have no place for; [`free_slow`] a block of the free
//! list, and every mistake. These are `extern "C"`: a call by that convention does not unwind, so the way there is a
//! jump.
#![allow(improper_ctypes_definitions, reason = "called from Rust only")]

use core::alloc::Layout;

use super::begin::{refuse, stop};
use super::hardened::hardened;
use super::plain::{PROCESS_HEAP, not_live};
use super::thread;
use crate::heap::Misuse;
use crate::settings;
use crate::slabs::class::Class;
use crate::slabs::entry::Entry;
use crate::slabs::slab::Slab;
use crate::slabs::slab::claim::SentSlot;
use crate::slabs::slot::{self, FreeSlot, Refused};
use crate::slabs::thread_heap::ThreadHeap;

/// Takes the block at `address` back, which was asked for with this layout. Ends the process if there is no such block.
#[inline]
pub(crate) fn free(address: usize, layout: Layout) {
    let heap = thread::current();
    let Some(class) = Class::of(layout.size(), layout.align()) else {
        return free_large(address, layout, heap);
    };
    if let Some(entry) = heap.view.entry(address) {
        let magazine = heap.magazine(class);
        if entry.key() != magazine.place() {
            return free_foreign(address, layout, class, entry, heap);
        }
        if let Some(slot) = entry.own_slot(address, magazine.magic())
            && magazine.take_back(slot)
        {
            return;
        }
    }
    free_other(address, layout);
}

/// A free that is not of a small class. Where nothing has changed [`free_other`] begins anew. `heap` is the thread's,
/// as in all that [`free`] goes on to: it need not be asked for again.
#[inline(never)]
extern "C" fn free_large(address: usize, layout: Layout, heap: &'static ThreadHeap) {
    if let Some(class) = Class::of_large(layout.size(), layout.align())
        && let Some(entry) = heap.view.entry(address)
        && entry.key() == heap.magazine(class).place()
        && let Some(slot) = entry.own_only_slot(address)
        && heap.take_back_large(class, slot)
    {
        return;
    }
    free_other(address, layout);
}

/// A slot for which the calling thread's magazine has no place.
#[cold]
#[inline(never)]
extern "C" fn overflow(slot: FreeSlot, class: Class) {
    thread::inside(thread::current(), |heap| heap.overflow(class, slot));
}

/// A free that the caches did not take: of a slot where the magazine is full, of a block of the free list, or of
/// something that the calling thread's view does not cover; or a mistake.
#[inline(never)]
pub(super) extern "C" fn free_other(address: usize, layout: Layout) {
    if let Some(class) = Class::of_layout(layout)
        && let heap = thread::current()
        && let Some(entry) = heap.view.entry(address)
    {
        let magazine = heap.magazine(class);
        if entry.key() != magazine.place() {
            return free_foreign(address, layout, class, entry, heap);
        }
        if take_back_own(address, heap, class, entry) {
            return;
        }
    }
    free_slow(address, layout);
}

/// Takes back a live slot of an own slab. Whether there was one.
#[inline]
fn take_back_own(address: usize, heap: &'static ThreadHeap, class: Class, entry: &Entry) -> bool {
    let Some(slot) = entry.own_slot(address, heap.magazine(class).magic()) else { return false };
    if let Err(slot) = heap.push(class, slot.free()) {
        overflow(slot, class);
    }
    true
}

/// A free of another heap's slot, or a mistake. `class` is the layout's.
#[inline(never)]
extern "C" fn free_foreign(
    address: usize,
    layout: Layout,
    class: Class,
    entry: &'static Entry,
    heap: &'static ThreadHeap,
) {
    // A thread whose view covers anything has a heap, so no settings concern every call.
    if let Some(slab) = entry.slab()
        && slab.class() == class
    {
        match send(address, class, slab, heap) {
            Ok(()) => return,
            Err(Refused::NotLive(state)) => return free_not_live(address, layout, state),
            Err(_) => {}
        }
    }
    free_slow(address, layout);
}

/// Sends a slot of another heap's slab home.
#[inline]
fn send(
    address: usize,
    class: Class,
    slab: &'static Slab,
    heap: &'static ThreadHeap,
) -> Result<(), Refused> {
    let slot = slab.send(address, class)?;
    if let Err(slot) = heap.outbox(class).push(slot) {
        take_in(slot);
    }
    Ok(())
}

/// What [`free_other`] and [`free_foreign`] do, for callers that may not know the layout. `false` where nothing has
/// changed: the heap has to look.
pub(super) fn take_back(address: usize, layout: Option<Layout>) -> bool {
    let heap = thread::current();
    let Some(entry) = heap.view.entry(address) else { return false };
    let Some(slab) = entry.slab() else { return false };
    let class = slab.class();
    if layout.is_some_and(|layout| Class::of_layout(layout) != Some(class)) {
        return false;
    }
    if entry.key() == heap.key(class) {
        return take_back_own(address, heap, class, entry);
    }
    match send(address, class, slab, heap) {
        Err(Refused::NotLive(state)) if !slot::may_change(state) => {
            stop(&not_live(address, layout, state))
        }
        sent => sent.is_ok(),
    }
}

/// The rest of a free of another heap's slot, for which the calling thread has no place.
#[cold]
#[inline(never)]
extern "C" fn take_in(slot: SentSlot) {
    PROCESS_HEAP.with_heap(|heap| heap.take_in(slot));
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

/// A free of another heap's slot that was not live: by now it may be handed out again, so it is not looked at anew.
#[cold]
#[inline(never)]
extern "C" fn free_not_live(address: usize, layout: Layout, state: u8) {
    if slot::may_change(state) {
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
