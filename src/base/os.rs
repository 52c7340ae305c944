//! The OS floor: the only file that maps and unmaps memory.
//!
//! Owns: the calls `mmap` and `munmap`, and the page size. Everything above sees the [`Os`] trait, so that a test can
//! make the n-th call fail or pretend another page size. MeMS makes no other memory system call, no `brk`, `mremap`,
//! `madvise` or `mprotect`, but for the one that a program asks for by
//! [`Builder::want_huge_pages`](crate::Builder::want_huge_pages).
//!
//! Invariants: **I1** fresh pages are zero; **I2** a failed call leaves every mapping as it was, except
//! [`Os::commit`] and [`Os::decommit`]: before Linux 6.12 the kernel unmaps a run before it finds that it cannot map it
//! anew, and the next `mmap` of the program may land there. So [`Os::recover`] is called after each such failure: it
//! settles whose the run is.
#![allow(unsafe_code, reason = "the door to the operating system")]

use core::ffi::c_void;
use core::fmt;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

use once_cell::race::OnceNonZeroUsize;
use rustix::mm::{self, Advice, MapFlags, ProtFlags};

/// The operating system, or the limit set, gives no more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}

impl core::error::Error for OutOfMemory {}

/// What became of a run on which [`Os::commit`] or [`Os::decommit`] has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recovered {
    /// It is as it was, pages and all.
    Untouched,
    /// Its pages have gone. Its addresses are reserved, and may be committed.
    Reserved,
    /// Something else may lie there by now: the run must never be touched, mapped over or unmapped again.
    Lost,
}

/// What MeMS asks of an operating system: public so that a test can make a call fail. A program uses [`System`], which
/// is the default everywhere; new methods may come in any version.
///
/// All lengths are bytes; starts and lengths handed to the fixed-address functions are multiples of the page size.
///
/// # Safety
///
/// An implementation must return mappings that are readable and writable (for [`map`](Os::map) and
/// [`commit`](Os::commit)), page-aligned, zero, at least as long as asked for, and used by nobody else until they are
/// given back.
pub unsafe trait Os {
    /// The size of a page in bytes, a power of two.
    fn page_size(&self) -> usize;

    /// Maps `len` fresh bytes, readable and writable, wherever there is room.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] when the system refuses; nothing has changed then.
    fn map(&self, len: usize) -> Result<NonNull<u8>, OutOfMemory>;

    /// Reserves `len` bytes of addresses that nothing may touch yet.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] when the system refuses; nothing has changed then.
    fn reserve(&self, len: usize) -> Result<NonNull<u8>, OutOfMemory>;

    /// Maps fresh readable and writable pages over `len` bytes of a reservation, dropping what was there.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] when the system refuses. Whose the run is then, [`recover`](Os::recover) tells.
    ///
    /// # Safety
    ///
    /// The run lies inside one reservation of this `Os` that the caller owns, and nothing refers to its bytes.
    unsafe fn commit(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory>;

    /// Maps `len` bytes of a reservation back to untouchable addresses, dropping what was there.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] when the system refuses. Whose the run is then, [`recover`](Os::recover) tells.
    ///
    /// # Safety
    ///
    /// The run lies inside one reservation of this `Os` that the caller owns, and nothing refers to its bytes.
    unsafe fn decommit(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory>;

    /// Settles whose a run is on which [`commit`](Os::commit) or [`decommit`](Os::decommit) has just failed: reserves
    /// it again if the failure left it unmapped and nothing has been mapped there since.
    ///
    /// As it stands here, it takes a run that is not unmapped for [`Lost`](Recovered::Lost). An implementation that
    /// knows its refusals to leave the run alone may say so.
    ///
    /// # Safety
    ///
    /// The caller owned the run until the call that failed.
    unsafe fn recover(&self, start: NonNull<u8>, len: usize) -> Recovered {
        if reserve_at(start, len) { Recovered::Reserved } else { Recovered::Lost }
    }

    /// The size of huge pages, if the program wants blocks to lie on them: [`Heap`](crate::Heap) then commits runs for
    /// blocks so that they end at multiples of it.
    fn huge_page_size(&self) -> Option<usize> {
        None
    }

    /// Asks for huge pages under a committed run, as far as the program wants any and the system has them. Nothing else
    /// changes.
    ///
    /// # Safety
    ///
    /// The run is committed, and the caller owns it.
    unsafe fn advise_huge_pages(&self, _start: NonNull<u8>, _len: usize) {}

    /// Gives a mapping or a reservation (or a page-aligned end of one) back.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] when the system has no room to note the hole; the memory stays mapped then.
    ///
    /// # Safety
    ///
    /// The run came from this `Os`, the caller owns it, and nothing refers to its bytes.
    unsafe fn unmap(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory>;
}

/// The mappings that a process may have by default (`vm.max_map_count`).
pub(crate) const MAPPINGS: usize = 65530;

/// The system MeMS runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

/// Whether pages are mapped so that the kernel makes no huge ones of them.
static DECLINES_HUGE_PAGES: AtomicBool = AtomicBool::new(false);
/// Whether the kernel is asked for huge pages under blocks.
static WANTS_HUGE_PAGES: AtomicBool = AtomicBool::new(false);

impl System {
    /// From now on no huge pages: since Linux 6.7 memory that is mapped as a stack gets none. (With `prctl` children
    /// would inherit it, and `madvise` is a further system call for each run.)
    pub(crate) fn decline_huge_pages(self) {
        DECLINES_HUGE_PAGES.store(true, Ordering::Relaxed);
    }

    /// From now on the kernel is asked, by `madvise`, for huge pages under every run that blocks lie on: most systems
    /// give them only to those who ask. Short runs are asked for, too: one that differs from those beside it would be a
    /// mapping of its own.
    pub(crate) fn want_huge_pages(self) {
        WANTS_HUGE_PAGES.store(true, Ordering::Relaxed);
    }
}

/// Private pages, as the settings want them.
fn private() -> MapFlags {
    let declined = DECLINES_HUGE_PAGES.load(Ordering::Relaxed);
    MapFlags::PRIVATE | if declined { MapFlags::STACK } else { MapFlags::empty() }
}

/// Readable and writable pages.
const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// The page size of this machine, read once.
///
/// `rustix::param::page_size` may read a file into a `Vec` when some crate of the program switches on rustix's `std`
/// feature and the kernel is older than 6.4; with `use-libc-auxv` it asks libc instead, which allocates nothing.
fn system_page_size() -> usize {
    static PAGE_SIZE: OnceNonZeroUsize = OnceNonZeroUsize::new();
    const SMALLEST: core::num::NonZeroUsize = core::num::NonZeroUsize::new(4096).unwrap();
    PAGE_SIZE
        .get_or_init(|| {
            core::num::NonZeroUsize::new(rustix::param::page_size()).unwrap_or(SMALLEST)
        })
        .get()
}

fn map_anywhere(
    len: usize,
    protection: ProtFlags,
    flags: MapFlags,
) -> Result<NonNull<u8>, OutOfMemory> {
    if len == 0 || len > isize::MAX.cast_unsigned() {
        return Err(OutOfMemory);
    }
    // SAFETY: without MAP_FIXED the kernel picks addresses that nothing uses.
    let start = unsafe { mm::mmap_anonymous(ptr::null_mut(), len, protection, flags) };
    start.ok().and_then(|start| NonNull::new(start.cast::<u8>())).ok_or(OutOfMemory)
}

/// Maps over addresses that the caller owns.
///
/// # Safety
///
/// See [`Os::commit`].
unsafe fn map_over(
    start: NonNull<u8>,
    len: usize,
    protection: ProtFlags,
    flags: MapFlags,
) -> Result<(), OutOfMemory> {
    let target = start.as_ptr().cast::<c_void>();
    // SAFETY: the caller owns the run and nothing refers to its bytes, so replacing it is unobservable.
    let mapped = unsafe { mm::mmap_anonymous(target, len, protection, flags | MapFlags::FIXED) };
    mapped.map(|_| ()).map_err(|_| OutOfMemory)
}

/// Reserves a run of addresses if nothing is mapped there.
fn reserve_at(start: NonNull<u8>, len: usize) -> bool {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED_NOREPLACE;
    let target = start.as_ptr().cast::<c_void>();
    // SAFETY: with these flags the kernel maps over nothing.
    let mapped = unsafe { mm::mmap_anonymous(target, len, ProtFlags::empty(), flags) };
    match mapped {
        Ok(place) if place == target => true,
        // Before Linux 4.17 the address is a hint.
        Ok(elsewhere) => {
            // SAFETY: the mapping was just made, and nobody knows of it.
            let _ = unsafe { mm::munmap(elsewhere, len) };
            false
        }
        Err(_) => false,
    }
}

/// Whether this kernel leaves a run alone that it refuses to map over: since Linux 6.12.
fn refuses_before_it_unmaps() -> bool {
    let uname = rustix::system::uname();
    let mut numbers =
        uname.release().to_bytes().split(|byte| !byte.is_ascii_digit()).map(|digits| {
            digits.iter().fold(0_u32, |number, digit| {
                number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
            })
        });
    (numbers.next(), numbers.next()) >= (Some(6), Some(12))
}

// SAFETY: anonymous private mappings are zero, page-aligned and exclusive by the contract of mmap(2).
unsafe impl Os for System {
    fn page_size(&self) -> usize {
        system_page_size()
    }

    fn map(&self, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
        map_anywhere(len, READ_WRITE, private())
    }

    fn reserve(&self, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
        map_anywhere(len, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE)
    }

    unsafe fn commit(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        // SAFETY: the caller's contract is that of `map_over`.
        unsafe { map_over(start, len, READ_WRITE, private()) }
    }

    unsafe fn decommit(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: the caller's contract is that of `map_over`.
        unsafe { map_over(start, len, ProtFlags::empty(), flags) }
    }

    unsafe fn recover(&self, start: NonNull<u8>, len: usize) -> Recovered {
        if reserve_at(start, len) {
            Recovered::Reserved
        } else if refuses_before_it_unmaps() {
            Recovered::Untouched
        } else {
            Recovered::Lost
        }
    }

    fn huge_page_size(&self) -> Option<usize> {
        // A huge page is what one table of entries of 8 bytes maps, and a table is a page.
        let page = self.page_size();
        WANTS_HUGE_PAGES.load(Ordering::Relaxed).then(|| page * (page / size_of::<u64>()))
    }

    unsafe fn advise_huge_pages(&self, start: NonNull<u8>, len: usize) {
        if WANTS_HUGE_PAGES.load(Ordering::Relaxed) {
            let target = start.as_ptr().cast::<c_void>();
            // SAFETY: advice changes no byte, and the run is the caller's.
            let advised = unsafe { mm::madvise(target, len, Advice::LinuxHugepage) };
            // A kernel without huge pages refuses: the run is as good without.
            let _ = advised;
        }
    }

    unsafe fn unmap(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        // SAFETY: the caller owns the run and nothing refers to its bytes.
        unsafe { mm::munmap(start.as_ptr().cast::<c_void>(), len) }.map_err(|_| OutOfMemory)
    }
}

// SAFETY: every call is passed on to an implementation that keeps the contract.
unsafe impl<O: Os + ?Sized> Os for &O {
    fn page_size(&self) -> usize {
        (**self).page_size()
    }

    fn map(&self, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
        (**self).map(len)
    }

    fn reserve(&self, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
        (**self).reserve(len)
    }

    unsafe fn commit(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        // SAFETY: the caller's contract is passed on.
        unsafe { (**self).commit(start, len) }
    }

    unsafe fn decommit(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        // SAFETY: the caller's contract is passed on.
        unsafe { (**self).decommit(start, len) }
    }

    unsafe fn recover(&self, start: NonNull<u8>, len: usize) -> Recovered {
        // SAFETY: the caller's contract is passed on.
        unsafe { (**self).recover(start, len) }
    }

    fn huge_page_size(&self) -> Option<usize> {
        (**self).huge_page_size()
    }

    unsafe fn advise_huge_pages(&self, start: NonNull<u8>, len: usize) {
        // SAFETY: the caller's contract is passed on.
        unsafe { (**self).advise_huge_pages(start, len) }
    }

    unsafe fn unmap(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        // SAFETY: the caller's contract is passed on.
        unsafe { (**self).unmap(start, len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_fresh_and_impossible_lengths_are_refused() {
        let page = System.page_size();
        assert!(page.is_power_of_two() && page >= 4096);
        let start = System.map(page).expect("one page");
        // SAFETY: the page was just mapped and is `page` bytes long.
        let bytes = unsafe { core::slice::from_raw_parts(start.as_ptr(), page) };
        assert!(bytes.iter().all(|byte| *byte == 0));
        // SAFETY: the page came from `System` and the slice is used no more.
        assert_eq!(unsafe { System.unmap(start, page) }, Ok(()));
        for len in [0, isize::MAX as usize, usize::MAX] {
            assert_eq!(System.map(len), Err(OutOfMemory), "{len}");
            assert_eq!(System.reserve(len), Err(OutOfMemory), "{len}");
        }
    }

    #[test]
    fn a_reservation_is_committed_and_dropped_in_place() {
        let page = System.page_size();
        let start = System.reserve(4 * page).expect("four pages of addresses");
        for round in 0..3_u8 {
            // SAFETY: the page is the first of the reservation, and nothing refers to it.
            unsafe { System.commit(start, page) }.expect("commit");
            // SAFETY: the page was just committed.
            assert_eq!(unsafe { start.as_ptr().read() }, 0, "round {round}");
            // SAFETY: as above.
            unsafe { start.as_ptr().write(round + 1) };
            // SAFETY: as for the commit.
            unsafe { System.decommit(start, page) }.expect("decommit");
        }
        // SAFETY: the reservation came from `System` and nothing refers to it.
        assert_eq!(unsafe { System.unmap(start, 4 * page) }, Ok(()));
    }

    #[test]
    fn a_run_is_reserved_again_only_where_nothing_is() {
        let page = System.page_size();
        let start = System.reserve(2 * page).expect("two pages of addresses");
        assert!(!reserve_at(start, 2 * page), "it is mapped");
        // SAFETY: the first page is this test's, and nothing refers to it.
        unsafe { System.unmap(start, page) }.expect("it goes");
        assert!(!reserve_at(start, 2 * page), "half of it is mapped");
        assert!(reserve_at(start, page));
        assert!(!reserve_at(start, page));
        // SAFETY: both pages are this test's again.
        unsafe { System.unmap(start, 2 * page) }.expect("both go");
    }
}
