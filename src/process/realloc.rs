//! A block that is to serve another size: where it is if there is room, else elsewhere.
//!
//! A small slot of the thread's own slabs needs to be held by nobody while its bytes move to a slot that the thread has
//! cached: no other slot is handed out meanwhile. All else is [`held`](super::held).
#![allow(unsafe_code, reason = "moves the bytes of a block")]
#![allow(improper_ctypes_definitions, reason = "called from Rust only")]

use core::alloc::Layout;
use core::ptr;

use super::begin::refuse;
use super::free::free_other;
use super::hardened::hardened;
use super::held::{Held, Resized};
use super::malloc::{malloc, note_refusal};
use super::plain::PROCESS_HEAP;
use super::thread;
use crate::base::addr;
use crate::heap::{Misuse, MisuseCall};
use crate::settings::Settings;
use crate::slabs::class::Class;
use crate::slabs::slot::LiveSlot;

/// Makes the block at `start` serve `new_size` bytes: where it is now, or null, and then nothing has changed. Reports a
/// block that is not live as settings want it.
///
/// # Safety
///
/// The caller of `GlobalAlloc::realloc` promises that the block is live and of this layout, and no longer uses `start`
/// if the answer is not null.
#[inline]
pub(crate) unsafe fn realloc(start: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    let (address, align) = (start.addr(), layout.align());
    if let Some(class) = Class::of(layout.size(), align)
        && let Some(new) = Class::of(new_size, align)
        && let heap = thread::current()
        && let Some(slot) = heap.own_slot(class, address)
    {
        if new == class {
            return addr::raw_pointer(address);
        }
        if let Some(moved) = heap.magazine(new).hand_out() {
            // SAFETY: the block is live, the other was just handed out, and all else is the caller's contract.
            return unsafe { move_own(slot, layout, new_size, moved) };
        }
    }
    // SAFETY: by the caller's contract.
    unsafe { realloc_slow(start, layout, new_size) }
}

/// Moves the bytes of a small slot of an own slab to the block at `moved`, and frees it: where the bytes are now.
///
/// # Safety
///
/// The slot is of this layout and the caller's, as is the other block, of the new size.
#[inline(never)]
unsafe extern "C" fn move_own(
    slot: LiveSlot,
    layout: Layout,
    new_size: usize,
    moved: usize,
) -> *mut u8 {
    let (start, moved) = (addr::raw_pointer(slot.address()), addr::raw_pointer(moved));
    let kept = layout.size().min(new_size);
    // SAFETY: both blocks are live, at least `kept` bytes long, and not the same.
    unsafe { ptr::copy_nonoverlapping(start, moved, kept) };
    // Another thread may have freed it meanwhile, or there is no room.
    if let Some(class) = Class::of(layout.size(), layout.align())
        && let Some(slot) = slot.again()
        && thread::current().magazine(class).take_back(slot)
    {
        return moved;
    }
    free_other(start.addr(), layout);
    moved
}

/// Does what [`realloc`] does for every block.
///
/// # Safety
///
/// As for [`realloc`].
#[inline(never)]
unsafe extern "C" fn realloc_slow(start: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    let Ok(new) = Layout::from_size_align(new_size, layout.align()) else { return ptr::null_mut() };
    // SAFETY: by the caller's contract.
    if let Some(answer) = unsafe { move_hardened(start, layout, new) } {
        return answer;
    }
    or_refuse(match PROCESS_HEAP.resize(start.addr(), layout, new_size) {
        Ok(Resized::Here) => Ok(addr::raw_pointer(start.addr())),
        // SAFETY: by the caller's contract.
        Ok(Resized::Elsewhere(held)) => unsafe { move_held(held, start, layout, new) },
        Err(misuse) => Err(misuse),
    })
}

/// Makes the bytes of a block serve `new` elsewhere; null where there is no memory, and then nothing has changed.
///
/// # Safety
///
/// `start` is a live block of layout `old`, which its user gives up if the answer is not null.
#[cold]
pub(super) unsafe fn move_block(start: *mut u8, old: Layout, new: Layout) -> *mut u8 {
    // SAFETY: by the caller's contract.
    if let Some(answer) = unsafe { move_hardened(start, old, new) } {
        return answer;
    }
    or_refuse(PROCESS_HEAP.hold(start.addr(), old).and_then(|held| {
        // SAFETY: by the caller's contract.
        unsafe { move_held(held, start, old, new) }
    }))
}

/// Moves the bytes of a block that is held.
///
/// # Safety
///
/// As for [`move_block`].
unsafe fn move_held(
    held: Held,
    start: *mut u8,
    old: Layout,
    new: Layout,
) -> Result<*mut u8, Misuse> {
    let moved = malloc(new, &Settings::DEFAULT);
    if moved.is_null() {
        return held.keep().map(|()| moved);
    }
    held.check()?;
    let kept = old.size().min(new.size());
    // SAFETY: both blocks are live, at least `kept` bytes long, and not the same.
    unsafe { ptr::copy_nonoverlapping(start, moved, kept) };
    held.follow(moved.addr());
    held.free().map(|()| moved)
}

/// Moves the bytes of a block if checks are on: then blocks always move, so that a use of the old address is found.
///
/// # Safety
///
/// As for [`move_block`].
unsafe fn move_hardened(start: *mut u8, old: Layout, new: Layout) -> Option<*mut u8> {
    let (mut heap, settings) = hardened()?;
    // SAFETY: by the caller's contract.
    let moved = unsafe { heap.reallocate(start, old, new, settings) };
    drop(heap);
    if matches!(moved, Ok(None)) {
        note_refusal(new);
    }
    Some(or_refuse(moved.map(|moved| moved.map_or(ptr::null_mut(), ptr::NonNull::as_ptr))))
}

/// The answer to a caller whose block was as he said. Reports one that was not as settings want it.
fn or_refuse(answer: Result<*mut u8, Misuse>) -> *mut u8 {
    answer.unwrap_or_else(|misuse| {
        refuse(&misuse.during(MisuseCall::Realloc));
        ptr::null_mut()
    })
}
