//! The process heap for callers that do not name a block's size when they give it back: C's malloc family.
//!
//! The fast paths ([`hand_out`], [`take_back`], [`take_back_sized`], [`serves`]) are inlined into the caller's
//! functions and answer whether they could serve the call; the others serve every call, as settings want it. Every
//! block is aligned to [`C_ALIGN`].

use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use super::plain::not_live;
use super::{begin, free, malloc, question, thread};
use crate::base::addr;
use crate::heap::Misuse;
use crate::settings::Settings;
use crate::slabs::class::Class;
use crate::slabs::depot::DEPOT;
use crate::slabs::magazine::Entry;
use crate::slabs::slab::{FREE, LIVE, Slab};
use crate::slabs::thread_heap::ThreadHeap;

/// What C's malloc promises of every block.
pub const C_ALIGN: usize = 16;

/// Hands out a slot of at least `size` bytes, if it is neither 0 nor large and the calling thread has one cached.
#[inline]
#[must_use]
pub fn hand_out(size: usize) -> Option<*mut u8> {
    let slot = thread::current().magazine(Class::of_c(size)?).hand_out()?;
    Some(addr::raw_pointer(slot))
}

/// Hands out `size` bytes, at most `isize::MAX`, aligned to `align`, a power of two: the start, if there is memory.
#[must_use]
pub fn allocate(size: usize, align: usize) -> Option<NonNull<u8>> {
    malloc::allocate(size, align, &Settings::DEFAULT).map(|allocation| allocation.start)
}

/// Takes back the block at `address`, if that is a live small slot of the calling thread's own slabs. Otherwise nothing
/// has changed.
#[inline]
#[must_use]
pub fn take_back(address: usize) -> bool {
    let heap = thread::current();
    if let Some(slab) = DEPOT.map.find(address)
        && let Some(class) = heap.small_class_of(slab.key())
    {
        return put(heap, class, slab, address);
    }
    false
}

/// As [`take_back`], if the block is one that was asked for with `size` bytes, not 0.
#[inline]
#[must_use]
pub fn take_back_sized(address: usize, size: usize) -> bool {
    let heap = thread::current();
    if let Some(class) = Class::of_c(size)
        && let Some(slab) = DEPOT.map.find(address)
        && slab.key() == heap.key(class)
    {
        return put(heap, class, slab, address);
    }
    false
}

/// Whether the block at `address` is a live small slot of the calling thread's own slabs and serves `size` bytes, too.
#[inline]
#[must_use]
pub fn serves(address: usize, size: usize) -> bool {
    let heap = thread::current();
    if let Some(class) = Class::of_c(size)
        && let Some(slab) = DEPOT.map.find(address)
        && slab.key() == heap.key(class)
        && let Some(state) = slab.own_state_at(address)
    {
        return state.load(Ordering::Relaxed) == LIVE;
    }
    false
}

/// Makes the slot at `address` of an own slab free, if there is one and it is live.
#[inline]
fn put(heap: &'static ThreadHeap, class: Class, slab: &'static Slab, address: usize) -> bool {
    if let Some(state) = slab.own_state_at(address)
        && state.swap(FREE, Ordering::Relaxed) == LIVE
    {
        let entry = Entry::new(address, state);
        if !heap.magazine(class).push(entry) {
            overflow(heap, class, entry);
        }
        return true;
    }
    false
}

/// As [`ThreadHeap::overflow`], by a convention that does not unwind: so the way there is a jump.
#[cold]
#[inline(never)]
extern "C" fn overflow(heap: &'static ThreadHeap, class: Class, entry: Entry) {
    heap.overflow(class, entry);
}

/// Takes back the block at `address`, which was asked for with this size and this alignment, at least [`C_ALIGN`], if
/// the caller knows them.
///
/// # Errors
///
/// What is wrong with it; nothing has changed then.
pub fn release(address: usize, layout: Option<(usize, usize)>) -> Result<(), Misuse> {
    // No block is larger, so a size beyond is as wrong as this one.
    const LARGEST: usize = isize::MAX.cast_unsigned();
    free::release(address, layout.map(|(size, align)| (size.min(LARGEST), align)))
}

/// The bytes that the block at `address` has.
///
/// # Errors
///
/// Why there is no such block.
pub fn usable_size(address: usize) -> Result<usize, Misuse> {
    question::usable_size(address).ok_or_else(|| match question::validate(address, None) {
        Err(misuse) => misuse,
        // Another thread's, made after the question.
        Ok(()) => not_live(address, None),
    })
}

/// Says what is wrong with a call, and ends the process unless settings want it to go on.
pub fn refuse(misuse: &Misuse) {
    begin::refuse(misuse);
}
