//! Memory between two pages that nobody can touch: what overflows beside it ends the program and changes nothing in it.
//!
//! For what is noted about a heap. The length counts without the guards.
#![allow(unsafe_code, reason = "maps memory and gives it back")]

use core::ptr::NonNull;

use super::commit;
use super::os::{Os, OutOfMemory, Recovered};
use super::random::Random;
use super::round::align_up;

/// Reserves at least `len` bytes between guards, at a random place of a run that is `spread` bytes longer. The rest of
/// that run goes back.
pub(crate) fn reserve(os: &impl Os, len: usize, spread: usize) -> Result<NonNull<u8>, OutOfMemory> {
    let (page_size, guarded) = (os.page_size(), guarded_len(os, len)?);
    let run = os.reserve(guarded.checked_add(spread).ok_or(OutOfMemory)?)?;
    let distance = match spread / page_size {
        0 => 0,
        pages => Random::seeded().below(pages + 1) * page_size,
    };
    // SAFETY: it is at most `spread`, by which the run is longer.
    let front = unsafe { run.add(distance) };
    // SAFETY: as above.
    let behind = unsafe { front.add(guarded) };
    for (start, len) in [(run, distance), (behind, spread - distance)] {
        if len > 0 {
            // SAFETY: the run was just reserved, and nobody knows of it.
            let unmapped = unsafe { os.unmap(start, len) };
            // Where the system refuses, the addresses stay reserved until the process ends.
            let _ = unmapped;
        }
    }
    // SAFETY: a guard lies in front.
    Ok(unsafe { front.add(page_size) })
}

/// Maps at least `len` fresh bytes between guards.
pub(crate) fn map(os: &impl Os, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
    let whole = guarded_len(os, len)?;
    let start = reserve(os, len, 0)?;
    // SAFETY: the run was just reserved, and nobody knows of it.
    let refused = match unsafe { commit::commit(os, start, whole - 2 * os.page_size()) } {
        Ok(()) => return Ok(start),
        Err(refused) => refused,
    };
    if refused == Recovered::Reserved {
        // SAFETY: as above.
        let unmapped = unsafe { unmap(os, start, len) };
        // Where the system refuses, the addresses stay reserved until the process ends.
        let _ = unmapped;
    }
    Err(OutOfMemory)
}

/// Gives back what [`map`] or [`reserve`] gave for the same `len`.
///
/// # Safety
///
/// Nothing refers to its bytes.
pub(crate) unsafe fn unmap(
    os: &impl Os,
    start: NonNull<u8>,
    len: usize,
) -> Result<(), OutOfMemory> {
    // SAFETY: a guard lies in front of it.
    let front = unsafe { start.sub(os.page_size()) };
    // SAFETY: the run came from `os`, with its guards, and by the caller's contract nobody refers to it.
    unsafe { os.unmap(front, guarded_len(os, len)?) }
}

/// Whole pages for `len` bytes, and two more.
fn guarded_len(os: &impl Os, len: usize) -> Result<usize, OutOfMemory> {
    let page_size = os.page_size();
    align_up(len, page_size).and_then(|len| len.checked_add(2 * page_size)).ok_or(OutOfMemory)
}

#[cfg(test)]
mod tests {
    use super::super::os::System;
    use super::*;
    use core::cell::Cell;
    use std::collections::BTreeSet;

    /// What may be done with the page that has `address`, as the system writes it.
    fn rights(address: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("a list");
        let has_it = |line: &&str| {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let number = |text| usize::from_str_radix(text, 16).expect("a number");
            range.is_some_and(|(start, end)| number(start) <= address && address < number(end))
        };
        let line = maps.lines().find(has_it);
        line.map_or("nothing", |line| line.split(' ').nth(1).expect("rights")).to_owned()
    }

    #[test]
    fn nobody_can_touch_the_pages_on_both_sides() {
        let page_size = System.page_size();
        for len in [1, page_size, 5 * page_size - 1] {
            let start = map(&System, len).expect("memory");
            let (first, end) =
                (start.addr().get(), start.addr().get() + len.next_multiple_of(page_size));
            let seen = [first - page_size, first - 1, first, end - 1, end, end + page_size - 1]
                .map(rights);
            assert_eq!(seen, ["---p", "---p", "rw-p", "rw-p", "---p", "---p"], "{len}");
            // SAFETY: nothing refers to it.
            unsafe { unmap(&System, start, len) }.expect("it goes back");
        }
        assert_eq!(map(&System, usize::MAX), Err(OutOfMemory));
        assert_eq!(map(&System, isize::MAX as usize), Err(OutOfMemory));
    }

    /// A system that refuses to commit: what becomes of the run, and what went back.
    struct Refusing {
        recovered: Recovered,
        unmapped: Cell<usize>,
    }

    // SAFETY: mappings come from `System`, which keeps the contract.
    unsafe impl Os for Refusing {
        fn page_size(&self) -> usize {
            System.page_size()
        }

        fn map(&self, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
            System.map(len)
        }

        fn reserve(&self, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
            System.reserve(len)
        }

        /// As kernels before 6.12 refuse.
        unsafe fn commit(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
            if self.recovered != Recovered::Untouched {
                // SAFETY: by the contract.
                unsafe { System.unmap(start, len) }.expect("it goes");
            }
            Err(OutOfMemory)
        }

        unsafe fn decommit(&self, _start: NonNull<u8>, _len: usize) -> Result<(), OutOfMemory> {
            Err(OutOfMemory)
        }

        unsafe fn recover(&self, start: NonNull<u8>, len: usize) -> Recovered {
            // SAFETY: by the contract.
            let recovered = || unsafe { System.recover(start, len) };
            if self.recovered == Recovered::Reserved { recovered() } else { self.recovered }
        }

        unsafe fn unmap(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
            self.unmapped.set(self.unmapped.get() + len);
            // SAFETY: by the contract.
            unsafe { System.unmap(start, len) }
        }
    }

    #[test]
    fn what_could_not_be_committed_goes_back_unless_it_is_lost() {
        let (page_size, len) = (System.page_size(), 3 * System.page_size());
        for recovered in [Recovered::Untouched, Recovered::Reserved, Recovered::Lost] {
            let os = Refusing { recovered, unmapped: Cell::new(0) };
            assert_eq!(map(&os, len), Err(OutOfMemory));
            let is_lost = recovered == Recovered::Lost;
            let expected = if is_lost { 0 } else { len + 2 * page_size };
            assert_eq!(os.unmapped.get(), expected, "{recovered:?}");
        }
    }

    #[test]
    fn a_reservation_lies_at_a_random_place_and_keeps_its_length() {
        let (page_size, len) = (System.page_size(), 10 << 20);
        let reserved: Vec<_> =
            (0..20).map(|_| reserve(&System, len, 1 << 30).expect("addresses")).collect();
        for start in &reserved {
            let (first, end) = (start.addr().get(), start.addr().get() + len);
            for address in [first - page_size, first, end - 1, end + page_size - 1] {
                assert_eq!(rights(address), "---p");
            }
        }
        let distances: BTreeSet<_> = reserved
            .windows(2)
            .map(|pair| pair[0].addr().get().wrapping_sub(pair[1].addr().get()))
            .collect();
        assert!(distances.len() > 15, "{distances:?}");
        for start in reserved {
            // SAFETY: nothing refers to it.
            unsafe { unmap(&System, start, len) }.expect("it goes back");
        }
    }
}
