//! Records that wait: who gets them, and what becomes of their pages.
#![allow(unsafe_code, reason = "writes to pieces, and ends a depot")]
#![allow(clippy::expect_used, reason = "a test that finds something wrong ends")]

use super::class::Class;
use super::depot::{Depot, Pool};
use super::records::Piece;
use super::rounds::Step;
use super::slab::pages::Which;
use super::test_heaps::{allocate, free, slab_of, with_depot};
use super::thread_heap::ThreadHeap;
use crate::base::addr;
use crate::base::bits::runs;
use crate::base::os::{Os, System};

fn with(action: impl FnOnce(&'static Depot)) {
    // SAFETY: the action keeps nothing.
    unsafe { with_depot(1 << 30, action) }
}

fn piece(depot: &Depot, len: usize) -> Piece {
    let pool = &mut *depot.pool.lock();
    pool.records.piece(&depot.heap, len, 64).expect("memory")
}

fn fill(piece: Piece) {
    let range = piece.range();
    let start = addr::pointer(range.start).expect("an address");
    // SAFETY: the piece is in use by this test alone.
    unsafe { start.write_bytes(0xA5, range.len()) };
}

/// How many bytes of a piece are zero.
fn zeros(piece: Piece) -> usize {
    let range = piece.range();
    let start = addr::pointer(range.start).expect("an address");
    // SAFETY: the piece is memory, which nobody changes meanwhile.
    let bytes = unsafe { core::slice::from_raw_parts(start.as_ptr(), range.len()) };
    bytes.iter().filter(|byte| **byte == 0).count()
}

/// Bytes of records that have memory.
fn resident(depot: &Depot) -> usize {
    depot.heap.stats().metadata - depot.pool.lock().record_bytes_without_memory()
}

fn give_back(depot: &Depot, which: Which) -> (usize, bool) {
    let mut step = Step::new(which, usize::MAX, usize::MAX);
    let waits = depot.give_back_records(&mut step);
    assert_eq!(depot.pool.lock().check(), Ok(()));
    (step.given_back, waits)
}

#[test]
fn a_page_goes_when_all_pieces_on_it_wait() {
    with(|depot| {
        let page = System.page_size();
        let pieces = [(); 5].map(|()| piece(depot, page / 2 + 64));
        pieces.iter().for_each(|piece| fill(*piece));
        pieces[1].wait();
        pieces[3].wait();
        assert_eq!(give_back(depot, Which::All), (0, false), "others lie on each of their pages");
        assert!(pieces.iter().all(|piece| zeros(*piece) == 0));
        pieces[2].wait();
        let (bytes, waits) = give_back(depot, Which::All);
        assert_eq!((bytes, waits), (page, false), "one page is all theirs");
        let gone: usize = pieces.iter().map(|piece| zeros(*piece)).sum();
        assert_eq!(gone, page, "it is zero, and nothing else is");
        assert_eq!(zeros(pieces[0]) + zeros(pieces[4]), 0);
        assert_eq!(give_back(depot, Which::All), (0, false), "it has gone");
        assert!(pieces[2].use_again());
        fill(pieces[2]);
        assert_eq!(give_back(depot, Which::All), (0, false), "it is in use again");
        assert_eq!(zeros(pieces[2]), 0);
    });
}

#[test]
fn a_page_goes_when_it_was_idle_in_two_looks() {
    with(|depot| {
        let piece = piece(depot, 4 * System.page_size());
        fill(piece);
        piece.wait();
        assert_eq!(give_back(depot, Which::SeenBefore), (0, true));
        assert!(piece.use_again());
        piece.wait();
        assert_eq!(give_back(depot, Which::SeenBefore), (0, true), "it was used meanwhile");
        let (bytes, waits) = give_back(depot, Which::SeenBefore);
        assert!(bytes >= 3 * System.page_size() && !waits);
        assert!(zeros(piece) >= bytes);
    });
}

/// The system takes pages and gives none for them.
#[test]
fn what_is_lost_is_never_used_again() {
    with(|depot| {
        let page = System.page_size();
        let waiting = piece(depot, page + page / 2);
        waiting.wait();
        let lost = {
            let pool = depot.pool.lock();
            let chunk = pool.records.newest_chunk().expect("a chunk");
            let mut lost = runs(|index| (index == 0).then(|| chunk.idle()));
            let (first, count) = lost.next().expect("pages");
            let (start, len) = chunk.page_run(first, count);
            chunk.lose(start, len);
            start..start + len
        };
        assert!(!waiting.use_again());
        // The first one would begin on the last page of the other.
        let next = || {
            let pool = &mut *depot.pool.lock();
            pool.records.piece(&depot.heap, page, 64).map(Piece::range)
        };
        let pieces: Vec<_> = (0..4).filter_map(|_| next()).collect();
        assert_eq!(pieces.len(), 3);
        assert!(pieces.iter().all(|piece| piece.start >= lost.end || piece.end <= lost.start));
        assert_eq!(give_back(depot, Which::All), (0, false), "nor does it go once more");
    });
}

#[test]
fn a_piece_is_cleared_up_to_its_ends() {
    with(|depot| {
        let pieces = [(); 3].map(|()| piece(depot, 1000));
        pieces.iter().for_each(|piece| fill(*piece));
        pieces[1].wait();
        pieces[1].clear();
        assert_eq!(pieces.map(zeros), [0, 1000, 0]);
    });
}

#[test]
fn what_is_kept_stays_beside_all_that_goes() {
    with(|depot| {
        let mut kept = Vec::new();
        for number in 1..2000_usize {
            let keep = |pool: &mut Pool| pool.records.keep(&depot.heap, [number; 24]);
            kept.push(keep(&mut depot.pool.lock()).expect("memory"));
            let piece = piece(depot, 5000);
            fill(piece);
            piece.wait();
        }
        let before = resident(depot);
        let mut step = Step::new(Which::All, usize::MAX, 3);
        assert!(depot.give_back_records(&mut step), "a step is a step");
        assert!(step.given_back > 0 && step.given_back < before / 4, "{}", step.given_back);
        let bytes = step.given_back + give_back(depot, Which::All).0;
        assert!(bytes > 1999 * 4096, "{bytes} of {before}");
        assert_eq!(resident(depot), before - bytes);
        for (number, kept) in (1..).zip(kept) {
            assert_eq!(*kept, [number; 24]);
        }
    });
}

/// Found where each thread kept the descriptors of all slabs it ever had: 16 threads in turns had 16 times as many.
#[test]
fn heaps_in_turns_share_descriptors_whose_pages_go_when_they_wait() {
    const BLOCKS: usize = 200_000;
    let class = Class::of(16, 8).expect("a class");
    with(|depot| {
        let mut after_one = 0;
        for turn in 0..8 {
            let heap = depot.acquire_heap().expect("memory");
            let blocks: Vec<_> =
                (0..BLOCKS).map(|_| allocate(heap, class).expect("memory")).collect();
            if turn == 0 {
                after_one = resident(depot);
            }
            assert!(blocks.iter().all(|block| free(heap, *block)));
            // The heap stays: its thread sleeps.
            heap.flush_and_end_slabs();
            assert_eq!(heap.check(), Ok(()));
        }
        let after_all = resident(depot);
        assert!(after_all < after_one + (256 << 10), "{after_one}, then {after_all} bytes");
        let (bytes, _) = give_back(depot, Which::All);
        assert!(bytes > BLOCKS, "a byte of state for each block: {bytes}");
        let heap = depot.acquire_heap().expect("memory");
        let blocks: Vec<_> = (0..BLOCKS).map(|_| allocate(heap, class).expect("memory")).collect();
        assert!(blocks.iter().all(|block| free(heap, *block)), "all of it serves again");
        assert_eq!(heap.check(), Ok(()));
    });
}

/// Found where each thread that ended cost 45 KiB for good.
#[test]
fn heaps_of_ended_threads_are_vacated_and_serve_again() {
    const HEAPS: usize = 100;
    with(|depot| {
        let class = Class::of(100, 8).expect("a class");
        let work = |heap: &'static ThreadHeap| {
            let blocks: Vec<_> = (0..200).filter_map(|_| allocate(heap, class)).collect();
            assert!(blocks.len() == 200 && blocks.iter().all(|block| free(heap, *block)));
        };
        let heaps: Vec<_> = (0..HEAPS).filter_map(|_| depot.acquire_heap()).collect();
        heaps.iter().for_each(|heap| work(heap));
        let other = heaps[0];
        let kept = allocate(other, class).expect("memory");
        let names: Vec<_> = heaps.iter().map(|heap| heap.name()).collect();
        for heap in heaps {
            heap.flush_and_end_slabs();
            depot.retire_heap(heap);
        }
        let before = resident(depot);
        depot.with_each_retired(|_| ());
        assert_eq!(depot.pool.lock().vacant_cards().count(), HEAPS - 1, "one has a block");
        assert_eq!(
            depot.pool.lock().all_heaps().map(ThreadHeap::name).collect::<Vec<_>>(),
            [names[0]]
        );
        give_back(depot, Which::All);
        let after = resident(depot);
        let least = (HEAPS - 1) * (size_of::<ThreadHeap>() + 4096) * 3 / 4;
        assert!(before - after > least, "{before}, then {after} bytes");
        let slab = slab_of(other, kept);
        let again: Vec<_> = (0..HEAPS).filter_map(|_| depot.acquire_heap()).collect();
        assert!(again.iter().all(|heap| names.contains(&heap.name())), "none is new");
        for heap in &again {
            work(heap);
            assert_eq!(heap.check(), Ok(()));
            heap.flush();
        }
        assert!(again.iter().any(|heap| heap.owns(slab)) && slab.live_count() == 1);
        assert_eq!(depot.pool.lock().check(), Ok(()));
    });
}

/// A thread that delivered slots is late: their slab has ended, and its heap is vacant, when it puts it on the list.
#[test]
fn a_notice_to_a_vacant_heap_is_harmless() {
    for goes_back in [false, true] {
        with(|depot| {
            let class = Class::of(32_000, 8).expect("a class");
            let heap = depot.acquire_heap().expect("memory");
            let block = allocate(heap, class).expect("memory");
            let slab = slab_of(heap, block);
            assert!(free(heap, block) && heap.flush_and_end_slabs() > 0);
            depot.retire_heap(heap);
            depot.with_each_retired(|_| ());
            assert!(slab.notice.send());
            heap.accept_notice(slab);
            if goes_back {
                give_back(depot, Which::All);
            }
            let next = depot.acquire_heap().expect("memory");
            assert_eq!(next.name(), heap.name());
            let other = slab_of(next, allocate(next, class).expect("memory"));
            // Where the page has gone, nobody knows that the descriptor was on a list, and would hear of what comes
            // home.
            assert_eq!(core::ptr::eq(other, slab), !goes_back, "its list was looked at");
            assert!(!next.drain());
            assert_eq!((next.check(), depot.pool.lock().check()), (Ok(()), Ok(())));
        });
    }
}
