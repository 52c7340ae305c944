//! Random work on a heap beside a model of it: what is live, where, with what contents.
//!
//! The model lives on the system's allocator, so that the heaps under test hold its blocks and nothing else. After
//! every step the heap's laws are checked, and everything that can be seen of it is compared with the model.
#![allow(unsafe_code, reason = "frees blocks by hand")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use std::collections::BTreeMap;
use std::sync::Mutex;

use helpers::piece::{MEMS, Piece, has_pattern, layout, write_pattern};
use helpers::{Rng, scaled};
use mems::os::{Os, System};
use mems::{Block, BrokenLaw, Found, Heap, HeapStats, MemsAlloc, MisuseKind};

/// The tests of the process heap take turns: each wants it for itself.
static PROCESS_HEAP: Mutex<()> = Mutex::new(());

/// Blocks alive at once, at the most.
const MOST_LIVE: usize = 150;
const MIB: usize = 1 << 20;

/// What the model knows of the live blocks: start, and the size asked for.
type Live = BTreeMap<usize, usize>;

/// What both kinds of heap can be asked.
trait Inspect {
    fn check(&self) -> Result<(), BrokenLaw>;
    fn stats(&self) -> HeapStats;
    fn live_blocks(&self) -> impl Iterator<Item = Block>;
    fn find(&self, pointer: *const u8) -> Option<Found>;
    fn usable_size(&self, pointer: *const u8) -> Option<usize>;
}

macro_rules! inspect {
    ($({$($generics:tt)*})? $heap:ty) => {
        impl$(<$($generics)*>)? Inspect for $heap {
            fn check(&self) -> Result<(), BrokenLaw> {
                <$heap>::check(self)
            }

            fn stats(&self) -> HeapStats {
                <$heap>::stats(self)
            }

            fn live_blocks(&self) -> impl Iterator<Item = Block> {
                self.blocks()
            }

            fn find(&self, pointer: *const u8) -> Option<Found> {
                <$heap>::find(self, pointer)
            }

            fn usable_size(&self, pointer: *const u8) -> Option<usize> {
                <$heap>::usable_size(self, pointer)
            }
        }
    };
}

inspect!({O: Os} Heap<O>);
inspect!(MemsAlloc);

/// Compares all that can be seen of a heap with the model.
fn assert_agrees(heap: &impl Inspect, live: &Live, step: usize) {
    heap.check().unwrap_or_else(|broken| panic!("step {step}: {broken}"));
    let stats = heap.stats();
    assert_eq!(stats.blocks, live.len(), "step {step}: {stats}");
    let (mut seen, mut end, mut sum) = (0, 0, 0);
    let mut expected = live.iter();
    for block in heap.live_blocks() {
        let (start, asked) = expected.next().expect("blocks() lists more than is live");
        assert_eq!(block.start, *start, "step {step}: blocks() and the model");
        assert!(block.size >= *asked, "step {step}: {block:?} serves {asked} bytes");
        assert!(block.start >= end, "step {step}: {block:?} overlaps the one before it");
        (seen, end, sum) = (seen + 1, block.start + block.size, sum + block.size);
    }
    assert_eq!((seen, sum), (live.len(), stats.allocated), "step {step}: {stats}");
    assert!(stats.resident <= stats.mapped && stats.active <= stats.mapped, "{stats}");
    assert!(stats.allocated <= stats.active, "step {step}: {stats}");
}

/// Asserts that `find` names the block for its bytes: all of a short one, a part of a long one.
fn assert_found(heap: &impl Inspect, start: usize, asked: usize, rng: &mut Rng) {
    let usable = heap.usable_size(without_memory(start)).expect("a live block has a size");
    assert!(usable >= asked, "{usable} bytes serve {asked}");
    let mut assert_at = |offset: usize| {
        let found = heap.find(without_memory(start + offset));
        let Some(Found::Block(block)) = found else { panic!("{start:#x} + {offset}: {found:?}") };
        assert_eq!((block.start, block.size), (start, usable), "offset {offset}");
        let is_start = heap.usable_size(without_memory(start + offset)).is_some();
        assert_eq!(is_start, offset == 0, "only the start is the block's address");
    };
    if usable <= 512 {
        (0..usable).for_each(&mut assert_at);
    } else {
        [0, 1, 8, 16, usable / 2, usable - 1].into_iter().for_each(&mut assert_at);
        (0..16).for_each(|_| assert_at(rng.below(usable)));
    }
    let behind = heap.find(without_memory(start + usable));
    assert!(!matches!(behind, Some(Found::Block(block)) if block.start <= start), "{behind:?}");
}

/// A pointer to ask about, which nobody dereferences.
fn without_memory(address: usize) -> *mut u8 {
    core::ptr::without_provenance_mut(address)
}

/// A size: mostly small, now and then beyond 64 MiB.
fn any_size(rng: &mut Rng) -> usize {
    match rng.below(1000) {
        0 => 64 * MIB + rng.below(16 * MIB),
        1..20 => rng.size(23),
        20..40 => 0,
        _ => rng.size(15),
    }
}

/// An alignment: mostly a small one, now and then up to 1 GiB.
fn any_align(rng: &mut Rng) -> usize {
    match rng.below(1000) {
        0 => 1 << 30,
        1..4 => 1 << rng.below(31),
        4..60 => 1 << rng.below(17),
        _ => 1 << rng.below(6),
    }
}

/// A block of a heap of its own.
struct Entry {
    start: NonNull<u8>,
    size: usize,
    stamp: u64,
}

/// Allocates one block in `heap`, with all the questions one can ask of it.
fn allocate<O: Os>(heap: &Heap<O>, rng: &mut Rng) -> Entry {
    let (size, align, stamp) = (any_size(rng), any_align(rng), rng.next());
    let start = heap.mems_malloc(size, align).expect("there is memory");
    assert!(start.addr().get().is_multiple_of(align), "{start:p} is not aligned to {align}");
    // SAFETY: the block is live and ours.
    unsafe { write_pattern(start, size, stamp) };
    assert_found(heap, start.addr().get(), size, rng);
    Entry { start, size, stamp }
}

/// Verifies and frees a block by one of the two ways, and tries it again, which must be refused.
fn free<O: Os>(heap: &Heap<O>, entry: &Entry, rng: &mut Rng) {
    let (start, size) = (entry.start.as_ptr(), entry.size);
    // SAFETY: the block is live and holds its pattern.
    let is_intact = unsafe { has_pattern(entry.start, size, size, entry.stamp) };
    assert!(is_intact, "contents of {start:p}, {size} bytes, changed");
    // SAFETY: a wrong size and an interior address are refused, nothing changes.
    let other = unsafe { heap.mems_free_sized(start, layout(size * 2 + 1000, 8)) };
    assert_eq!(other.map_err(|wrong| wrong.kind), Err(MisuseKind::WrongSize));
    let freed = if rng.once_in(2) {
        // SAFETY: nothing uses the block any more.
        unsafe { heap.mems_free(start) }
    } else {
        // SAFETY: as above.
        unsafe { heap.mems_free_sized(start, layout(size, 8)) }
    };
    assert_eq!(freed, Ok(()));
    // SAFETY: the block is gone, so this is refused.
    let again = unsafe { heap.mems_free(start) };
    assert!(again.is_err(), "a second free of {start:p} was accepted");
    assert_eq!(heap.usable_size(start), None);
}

/// Random blocks come and go in a heap of its own.
fn run_model<O: Os>(heap: &Heap<O>, steps: usize, rng: &mut Rng) {
    let (mut entries, mut live): (Vec<Entry>, Live) = (Vec::new(), Live::new());
    for step in 0..steps {
        let is_growing = (step / 400) % 2 == 0;
        if rng.once_in(200) {
            heap.trim();
        } else if entries.is_empty()
            || (entries.len() < MOST_LIVE && rng.once_in(if is_growing { 2 } else { 4 }))
        {
            let entry = allocate(heap, rng);
            assert_eq!(live.insert(entry.start.addr().get(), entry.size), None);
            entries.push(entry);
        } else {
            let entry = entries.swap_remove(rng.below(entries.len()));
            free(heap, &entry, rng);
            assert!(live.remove(&entry.start.addr().get()).is_some());
        }
        assert_agrees(heap, &live, step);
    }
    entries.drain(..).for_each(|entry| free(heap, &entry, rng));
    assert_agrees(heap, &Live::new(), steps);
    heap.trim();
    assert_agrees(heap, &Live::new(), steps);
}

#[test]
fn heaps_of_any_reservation_agree_with_the_model() {
    let steps = scaled(600, 6000);
    for reservation in [0, 4 * MIB, 64 * MIB, 64 << 30] {
        let mut rng = Rng::announced("arena model", 0x4ea9 + reservation as u64);
        let heap = Heap::with_os(System, reservation);
        run_model(&heap, steps, &mut rng);
    }
    println!("4 heaps, {steps} steps each");
}

#[test]
fn heaps_live_side_by_side() {
    let heaps: Vec<Heap> = (0..20).map(|_| Heap::new()).collect();
    let blocks: Vec<_> = heaps.iter().map(|heap| heap.mems_malloc(100, 8).unwrap()).collect();
    for (owner, block) in blocks.iter().enumerate() {
        for (other, heap) in heaps.iter().enumerate() {
            let accepted = heap.validate(block.as_ptr(), layout(100, 8)).is_ok();
            assert_eq!(accepted, owner == other, "heap {other}, block of heap {owner}");
        }
    }
}

#[test]
fn an_empty_heap_knows_nothing() {
    let heap = Heap::new();
    assert_eq!(heap.stats(), HeapStats::default());
    assert_eq!((heap.blocks().count(), heap.spans().count()), (0, 0));
    assert_eq!((heap.trim(), heap.check()), (0, Ok(())));
    let pointer = without_memory(0x1000);
    assert_eq!((heap.find(pointer), heap.usable_size(pointer)), (None, None));
    // SAFETY: nothing is live, so this is refused.
    let freed = unsafe { heap.mems_free(pointer) }.map_err(|wrong| wrong.kind);
    assert_eq!(freed, Err(MisuseKind::Foreign));
}

#[test]
fn impossible_requests_are_refused() {
    let heap = Heap::new();
    let most = isize::MAX.cast_unsigned();
    for size in
        [most, most - 15, most - 4096, most + 1, usize::MAX - 15, usize::MAX, 1 << 47, 1 << 62]
    {
        for align in [1, 16, 4096, 1 << 30, 1 << 62, 1 << 63] {
            assert_eq!(heap.mems_malloc(size, align), None, "{size:#x} aligned to {align:#x}");
        }
    }
    for align in [0, 3, 24, usize::MAX] {
        assert_eq!(heap.mems_malloc(8, align), None, "align {align}");
    }
    for align in [1 << 48, 1 << 62, 1 << 63] {
        assert_eq!(heap.mems_malloc(8, align), None, "align {align:#x}");
    }
    let block = heap.mems_malloc(8, 8).expect("a possible request is served");
    assert_eq!(heap.stats().blocks, 1);
    // SAFETY: nothing uses the block.
    assert_eq!(unsafe { heap.mems_free(block.as_ptr()) }, Ok(()));
    assert_eq!(heap.check(), Ok(()));
}

/// One step on the process heap: a block comes, changes its size, or goes.
fn step_of_process(pieces: &mut Vec<Piece>, live: &mut Live, is_growing: bool, rng: &mut Rng) {
    let shall_come = pieces.is_empty()
        || (pieces.len() < MOST_LIVE && rng.once_in(if is_growing { 2 } else { 4 }));
    if shall_come {
        let (size, align, stamp) = (any_size(rng), any_align(rng), rng.next());
        let made = if rng.once_in(3) { Piece::zeroed } else { Piece::new };
        let piece = made(size, align, stamp).expect("there is memory");
        assert_eq!(live.insert(piece.address(), size), None);
        assert_found(&MEMS, piece.address(), size, rng);
        pieces.push(piece);
    } else if rng.once_in(2) {
        let index = rng.below(pieces.len());
        let piece = &mut pieces[index];
        let size = match rng.below(4) {
            0 => piece.size() + rng.below(64),
            1 => piece.size() - rng.below(piece.size().min(64) + 1),
            2 => piece.size().min(MIB) * 2,
            _ => any_size(rng),
        };
        live.remove(&piece.address());
        assert!(piece.resize(size), "there is memory");
        assert_eq!(live.insert(piece.address(), size), None);
        assert_found(&MEMS, piece.address(), size, rng);
    } else {
        let piece = pieces.swap_remove(rng.below(pieces.len()));
        assert!(live.remove(&piece.address()).is_some());
        assert_eq!(MEMS.validate(piece.pointer(), piece.layout()), Ok(()));
        piece.free();
    }
}

#[test]
fn the_process_heap_agrees_with_the_model() {
    let _turn = PROCESS_HEAP.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let steps = scaled(2500, 25_000);
    let mut rng = Rng::announced("process model", 0x9_60de1);
    let (mut pieces, mut live) = (Vec::new(), Live::new());
    for step in 0..steps {
        if rng.once_in(200) {
            MEMS.trim();
        } else {
            step_of_process(&mut pieces, &mut live, (step / 400) % 2 == 0, &mut rng);
        }
        assert_agrees(&MEMS, &live, step);
    }
    pieces.into_iter().for_each(Piece::free);
    assert_agrees(&MEMS, &Live::new(), steps);
    println!("{steps} steps on the process heap");
}

#[test]
fn impossible_layouts_give_null_and_a_failed_realloc_keeps_its_block() {
    let _turn = PROCESS_HEAP.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let most = isize::MAX.cast_unsigned();
    let mut piece = Piece::new(1000, 16, 7).expect("there is memory");
    for size in [most - 15, most - 4096, 1 << 62, 1 << 48] {
        for align in [1, 16] {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the layout has a size.
            assert!(unsafe { MEMS.alloc(layout) }.is_null(), "{layout:?}");
            // SAFETY: as above.
            assert!(unsafe { MEMS.alloc_zeroed(layout) }.is_null(), "{layout:?}");
        }
        assert!(!piece.resize(size), "{size:#x}");
        assert_eq!(MEMS.check(), Ok(()));
    }
    assert!(piece.resize(2000));
    piece.free();
    let mut refused = Vec::<u8>::new();
    assert!(refused.try_reserve(most).is_err());
}

/// The block is held while there might be another place for it, and then it is not.
#[test]
fn a_failed_realloc_of_another_threads_block_keeps_it() {
    let _turn = PROCESS_HEAP.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for size in [1000, 100_000, 6 << 20] {
        let made = std::thread::spawn(move || Piece::new(size, 16, 7).expect("there is memory"));
        let mut piece = made.join().expect("no panic");
        assert!(!piece.resize(1 << 48), "{size} bytes");
        assert_eq!(MEMS.check(), Ok(()));
        assert!(piece.resize(2 * size));
        piece.free();
    }
}
