//! An operating system that refuses some of its calls, and counts what it has handed out.
//!
//! Where it should map over a run, it refuses as Linux before 6.12 does: it has unmapped the run by then, and if told
//! so, lets a mapping of somebody else's land there before the heap can do anything about it. Or it refuses as Linux
//! does since then: the run is as it was, and it says so, or not.
#![allow(unsafe_code, reason = "implements Os")]

use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use std::sync::Mutex;

use mems::os::{Os, OutOfMemory, Recovered, System};

/// [`System`], but the calls of a range of numbers fail.
#[derive(Debug)]
pub(crate) struct FaultyOs {
    calls: AtomicUsize,
    fail_from: AtomicUsize,
    fail_to: AtomicUsize,
    refused: AtomicUsize,
    unmaps_refused: AtomicUsize,
    held: AtomicUsize,
    /// Bytes of foreign mappings in the gap that a refusal leaves.
    intrusion: AtomicUsize,
    /// Refusals that still leave a gap.
    gaps: AtomicUsize,
    /// Whether the last refusal changed nothing.
    was_clean: AtomicBool,
    says_nothing: AtomicBool,
    intruders: Mutex<Vec<(usize, usize)>>,
}

/// What somebody else's memory is full of.
const FOREIGN: u8 = 0xF0;

impl Default for FaultyOs {
    fn default() -> Self {
        Self {
            calls: AtomicUsize::new(0),
            fail_from: AtomicUsize::new(0),
            fail_to: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            unmaps_refused: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            intrusion: AtomicUsize::new(0),
            gaps: AtomicUsize::new(usize::MAX),
            was_clean: AtomicBool::new(false),
            says_nothing: AtomicBool::new(false),
            intruders: Mutex::default(),
        }
    }
}

impl FaultyOs {
    /// From now on somebody maps memory of `len` bytes, or as many as there is room for, into each gap that a refusal
    /// leaves: at its end, where the kernel looks first.
    pub(crate) fn let_somebody_in(&self, len: usize) {
        self.intrusion.store(len, Relaxed);
    }

    /// The next `count` refusals leave gaps, and further ones change nothing.
    pub(crate) fn leave_gaps(&self, count: usize) {
        self.gaps.store(count, Relaxed);
    }

    /// From now on a refusal does not tell whether it has changed anything.
    pub(crate) fn say_nothing(&self) {
        self.says_nothing.store(true, Relaxed);
    }

    /// How many mappings of others lie where a refusal left room for them, and whether all have kept their bytes.
    pub(crate) fn intruders(&self) -> (usize, bool) {
        let intruders = self.intruders.lock().expect("not poisoned");
        let is_whole = |(start, len): &(usize, usize)| is_foreign(*start, *len);
        (intruders.len(), intruders.iter().all(is_whole))
    }

    /// Leaves a gap, as a refused map over a run does, and perhaps somebody in it.
    fn leave_gap(&self, start: NonNull<u8>, len: usize) {
        let left = self.gaps.load(Relaxed);
        self.was_clean.store(left == 0, Relaxed);
        if left == 0 {
            return;
        }
        self.gaps.store(left - 1, Relaxed);
        // SAFETY: the run belongs to the heap that asked for it to be mapped over.
        unsafe { System.unmap(start, len) }.expect("the system takes it");
        let foreign = self.intrusion.load(Relaxed).min(len);
        if foreign > 0 {
            let place = start.addr().get() + len - foreign;
            map_foreign(place, foreign);
            self.intruders.lock().expect("not poisoned").push((place, foreign));
        }
    }

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

/// Maps memory at `place`, where nothing is, and fills it.
fn map_foreign(place: usize, len: usize) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let wanted = core::ptr::without_provenance_mut(place);
    // SAFETY: with these flags the kernel maps over nothing.
    let start = unsafe { libc::mmap(wanted, len, protection, flags, -1, 0) };
    assert_eq!(start, wanted, "there is a gap");
    // SAFETY: the memory was just mapped, and nobody else knows of it.
    unsafe { start.cast::<u8>().write_bytes(FOREIGN, len) };
}

/// Whether all bytes are as [`map_foreign`] has left them. Faults if the memory is gone.
fn is_foreign(start: usize, len: usize) -> bool {
    let start = core::ptr::with_exposed_provenance::<u8>(start);
    // SAFETY: nobody but the heap under test could have unmapped it, and then this fault is what the test is after.
    let bytes = unsafe { core::slice::from_raw_parts(start, len) };
    bytes.iter().all(|byte| *byte == FOREIGN)
}

// SAFETY: what is not refused is passed on to `System`. A refused commit or decommit leaves a gap, which the contract
// allows.
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
            self.leave_gap(start, len);
            return Err(OutOfMemory);
        }
        // SAFETY: by the caller's contract.
        unsafe { System.commit(start, len) }
    }

    unsafe fn decommit(&self, start: NonNull<u8>, len: usize) -> Result<(), OutOfMemory> {
        if self.call().is_err() {
            self.leave_gap(start, len);
            return Err(OutOfMemory);
        }
        // SAFETY: by the caller's contract.
        unsafe { System.decommit(start, len) }
    }

    unsafe fn recover(&self, start: NonNull<u8>, len: usize) -> Recovered {
        if self.was_clean.load(Relaxed) && !self.says_nothing.load(Relaxed) {
            return Recovered::Untouched;
        }
        // SAFETY: by the caller's contract; what is not mapped was the run's, as this is no kernel that refuses first.
        match unsafe { System.recover(start, len) } {
            Recovered::Untouched => Recovered::Lost,
            recovered => recovered,
        }
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
