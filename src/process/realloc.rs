//! A block that is to serve another size: where it is if there is room, else elsewhere.
#![allow(unsafe_code, reason = "moves the bytes of a block")]

use core::alloc::Layout;
use core::ptr;

use super::begin::refuse;
use super::free::free_moved;
use super::hardened::hardened;
use super::malloc::malloc;
use super::plain::PROCESS_HEAP;
use crate::base::addr;
use crate::heap::{Misuse, MisuseCall};
use crate::settings::Settings;

/// Makes the block at `start` serve `new_size` bytes: where it is now, or null, and then nothing has changed. Reports a
/// block that is not live as settings want it.
///
/// # Safety
///
/// The caller of `GlobalAlloc::realloc` promises that the block is live and of this layout, and no longer uses `start`
/// if the answer is not null.
pub(crate) unsafe fn realloc(start: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    match resize(start.addr(), layout, new_size) {
        Ok(true) => addr::raw_pointer(start.addr()),
        Ok(false) => match Layout::from_size_align(new_size, layout.align()) {
            // SAFETY: `resize` has found the block live, with this layout's size.
            Ok(new) => unsafe { move_block(start, layout, new) },
            Err(_) => ptr::null_mut(),
        },
        Err(misuse) => {
            refuse(&misuse.during(MisuseCall::Realloc));
            ptr::null_mut()
        }
    }
}

/// Makes a block serve another size where it is; `false` where it cannot. With checks on blocks always move, so that a
/// use of the old address is found.
fn resize(address: usize, old: Layout, new_size: usize) -> Result<bool, Misuse> {
    match hardened() {
        Some((heap, _)) => heap.validate(address, Some(old)).map(|()| false),
        None => PROCESS_HEAP.resize(address, old, new_size),
    }
}

/// Makes the bytes of a block serve `new` elsewhere; null where there is no memory, and then nothing has changed.
///
/// # Safety
///
/// `start` is a live block of layout `old`, which its user gives up if the answer is not null.
#[cold]
pub(super) unsafe fn move_block(start: *mut u8, old: Layout, new: Layout) -> *mut u8 {
    let moved = malloc(new, &Settings::DEFAULT);
    if !moved.is_null() {
        let kept = old.size().min(new.size());
        // SAFETY: both blocks are live, at least `kept` bytes long, and not the same.
        unsafe { ptr::copy_nonoverlapping(start, moved, kept) };
        free_moved(start.addr(), old, kept);
    }
    moved
}
