//! The image that this code is a part of: the program, or a library that is loaded into one.
//!
//! A heap lives as long as the process, and threads that have used it run its code when they end. So a library that has
//! one must stay where it is: it is pinned, and dlclose(3) unloads it no more.
//!
//! Owns: what is known of the image, found out once.
#![allow(unsafe_code, reason = "reads program headers, and asks the loader")]

use core::ffi::{CStr, c_char, c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use once_cell::race::OnceBool;

use crate::base::addr;

/// The library's path, if it is one; the loader keeps it as long as the library is loaded.
static PATH: AtomicPtr<c_char> = AtomicPtr::new(core::ptr::null_mut());

/// Whether this code is in a library that may be unloaded. Allocates nothing.
pub(super) fn is_library() -> bool {
    static IS_LIBRARY: OnceBool = OnceBool::new();
    let is_static = cfg!(target_feature = "crt-static");
    IS_LIBRARY.get_or_init(|| !is_static && !is_in_program() && is_library_to_unload())
}

/// Lets a library be unloaded no more, once. The caller has no lock: the loader takes its own, and allocates.
pub(super) fn pin_once() {
    static IS_PINNED: AtomicBool = AtomicBool::new(false);
    if IS_PINNED.load(Ordering::Relaxed) || IS_PINNED.swap(true, Ordering::Relaxed) {
        return;
    }
    let path = if is_library() { PATH.load(Ordering::Relaxed) } else { core::ptr::null_mut() };
    if !path.is_null() {
        let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
        // SAFETY: the path is a string of the loader's. Nothing new is loaded, so no code of others runs.
        let handle = unsafe { libc::dlopen(path, flags) };
        // A reference that is never given back. Without one the library works, as long as nobody unloads it.
        let _ = handle;
    }
}

/// An address of this image.
fn here() -> usize {
    (&raw const PATH).addr()
}

/// Whether this code is in the program, as far as the kernel has told where that is.
fn is_in_program() -> bool {
    let value = |key| {
        // SAFETY: getauxval(3) has no preconditions.
        let value = unsafe { libc::getauxval(key) };
        usize::try_from(value).unwrap_or(0)
    };
    let (start, count) = (value(libc::AT_PHDR), value(libc::AT_PHNUM));
    if start == 0 || count > 1000 {
        return false;
    }
    let headers = addr::raw_pointer(start).cast_const().cast::<libc::Elf64_Phdr>();
    // SAFETY: the kernel has put that many headers there, and nobody changes them.
    let headers = unsafe { core::slice::from_raw_parts(headers, count) };
    let own = headers.iter().find(|header| header.p_type == libc::PT_PHDR);
    let base = own.map_or(0, |own| start.wrapping_sub(address_of(own)));
    has(headers, base, here())
}

fn address_of(header: &libc::Elf64_Phdr) -> usize {
    usize::try_from(header.p_vaddr).unwrap_or(0)
}

/// Whether an image with these headers, loaded at `base`, has `address`.
fn has(headers: &[libc::Elf64_Phdr], base: usize, address: usize) -> bool {
    headers.iter().filter(|header| header.p_type == libc::PT_LOAD).any(|header| {
        let len = usize::try_from(header.p_memsz).unwrap_or(0);
        address.wrapping_sub(base.wrapping_add(address_of(header))) < len
    })
}

/// Whether this code is in a library that may be unloaded. Notes its path then.
fn is_library_to_unload() -> bool {
    /// Looks at an image of the process: 0 for the next one.
    unsafe extern "C" fn look(
        image: *mut libc::dl_phdr_info,
        _size: usize,
        is_library: *mut c_void,
    ) -> c_int {
        // SAFETY: the loader describes an image that is loaded.
        let image = unsafe { &*image };
        let base = usize::try_from(image.dlpi_addr).unwrap_or(0);
        // SAFETY: as above.
        let headers =
            unsafe { core::slice::from_raw_parts(image.dlpi_phdr, image.dlpi_phnum.into()) };
        if !has(headers, base, here()) {
            return 0;
        }
        // SAFETY: a path of the loader's.
        let is_program = unsafe { CStr::from_ptr(image.dlpi_name) }.is_empty();
        if !is_program && !is_never_unloaded(headers, base) {
            PATH.store(image.dlpi_name.cast_mut(), Ordering::Relaxed);
            // SAFETY: the place that was handed over below.
            unsafe { is_library.cast::<bool>().write(true) };
        }
        1
    }
    let mut is_library = false;
    // SAFETY: `look` takes what it is given here, and does not unwind.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut is_library).cast()) };
    is_library
}

/// Whether a library says that it is never unloaded (`-z nodelete`).
fn is_never_unloaded(headers: &[libc::Elf64_Phdr], base: usize) -> bool {
    /// An entry of the dynamic section: what it is about, and its value.
    #[repr(C)]
    struct Entry(i64, u64);
    const END: i64 = 0;
    const FLAGS: i64 = 0x6fff_fffb;
    const NO_DELETE: u64 = 8;
    const PT_DYNAMIC: u32 = 2;

    let Some(dynamic) = headers.iter().find(|header| header.p_type == PT_DYNAMIC) else {
        return false;
    };
    let start = addr::raw_pointer(base.wrapping_add(address_of(dynamic))).cast_const();
    let entry = |index| {
        // SAFETY: the section is mapped, and has an entry that ends it, behind which nobody asks for more.
        let entry = unsafe { start.cast::<Entry>().add(index) };
        // SAFETY: as above.
        unsafe { entry.read() }
    };
    (0..)
        .map(entry)
        .take_while(|Entry(tag, _)| *tag != END)
        .any(|Entry(tag, value)| tag == FLAGS && value & NO_DELETE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_in_the_program() {
        assert!(is_in_program());
        assert!(!is_library_to_unload());
        assert!(!is_library());
    }
}
