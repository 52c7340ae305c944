//! Handing out a block: the fast path of the whole allocator, and where it leads when it does not suffice.
//!
//! [`malloc`] pops a slot off the calling thread's magazine. If that is empty the slow way asks once whether settings
//! concern every call, and then lets the thread's heap refill the magazine, or the free list serve.
//!
//! The slow ways are `extern "C"`: a call by that convention does not unwind, so the way there is a jump.
#![allow(unsafe_code, reason = "clears the bytes of a block")]
#![allow(improper_ctypes_definitions, reason = "called from Rust only")]

use core::alloc::Layout;
use core::ptr;

#[cfg(feature = "std")]
use super::background;
use super::begin::begin;
use super::fork;
use super::hardened::hardened;
use super::image;
use super::plain::PROCESS_HEAP;
use super::thread;
use crate::base::addr;
use crate::heap::Allocation;
use crate::settings::{self, Settings};
use crate::slabs::class::Class;
use crate::slabs::depot::DEPOT;
use crate::slabs::thread_heap::ThreadHeap;

/// Hands out a block: its start, or null.
///
/// A cached slot costs no call, and nothing is kept on the stack. If this is the first call of all, `built` are the
/// settings that hold from now on.
#[inline]
pub(crate) fn malloc(layout: Layout, built: &Settings) -> *mut u8 {
    let heap = thread::current();
    let Some(class) = Class::of(layout.size(), layout.align()) else {
        return malloc_large(layout, built, heap);
    };
    match heap.magazine(class).hand_out() {
        Some(slot) => addr::raw_pointer(slot),
        None => malloc_slot_slow(layout, class, built),
    }
}

/// Hands out a block whose bytes are zero: its start, or null.
#[inline]
pub(crate) fn malloc_zeroed(layout: Layout, built: &Settings) -> *mut u8 {
    if let Some(class) = Class::of(layout.size(), layout.align())
        && let Some(slot) = thread::current().magazine(class).hand_out()
    {
        let start = addr::raw_pointer(slot);
        // SAFETY: the block was just handed out, with at least as many bytes.
        unsafe { start.write_bytes(0, layout.size()) };
        return start;
    }
    malloc_zeroed_slow(layout, built)
}

#[inline(never)]
extern "C" fn malloc_zeroed_slow(layout: Layout, built: &Settings) -> *mut u8 {
    let Some(block) = allocate(layout, built) else { return ptr::null_mut() };
    // SAFETY: the block was just handed out for this layout.
    let is_zero = unsafe { DEPOT.heap.clear(&block, layout.size()) };
    if is_zero { block.start.as_ptr() } else { ptr::null_mut() }
}

#[cold]
#[inline(never)]
extern "C" fn malloc_slot_slow(layout: Layout, class: Class, built: &Settings) -> *mut u8 {
    if !settings::is_plain() {
        return start_of(allocate(layout, built));
    }
    let slot = PROCESS_HEAP.allocate_slot(class, layout);
    let slot = slot.or_else(|| PROCESS_HEAP.allocate_after_flush(layout));
    #[cfg(feature = "std")]
    background::start_if_due();
    if slot.is_none() {
        note_refusal(layout);
    }
    start_of(slot)
}

/// Large blocks, and those with a special alignment or of 0 bytes. `heap` is the thread's: here the compiler takes it
/// for the answer to a call, where [`malloc`] is inlined it is one load.
#[inline(never)]
extern "C" fn malloc_large(layout: Layout, built: &Settings, heap: &'static ThreadHeap) -> *mut u8 {
    if let Some(class) = Class::of_large(layout.size(), layout.align())
        && let Some(slot) = heap.hand_out_large(class)
    {
        return addr::raw_pointer(slot);
    }
    malloc_slow(layout, built)
}

#[cold]
#[inline(never)]
extern "C" fn malloc_slow(layout: Layout, built: &Settings) -> *mut u8 {
    if !settings::is_plain() {
        return start_of(allocate(layout, built));
    }
    let allocation = PROCESS_HEAP.allocate(layout);
    if allocation.is_none() {
        note_refusal(layout);
    }
    start_of(allocation)
}

/// Notes that a request was refused. The caller has no lock.
#[cold]
pub(super) fn note_refusal(layout: Layout) {
    #[cfg(all(feature = "std", feature = "report"))]
    super::occasions::note_refusal(layout.size());
    // Nobody looks.
    #[cfg(not(all(feature = "std", feature = "report")))]
    let _ = layout;
}

fn start_of(allocation: Option<Allocation>) -> *mut u8 {
    allocation.map_or(ptr::null_mut(), |allocation| allocation.start.as_ptr())
}

/// Hands out a block under whatever settings are in force, with what is known of its bytes.
pub(crate) fn allocate(layout: Layout, built: &Settings) -> Option<Allocation> {
    begin(built);
    let allocation = match hardened() {
        Some((mut heap, settings)) => heap.allocate(layout, settings),
        None => PROCESS_HEAP.allocate(layout),
    };
    // The heap can be used by now, and no lock is held: both may allocate.
    fork::register_once();
    image::pin_once();
    #[cfg(feature = "std")]
    background::start_once();
    if allocation.is_none() {
        note_refusal(layout);
    }
    allocation
}
