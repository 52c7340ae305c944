//! What changed between two snapshots: blocks that came, and blocks that went.
//!
//! A block is told by its address, its size and its class. So one that was freed and whose place was handed out again
//! for the same class counts as if it had stayed: the bytes are the same, and no allocator without tags knows better.

use core::cmp::Ordering;
use core::iter::Peekable;

use super::records::{MAX_CLASSES, Place, PlaceState};
use super::snapshot::{Places, Snapshot};

/// Blocks and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockSum {
    /// Blocks, a count.
    pub blocks: usize,
    /// Bytes of those blocks.
    pub bytes: usize,
}

impl BlockSum {
    pub(super) const fn add(&mut self, bytes: usize) {
        self.blocks += 1;
        self.bytes += bytes;
    }
}

/// A block that is in one of two snapshots only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// It is in the newer one.
    Came(Place),
    /// It was in the older one.
    Went(Place),
}

/// What changed in blocks of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassChange {
    /// Bytes of a slot; `None` for blocks outside of slabs.
    pub slot_bytes: Option<usize>,
    /// Blocks that came.
    pub came: BlockSum,
    /// Blocks that went.
    pub went: BlockSum,
}

/// Two snapshots side by side.
#[derive(Clone, Copy, Debug)]
pub struct Diff<'snapshot> {
    pub(crate) old: &'snapshot Snapshot,
    pub(crate) new: &'snapshot Snapshot,
}

impl Snapshot {
    /// What changed from this snapshot to a newer one. O(1); its answers are O(n).
    #[must_use]
    pub const fn diff<'snapshot>(&'snapshot self, newer: &'snapshot Self) -> Diff<'snapshot> {
        Diff { old: self, new: newer }
    }
}

impl<'snapshot> Diff<'snapshot> {
    /// The blocks that came or went, in address order. O(1) a step on average.
    #[must_use]
    pub fn changes(&self) -> Changes<'snapshot> {
        Changes { old: Live(self.old.places()).peekable(), new: Live(self.new.places()).peekable() }
    }

    /// Blocks that came and blocks that went. O(n).
    #[must_use]
    pub fn sums(&self) -> (BlockSum, BlockSum) {
        let (mut came, mut went) = (BlockSum::default(), BlockSum::default());
        self.changes().for_each(|change| match change {
            Change::Came(block) => came.add(block.size),
            Change::Went(block) => went.add(block.size),
        });
        (came, went)
    }

    /// What changed in each class, the smallest first, blocks outside of slabs last. Classes without a change are left
    /// out. O(n).
    pub fn classes(&self) -> impl Iterator<Item = ClassChange> + use<> {
        let mut changes = [ClassChange::default(); MAX_CLASSES + 1];
        for (change, class) in changes.iter_mut().zip(self.new.classes.iter()) {
            change.slot_bytes = Some(class.0);
        }
        let others = self.new.classes.len();
        let place_of = |block: &Place| {
            let bytes = block.slot_bytes;
            let of_class = self.new.classes.iter().position(|class| Some(class.0) == bytes);
            of_class.unwrap_or(others)
        };
        for change in self.changes() {
            let (Change::Came(block) | Change::Went(block)) = change;
            let Some(of_class) = changes.get_mut(place_of(&block)) else { continue };
            match change {
                Change::Came(block) => of_class.came.add(block.size),
                Change::Went(block) => of_class.went.add(block.size),
            }
        }
        changes.into_iter().filter(|change| change.came.blocks + change.went.blocks > 0)
    }
}

/// The live blocks of a snapshot.
#[derive(Debug)]
struct Live<'snapshot>(Places<'snapshot>);

impl Iterator for Live<'_> {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        self.0.find(|place| place.state == PlaceState::Live)
    }
}

/// Blocks that came or went, in address order.
#[derive(Debug)]
pub struct Changes<'snapshot> {
    old: Peekable<Live<'snapshot>>,
    new: Peekable<Live<'snapshot>>,
}

impl Iterator for Changes<'_> {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        let key = |place: &Place| (place.start, place.size, place.slot_bytes);
        loop {
            let order = match (self.old.peek(), self.new.peek()) {
                (Some(old), Some(new)) => key(old).cmp(&key(new)),
                (Some(_), None) => Ordering::Less,
                (None, _) => Ordering::Greater,
            };
            match order {
                Ordering::Less => return self.old.next().map(Change::Went),
                Ordering::Greater => return self.new.next().map(Change::Came),
                Ordering::Equal => {
                    self.old.next();
                    self.new.next();
                }
            }
        }
    }
}
