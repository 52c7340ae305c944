//! The heap in cells of equal size: what a picture has room for, however large the heap is.

use crate::inspect::{Place, PlaceState, Places, Snapshot};

/// Addresses further apart than this are drawn apart.
const GAP_BYTES: usize = 1 << 20;

/// A stretch of addresses that is drawn in one piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The stretches of a snapshot, in address order.
pub(super) fn stretches(snapshot: &Snapshot) -> impl Iterator<Item = Stretch> + '_ {
    let mut segments = snapshot.segments().peekable();
    core::iter::from_fn(move || {
        let first = segments.next()?;
        let (start, mut end) = (first.start, first.start + first.size);
        while let Some(next) = segments.next_if(|next| next.start - end <= GAP_BYTES) {
            end = next.start + next.size;
        }
        Some(Stretch { start, end })
    })
}

/// Cells of `cell_bytes`, a power of two, that the stretches touch.
pub(super) fn cell_count(snapshot: &Snapshot, cell_bytes: usize) -> usize {
    stretches(snapshot).map(|s| (s.end - 1) / cell_bytes - s.start / cell_bytes + 1).sum()
}

/// The smallest power of two, at least 16, of which `most` cells are enough.
pub(super) fn cell_bytes_for(snapshot: &Snapshot, most: usize) -> usize {
    let mut bytes = 16;
    // A stretch takes a cell at least, so a heap of very many stretches ends this.
    while bytes < 1 << 60 && cell_count(snapshot, bytes) > most {
        bytes *= 2;
    }
    bytes
}

/// The item that has most of something, if one has more than half, and else one of them (Boyer and Moore 1981).
#[derive(Clone, Copy, Debug, Default)]
struct Majority {
    item: Option<u64>,
    weight: usize,
}

impl Majority {
    fn add(&mut self, item: Option<u64>, weight: usize) {
        if self.weight == 0 || self.item == item {
            self.item = item;
            self.weight += weight;
        } else if self.weight >= weight {
            self.weight -= weight;
        } else {
            *self = Self { item, weight: weight - self.weight };
        }
    }
}

/// A cell, or the part of it that is heap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cell {
    /// The address of its first byte, a multiple of the cell size.
    pub(super) start: usize,
    /// Bytes of live blocks.
    pub(super) live: usize,
    /// Bytes of slots that some thread's cache holds.
    pub(super) cached: usize,
    /// Bytes of free slots and slabs' tails.
    pub(super) free: usize,
    /// Bytes of holes that were not given back.
    pub(super) hole: usize,
    /// Bytes of holes that were.
    pub(super) clean: usize,
    slot_bytes: Majority,
    thread: Majority,
}

impl Cell {
    /// The slot size of most of its live bytes; none for blocks outside of slabs.
    pub(super) const fn slot_bytes(&self) -> Option<u64> {
        self.slot_bytes.item
    }

    /// The thread that has most of its live bytes; none outside of slabs.
    pub(super) const fn thread(&self) -> Option<u64> {
        self.thread.item
    }

    fn add(&mut self, place: &Place, bytes: usize) {
        match place.state {
            PlaceState::Live => self.live += bytes,
            PlaceState::Cached => self.cached += bytes,
            PlaceState::Free | PlaceState::Tail => self.free += bytes,
            PlaceState::Hole | PlaceState::Between => self.hole += bytes,
            PlaceState::CleanHole => self.clean += bytes,
        }
        if place.state == PlaceState::Live {
            self.slot_bytes.add(place.slot_bytes.map(|bytes| bytes as u64), bytes);
            self.thread.add(place.thread, bytes);
        }
    }
}

/// The cells of one stretch, in address order, those without a byte of heap included.
#[derive(Debug)]
pub(super) struct Cells<'places, 'snapshot> {
    places: &'places mut Places<'snapshot>,
    /// The place that reaches into the next cell.
    place: Option<Place>,
    next: usize,
    end: usize,
    cell_bytes: usize,
}

impl<'places, 'snapshot> Cells<'places, 'snapshot> {
    /// The cells of `stretch`, whose first place is the next one of `places`; afterwards `places` is behind it.
    pub(super) fn new(
        places: &'places mut Places<'snapshot>,
        stretch: Stretch,
        cell_bytes: usize,
    ) -> Self {
        let next = stretch.start / cell_bytes * cell_bytes;
        let place = places.next();
        Self { places, place, next, end: stretch.end, cell_bytes }
    }
}

impl Iterator for Cells<'_, '_> {
    type Item = Cell;

    fn next(&mut self) -> Option<Cell> {
        if self.next >= self.end {
            return None;
        }
        let (start, cell_end) = (self.next, self.next.saturating_add(self.cell_bytes));
        self.next = cell_end;
        let mut cell = Cell { start, ..Cell::default() };
        while let Some(place) = self.place.filter(|place| place.start < cell_end) {
            let end = place.start + place.size;
            cell.add(&place, end.min(cell_end) - place.start.max(start));
            if end > cell_end {
                break;
            }
            // The last place of the stretch ends it; the one behind belongs to the next stretch.
            self.place = if end == self.end { None } else { self.places.next() };
        }
        Some(cell)
    }
}
