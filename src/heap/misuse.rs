//! What can be wrong with an address that is handed back, and the sentence that says so.

use core::fmt;

use super::sizes::GRANULE;
use crate::chain::free_list::NotABlock;
use crate::chain::segment::Segment;

/// What a user of the heap did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MisuseKind {
    /// The block at the address was freed before.
    DoubleFree,
    /// Two threads freed the block within nanoseconds, and both calls were accepted. Found when the slot comes home: by
    /// then it may have been handed out once more, and the free that is named may be the rightful one of that block.
    /// Nobody else was handed it meanwhile.
    FreesRaced,
    /// Another thread's realloc of the block was at work.
    InRealloc,
    /// The address lies in memory of the heap that no block has. It may have had one that was freed, or never any.
    Unallocated,
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

/// What an address was handed in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MisuseCall {
    /// To free its block.
    Free,
    /// To resize its block.
    Realloc,
    /// To learn its block's size.
    UsableSize,
}

/// A call that was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Misuse {
    /// What was asked for.
    pub call: MisuseCall,
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
        Self { call: MisuseCall::Free, kind, address, size, block }
    }

    /// The same mistake in another call than a free.
    #[must_use]
    pub const fn during(self, call: MisuseCall) -> Self {
        Self { call, ..self }
    }

    /// The block at the address was freed before. `size` is what the call named, if it did, here and below.
    #[must_use]
    pub const fn double_free(address: usize, size: Option<usize>) -> Self {
        Self::new(MisuseKind::DoubleFree, address, size, None)
    }

    /// Two frees of the block at the address were accepted.
    pub(crate) const fn frees_raced(address: usize) -> Self {
        Self::new(MisuseKind::FreesRaced, address, None, None)
    }

    /// Another thread's realloc of the block at the address was at work.
    pub(crate) const fn in_realloc(address: usize, size: Option<usize>) -> Self {
        Self::new(MisuseKind::InRealloc, address, size, None)
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

    /// The address is memory of the heap that no block has.
    #[must_use]
    pub const fn unallocated(address: usize, size: Option<usize>) -> Self {
        Self::new(MisuseKind::Unallocated, address, size, None)
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

    /// Reads off why `address` is no live block of `size` bytes.
    pub(super) fn because(why: NotABlock, address: usize, size: Option<usize>) -> Self {
        let is_aligned = address.is_multiple_of(GRANULE);
        let block = |block: Segment| (block.start, block.size());
        match why {
            NotABlock::Outside => Self::foreign(address, size),
            NotABlock::Held => Self::in_realloc(address, size),
            NotABlock::InHole if is_aligned => Self::unallocated(address, size),
            NotABlock::InHole => Self::misaligned(address, size, None),
            NotABlock::Interior(outer) if is_aligned => Self::interior(address, size, block(outer)),
            NotABlock::Interior(outer) => Self::misaligned(address, size, Some(block(outer))),
            NotABlock::OtherSize(other) => Self::wrong_size(address, size, other.size()),
        }
    }
}

/// A number of bytes in words.
struct ByteCount(usize);

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} byte{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, block_size) = self.block.unwrap_or((self.address, 0));
        let size = ByteCount(block_size);
        let is_free = self.call == MisuseCall::Free;
        let call = match self.call {
            MisuseCall::Free => "free",
            MisuseCall::Realloc => "realloc",
            MisuseCall::UsableSize => "usable size",
        };
        let (twice, what) = match self.kind {
            MisuseKind::DoubleFree if is_free => ("double ", "of"),
            MisuseKind::DoubleFree => ("", "of the freed block"),
            MisuseKind::FreesRaced if is_free => {
                return write!(
                    f,
                    "ADDRESS NOT FOUND: two frees of {:#x} raced, of which one was wrong",
                    self.address
                );
            }
            MisuseKind::FreesRaced => ("", "beside a free of the block"),
            MisuseKind::InRealloc => ("", "beside another thread's realloc of the block"),
            MisuseKind::Unallocated => ("", "of unallocated memory at"),
            MisuseKind::Interior => ("", "of an interior pointer"),
            MisuseKind::Misaligned => ("", "of a misaligned pointer"),
            MisuseKind::Foreign => ("", "of a pointer that is not from this heap,"),
            MisuseKind::WrongSize => ("", "with a wrong size for"),
            MisuseKind::Overrun { at } => {
                let behind = ByteCount(at - start - block_size);
                return write!(
                    f,
                    "BLOCK OVERRUN: the block {start:#x} of {size}, written to at {at:#x}, {behind} behind its end"
                );
            }
            MisuseKind::WrittenAfterFree { at } => {
                let behind = ByteCount(at - start);
                return write!(
                    f,
                    "WRITE AFTER FREE: the block {start:#x} of {size}, written to at {at:#x}, {behind} behind its start"
                );
            }
        };
        write!(f, "ADDRESS NOT FOUND: {twice}{call} {what} {:#x}", self.address)?;
        if let Some(named) = self.size {
            write!(f, " ({})", ByteCount(named))?;
        }
        match (self.block, self.kind) {
            (Some(_), _) if start == self.address => write!(f, ", a block of {size}"),
            (Some(_), _) => {
                let offset = ByteCount(self.address - start);
                write!(f, ", {offset} into the block {start:#x} of {size}")
            }
            (None, MisuseKind::Unallocated) => {
                f.write_str(", which was freed before or never handed out")
            }
            (None, _) => Ok(()),
        }
    }
}

impl core::error::Error for Misuse {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_happened() {
        let at = 0x1010;
        let [free, realloc, size] = [MisuseCall::Free, MisuseCall::Realloc, MisuseCall::UsableSize];
        for (misuse, call, line) in [
            (Misuse::double_free(at, Some(8)), free, "double free of 0x1010 (8 bytes)"),
            (Misuse::double_free(at, None), realloc, "realloc of the freed block 0x1010"),
            (Misuse::double_free(at, None), size, "usable size of the freed block 0x1010"),
            (Misuse::frees_raced(at), free, "two frees of 0x1010 raced, of which one was wrong"),
            (Misuse::frees_raced(at), realloc, "realloc beside a free of the block 0x1010"),
            (
                Misuse::in_realloc(at, Some(8)),
                free,
                "free beside another thread's realloc of the block 0x1010 (8 bytes)",
            ),
            (
                Misuse::unallocated(at, None),
                free,
                "free of unallocated memory at 0x1010, which was freed before or never handed out",
            ),
            (
                Misuse::interior(at, Some(8), (0x1000, 64)),
                realloc,
                "realloc of an interior pointer 0x1010 (8 bytes), 16 bytes into the block 0x1000 of 64 bytes",
            ),
            (
                Misuse::misaligned(at + 1, Some(1), Some((at, 64))),
                free,
                "free of a misaligned pointer 0x1011 (1 byte), 1 byte into the block 0x1010 of 64 bytes",
            ),
            (
                Misuse::foreign(at, None),
                size,
                "usable size of a pointer that is not from this heap, 0x1010",
            ),
            (
                Misuse::wrong_size(at, Some(8), 64),
                free,
                "free with a wrong size for 0x1010 (8 bytes), a block of 64 bytes",
            ),
        ] {
            assert_eq!(misuse.during(call).to_string(), format!("ADDRESS NOT FOUND: {line}"));
        }
    }
}
