//! The work that is measured: the same segments in a [`Mems`] and in a `BTreeMap`, and batches of operations on both.
//!
//! A heap of n segments is made of n/3 cells, each a keeper, a block and a hole of one byte:
//!
//! ```text
//! | keeper | block (room - 1 bytes) | 1 | keeper | block | 1 | ...
//!          `--------- room ---------'
//! ```
//!
//! A `free` of a block merges it with the byte behind it (one segment less), a `malloc` of the same size splits that
//! hole again (one segment more), as `remove` and `insert` do in the map. Rooms grow with the address, so that first
//! fit by a random size goes to a random place: with rooms of one size it would fill the heap in address order,
//! out of the cache. Every batch ends with all blocks where they were.

use core::hint::black_box;
use std::collections::BTreeMap;

use fastrand::Rng;
use mems::{Mems, VirtAddr};

/// The unit of spans; also the limit of a room and its keeper together.
const PAGE: usize = 4096;

/// The keeper's size in a giant span.
const KEEPER: usize = 16;

/// How the heap's memory is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Every cell is a span of one page.
    Pages,
    /// All cells lie in one span, holes and blocks alternating.
    Giant,
}

/// A measured operation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    /// `malloc` beside `insert`.
    Malloc,
    /// `free` beside `remove`.
    Free,
    /// `get` beside `range(..=address).next_back()`.
    Get,
}

/// A block and the hole of one byte behind it.
#[derive(Clone, Copy, Debug)]
struct Cell {
    block: VirtAddr,
    size: usize,
}

/// What a batch does, in this order of operations; each list is in a random order of its own.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    frees: Vec<VirtAddr>,
    sizes: Vec<usize>,
    gets: Vec<VirtAddr>,
    removed: Vec<usize>,
    inserted: Vec<(usize, (usize, usize))>,
}

/// The heap, the map, and the cells that they hold.
#[derive(Debug)]
pub(crate) struct Workload {
    heap: Mems,
    map: BTreeMap<usize, (usize, usize)>,
    cells: Vec<Cell>,
    random: Rng,
    batch: Batch,
}

/// The room of cell `index` of `count`: even, at least 4, growing with the index.
fn room(index: usize, count: usize) -> usize {
    let steps = count.min((PAGE - KEEPER) / 2 - 2);
    4 + 2 * (index * steps / count)
}

impl Workload {
    /// A heap of `segments` segments, and a map of as many keys.
    pub(crate) fn new(shape: Shape, segments: usize, seed: u64) -> Self {
        let count = segments / 3;
        let mut heap = Mems::with_page_size(PAGE);
        let malloc = |heap: &mut Mems, size| heap.malloc(size).unwrap_or_else(|e| panic!("{e}"));
        if matches!(shape, Shape::Giant) {
            let total = (0..count).map(|index| KEEPER + room(index, count)).sum();
            let whole = malloc(&mut heap, total);
            assert_eq!(heap.free(whole), Ok(()));
        }
        let (mut cells, mut fillers) = (Vec::new(), Vec::new());
        for index in 0..count {
            let room = room(index, count);
            let keeper = if matches!(shape, Shape::Giant) { KEEPER } else { PAGE - room };
            malloc(&mut heap, keeper);
            cells.push(Cell { block: malloc(&mut heap, room - 1), size: room - 1 });
            fillers.push(malloc(&mut heap, 1));
        }
        for filler in fillers {
            assert_eq!(heap.free(filler), Ok(()));
        }
        let map: BTreeMap<_, _> =
            heap.segments().map(|segment| (segment.start.0, (segment.size, 0))).collect();
        assert!(map.len().abs_diff(segments) < PAGE, "{} segments", map.len());
        Self { heap, map, cells, random: Rng::with_seed(seed), batch: Batch::default() }
    }

    /// Chooses the cells of the next batch. Returns how many.
    pub(crate) fn choose(&mut self, most: usize) -> usize {
        let count = most.min(self.cells.len() / 4);
        // Only the first steps of a shuffle, since a batch uses a part of the cells.
        for index in 0..count {
            let other = self.random.usize(index..self.cells.len());
            self.cells.swap(index, other);
        }
        let chosen = &self.cells[..count];
        let all = self.cells.len();
        let random = &mut self.random;
        self.batch.frees = chosen.iter().map(|cell| cell.block).collect();
        self.batch.removed = chosen.iter().map(|cell| cell.block.0 + cell.size).collect();
        self.batch.sizes = chosen.iter().map(|cell| cell.size).collect();
        random.shuffle(&mut self.batch.sizes);
        self.batch.inserted = self.batch.removed.iter().map(|key| (*key, (1, 0))).collect();
        random.shuffle(&mut self.batch.inserted);
        let cells = &self.cells;
        self.batch.gets = (0..count)
            .map(|_| {
                let cell = cells[random.usize(..all)];
                cell.block + random.usize(..cell.size)
            })
            .collect();
        count
    }

    /// Does one kind of operation of the batch on the heap. `Free` comes before `Malloc`.
    pub(crate) fn on_heap(&mut self, operation: Operation) {
        match operation {
            Operation::Free => {
                for block in &self.batch.frees {
                    assert!(self.heap.free(*block).is_ok());
                }
            }
            Operation::Malloc => {
                for size in &self.batch.sizes {
                    assert!(self.heap.malloc(*size).is_ok());
                }
            }
            Operation::Get => {
                for address in &self.batch.gets {
                    assert!(black_box(self.heap.get(*address)).is_some());
                }
            }
        }
    }

    /// Does one kind of operation of the batch on the map. `Free` comes before `Malloc`.
    pub(crate) fn on_map(&mut self, operation: Operation) {
        match operation {
            Operation::Free => {
                for key in &self.batch.removed {
                    assert!(self.map.remove(key).is_some());
                }
            }
            Operation::Malloc => {
                for (key, value) in &self.batch.inserted {
                    assert!(self.map.insert(*key, *value).is_none());
                }
            }
            Operation::Get => {
                for address in &self.batch.gets {
                    assert!(black_box(self.map.range(..=address.0).next_back()).is_some());
                }
            }
        }
    }

    /// Panics unless the heap keeps its laws and has as many segments as the map has keys.
    pub(crate) fn check(&self) {
        assert_eq!(self.heap.check(), Ok(()));
        assert_eq!(self.heap.stats().segments, self.map.len());
    }
}
