//! What a snapshot is made of: a few words for each span, segment, slab, class and thread.

use crate::base::thread_name::{NAME_BYTES, name_text};
use crate::chain::segment::Extent;
pub use crate::process::walk::ThreadState;

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SegmentState {
    /// Available.
    Hole,
    /// Available, and its whole pages have gone back to the system.
    CleanHole,
    /// One block, handed out.
    Block,
    /// A slab: cut into slots of one class.
    Slab,
    /// Neither: its pages were going back to the system in that moment, or a slab was about to begin or had just ended.
    Between,
}

impl SegmentState {
    const ALL: [Self; 5] = [Self::Hole, Self::CleanHole, Self::Block, Self::Slab, Self::Between];

    /// Its word in text.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hole => "hole",
            Self::CleanHole => "hole, given back",
            Self::Block => "block",
            Self::Slab => "slab",
            Self::Between => "between",
        }
    }

    /// Whether it is available to any thread.
    #[must_use]
    pub const fn is_hole(self) -> bool {
        matches!(self, Self::Hole | Self::CleanHole)
    }
}

/// A segment, packed into two words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PackedSegment {
    pub(super) start: usize,
    /// The size, shifted by [`STATE_BITS`], and the number of its state.
    pub(super) size_and_state: usize,
}

/// Bits of a packed segment's second word that are its state.
const STATE_BITS: u32 = 3;

impl PackedSegment {
    pub(super) const fn new(start: usize, size: usize, state: SegmentState) -> Self {
        debug_assert!(size <= Extent::MAX_SIZE, "no segment is larger");
        Self { start, size_and_state: size << STATE_BITS | state as usize }
    }

    pub(super) const fn size(self) -> usize {
        self.size_and_state >> STATE_BITS
    }

    /// The first address behind it. Does not overflow in a snapshot that was taken or accepted.
    pub(super) const fn end(self) -> usize {
        self.start + self.size()
    }

    /// What it is; `None` for a number that no state has, as a hostile file may hold.
    pub(super) fn known_state(self) -> Option<SegmentState> {
        SegmentState::ALL.get(self.size_and_state & ((1 << STATE_BITS) - 1)).copied()
    }

    /// What it is, in a snapshot that was taken or accepted.
    pub(super) fn state(self) -> SegmentState {
        self.known_state().unwrap_or(SegmentState::Between)
    }
}

/// A span of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotSpan {
    /// Its first address.
    pub start: usize,
    /// Its size in bytes.
    pub size: usize,
    /// From this address on nothing was handed out since its pages were fresh.
    pub fresh: usize,
}

/// A segment of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotSegment {
    /// Its first address.
    pub start: usize,
    /// Its size in bytes.
    pub size: usize,
    /// What it is.
    pub state: SegmentState,
}

/// The most classes that a snapshot can hold.
pub(super) const MAX_CLASSES: usize = 128;

/// A size class: bytes of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClassRecord(pub(super) usize);

/// Slots of a word.
pub(super) const WORD_SLOTS: usize = 64;

/// A slab. Its state words are `words[first_word..]`: as many for the live slots as have a bit for each, and then as
/// many for the cached ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlabRecord {
    pub(super) start: usize,
    pub(super) size: usize,
    /// The number of the thread heap that owns it.
    pub(super) owner: u64,
    pub(super) class: u32,
    pub(super) slots: u32,
    /// From which slot on none was ever handed out.
    pub(super) carved: u32,
    /// Bytes of its pages that have gone back, and of those that a trim on any thread takes.
    pub(super) given_back: u32,
    pub(super) sent: u32,
    pub(super) first_word: usize,
}

impl SlabRecord {
    /// Words that have a bit for each slot.
    pub(super) const fn words(&self) -> usize {
        (self.slots as usize).div_ceil(WORD_SLOTS)
    }
}

/// A thread heap, and the sums of its slabs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotThread {
    /// Its number: from 1 on, in the order in which heaps were made.
    pub number: u64,
    /// Whose it is.
    pub state: ThreadState,
    /// What the system calls the thread, or the last one that used the heap; 0 where that is not known.
    pub thread_id: u32,
    pub(super) name: [u8; NAME_BYTES],
    /// Slabs it owns, a count.
    pub slabs: usize,
    /// Bytes of its slabs.
    pub slab_bytes: usize,
    /// Live slots of its slabs, a count.
    pub live: usize,
    /// Bytes of its live slots.
    pub live_bytes: usize,
    /// Bytes of its slots that some thread's cache holds.
    pub cached_bytes: usize,
}

impl SnapshotThread {
    pub(super) const fn new(
        number: u64,
        state: ThreadState,
        thread_id: u32,
        name: [u8; NAME_BYTES],
    ) -> Self {
        Self {
            number,
            state,
            thread_id,
            name,
            slabs: 0,
            slab_bytes: 0,
            live: 0,
            live_bytes: 0,
            cached_bytes: 0,
        }
    }

    /// The thread's name as the system has it, at most 15 bytes; empty where it is not known.
    #[must_use]
    pub fn name(&self) -> &str {
        name_text(&self.name)
    }
}

/// The sums of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassTotals {
    /// Bytes of a slot.
    pub slot_bytes: usize,
    /// Slabs, a count.
    pub slabs: usize,
    /// Slots of all its slabs, a count.
    pub slots: usize,
    /// Slots that are handed out, a count.
    pub live: usize,
    /// Slots that some thread's cache holds, a count.
    pub cached: usize,
    /// Bytes of its slabs.
    pub slab_bytes: usize,
}

/// What a place of the heap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PlaceState {
    /// A live block.
    Live,
    /// A slot that some thread's cache holds.
    Cached,
    /// A slot that is free.
    Free,
    /// The bytes behind a slab's last slot.
    Tail,
    /// A hole.
    Hole,
    /// A hole whose whole pages have gone back to the system.
    CleanHole,
    /// See [`SegmentState::Between`].
    Between,
}

impl PlaceState {
    /// Its word in text.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Cached => "cached",
            Self::Free => "free",
            Self::Tail => "tail",
            Self::Hole => "hole",
            Self::CleanHole => "hole, given back",
            Self::Between => "between",
        }
    }
}

/// A piece of the heap: a block, a slot or a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// Its first address.
    pub start: usize,
    /// Its size in bytes.
    pub size: usize,
    /// What it is.
    pub state: PlaceState,
    /// Bytes of a slot of its class; `None` outside of slabs.
    pub slot_bytes: Option<usize>,
    /// The number of the thread heap that owns its slab; `None` outside of slabs.
    pub thread: Option<u64>,
}
