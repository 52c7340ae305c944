//! [`Heap`]: the handle, its start and its end.
//!
//! Owns: the way to the root record, which is made at the first use, and the bounds that a heap starts with.
//!
//! Invariant: **I1** a record that was published stays where it is, initialised, until the heap is dropped.
#![allow(unsafe_code, reason = "refers to the root record, which lies in the heap's own memory")]

use core::ops::Range;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

use super::bounds::Bounds;
use super::decay::Policy;
use super::root::Root;
use super::zone::Use;
use crate::base::lock::Lock;
use crate::base::os::{Os, OutOfMemory, System};

/// What a heap of its own reserves; untouched addresses cost nothing.
const DEFAULT_RESERVATION: usize = 64 << 30;
/// The process heap has a zone for huge blocks from this reservation on.
const HUGE_ZONE_FROM: usize = 16 << 30;

/// A heap of its own. Allocate with [`mems_malloc`](Heap::mems_malloc), free with [`mems_free`](Heap::mems_free); all
/// of its memory goes back to the system when it is dropped.
///
/// The process heap behind [`MemsAlloc`](crate::MemsAlloc) is one of these. A heap of your own serves as an arena that
/// is dropped at once, and in tests. Threads may share it; each call takes a lock.
///
/// ```
/// let heap = mems::Heap::new();
/// let block = heap.mems_malloc(100, 16).unwrap();
/// assert_eq!(heap.usable_size(block.as_ptr()), Some(112));
/// // SAFETY: the block is live, and nothing refers to it.
/// unsafe { heap.mems_free(block.as_ptr()) }.unwrap();
/// // SAFETY: as above; it is not live any more, which is recognised.
/// assert!(unsafe { heap.mems_free(block.as_ptr()) }.is_err());
/// ```
#[derive(Debug)]
pub struct Heap<O: Os = System> {
    pub(super) os: O,
    /// Guards the start, and holds what a heap starts with.
    starting: Lock<Bounds>,
    root: AtomicPtr<Root>,
}

impl Heap<System> {
    /// An empty heap. It takes no memory until the first block.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_os(System, DEFAULT_RESERVATION)
    }
}

impl Default for Heap<System> {
    fn default() -> Self {
        Self::new()
    }
}

impl<O: Os> Heap<O> {
    /// An empty heap on another [`Os`], for tests, which reserves `reservation` bytes of addresses at first.
    pub const fn with_os(os: O, reservation: usize) -> Self {
        let starting = Lock::new(Bounds::new(reservation));
        Self { os, starting, root: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The root record, if there is one yet.
    #[inline]
    pub(super) fn root(&self) -> Option<&Root> {
        // SAFETY: the record is initialised and stays where it is as long as the heap is borrowed (I1).
        unsafe { self.root.load(Ordering::Acquire).as_ref() }
    }

    /// The root record, made now if there is none.
    #[inline]
    pub(super) fn root_or_start(&self) -> Result<&Root, OutOfMemory> {
        match self.root() {
            Some(root) => Ok(root),
            None => self.start(),
        }
    }

    #[cold]
    fn start(&self) -> Result<&Root, OutOfMemory> {
        let bounds = self.starting.lock();
        if self.root().is_none() {
            let root = Root::create(&self.os, &bounds)?;
            self.root.store(root.as_ptr(), Ordering::Release);
        }
        self.root().ok_or(OutOfMemory)
    }

    /// Limits the bytes that the heap maps for blocks and its records; `usize::MAX` lifts the limit.
    ///
    /// A request that would exceed the limit returns `None`. Freed blocks can be handed out again. If more is mapped
    /// already, it stays, and the heap does not grow.
    pub fn set_limit(&self, bytes: usize) {
        let mut bounds = self.starting.lock();
        bounds.limit_bytes = bytes;
        if let Some(root) = self.root() {
            root.zones.lock().limit_bytes = bytes;
        }
    }

    /// Bytes that may still be mapped under the limit of the heap, if it has one.
    #[cfg(all(feature = "std", feature = "report"))]
    pub(crate) fn room_below_limit(&self) -> Option<usize> {
        self.root().and_then(|root| root.zones.lock().room_below_limit())
    }

    /// Bytes that the free list has handed out, to slabs, too. O(1), under the lock.
    #[cfg(all(feature = "std", feature = "report"))]
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.root().map_or(0, |root| root.chains.lock().list.totals().block_bytes)
    }

    /// Says how many bytes of addresses are reserved at first. Ignored once the first block was handed out.
    pub(crate) fn set_reservation(&self, bytes: usize) {
        let mut bounds = self.starting.lock();
        (bounds.reservation, bounds.huge_zone_from) = (bytes, HUGE_ZONE_FROM);
    }

    /// Says when idle pages go back. Ignored once the first block was handed out.
    pub(crate) fn set_policy(&self, policy: Policy) {
        self.starting.lock().policy = policy;
    }

    /// Commits at least `len` bytes for records that are never given back: where they begin and end.
    pub(crate) fn commit_records(&self, len: usize) -> Option<Range<usize>> {
        let root = self.root_or_start().ok()?;
        let run = root.zones.lock().commit(&self.os, Use::Nodes, len).ok()?;
        Some(run.start..run.end())
    }

    /// Start and length of the addresses that are reserved for blocks at first.
    pub(crate) fn block_range(&self) -> Option<(usize, usize)> {
        let root = self.root_or_start().ok()?;
        root.zones.lock().all(Use::Blocks).first().map(|zone| (zone.start, zone.reserved))
    }

    /// Bytes by which records elsewhere may lie apart by chance, so that no block tells where they are; 0 where
    /// addresses are scarce.
    pub(crate) fn spread(&self) -> usize {
        self.root().map_or(0, |root| root.zones.lock().spread)
    }

    /// Whether there was a limit on the process's addresses when the heap began, or there is one on the heap.
    pub(crate) fn has_limit(&self) -> bool {
        self.root().is_some_and(|root| root.zones.lock().has_limit())
    }

    /// Whether the calling thread holds one of the locks.
    pub(crate) fn is_mine(&self) -> bool {
        let is_mine = |root: &Root| root.zones.is_mine() || root.chains.is_mine();
        self.starting.is_mine() || self.root().is_some_and(is_mine)
    }

    /// Takes all locks, in their order, for the time of a fork.
    pub(crate) fn hold_for_fork(&self, is_interrupted: bool) {
        self.starting.hold_for_fork(is_interrupted);
        if let Some(root) = self.root() {
            root.zones.hold_for_fork(is_interrupted);
            root.chains.hold_for_fork(is_interrupted);
        }
    }

    /// Opens all locks again, in the parent and in the child.
    pub(crate) fn release_after_fork(&self, is_child: bool) {
        if let Some(root) = self.root() {
            root.chains.release_after_fork(is_child);
            root.zones.release_after_fork(is_child);
        }
        self.starting.release_after_fork(is_child);
    }
}

impl<O: Os> Drop for Heap<O> {
    fn drop(&mut self) {
        let root = *self.root.get_mut();
        if let Some(root) = NonNull::new(root) {
            // SAFETY: the record is initialised; it is moved out, as its own memory goes back with the zones.
            let root = unsafe { root.read() };
            root.zones.lock().release(&self.os, &root.lost);
        }
    }
}
