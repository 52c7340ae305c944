//! An operating system that counts what it commits and refuses more than a budget, as Linux does with
//! `vm.overcommit_memory=2`, with pages as large as one likes.
#![allow(unsafe_code, reason = "implements Os")]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::collections::HashSet;
use std::sync::Mutex;

use mems::os::{Os, OutOfMemory, System};

/// [`System`] with a budget of committed pages.
#[derive(Debug)]
pub(crate) struct StrictOs {
    page_size: usize,
    budget_pages: AtomicUsize,
    committed: Mutex<HashSet<usize>>,
}

impl StrictOs {
    /// Pages of `page_size` bytes, of which as many may be committed as `budget` bytes have.
    pub(crate) fn new(page_size: usize, budget: usize) -> Self {
        let budget_pages = AtomicUsize::new(budget / page_size);
        Self { page_size, budget_pages, committed: Mutex::new(HashSet::new()) }
    }

    /// Bytes committed now.
    pub(crate) fn committed(&self) -> usize {
        self.committed.lock().expect("not poisoned").len() * self.page_size
    }

    /// From now on another budget.
    pub(crate) fn set_budget(&self, budget: usize) {
        self.budget_pages.store(budget / self.page_size, Relaxed);
    }

    fn pages(&self, start: NonNull<u8>, len: usize) -> impl Iterator<Item = usize> {
        let first = start.addr().get();
        assert!(first.is_multiple_of(self.page_size), "{start:p} is no page's start");
        assert!(len.is_multiple_of(self.page_size), "{len} bytes are no whole pages");
        (first..first + len).step_by(self.page_size)
    }

    fn count(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        let mut committed = self.committed.lock().expect("not poisoned");
        let more = self.pages(start, len).filter(|page| !committed.contains(page)).count();
        if committed.len() + more > self.budget_pages.load(Relaxed) {
            return Err(OutOfMemory);
        }
        committed.extend(self.pages(start, len));
        Ok(())
    }

    fn forget(&self, start: NonNull<u8>, len: usize) {
        let mut committed = self.committed.lock().expect("not poisoned");
        if len / self.page_size > committed.len() {
            let run = start.addr().get()..start.addr().get() + len;
            committed.retain(|page| !run.contains(page));
        } else {
            self.pages(start, len).for_each(|page| {
                committed.remove(&page);
            });
        }
    }
}

// SAFETY: what is within the budget is passed on to `System`; starts are moved up to a multiple of the larger page,
// and what is left over at both ends goes back at once.
unsafe impl Os for StrictOs {
    fn page_size(&self) -> usize {
        self.page_size
    }

    fn map(&self, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
        let start = self.reserve(len.next_multiple_of(self.page_size))?;
        // SAFETY: the reservation is fresh.
        unsafe { self.commit(start, len.next_multiple_of(self.page_size)) }?;
        Ok(start)
    }

    fn reserve(&self, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
        let len = len.next_multiple_of(self.page_size);
        let whole = System.reserve(len + self.page_size)?;
        let head = whole.addr().get().next_multiple_of(self.page_size) - whole.addr().get();
        // SAFETY: `head` is at most a page, of which there is one more than asked for.
        let start = unsafe { whole.add(head) };
        if head > 0 {
            // SAFETY: the head of an own reservation, which nobody knows of.
            unsafe { System.unmap(whole, head) }?;
        }
        if head < self.page_size {
            // SAFETY: as above.
            let tail = unsafe { start.add(len) };
            // SAFETY: as above, the tail.
            unsafe { System.unmap(tail, self.page_size - head) }?;
        }
        Ok(start)
    }

    unsafe fn commit(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        let counted = self.count(start, len);
        if counted.is_err() {
            // As Linux before 6.12 does: it has unmapped the run before it finds that it cannot map it anew.
            self.forget(start, len);
            // SAFETY: by the caller's contract.
            unsafe { System.unmap(start, len) }?;
            return counted;
        }
        // SAFETY: by the caller's contract.
        unsafe { System.commit(start, len) }
    }

    unsafe fn decommit(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        self.forget(start, len);
        // SAFETY: by the caller's contract.
        unsafe { System.decommit(start, len) }
    }

    unsafe fn unmap(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        self.forget(start, len);
        // SAFETY: by the caller's contract.
        unsafe { System.unmap(start, len) }
    }
}
