//! [`Mems`]: the heap of virtual addresses, its blocks and its end.
//!
//! What the original MeMS is: `malloc` gives a number of MeMS's own numbering, `get` turns any such number into a
//! place in memory, `free` takes the number back. Blocks are packed byte by byte, found by first fit from the lowest
//! address on, and every span stays mapped until [`Mems::finish`].
//!
//! Owns: one free list with a granule of one byte, the spans' mappings, the next span's address.
//! Invariants: **I1** the spans' addresses follow each other without a gap from [`FIRST_ADDRESS`] on, in the order of
//! their creation; **I2** a span is one mapping of its own, of whole pages, unmapped only by `finish`; **I3** MeMS
//! never reads or writes a byte of a mapping, so fresh bytes are zero and freed ones keep what they held.
#![allow(unsafe_code, reason = "hands out views of the mappings it owns")]

use core::fmt;
use core::ptr::NonNull;

use crate::base::law::BrokenLaw;
use crate::base::os::{Os, OutOfMemory, System};
use crate::base::{addr, round};
use crate::chain::free_list::{FreeList, Nodes, Units};
use crate::chain::node_arena::ChunkSource;
use crate::chain::segment::Segment;

/// Bytes are handed out one by one, and spans keep their pages, so what is resident is not counted.
const UNITS: Units = Units { granule: 1, page: 1 };

/// The first virtual address.
pub const FIRST_ADDRESS: VirtAddr = VirtAddr(1000);

/// An address in MeMS's own numbering: an integer, not a pointer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct VirtAddr(pub usize);

impl fmt::Display for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<usize> for VirtAddr {
    fn from(number: usize) -> Self {
        Self(number)
    }
}

impl From<VirtAddr> for usize {
    fn from(address: VirtAddr) -> Self {
        address.0
    }
}

impl core::ops::Add<usize> for VirtAddr {
    type Output = Self;

    /// The address `bytes` further on; past the last number it starts again at 0, which is never a block's.
    fn add(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

/// Why [`Mems::malloc`] failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MallocError {
    /// A block of no bytes was asked for.
    ZeroSize,
    /// The system gives no more memory, or the size is beyond all memory.
    OutOfMemory,
}

impl fmt::Display for MallocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ZeroSize => "a block has at least one byte",
            Self::OutOfMemory => "out of memory",
        })
    }
}

impl core::error::Error for MallocError {}

impl From<OutOfMemory> for MallocError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// The address is not the first of a live block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressNotFound(pub VirtAddr);

impl fmt::Display for AddressNotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ADDRESS NOT FOUND: {} is not the start of a live block", self.0)
    }
}

impl core::error::Error for AddressNotFound {}

/// A heap of virtual addresses. Any number of them may live at once.
///
/// ```
/// use mems::Mems;
///
/// let mut heap = Mems::new();
/// let block = heap.malloc(1000)?;
/// heap.bytes_mut(block).unwrap()[..5].copy_from_slice(b"hello");
/// assert_eq!(heap.bytes(block + 4).unwrap()[0], b'o');
/// heap.free(block).unwrap();
/// assert!(heap.free(block).is_err(), "a second free is recognised");
/// # Ok::<(), mems::MallocError>(())
/// ```
#[derive(Debug)]
pub struct Mems<O: Os = System> {
    os: O,
    pub(super) page_size: usize,
    pub(super) list: FreeList,
    next_start: usize,
}

/// Chunks for nodes: each is a mapping of its own.
struct Chunks<'os, O: Os>(&'os O);

impl<O: Os> ChunkSource for Chunks<'_, O> {
    fn chunk_create(&mut self, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
        self.0.map(mapping_len(self.0, len).ok_or(OutOfMemory)?)
    }

    fn chunk_cost(&self, len: usize) -> usize {
        mapping_len(self.0, len).unwrap_or(len)
    }

    fn chunk_destroy(&mut self, start: NonNull<u8>, len: usize) {
        unmap(self.0, start, len);
    }
}

/// `len` in whole pages of the system.
fn mapping_len(os: &impl Os, len: usize) -> Option<usize> {
    round::align_up(len, os.page_size())
}

/// Gives back a mapping of `len` bytes of this heap.
fn unmap(os: &impl Os, start: NonNull<u8>, len: usize) {
    let Some(len) = mapping_len(os, len) else { return };
    // SAFETY: the mapping is the heap's own, and what referred to it is gone: views borrow the heap, which is borrowed
    // mutably or dropped here.
    let unmapped = unsafe { os.unmap(start, len) };
    // The kernel refuses only where it cannot note one more hole between mappings; the pages stay mapped then.
    let _ = unmapped;
}

impl Mems<System> {
    /// An empty heap whose spans are whole pages of this machine.
    #[must_use]
    pub fn new() -> Self {
        Self::with_page_size(0)
    }

    /// An empty heap whose spans are multiples of `page_size` bytes, which need not be the machine's page size nor a
    /// power of two; 0 stands for the machine's.
    #[must_use]
    pub fn with_page_size(page_size: usize) -> Self {
        Self::with_os(System, page_size)
    }
}

impl Default for Mems<System> {
    fn default() -> Self {
        Self::new()
    }
}

impl<O: Os> Mems<O> {
    /// An empty heap on another [`Os`], for tests; `page_size` as for [`Mems::with_page_size`].
    #[must_use]
    pub fn with_os(os: O, page_size: usize) -> Self {
        let page_size = if page_size == 0 { os.page_size() } else { page_size };
        Self { os, page_size, list: FreeList::new(UNITS), next_start: FIRST_ADDRESS.0 }
    }

    /// The unit in which spans are made, in bytes.
    #[must_use]
    pub fn page_size(&self) -> usize {
        self.page_size
    }

    /// Allocates `size` bytes: the front of the first hole, in address order, that is large enough, or of a new span if
    /// there is none. O(log n).
    ///
    /// # Errors
    ///
    /// [`MallocError::ZeroSize`] for 0 bytes, [`MallocError::OutOfMemory`] if the system refuses. Nothing has changed
    /// then, no address is used up, and the heap stays usable.
    pub fn malloc(&mut self, size: usize) -> Result<VirtAddr, MallocError> {
        if size == 0 {
            return Err(MallocError::ZeroSize);
        }
        self.list.reserve(Nodes::CHANGE, &mut Chunks(&self.os))?;
        match self.list.allocate(size, 1) {
            Some(block) => Ok(VirtAddr(block.start)),
            None => self.malloc_in_new_span(size),
        }
    }

    #[cold]
    fn malloc_in_new_span(&mut self, size: usize) -> Result<VirtAddr, MallocError> {
        self.span_create(size)?;
        let block = self.list.allocate(size, 1).ok_or(OutOfMemory)?;
        Ok(VirtAddr(block.start))
    }

    /// Maps a span with room for `size` bytes and appends it to the chain.
    fn span_create(&mut self, size: usize) -> Result<(), OutOfMemory> {
        let len = round::round_up(size, self.page_size).ok_or(OutOfMemory)?;
        let mapped = mapping_len(&self.os, len).ok_or(OutOfMemory)?;
        let next_start = self.next_start.checked_add(len).ok_or(OutOfMemory)?;
        self.list.reserve(Nodes::ROOM_AND_CHANGE, &mut Chunks(&self.os))?;
        let base = self.os.map(mapped)?;
        self.list.span_create(self.next_start, len, addr::expose(base));
        self.next_start = next_start;
        Ok(())
    }

    /// Frees a block, which merges with the holes beside it. O(log n).
    ///
    /// # Errors
    ///
    /// [`AddressNotFound`] where `address` is not the first of a live block: unknown, inside a block, in a hole,
    /// freed before. Nothing has changed then.
    pub fn free(&mut self, address: VirtAddr) -> Result<(), AddressNotFound> {
        self.list.release(address.0, None).map(|_| ()).map_err(|_| AddressNotFound(address))
    }

    /// Where the byte at `address` is in memory, for any byte of a live block. It stays there while the block lives.
    /// O(log n).
    #[must_use]
    pub fn get(&self, address: VirtAddr) -> Option<NonNull<u8>> {
        let block = self.block_with(address)?;
        addr::pointer(self.list.memory_of(block.span, address.0))
    }

    /// The live block that has `address`.
    #[inline]
    fn block_with(&self, address: VirtAddr) -> Option<Segment> {
        self.list.find(address.0).filter(Segment::is_block)
    }

    /// The bytes of a block from `address`, which may lie inside it, to its end. O(log n).
    #[must_use]
    pub fn bytes(&self, address: VirtAddr) -> Option<&[u8]> {
        let (start, len) = self.view(address)?;
        // SAFETY: the bytes lie in a live block of a mapping of this heap; mappings are initialised (zero), and
        // `&self` keeps `free`, `finish` and `bytes_mut` away as long as the view lives.
        Some(unsafe { core::slice::from_raw_parts(start.as_ptr(), len) })
    }

    /// The bytes of a block from `address`, which may lie inside it, to its end, to be changed. O(log n).
    #[must_use]
    pub fn bytes_mut(&mut self, address: VirtAddr) -> Option<&mut [u8]> {
        let (start, len) = self.view(address)?;
        // SAFETY: as for `bytes`, and `&mut self` keeps every other view away.
        Some(unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), len) })
    }

    fn view(&self, address: VirtAddr) -> Option<(NonNull<u8>, usize)> {
        let block = self.block_with(address)?;
        let start = addr::pointer(self.list.memory_of(block.span, address.0))?;
        Some((start, block.end() - address.0))
    }

    /// Unmaps every page of the heap and of its nodes. The heap is as new: the next block starts at
    /// [`FIRST_ADDRESS`], and old addresses are unknown. O(spans).
    pub fn finish(&mut self) {
        let mut next = self.list.first_span();
        while let Some(id) = next.some() {
            let span = *self.list.span(id);
            if let Some(base) = addr::pointer(span.base) {
                unmap(&self.os, base, span.len);
            }
            next = span.next;
        }
        self.list.release_nodes(&mut Chunks(&self.os));
        self.next_start = FIRST_ADDRESS.0;
    }

    /// Checks every law of the heap's records: segments tile their spans, no two holes are neighbours, sums are
    /// right, the index finds all. O(n).
    ///
    /// # Errors
    ///
    /// The first law found broken, and where.
    pub fn check(&self) -> Result<(), BrokenLaw> {
        self.list.check()?;
        let spans = self.list.totals().span_bytes;
        if FIRST_ADDRESS.0 + spans == self.next_start {
            Ok(())
        } else {
            Err(BrokenLaw {
                law: "spans follow each other without a gap",
                address: self.next_start,
            })
        }
    }
}

impl<O: Os> Drop for Mems<O> {
    fn drop(&mut self) {
        self.finish();
    }
}
