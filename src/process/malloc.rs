//! Handing out a block: the fast path of the whole allocator, and where it leads when it does not suffice.
//!
//! [`malloc`] pops a slot off the calling thread's magazine. If that is empty the slow way asks once whether settings
//! concern every call, and then lets the thread's heap refill the magazine, or the free list serve.

use core::ptr;

use super::begin::begin;
use super::hardened::hardened;
use super::plain::PROCESS_HEAP;
use super::thread;
use crate::base::addr;
use crate::heap::Allocation;
use crate::settings::{self, Settings};
use crate::slabs::class::{Class, EVERY_SLOT_ALIGN};

/// Hands out `size` bytes aligned to `align`, a power of two: their start, or null.
///
/// A cached slot costs no call, and nothing is kept on the stack. If this is the first call of all, `built` are the
/// settings that hold from now on.
#[inline]
pub(crate) fn malloc(size: usize, align: usize, built: &Settings) -> *mut u8 {
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

#[cold]
#[inline(never)]
fn malloc_slot_slow(size: usize, align: usize, class: Class, built: &Settings) -> *mut u8 {
    if !settings::is_plain() {
        return start_of(allocate(size, align, built));
    }
    let slot = PROCESS_HEAP.allocate_slot(class, size, align);
    start_of(slot.or_else(|| PROCESS_HEAP.allocate_after_flush(size, align)))
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
        return start_of(allocate(size, align, built));
    }
    start_of(PROCESS_HEAP.allocate(size, align))
}

fn start_of(allocation: Option<Allocation>) -> *mut u8 {
    allocation.map_or(ptr::null_mut(), |allocation| allocation.start.as_ptr())
}

/// Hands out a block under whatever settings are in force, with what is known of its bytes.
pub(crate) fn allocate(size: usize, align: usize, built: &Settings) -> Option<Allocation> {
    begin(built);
    match hardened() {
        Some((mut heap, settings)) => heap.allocate(size, align, settings),
        None => PROCESS_HEAP.allocate(size, align),
    }
}
