//! What the program has in place of our functions.
//!
//! A program may bring its own `malloc` and `free`, or its own `operator new` and `operator delete`, and leave us the
//! others of the family. Those must end in the program's functions then, as libc's and libstdc++'s do. The loader
//! tells: it fills [`FOUND`] with whatever the whole program finds under these names.
//!
//! [`learn`] runs when the library is loaded and notes which of them are ours. Until then all calls take the long way,
//! which is right for everybody. If the library was loaded by dlopen(3), the program goes on with libc's functions, and
//! ours are called by those who ask for them: they serve their own heap.
//!
//! This file names the functions of `cxx_new`, `cxx_delete` and `family`, and they call what it found: the circle is
//! the loader's, which fills one table for all of them.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::cxx_new::{self, New, NewAligned};
use crate::{cxx_delete, engine, family};

/// A function that takes a block back.
type Free = extern "C" fn(*mut c_void);
/// A function that takes a block back, given the alignment that the block was asked for with.
type FreeAligned = extern "C" fn(*mut c_void, usize);

/// The program's functions.
#[derive(Clone, Copy)]
struct Functions {
    free: Free,
    realloc: extern "C" fn(*mut c_void, usize) -> *mut c_void,
    delete: Free,
    delete_array: Free,
    delete_aligned: FreeAligned,
    delete_array_aligned: FreeAligned,
    new: New,
    new_array: New,
    new_aligned: NewAligned,
    new_array_aligned: NewAligned,
}

/// What the loader found.
static FOUND: Functions = Functions {
    free: family::free,
    realloc: family::realloc,
    delete: cxx_delete::delete,
    delete_array: cxx_delete::delete_array,
    delete_aligned: cxx_delete::delete_aligned,
    delete_array_aligned: cxx_delete::delete_array_aligned,
    new: cxx_new::new,
    new_array: cxx_new::new_array,
    new_aligned: cxx_new::new_aligned,
    new_array_aligned: cxx_new::new_array_aligned,
};

/// Whether `free` and `realloc` are ours.
static C_IS_OURS: AtomicBool = AtomicBool::new(false);
/// Whether all of [`FOUND`] are ours.
static CXX_IS_OURS: AtomicBool = AtomicBool::new(false);

/// What the loader found. Not what the compiler sees in our source.
fn found() -> Functions {
    // SAFETY: a static that never changes once the library is loaded.
    unsafe { (&raw const FOUND).read_volatile() }
}

/// Whether C's functions are ours.
#[inline]
pub(crate) fn has_our_c() -> bool {
    C_IS_OURS.load(Ordering::Relaxed)
}

/// Whether C++'s functions, and so C's, are ours.
#[inline]
pub(crate) fn has_our_cxx() -> bool {
    CXX_IS_OURS.load(Ordering::Relaxed)
}

/// The program's `realloc`.
pub(crate) fn realloc(pointer: *mut c_void, size: usize) -> *mut c_void {
    if has_our_c() { engine::realloc(pointer, size) } else { (found().realloc)(pointer, size) }
}

/// The program's `free`.
#[inline]
pub(crate) fn free(pointer: *mut c_void) {
    if has_our_c() { engine::free(pointer) } else { free_elsewhere(pointer) }
}

#[cold]
#[inline(never)]
extern "C" fn free_elsewhere(pointer: *mut c_void) {
    (found().free)(pointer);
}

/// The program's `operator delete`.
#[cold]
#[inline(never)]
pub(crate) extern "C" fn delete(pointer: *mut c_void) {
    (found().delete)(pointer);
}

/// The program's `operator delete[]`.
#[cold]
#[inline(never)]
pub(crate) extern "C" fn delete_array(pointer: *mut c_void) {
    (found().delete_array)(pointer);
}

/// The program's `operator delete` with an alignment.
#[cold]
#[inline(never)]
pub(crate) extern "C" fn delete_aligned(pointer: *mut c_void, align: usize) {
    (found().delete_aligned)(pointer, align);
}

/// The program's `operator delete[]` with an alignment.
#[cold]
#[inline(never)]
pub(crate) extern "C" fn delete_array_aligned(pointer: *mut c_void, align: usize) {
    (found().delete_array_aligned)(pointer, align);
}

/// The program's `operator new`.
#[cold]
#[inline(never)]
pub(crate) fn new(size: usize) -> *mut c_void {
    (found().new)(size)
}

/// The program's `operator new` with an alignment.
#[cold]
#[inline(never)]
pub(crate) fn new_aligned(size: usize, align: usize) -> *mut c_void {
    (found().new_aligned)(size, align)
}

/// The first address of the program or library that has `function`; 0 for none.
fn home_of(function: *const c_void) -> usize {
    let mut info = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: `info` is a place for the answer; nothing is allocated for it.
    if unsafe { libc::dladdr(function, info.as_mut_ptr()) } == 0 {
        return 0;
    }
    // SAFETY: dladdr(3) has filled it.
    unsafe { info.assume_init() }.dli_fbase.addr()
}

extern "C" fn learn() {
    let us = home_of(learn as *const c_void);
    let libc = home_of(libc::abort as *const c_void);
    let is_ours = |function: *const c_void| home_of(function) == us;
    let found = found();
    let free = found.free as *const c_void;
    // In libc: we were loaded late.
    let c = home_of(free) == libc || is_ours(free) && is_ours(found.realloc as *const c_void);
    let cxx = [
        found.delete as *const c_void,
        found.delete_array as *const c_void,
        found.delete_aligned as *const c_void,
        found.delete_array_aligned as *const c_void,
        found.new as *const c_void,
        found.new_array as *const c_void,
        found.new_aligned as *const c_void,
        found.new_array_aligned as *const c_void,
    ];
    C_IS_OURS.store(c, Ordering::Relaxed);
    CXX_IS_OURS.store(c && cxx.into_iter().all(is_ours), Ordering::Relaxed);
}

/// The loader calls what this section points to.
#[used]
// SAFETY: the section holds pointers to functions without parameters, which is what this is.
#[unsafe(link_section = ".init_array")]
static LEARN: extern "C" fn() = learn;
