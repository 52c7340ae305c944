//! What can be wrong with an address that is handed back, and the sentence that says so.

use core::fmt;

use super::sizes::GRANULE;
use crate::chain::free_list::NotABlock;
use crate::chain::segment::Segment;

/// What a user of the heap did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MisuseKind {
    /// The address lies in memory of the heap that is free now: the block was freed before, or there never was one.
    DoubleFree,
    /// The address lies in memory of the heap that was never handed out.
    NeverAllocated,
    /// The address lies inside a live block, but is not its start.
    Interior,
    /// The address is no multiple of 8, or of 16 where only the free list has blocks, so it is no block's start.
    Misaligned,
    /// The address is not memory of this heap.
    Foreign,
    /// The block is live, but the layout is that of another size class.
    WrongSize,
    /// Bytes behind the block were written to. Found with [`canary`](crate::Settings::canary) alone.
    Overrun {
        /// The first of them.
        at: usize,
    },
    /// The block was written to after its free. Found with a
    /// [quarantine](crate::Settings::quarantine_bytes) alone, before the block is used again.
    WrittenAfterFree {
        /// The first byte that was.
        at: usize,
    },
}

/// A free or realloc that was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Misuse {
    /// What was wrong.
    pub kind: MisuseKind,
    /// The address that was handed in.
    pub address: usize,
    /// The size that the caller's layout names, in bytes, if the call had one.
    pub size: Option<usize>,
    /// Start and size of the live block it lies in, if it does.
    pub block: Option<(usize, usize)>,
}

/// Start and size of a live block, where there is one.
type NearBlock = Option<(usize, usize)>;

impl Misuse {
    const fn new(kind: MisuseKind, address: usize, size: Option<usize>, block: NearBlock) -> Self {
        Self { kind, address, size, block }
    }

    /// The address is free memory of the heap. `size` is what the call named, if it did, here and below.
    #[must_use]
    pub const fn double_free(address: usize, size: Option<usize>) -> Self {
        Self::new(MisuseKind::DoubleFree, address, size, None)
    }

    /// The address can be no block's start. `block` is the live one it lies in, if it does: start and size.
    #[must_use]
    pub const fn misaligned(address: usize, size: Option<usize>, block: NearBlock) -> Self {
        Self::new(MisuseKind::Misaligned, address, size, block)
    }

    /// The block at the address, of `block_size` bytes, is of another size.
    #[must_use]
    pub const fn wrong_size(address: usize, size: Option<usize>, block_size: usize) -> Self {
        Self::new(MisuseKind::WrongSize, address, size, Some((address, block_size)))
    }

    /// The address is memory of the heap that was never handed out.
    pub(crate) const fn never_allocated(address: usize, size: Option<usize>) -> Self {
        Self::new(MisuseKind::NeverAllocated, address, size, None)
    }

    /// The address lies inside a live block: start and size.
    pub(crate) const fn interior(
        address: usize,
        size: Option<usize>,
        block: (usize, usize),
    ) -> Self {
        Self::new(MisuseKind::Interior, address, size, Some(block))
    }

    /// The address is not memory of the heap.
    pub(crate) const fn foreign(address: usize, size: Option<usize>) -> Self {
        Self::new(MisuseKind::Foreign, address, size, None)
    }

    /// Bytes behind the block at the address, of `block_size` bytes, were written to, the first one `at`.
    pub(crate) const fn overrun(
        address: usize,
        size: Option<usize>,
        block_size: usize,
        at: usize,
    ) -> Self {
        Self::new(MisuseKind::Overrun { at }, address, size, Some((address, block_size)))
    }

    /// The block at the address, of `block_size` bytes, was written to after its free, the first byte `at`.
    pub(crate) const fn written_after_free(address: usize, block_size: usize, at: usize) -> Self {
        Self::new(MisuseKind::WrittenAfterFree { at }, address, None, Some((address, block_size)))
    }

    /// Reads off why `address` is no live block of `size` bytes; `fresh` is the first address of the segment's span
    /// that was never handed out.
    pub(super) fn because(
        why: NotABlock,
        address: usize,
        size: Option<usize>,
        fresh: impl FnOnce(Segment) -> usize,
    ) -> Self {
        let is_aligned = address.is_multiple_of(GRANULE);
        let block = |block: Segment| (block.start, block.size());
        match why {
            NotABlock::Outside => Self::foreign(address, size),
            NotABlock::InHole(hole) if address >= fresh(hole) => {
                Self::never_allocated(address, size)
            }
            NotABlock::InHole(_) if is_aligned => Self::double_free(address, size),
            NotABlock::InHole(_) => Self::misaligned(address, size, None),
            NotABlock::Interior(outer) if is_aligned => Self::interior(address, size, block(outer)),
            NotABlock::Interior(outer) => Self::misaligned(address, size, Some(block(outer))),
            NotABlock::OtherSize(other) => Self::wrong_size(address, size, other.size()),
        }
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, size) = self.block.unwrap_or((self.address, 0));
        let what = match self.kind {
            MisuseKind::DoubleFree => "double free of",
            MisuseKind::NeverAllocated => "free of never allocated memory at",
            MisuseKind::Interior => "free of an interior pointer",
            MisuseKind::Misaligned => "free of a misaligned pointer",
            MisuseKind::Foreign => "free of a pointer that is not from this heap,",
            MisuseKind::WrongSize => "wrong size for",
            MisuseKind::Overrun { at } => {
                return write!(
                    f,
                    "BLOCK OVERRUN: the block {address:#x} of {size} bytes, written to at {at:#x}, \
                     {} bytes behind its end",
                    at - address - size
                );
            }
            MisuseKind::WrittenAfterFree { at } => {
                return write!(
                    f,
                    "WRITE AFTER FREE: the block {address:#x} of {size} bytes, written to at {at:#x}, \
                     {} bytes behind its start",
                    at - address
                );
            }
        };
        write!(f, "ADDRESS NOT FOUND: {what} {:#x}", self.address)?;
        if let Some(size) = self.size {
            write!(f, " ({size} bytes)")?;
        }
        match self.block {
            Some((start, size)) if start == self.address => write!(f, ", a block of {size} bytes"),
            Some((start, size)) => {
                write!(
                    f,
                    ", {} bytes into the block {start:#x} of {size} bytes",
                    self.address - start
                )
            }
            None => Ok(()),
        }
    }
}

impl core::error::Error for Misuse {}
