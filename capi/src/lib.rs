//! The MeMS virtual-address heap as a C library: what `include/mems.h` declares.
//!
//! Every function here is a door: it turns C's types into those of [`mems::Mems`], passes the call on to the one heap
//! of the process, and turns the answer back. Files, bottom to top:
//!
//! 1. [`heap`]: the one heap and its lock;
//! 2. [`stdio`]: text on standard output, in order with C's;
//! 3. [`records`]: spans, segments and sums as C structs;
//! 4. [`process`]: the process heap, which gives plain pointers;
//! 5. this file: the six functions of the original, and the check.
//!
//! # Lock order
//!
//! First C's lock of `stdout` (inside fflush(3)), then, after that one is released, the heap's. Nothing that runs under
//! the heap's lock calls into C's stdio, so a thread that holds `stdout` with flockfile(3) may call every function.
//!
//! # What the functions use
//!
//! mmap(2) and munmap(2) for memory, fflush(3) and write(2) for text. No function calls malloc(3) and its kin, none
//! unwinds into C. Only those that hand blocks out ever change `errno`.
#![allow(unsafe_code, reason = "exports C symbols")]

pub mod heap;
pub mod process;
pub mod records;
pub mod stdio;

use core::ffi::{c_int, c_void};
use core::fmt::Write as _;
use core::ptr::{self, NonNull};

use heap::{DEFAULT_PAGE_SIZE, virtual_address, virtual_pointer, with_heap};
use mems::MallocError;

/// Makes the heap empty, with spans that are multiples of `page_size` bytes, any number but 0; 0 stands for the
/// machine's page size. A heap that is in use is released first.
///
/// This is where the header's own `mems_init` ends, with the program's `PAGE_SIZE`.
#[unsafe(no_mangle)]
pub extern "C" fn mems_init_with_page_size(page_size: usize) {
    heap::renew(page_size);
}

/// [`mems_init_with_page_size`] with [`DEFAULT_PAGE_SIZE`]: for callers that do not see the header, as other
/// languages and dlsym(3).
#[unsafe(no_mangle)]
pub extern "C" fn mems_init() {
    heap::renew(DEFAULT_PAGE_SIZE);
}

/// Unmaps every page of the heap and of its records. The heap is as new, with the same page size. O(spans).
#[unsafe(no_mangle)]
pub extern "C" fn mems_finish() {
    with_heap(mems::Mems::finish);
}

/// Hands out `size` bytes and returns their first virtual address, or null for 0 bytes (`errno` stays) and where there
/// is no more memory (`errno` is `ENOMEM`). O(log n).
#[unsafe(no_mangle)]
pub extern "C" fn mems_malloc(size: usize) -> *mut c_void {
    match heap::malloc(size) {
        Ok(address) => virtual_pointer(address),
        Err(MallocError::ZeroSize) => ptr::null_mut(),
        Err(_) => {
            stdio::set_errno(libc::ENOMEM);
            ptr::null_mut()
        }
    }
}

/// Where the byte at a virtual address is in memory, or null where the address is not one of a live block. O(log n).
#[unsafe(no_mangle)]
pub extern "C" fn mems_get(address: *mut c_void) -> *mut c_void {
    let place = with_heap(|heap| heap.get(virtual_address(address)));
    place.map_or(ptr::null_mut(), |place| place.as_ptr().cast())
}

/// Takes back the block that starts at a virtual address. Any other address changes nothing and prints
/// `ADDRESS NOT FOUND!!` on standard output, after the lock is released. O(log n).
#[unsafe(no_mangle)]
pub extern "C" fn mems_free(address: *mut c_void) {
    let freed = with_heap(|heap| heap.free(virtual_address(address)));
    if freed.is_err() {
        stdio::print(|out| out.write_str("ADDRESS NOT FOUND!!\n"));
    }
}

/// Prints both chains and their sums on standard output. The heap is locked as long as that takes, so that the text
/// shows one moment. O(n).
#[unsafe(no_mangle)]
pub extern "C" fn mems_print_stats() {
    stdio::print(|out| with_heap(|heap| heap.write_stats(out).and_then(|()| out.flush())));
}

/// Checks every law of the heap's records; 0 says that all hold, 1 that the heap is damaged. O(n).
#[unsafe(no_mangle)]
pub extern "C" fn mems_check() -> c_int {
    c_int::from(with_heap(|heap| heap.check().is_err()))
}

/// A place in memory as C has it.
fn physical_pointer(place: Option<NonNull<u8>>) -> *mut c_void {
    place.map_or(ptr::null_mut(), |place| place.as_ptr().cast())
}
