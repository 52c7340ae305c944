//! Which program or library has an address, and where its unwind tables are.
//!
//! `_dl_find_object` (glibc 2.35 and later) answers that without a lock, and allocates nothing. Where it is missing
//! nobody can be asked in the middle of a malloc: `dl_iterate_phdr` takes the loader's lock, and a thread that holds
//! that may wait for the heap.
#![allow(unsafe_code, reason = "asks the loader")]

use core::ffi::{c_int, c_ulonglong, c_void};
use core::mem::{self, MaybeUninit};
use core::ptr;
use core::slice;

use crate::base::weak::weak;

/// What `_dl_find_object` writes: see `<dlfcn.h>`.
#[repr(C)]
struct Found {
    flags: c_ulonglong,
    map_start: *const c_void,
    map_end: *const c_void,
    link_map: *const c_void,
    eh_frame_hdr: *const c_void,
    reserved: [c_ulonglong; 7],
}

type Find = unsafe extern "C" fn(*const c_void, *mut Found) -> c_int;

/// A program or library, while it is loaded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object {
    start: usize,
    end: usize,
    /// Where its table of functions is, `.eh_frame_hdr`.
    table: *const u8,
    /// A number that another one, loaded at the same place later, does not have.
    number: u64,
}

impl Object {
    /// The one that has an address; none where that is in no library, or nobody can say.
    pub(super) fn with(address: usize) -> Option<Self> {
        let find = weak!("_dl_find_object");
        // SAFETY: the address is that of libc's function, or null.
        let find = unsafe { mem::transmute::<*const (), Option<Find>>(find) }?;
        let mut found = MaybeUninit::<Found>::uninit();
        // SAFETY: the address is only compared, and `found` is a place for the answer.
        let result = unsafe { find(ptr::without_provenance(address), found.as_mut_ptr()) };
        if result != 0 {
            return None;
        }
        // SAFETY: it was found, and so written.
        let found = unsafe { found.assume_init() };
        let (start, end) = (found.map_start.addr(), found.map_end.addr());
        let table = found.eh_frame_hdr.cast::<u8>();
        let mixed = (found.link_map.addr() as u64).rotate_left(32) ^ start as u64 ^ end as u64;
        let number = (mixed ^ table.addr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (start..end).contains(&table.addr()).then_some(Self { start, end, table, number })
    }

    /// Whether it has an address.
    pub(super) const fn has(&self, address: usize) -> bool {
        self.start <= address && address < self.end
    }

    /// Its number.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Its bytes from its table of functions on, and the address of that.
    ///
    /// # Safety
    ///
    /// It stays loaded: a function of it is being run.
    pub(super) unsafe fn table(&self) -> (&[u8], u64) {
        let len = self.end - self.table.addr();
        // SAFETY: the loader has mapped it there, and nobody writes to it.
        (unsafe { slice::from_raw_parts(self.table, len) }, self.table.addr() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_the_program_and_one_of_libc_are_found() {
        let Some(own) =
            Object::with(a_function_of_the_program_and_one_of_libc_are_found as *const () as usize)
        else {
            println!("skipped: libc has no _dl_find_object");
            return;
        };
        let other = Object::with(libc::getpid as *const () as usize).expect("libc");
        assert!(own.number() != other.number() || own.has(libc::getpid as *const () as usize));
        assert!(Object::with(&raw const own as usize).is_none(), "the stack is no library");
    }
}
