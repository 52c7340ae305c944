//! The process heap for callers that do not name a block's size when they give it back: C's malloc family.
//!
//! The fast paths ([`hand_out`], [`take_back`], [`take_back_sized`], [`serves`]) are inlined into the caller's
//! functions and answer whether they could serve the call; the others serve every call, as settings want it. Every
//! block that they hand out is aligned to [`C_ALIGN`].
#![allow(unsafe_code, reason = "moves the bytes of a block")]

use core::alloc::Layout;
use core::ptr::NonNull;

use super::{begin, free, malloc, question, realloc, thread};
use crate::base::addr;
use crate::heap::{Misuse, MisuseCall};
use crate::settings::Settings;
use crate::slabs::class::Class;

/// What C's malloc promises of every block.
pub const C_ALIGN: usize = 16;
/// The alignment of blocks whose size is no multiple of [`C_ALIGN`]: others than C may ask for such.
const OTHER_ALIGN: usize = 8;

/// Hands out a slot of at least `size` bytes, if it is neither 0 nor large and the calling thread has one cached.
#[inline]
#[must_use]
pub fn hand_out(size: usize) -> Option<*mut u8> {
    let slot = thread::current().magazine(Class::of(size, C_ALIGN)?).hand_out()?;
    Some(addr::raw_pointer(slot))
}

/// Hands out `size` bytes aligned to `align`: the start, if there is memory, and a block can be so.
#[must_use]
pub fn allocate(size: usize, align: usize) -> Option<NonNull<u8>> {
    let layout = Layout::from_size_align(size, align).ok()?;
    malloc::allocate(layout, &Settings::DEFAULT).map(|allocation| allocation.start)
}

/// Takes back the block at `address`, if that is a live small slot of the calling thread's own slabs, and there is room
/// for it. Otherwise nothing has changed.
#[inline]
#[must_use]
pub fn take_back(address: usize) -> bool {
    let heap = thread::current();
    if let Some(entry) = heap.view.entry(address)
        && let Some(class) = heap.small_class_of(entry.key())
    {
        let magazine = heap.magazine(class);
        return entry
            .own_slot(address, magazine.magic())
            .is_some_and(|slot| magazine.take_back(slot));
    }
    false
}

/// Takes back the block at `address`, which was asked for with `size` bytes, not 0, if it is a live small slot of the
/// calling thread's own slabs and of that size's class, and there is room for it. Otherwise nothing has changed.
#[inline]
#[must_use]
pub fn take_back_sized(address: usize, size: usize) -> bool {
    let heap = thread::current();
    Class::of(size, C_ALIGN).is_some_and(|class| {
        heap.own_slot(class, address).is_some_and(|slot| heap.magazine(class).take_back(slot))
    })
}

/// Takes back what [`take_back`] and [`take_back_sized`] did not: a slot of any size and any thread, if there is one at
/// `address`, and the layout is one of its class. Otherwise nothing has changed. Ends the process if it was free
/// already, where [`release`] could not tell any more.
#[must_use]
pub fn take_back_other(address: usize, layout: Option<Layout>) -> bool {
    free::take_back(address, layout)
}

/// Whether the block at `address` is a live small slot of the calling thread's own slabs and serves `size` bytes, too.
#[inline]
#[must_use]
pub fn serves(address: usize, size: usize) -> bool {
    Class::of(size, C_ALIGN)
        .is_some_and(|class| thread::current().own_slot(class, address).is_some())
}

/// The layout of a block that was asked for with this size and alignment; one that no block has, if there can be none
/// of such a size and alignment.
#[must_use]
pub fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap_or(NO_BLOCKS_LAYOUT)
}

/// The largest layout there can be.
const NO_BLOCKS_LAYOUT: Layout =
    match Layout::from_size_align(isize::MAX.cast_unsigned() - (C_ALIGN - 1), C_ALIGN) {
        Ok(layout) => layout,
        Err(_) => Layout::new::<u8>(),
    };

/// Takes back the block at `address`, which was asked for with this layout, if the caller knows that.
///
/// # Errors
///
/// What is wrong with it; nothing has changed then.
pub fn release(address: usize, layout: Option<Layout>) -> Result<(), Misuse> {
    free::release(address, layout)
}

/// The bytes that the block at `address` has, which this call asks for.
///
/// # Errors
///
/// Why there is no such block.
pub fn usable_size(address: usize, call: MisuseCall) -> Result<usize, Misuse> {
    question::usable_size(address).ok_or_else(|| {
        let misuse = match question::validate(address, None) {
            Err(misuse) => misuse,
            // Another thread's, made after the question.
            Ok(()) => Misuse::double_free(address, None),
        };
        misuse.during(call)
    })
}

/// Makes the block of `old_size` bytes at `start` serve `new_size`, not 0, where it is or elsewhere. `None` where there
/// is no memory; the block is as it was then.
///
/// # Safety
///
/// [`usable_size`] has said `old_size` of the block, and its user gives up the old address unless the answer is `None`.
#[must_use]
pub unsafe fn resize(start: *mut u8, old_size: usize, new_size: usize) -> Option<NonNull<u8>> {
    let new = Layout::from_size_align(new_size, C_ALIGN).ok()?;
    let is_c = old_size.is_multiple_of(C_ALIGN);
    let old_align = if is_c { C_ALIGN } else { OTHER_ALIGN };
    let old = Layout::from_size_align(old_size, old_align).ok()?;
    NonNull::new(if is_c {
        // SAFETY: by the caller's contract.
        unsafe { realloc::realloc(start, old, new_size) }
    } else {
        // Where it is it may be aligned to less than C is promised.
        // SAFETY: by the caller's contract.
        unsafe { realloc::move_block(start, old, new) }
    })
}

/// Says what is wrong with a call, and ends the process unless settings want it to go on.
pub fn refuse(misuse: &Misuse) {
    begin::refuse(misuse);
}
