//! Floor 5: [`Heap`], the engine that hands out pointers.
//!
//! Owns: the policy. Where a request goes, when the heap grows, what an address that comes back is checked against,
//! when pages go back. In this version every block is a segment of the free list, 16 bytes or a multiple of them.
//!
//! Files: [`root`] the record everything hangs off, with its locks; [`zone`] and [`zones`] the reserved addresses;
//! [`misuse`] wrong addresses; [`clear`] zero bytes; [`resize`] blocks that grow and shrink where they are; [`give_back`] pages that go back to the OS, and [`decay`] when; [`walk`] and [`stats`] looking inside.
//!
//! Invariants: **I1** an address is compared, never dereferenced, until the free list knows it as a live block;
//! **I2** no system call is made under the `chains` lock; **I3** pointers handed out are made from the heap's own
//! numbers, so they never carry the provenance of a pointer that was freed.
#![allow(unsafe_code, reason = "hands out and takes back memory")]

#[cfg(feature = "allocator-api2")]
mod arena;
mod clear;
mod decay;
mod give_back;
mod misuse;
mod resize;
mod root;
mod stats;
mod walk;
mod zone;
mod zones;

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::base::addr;
use crate::base::lock::Lock;
use crate::base::os::{Os, OutOfMemory, System};
use crate::base::round::align_up;
use crate::chain::free_list::NotABlock;
use crate::chain::segment::Segment;
pub(crate) use decay::Policy;
use give_back::AT_ONCE_BYTES;
pub use misuse::{Misuse, MisuseKind};
pub(crate) use resize::GivenUp;
use root::{Bounds, Chains, GRANULE, Root};
pub use stats::HeapStats;
pub use walk::{Block, Blocks, Found, HeapSegment, HeapSpan, Segments, Spans};
use zones::Use;

/// What a heap of its own reserves; untouched addresses cost nothing.
const DEFAULT_RESERVATION: usize = 64 << 30;

/// A block just handed out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allocation {
    pub(crate) start: NonNull<u8>,
    /// Whether all its bytes are zero, because they were never handed out before.
    pub(crate) is_zero: bool,
}

/// A heap: memory by [`mems_malloc`](Heap::mems_malloc), back by [`mems_free`](Heap::mems_free), all of it gone when
/// the heap is dropped.
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
    os: O,
    reservation: usize,
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

/// The size of the block that serves a request of `size` bytes: whole granules, and at least one.
#[inline]
const fn block_size(size: usize) -> Option<usize> {
    match align_up(size, GRANULE) {
        Some(0) => Some(GRANULE),
        Some(whole) if whole <= isize::MAX.cast_unsigned() => Some(whole),
        _ => None,
    }
}

impl<O: Os> Heap<O> {
    /// An empty heap on another [`Os`], which reserves `reservation` bytes of addresses at first.
    pub const fn with_os(os: O, reservation: usize) -> Self {
        let bounds = Bounds { limit_bytes: usize::MAX, policy: Policy::DEFAULT };
        Self { os, reservation, starting: Lock::new(bounds), root: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The root record, if there is one yet.
    #[inline]
    fn root(&self) -> Option<&Root> {
        // SAFETY: a record that was published stays where it is, initialised, until the heap is dropped.
        unsafe { self.root.load(Ordering::Acquire).as_ref() }
    }

    /// The root record, made now if there is none.
    #[inline]
    fn root_or_start(&self) -> Result<&Root, OutOfMemory> {
        match self.root() {
            Some(root) => Ok(root),
            None => self.start(),
        }
    }

    #[cold]
    fn start(&self) -> Result<&Root, OutOfMemory> {
        let bounds = self.starting.lock();
        if self.root().is_none() {
            let root = Root::create(&self.os, self.reservation, *bounds)?;
            self.root.store(root.as_ptr(), Ordering::Release);
        }
        self.root().ok_or(OutOfMemory)
    }

    /// Hands out `size` bytes (at least one granule of 16) at an address that is a multiple of `align`, a power of
    /// two. `None` where the system gives no more memory, or nothing can be that large. O(log n).
    #[must_use]
    pub fn mems_malloc(&self, size: usize, align: usize) -> Option<NonNull<u8>> {
        self.allocate(size, align).map(|allocation| allocation.start)
    }

    /// As [`Heap::mems_malloc`], with what is known of the bytes.
    #[inline]
    pub(crate) fn allocate(&self, size: usize, align: usize) -> Option<Allocation> {
        let (allocation, idle) = self.allocate_as(size, align, Chains::hand_out)?;
        self.give_back_idle(idle);
        Some(allocation)
    }

    /// As [`Heap::allocate`], a block that the heap keeps to itself: from the first moment on [`Heap::release`] refuses
    /// it, and only [`Heap::release_kept`] takes it back.
    pub(crate) fn allocate_kept(&self, size: usize, align: usize) -> Option<Allocation> {
        self.allocate_as(size, align, Chains::hand_out_kept).map(|(allocation, _)| allocation)
    }

    /// A block, and how many idle bytes ought to go back.
    #[inline]
    fn allocate_as(
        &self,
        size: usize,
        align: usize,
        hand_out: fn(&mut Chains, usize, usize) -> Option<Allocation>,
    ) -> Option<(Allocation, usize)> {
        if !align.is_power_of_two() {
            return None;
        }
        let size = block_size(size)?;
        let root = self.root_or_start().ok()?;
        let mut chains = root.chains.lock();
        if chains.reserve_for_change().is_ok()
            && let Some(allocation) = hand_out(&mut chains, size, align)
        {
            return Some((allocation, self.note_dirty(root, chains)));
        }
        drop(chains);
        Some((self.allocate_slow(root, size, align, hand_out)?, 0))
    }

    /// Grows the heap until the request can be served. One thread at a time grows; the others go on meanwhile.
    #[cold]
    #[inline(never)]
    fn allocate_slow(
        &self,
        root: &Root,
        size: usize,
        align: usize,
        hand_out: fn(&mut Chains, usize, usize) -> Option<Allocation>,
    ) -> Option<Allocation> {
        let room = size.checked_add(align.saturating_sub(GRANULE))?;
        let mut zones = root.zones.lock();
        let mut run = None;
        loop {
            let mut chains = root.chains.lock();
            chains.huge = zones.huge_range();
            if chains.reserve_for_growth().is_err() {
                drop(chains);
                let Ok(nodes) = zones.commit(&self.os, Use::Nodes, NODE_STEP) else {
                    // A run that cannot be entered for want of nodes is not lost: the next commit maps over it.
                    run.into_iter().for_each(|run| zones.retreat(Use::Blocks, run));
                    return None;
                };
                root.chains.lock().add_node_space(nodes);
                continue;
            }
            let has_more = run.take().map(|run| chains.add_room(run)).is_some();
            if let Some(allocation) = hand_out(&mut chains, size, align) {
                return Some(allocation);
            }
            if has_more {
                // It is not in the zone meant for such a block, since that is full.
                return chains.hand_out_anywhere(size, align, hand_out);
            }
            drop(chains);
            match zones.commit_for(&self.os, Use::Blocks, size >= HUGE_FROM, room) {
                Ok(more) => run = Some(more),
                // The last resort: room that is meant for blocks of another kind.
                Err(_) => return root.chains.lock().hand_out_anywhere(size, align, hand_out),
            }
        }
    }

    /// From now on the heap maps no more than `bytes` for blocks and its records. What is mapped already stays; where it
    /// is more, the heap does not grow. A request that would have to be refused answers `None`; holes are used as ever.
    pub fn set_limit(&self, bytes: usize) {
        let mut bounds = self.starting.lock();
        bounds.limit_bytes = bytes;
        if let Some(root) = self.root() {
            root.zones.lock().limit_bytes = bytes;
        }
    }

    /// Says when idle pages go back. Heard before the first block only.
    pub(crate) fn set_policy(&self, policy: Policy) {
        self.starting.lock().policy = policy;
    }

    /// Commits at least `len` bytes for records that are never given back: where they begin and end.
    pub(crate) fn commit_records(&self, len: usize) -> Option<(usize, usize)> {
        let root = self.root_or_start().ok()?;
        let run = root.zones.lock().commit(&self.os, Use::Nodes, len).ok()?;
        Some((run.start, run.end()))
    }

    /// Start and length of the addresses that are reserved for blocks at first.
    pub(crate) fn block_range(&self) -> Option<(usize, usize)> {
        let root = self.root_or_start().ok()?;
        root.zones.lock().all(Use::Blocks).first().map(|zone| (zone.start, zone.reserved))
    }

    /// Whether there was a limit on the process's addresses when the heap began, or there is one on the heap.
    pub(crate) fn has_limit(&self) -> bool {
        self.root().is_some_and(|root| root.zones.lock().has_limit())
    }

    /// Takes all locks, in their order, for the time of a fork.
    pub(crate) fn hold_for_fork(&self) {
        self.starting.hold_for_fork();
        if let Some(root) = self.root() {
            root.zones.hold_for_fork();
            root.chains.hold_for_fork();
        }
    }

    /// Opens all locks again, in the parent and in the child.
    pub(crate) fn release_after_fork(&self) {
        if let Some(root) = self.root() {
            root.chains.release_after_fork();
            root.zones.release_after_fork();
        }
        self.starting.release_after_fork();
    }

    /// Takes a block back.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where `pointer` is not the start of a live block; nothing has changed then. The pointer is not
    /// dereferenced.
    ///
    /// # Safety
    ///
    /// Nothing uses the block any more.
    pub unsafe fn mems_free(&self, pointer: *mut u8) -> Result<(), Misuse> {
        self.release(pointer.addr(), None)
    }

    /// As [`Heap::mems_free`], for a block that was asked for with `size` bytes: a block of another size is refused.
    ///
    /// # Errors
    ///
    /// As [`Heap::mems_free`].
    ///
    /// # Safety
    ///
    /// As [`Heap::mems_free`].
    pub unsafe fn mems_free_sized(&self, pointer: *mut u8, size: usize) -> Result<(), Misuse> {
        self.release(pointer.addr(), Some(size))
    }

    /// Takes the block at `address` back, if it is one (and of a request of `size` bytes).
    #[inline]
    pub(crate) fn release(&self, address: usize, size: Option<usize>) -> Result<(), Misuse> {
        self.release_from(address, size, AT_ONCE_BYTES)
    }

    /// As [`Heap::release`]; the pages of a block of `at_once_bytes` or more go back now.
    #[inline]
    pub(super) fn release_from(
        &self,
        address: usize,
        size: Option<usize>,
        at_once_bytes: usize,
    ) -> Result<(), Misuse> {
        let Some(root) = self.root() else {
            return Err(Misuse::new(NotABlock::Outside, address, size, |_| 0));
        };
        // A size that no block can have is answered as a wrong size.
        let expected = size.map(|size| block_size(size).unwrap_or(0));
        let mut chains = root.chains.lock();
        match chains.list.release_or_claim(address, expected, at_once_bytes) {
            Ok(None) => {
                self.look(root, chains);
                Ok(())
            }
            Ok(Some(claimed)) => {
                drop(chains);
                self.give_back_claimed(root, claimed, claimed.end());
                Ok(())
            }
            Err(why) => Err(chains.misuse(why, address, size)),
        }
    }

    /// Takes a block back that [`Heap::allocate_kept`] gave.
    pub(crate) fn release_kept(&self, start: usize) {
        if let Some(root) = self.root() {
            let mut chains = root.chains.lock();
            chains.list.release_kept(start);
            self.note_dirty(root, chains);
        }
    }

    /// Whether `pointer` is the start of a live block that serves a request of `size` bytes, if that is given. The
    /// check every free makes, as a question. O(log n).
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn validate(&self, pointer: *const u8, size: Option<usize>) -> Result<(), Misuse> {
        self.validate_address(pointer.addr(), size)
    }

    /// As [`Heap::validate`], by number.
    pub(crate) fn validate_address(
        &self,
        address: usize,
        size: Option<usize>,
    ) -> Result<(), Misuse> {
        let Some(root) = self.root() else {
            return Err(Misuse::new(NotABlock::Outside, address, size, |_| 0));
        };
        let expected = size.map(|size| block_size(size).unwrap_or(0));
        let chains = root.chains.lock();
        let block = chains.list.block(address, expected);
        block.map(|_| ()).map_err(|why| chains.misuse(why, address, size))
    }

    /// The bytes that the block at `pointer` has, at least as many as were asked for; `None` where it is not the start
    /// of a live block. O(log n).
    #[must_use]
    pub fn usable_size(&self, pointer: *const u8) -> Option<usize> {
        self.usable_size_at(pointer.addr())
    }

    /// As [`Heap::usable_size`], by number.
    pub(crate) fn usable_size_at(&self, address: usize) -> Option<usize> {
        let chains = self.root()?.chains.lock();
        chains.list.block(address, None).ok().map(|block| block.size())
    }
}

/// Blocks of at least this size lie in a zone of their own, if there is one. No slab is as large: what finds slabs by their
/// addresses knows the first zone only.
pub(crate) const HUGE_FROM: usize = (4 << 20) + GRANULE;

/// Node memory is committed in steps of this many bytes, or more.
const NODE_STEP: usize = 256 << 10;

impl Chains {
    #[inline]
    fn hand_out(&mut self, size: usize, align: usize) -> Option<Allocation> {
        let block = if size >= HUGE_FROM && !self.huge.is_empty() {
            self.list.allocate_in(size, align, &self.huge)?
        } else {
            let (below, above) = (0..self.huge.start, self.huge.end..usize::MAX);
            let block = self.list.allocate_in(size, align, &below);
            block.or_else(|| self.list.allocate_in(size, align, &above))?
        };
        let start = addr::pointer(self.list.memory_of(block.span, block.start))?;
        Some(Allocation { start, is_zero: block.is_fresh })
    }

    /// As `hand_out`, from any zone.
    #[cold]
    fn hand_out_anywhere(
        &mut self,
        size: usize,
        align: usize,
        hand_out: fn(&mut Self, usize, usize) -> Option<Allocation>,
    ) -> Option<Allocation> {
        if self.reserve_for_change().is_err() {
            return None;
        }
        let huge = core::mem::replace(&mut self.huge, usize::MAX..usize::MAX);
        let allocation = hand_out(self, size, align);
        self.huge = huge;
        allocation
    }

    /// As [`Chains::hand_out`], under the same hold of the lock a kept block.
    fn hand_out_kept(&mut self, size: usize, align: usize) -> Option<Allocation> {
        let allocation = self.hand_out(size, align)?;
        self.list.keep(allocation.start.addr().get());
        Some(allocation)
    }

    #[cold]
    fn misuse(&self, why: NotABlock, address: usize, size: Option<usize>) -> Misuse {
        let fresh = |hole: Segment| self.list.span(hole.span).fresh;
        Misuse::new(why, address, size, fresh)
    }
}

impl<O: Os> Drop for Heap<O> {
    fn drop(&mut self) {
        let root = *self.root.get_mut();
        if let Some(root) = NonNull::new(root) {
            // SAFETY: the record is initialised; it is moved out, as its own memory goes back with the zones.
            let root = unsafe { root.read() };
            root.zones.lock().release(&self.os);
        }
    }
}
