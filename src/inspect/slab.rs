//! A slab of a snapshot: its slots, with a state for each.

use super::records::{Place, PlaceState, SlabRecord, WORD_SLOTS};

/// A slab of a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotSlab<'snapshot> {
    record: SlabRecord,
    slot_bytes: usize,
    live: &'snapshot [u64],
    cached: &'snapshot [u64],
}

fn ones(words: &[u64]) -> usize {
    words.iter().map(|word| word.count_ones() as usize).sum()
}

fn has(words: &[u64], slot: usize) -> bool {
    words.get(slot / WORD_SLOTS).is_some_and(|word| word >> (slot % WORD_SLOTS) & 1 == 1)
}

impl<'snapshot> SnapshotSlab<'snapshot> {
    /// The slab of a record; `words` begin with its own.
    pub(super) fn new(record: SlabRecord, slot_bytes: usize, words: &'snapshot [u64]) -> Self {
        let count = record.words();
        Self {
            record,
            slot_bytes,
            live: words.get(..count).unwrap_or_default(),
            cached: words.get(count..2 * count).unwrap_or_default(),
        }
    }

    /// Its first address.
    #[must_use]
    pub const fn start(&self) -> usize {
        self.record.start
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.record.size
    }

    /// Bytes of a slot.
    #[must_use]
    pub const fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }

    /// Slots, a count.
    #[must_use]
    pub const fn slots(&self) -> usize {
        self.record.slots as usize
    }

    /// From which slot on none was ever handed out, so that there is no memory behind them.
    #[must_use]
    pub const fn carved(&self) -> usize {
        self.record.carved as usize
    }

    /// Bytes of its pages that have gone back to the system while other slots were in use.
    #[must_use]
    pub const fn given_back(&self) -> usize {
        self.record.given_back as usize
    }

    /// Bytes of pages on which there are slots only that other threads have sent home, and that have not gone back: a
    /// trim takes them on any thread, others on the owner's only.
    #[must_use]
    pub const fn sent(&self) -> usize {
        self.record.sent as usize
    }

    /// The number of the thread heap that owns it.
    #[must_use]
    pub const fn thread(&self) -> u64 {
        self.record.owner
    }

    /// Slots that are handed out, a count. O(slots / 64).
    #[must_use]
    pub fn live(&self) -> usize {
        ones(self.live)
    }

    /// Slots that some thread's cache holds, a count. O(slots / 64).
    #[must_use]
    pub fn cached(&self) -> usize {
        ones(self.cached)
    }

    /// A bit for each slot that is handed out, 64 slots a word, the first slot lowest.
    #[must_use]
    pub const fn live_words(&self) -> &'snapshot [u64] {
        self.live
    }

    /// A bit for each slot that some thread's cache holds.
    #[must_use]
    pub const fn cached_words(&self) -> &'snapshot [u64] {
        self.cached
    }

    /// Slot `index`; the one behind the last is the slab's tail, and those behind it have a size of 0.
    #[must_use]
    pub fn place(&self, index: usize) -> Place {
        let (slot_bytes, slots) = (self.slot_bytes, self.slots());
        let offset = index.min(slots) * slot_bytes;
        let (state, size) = if index < slots {
            let state = match (has(self.live, index), has(self.cached, index)) {
                (true, _) => PlaceState::Live,
                (false, true) => PlaceState::Cached,
                (false, false) => PlaceState::Free,
            };
            (state, slot_bytes)
        } else {
            (PlaceState::Tail, if index == slots { self.size() - offset } else { 0 })
        };
        let (slot_bytes, thread) = (Some(slot_bytes), Some(self.thread()));
        Place { start: self.start() + offset, size, state, slot_bytes, thread }
    }
}
