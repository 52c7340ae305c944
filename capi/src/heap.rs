//! The one heap of the process, and the numbers that C sees as pointers.
//!
//! Owns: the heap, `HEAP`, and its lock. Invariants: **I1** the heap is made by the first function that needs it, with
//! [`DEFAULT_PAGE_SIZE`] where that is not an init; **I2** no lock is taken and no code of the program runs under the
//! heap's lock.

use core::ffi::c_void;
use core::ptr;

use mems::internal::Lock;
use mems::{MallocError, Mems, VirtAddr};

/// The page size where the program says nothing else, in bytes: that of the header.
pub const DEFAULT_PAGE_SIZE: usize = 4096;

/// The largest block that can be asked for, in bytes: `PTRDIFF_MAX`, as for every object of C.
const LARGEST_SIZE: usize = isize::MAX.cast_unsigned();

static HEAP: Lock<Option<Mems>> = Lock::new(None);

/// Lets `action` use the heap, alone.
pub(crate) fn with_heap<R>(action: impl FnOnce(&mut Mems) -> R) -> R {
    let mut heap = HEAP.lock();
    action(heap.get_or_insert_with(|| Mems::with_page_size(DEFAULT_PAGE_SIZE)))
}

/// Releases the heap, if there is one, and makes an empty one in its place.
pub(crate) fn renew(page_size: usize) {
    let mut heap = HEAP.lock();
    drop(heap.take());
    *heap = Some(Mems::with_page_size(page_size));
}

/// A block of `size` bytes.
pub(crate) fn malloc(size: usize) -> Result<VirtAddr, MallocError> {
    if size > LARGEST_SIZE {
        return Err(MallocError::OutOfMemory);
    }
    with_heap(|heap| heap.malloc(size))
}

/// A virtual address as C has it: a pointer that points nowhere.
pub(crate) const fn virtual_pointer(address: VirtAddr) -> *mut c_void {
    ptr::without_provenance_mut(address.0)
}

/// The number in a pointer of C.
pub(crate) fn virtual_address(pointer: *const c_void) -> VirtAddr {
    VirtAddr(pointer.addr())
}
