//! An operating system for tests: the real one, with every mapping in the books.
//!
//! [`TestOs`] knows all live mappings, takes back only whole ones with their exact length, fails the n-th `map` where
//! told so, and pretends any page size: it maps more and trims both ends, so that starts are aligned as on a machine
//! with such pages.
#![allow(unsafe_code, reason = "implements the unsafe trait `Os`")]

use core::cell::{Cell, RefCell};
use core::ptr::NonNull;
use std::collections::BTreeMap;

use mems::OutOfMemory;
use mems::os::{Os, System};

/// The accounts. Heaps are made on `&TestOs`, so that the test can look into them at any time.
#[derive(Debug)]
pub(crate) struct TestOs {
    page_size: usize,
    /// Start and length of every live mapping.
    live: RefCell<BTreeMap<usize, usize>>,
    map_calls: Cell<usize>,
    fail_at: Cell<Option<usize>>,
    unmaps: RefCell<Vec<(usize, usize)>>,
}

impl TestOs {
    /// A system with pages of `page_size` bytes, a multiple of the machine's.
    pub(crate) fn new(page_size: usize) -> Self {
        assert!(page_size.is_power_of_two() && page_size >= System.page_size());
        Self {
            page_size,
            live: RefCell::default(),
            map_calls: Cell::new(0),
            fail_at: Cell::new(None),
            unmaps: RefCell::default(),
        }
    }

    /// The `call`-th call of `map` from the beginning, counted from 1, will fail.
    pub(crate) fn fail_at(&self, call: usize) {
        self.fail_at.set(Some(call));
    }

    /// Calls of `map` that will succeed before the one that fails.
    pub(crate) fn maps_until_failure(&self) -> usize {
        let next = self.map_calls.get() + 1;
        self.fail_at.get().and_then(|call| call.checked_sub(next)).unwrap_or(usize::MAX)
    }

    /// Calls of `map` so far, the failed one included.
    pub(crate) fn map_calls(&self) -> usize {
        self.map_calls.get()
    }

    /// Start and length of every live mapping, by start.
    pub(crate) fn live(&self) -> Vec<(usize, usize)> {
        self.live.borrow().iter().map(|(start, len)| (*start, *len)).collect()
    }

    /// Bytes of all live mappings.
    pub(crate) fn live_bytes(&self) -> usize {
        self.live.borrow().values().sum()
    }

    /// Start and length of every mapping that was given back, in that order.
    pub(crate) fn unmaps(&self) -> Vec<(usize, usize)> {
        self.unmaps.borrow().clone()
    }

    /// Gives back the part of a mapping that only served its alignment.
    fn trim(&self, start: NonNull<u8>, len: usize) {
        if len > 0 {
            // SAFETY: the part came from `System` just now, and nobody knows of it.
            unsafe { System.unmap(start, len) }.expect("the system takes a part back");
        }
    }
}

// SAFETY: mappings come from `System`, which keeps the contract; trimming keeps `len` aligned bytes of each.
unsafe impl Os for TestOs {
    fn page_size(&self) -> usize {
        self.page_size
    }

    fn map(&self, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
        assert!(len > 0 && len.is_multiple_of(self.page_size), "map({len}): not whole pages");
        self.map_calls.set(self.map_calls.get() + 1);
        if self.fail_at.get() == Some(self.map_calls.get()) {
            return Err(OutOfMemory);
        }
        let slack = self.page_size - System.page_size();
        let whole = System.map(len.checked_add(slack).ok_or(OutOfMemory)?)?;
        let front = whole.addr().get().wrapping_neg() % self.page_size;
        // SAFETY: the mapping is `slack` bytes longer than `len`, and `front` is at most `slack`.
        let start = unsafe { whole.add(front) };
        // SAFETY: as above; the end of the part kept.
        let end = unsafe { start.add(len) };
        self.trim(whole, front);
        self.trim(end, slack - front);
        self.live.borrow_mut().insert(start.addr().get(), len);
        Ok(start)
    }

    fn reserve(&self, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
        panic!("reserve({len}): `Mems` maps and unmaps, nothing else");
    }

    unsafe fn commit(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        panic!("commit({start:?}, {len}): `Mems` maps and unmaps, nothing else");
    }

    unsafe fn decommit(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        panic!("decommit({start:?}, {len}): `Mems` maps and unmaps, nothing else");
    }

    unsafe fn unmap(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        let known = self.live.borrow_mut().remove(&start.addr().get());
        assert_eq!(known, Some(len), "unmap({start:?}, {len}): not a whole live mapping");
        self.unmaps.borrow_mut().push((start.addr().get(), len));
        // SAFETY: the caller's contract is passed on; the books say that the run is one mapping.
        unsafe { System.unmap(start, len) }
    }
}
