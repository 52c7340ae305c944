//! The process heap as C sees it: sizes of 0, addresses without a size, mistakes that end the program. And the bodies
//! of the functions that are exported in more than one form.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;
use core::ptr::{self, NonNull};

use mems::internal::c::{self, C_ALIGN};
use mems::{MemsAlloc, Misuse, MisuseCall};

use crate::errno::or_no_memory;
use crate::nothing;

/// The heap.
pub(crate) const HEAP: MemsAlloc = MemsAlloc::new();

/// The largest size that anything can have: `PTRDIFF_MAX`.
const LARGEST: usize = isize::MAX.cast_unsigned();

/// A block of `size` bytes at a multiple of `align`, a power of two that is at least [`C_ALIGN`]. `None` where the
/// system gives no more memory, or nothing can be that large.
pub(crate) fn allocate(size: usize, align: usize) -> Option<NonNull<u8>> {
    match size {
        0 => nothing::hand_out(align).or_else(|| c::allocate(1, align)),
        1..=LARGEST => c::allocate(size, align),
        _ => None,
    }
}

/// Hands out `size` bytes at a multiple of [`C_ALIGN`], all zero.
pub(crate) fn allocate_zeroed(size: usize) -> Option<NonNull<u8>> {
    match Layout::from_size_align(size, C_ALIGN) {
        Ok(layout) if size > 0 => {
            // SAFETY: the layout's size is not 0.
            NonNull::new(unsafe { HEAP.alloc_zeroed(layout) })
        }
        Ok(_) => allocate(0, C_ALIGN),
        Err(_) => None,
    }
}

/// Takes the block at `address` back, which was asked for with this layout if the caller knows that.
pub(crate) fn release(address: usize, layout: Option<Layout>) -> Result<(), Misuse> {
    if nothing::has(address) {
        return nothing::take_back(address, layout.map(|layout| layout.size()));
    }
    c::release(address, layout)
}

/// Takes the block at `address` back, if that is not null. A mistake is reported, which ends the program unless
/// settings want it to go on.
pub(crate) fn release_or_refuse(address: usize, layout: Option<Layout>) {
    if address != 0
        && !c::take_back_other(address, layout)
        && let Err(misuse) = release(address, layout)
    {
        c::refuse(&misuse);
    }
}

/// The bytes that the block at `address` has, which this call asks for. None, and a report, if there is no block.
pub(crate) fn usable_size(address: usize, call: MisuseCall) -> Option<usize> {
    let size = if nothing::has(address) {
        nothing::validate(address).map(|()| 0).map_err(|misuse| misuse.during(call))
    } else {
        c::usable_size(address, call)
    };
    size.inspect_err(c::refuse).ok()
}

/// Makes the block at `pointer` serve another size, not 0, where it is or elsewhere. `None` where there is no memory;
/// the block is as it was then. A report if there is no such block.
pub(crate) fn resize(pointer: *mut u8, new_size: usize) -> Option<NonNull<u8>> {
    let old_size = usable_size(pointer.addr(), MisuseCall::Realloc)?;
    if old_size == 0 {
        let moved = allocate(new_size, C_ALIGN)?;
        release_or_refuse(pointer.addr(), None);
        return Some(moved);
    }
    // SAFETY: a block of this size is live there. Its user asks for this and uses the old address no more.
    unsafe { c::resize(pointer, old_size, new_size) }
}

/// The body of `free`: the fast path, and a jump to all else.
#[inline]
pub(crate) fn free(pointer: *mut c_void) {
    if !c::take_back(pointer.addr()) {
        free_slow(pointer);
    }
}

#[inline(never)]
extern "C" fn free_slow(pointer: *mut c_void) {
    release_or_refuse(pointer.addr(), None);
}

/// The body of `free_sized`, which is C++'s usual delete.
#[inline]
pub(crate) fn free_sized(pointer: *mut c_void, size: usize) {
    if !c::take_back_sized(pointer.addr(), size) {
        free_sized_slow(pointer, size);
    }
}

#[inline(never)]
extern "C" fn free_sized_slow(pointer: *mut c_void, size: usize) {
    release_or_refuse(pointer.addr(), Some(c::layout(size, C_ALIGN)));
}

/// The body of `realloc`.
#[inline]
pub(crate) fn realloc(pointer: *mut c_void, size: usize) -> *mut c_void {
    if c::serves(pointer.addr(), size) { pointer } else { realloc_slow(pointer, size) }
}

#[inline(never)]
extern "C" fn realloc_slow(pointer: *mut c_void, size: usize) -> *mut c_void {
    if pointer.is_null() {
        return or_no_memory(allocate(size, C_ALIGN));
    }
    if size == 0 {
        release_or_refuse(pointer.addr(), None);
        return ptr::null_mut();
    }
    or_no_memory(resize(pointer.cast(), size))
}
