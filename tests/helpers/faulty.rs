//! An operating system that refuses some of its calls, and counts what it has handed out.
#![allow(unsafe_code, reason = "implements Os")]

use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use mems::os::{Os, OutOfMemory, System};

/// [`System`], but the calls of a range of numbers fail.
#[derive(Debug, Default)]
pub(crate) struct FaultyOs {
    calls: AtomicUsize,
    fail_from: AtomicUsize,
    fail_to: AtomicUsize,
    refused: AtomicUsize,
    unmaps_refused: AtomicUsize,
    held: AtomicUsize,
}

impl FaultyOs {
    /// Fails the calls with these numbers, the first call being number 0.
    pub(crate) fn failing(calls: Range<usize>) -> Self {
        let os = Self::default();
        os.fail_from.store(calls.start, Relaxed);
        os.fail_to.store(calls.end, Relaxed);
        os
    }

    /// From now on nothing fails.
    pub(crate) fn heal(&self) {
        self.fail_to.store(0, Relaxed);
    }

    /// The next `calls` fail.
    pub(crate) fn refuse_next(&self, calls: usize) {
        let next = self.calls.load(Relaxed);
        self.fail_from.store(next, Relaxed);
        self.fail_to.store(next + calls, Relaxed);
    }

    /// From now on everything fails.
    pub(crate) fn break_down(&self) {
        self.fail_from.store(0, Relaxed);
        self.fail_to.store(usize::MAX, Relaxed);
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }

    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Relaxed)
    }

    pub(crate) fn unmaps_refused(&self) -> usize {
        self.unmaps_refused.load(Relaxed)
    }

    /// Bytes of mappings and reservations that were not given back.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    fn call(&self) -> Result<(), OutOfMemory> {
        let number = self.calls.fetch_add(1, Relaxed);
        if (self.fail_from.load(Relaxed)..self.fail_to.load(Relaxed)).contains(&number) {
            self.refused.fetch_add(1, Relaxed);
            return Err(OutOfMemory);
        }
        Ok(())
    }

    fn hold(&self, start: NonNull<u8>, len: usize) -> NonNull<u8> {
        self.held.fetch_add(len, Relaxed);
        start
    }
}

// SAFETY: what is not refused is passed on to `System`. A refused commit or decommit drops the pages, as the kernel
// may, which the contract allows.
unsafe impl Os for FaultyOs {
    fn page_size(&self) -> usize {
        System.page_size()
    }

    fn map(&self, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
        self.call()?;
        System.map(len).map(|start| self.hold(start, len))
    }

    fn reserve(&self, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
        self.call()?;
        System.reserve(len).map(|start| self.hold(start, len))
    }

    unsafe fn commit(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        if self.call().is_err() {
            // SAFETY: by the caller's contract. So a heap that goes on using the run dies here, as it would in earnest.
            unsafe { System.decommit(start, len) }?;
            return Err(OutOfMemory);
        }
        // SAFETY: by the caller's contract.
        unsafe { System.commit(start, len) }
    }

    unsafe fn decommit(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        // SAFETY: by the caller's contract.
        unsafe { System.decommit(start, len) }?;
        self.call()
    }

    unsafe fn unmap(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        self.call().inspect_err(|_| {
            self.unmaps_refused.fetch_add(1, Relaxed);
        })?;
        self.held.fetch_sub(len, Relaxed);
        // SAFETY: by the caller's contract.
        unsafe { System.unmap(start, len) }
    }
}
