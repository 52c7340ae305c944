//! The rules of the virtual-address heap, one test a rule, as far as they show from Rust.
//!
//! Numbers are for pages of 4096 bytes unless a test says otherwise.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that finds something wrong ends")]

use crate::helpers::accounts::TestOs;
use crate::segments::segments;
use mems::{AddressNotFound, FIRST_ADDRESS, MallocError, Mems, MemsStats, SegmentKind, VirtAddr};

fn heap() -> Mems {
    Mems::with_page_size(4096)
}

/// The chains as the original prints them.
fn text(heap: &Mems) -> String {
    let mut text = String::new();
    heap.write_stats(&mut text).expect("a string takes all");
    text
}

/// First and last address of every segment, and whether it is handed out.
fn chain(heap: &Mems) -> Vec<(usize, usize, bool)> {
    let all = segments(heap);
    all.iter().map(|it| (it.start.0, it.last().0, it.kind == SegmentKind::Block)).collect()
}

fn malloc(heap: &mut Mems, size: usize) -> usize {
    heap.malloc(size).expect("memory").0
}

fn place(heap: &Mems, address: usize) -> usize {
    heap.get(VirtAddr(address)).expect("live").addr().get()
}

#[test]
fn a_new_heap_is_empty_and_shows_zeros() {
    let heap = heap();
    assert_eq!(heap.stats(), MemsStats::default());
    assert_eq!((heap.spans().count(), heap.segments().count()), (0, 0));
    let expected = "----- MeMS SYSTEM STATS -----\nPages used:\t0\nSpace unused:\t0\nMain Chain Length:\t0\n\
                    Sub-chain Length array: []\n-----------------------------\n";
    assert_eq!(text(&heap), expected);
}

#[test]
fn the_text_is_that_of_the_original() {
    let mut heap = heap();
    let blocks = [1000, 5000, 3192].map(|size| malloc(&mut heap, size));
    assert_eq!(blocks, [1000, 5096, 10_096], "the last one fills the hole behind the second");
    heap.free(VirtAddr(1000)).expect("live");
    malloc(&mut heap, 96);
    let expected = "----- MeMS SYSTEM STATS -----\n\
                    MAIN[1000:5095]-> P[1000:1095] <-> H[1096:5095] <-> NULL\n\
                    MAIN[5096:13287]-> P[5096:10095] <-> P[10096:13287] <-> NULL\n\
                    Pages used:\t3\nSpace unused:\t4000\nMain Chain Length:\t2\n\
                    Sub-chain Length array: [2, 2, ]\n-----------------------------\n";
    assert_eq!(text(&heap), expected);
    assert_eq!(text(&heap), expected, "printing changes nothing");
}

#[test]
fn spans_are_whole_pages_of_any_page_size() {
    for page_size in [1, 1000, 1024, 4096, 8192, 65_536] {
        let mut heap = Mems::with_page_size(page_size);
        assert_eq!(heap.page_size(), page_size);
        let sizes = [page_size, page_size + 1, 3 * page_size, 3 * page_size - 1];
        let mut next = FIRST_ADDRESS.0;
        for size in sizes {
            let pages = size.div_ceil(page_size);
            assert_eq!(malloc(&mut heap, size), next, "no gap between spans");
            next += pages * page_size;
            let span = heap.spans().next_back().expect("a span");
            assert_eq!(
                (span.pages, span.size, span.last().0),
                (pages, pages * page_size, next - 1)
            );
            let bytes = heap.bytes_mut(span.start).expect("live");
            bytes.fill(0xA5);
            assert_eq!(bytes.len(), size);
        }
        assert_eq!(heap.stats().mapped, next - FIRST_ADDRESS.0);
        assert_eq!(heap.check(), Ok(()));
    }
}

#[test]
fn blocks_are_packed_byte_by_byte_and_only_spans_are_aligned() {
    let mut heap = heap();
    let blocks = [1, 2, 3, 1000].map(|size| malloc(&mut heap, size));
    assert_eq!(blocks, [1000, 1001, 1003, 1006]);
    assert!(place(&heap, 1000).is_multiple_of(4096));
    assert_eq!(place(&heap, 1006), place(&heap, 1000) + 6);
}

#[test]
fn an_exact_fit_leaves_no_hole_and_a_byte_is_one() {
    let mut heap = heap();
    malloc(&mut heap, 4096);
    assert_eq!(chain(&heap), [(1000, 5095, true)]);
    heap.free(VirtAddr(1000)).expect("live");
    malloc(&mut heap, 4095);
    assert_eq!(chain(&heap), [(1000, 5094, true), (5095, 5095, false)]);
    assert_eq!(malloc(&mut heap, 1), 5095);
    assert_eq!(heap.stats().holes, 0);
    assert_eq!(heap.stats().largest_hole, 0);
}

#[test]
fn every_search_begins_at_the_first_span() {
    let mut heap = heap();
    let blocks = [4096, 4096, 4096].map(|size| malloc(&mut heap, size));
    for block in [blocks[2], blocks[0]] {
        heap.free(VirtAddr(block)).expect("live");
    }
    assert_eq!(malloc(&mut heap, 100), blocks[0]);
    assert_eq!(malloc(&mut heap, 4000), blocks[2], "the first hole that is large enough");
    assert_eq!(malloc(&mut heap, 3996), blocks[0] + 100);
    assert_eq!(malloc(&mut heap, 97), 1000 + 3 * 4096, "no hole is: a new span");
}

#[test]
fn impossible_sizes_are_refused_without_a_trace() {
    let top = isize::MAX.unsigned_abs();
    let mut heap = heap();
    malloc(&mut heap, 1000);
    let (before, stats) = (chain(&heap), heap.stats());
    assert_eq!(heap.malloc(0), Err(MallocError::ZeroSize));
    for size in [usize::MAX, usize::MAX - 4095, top, top + 1, top + 2, top + 101, top - 4095] {
        assert_eq!(heap.malloc(size), Err(MallocError::OutOfMemory), "{size}");
    }
    assert_eq!((chain(&heap), heap.stats(), heap.check()), (before, stats, Ok(())));
    assert_eq!(malloc(&mut heap, 1000), 2000, "no address is used up");
    for page_size in [usize::MAX, top, top + 1] {
        let mut heap = Mems::with_page_size(page_size);
        assert_eq!(heap.malloc(1), Err(MallocError::OutOfMemory), "pages of {page_size}");
        assert_eq!((heap.stats().spans, heap.check()), (0, Ok(())));
    }
}

#[test]
fn fresh_bytes_are_zero_and_reused_ones_what_they_were() {
    let mut heap = heap();
    let block = heap.malloc(3000).expect("memory");
    assert!(heap.bytes(block).expect("live").iter().all(|byte| *byte == 0));
    heap.bytes_mut(block).expect("live").fill(7);
    heap.free(block).expect("live");
    let again = heap.malloc(3001).expect("memory");
    assert_eq!(again, block);
    let bytes = heap.bytes(again).expect("live");
    assert!(bytes[..3000].iter().all(|byte| *byte == 7) && bytes[3000] == 0);
}

#[test]
fn get_knows_every_byte_of_a_block_and_no_other() {
    let mut heap = heap();
    let block = malloc(&mut heap, 9000);
    malloc(&mut heap, 10);
    let first = place(&heap, block);
    for offset in [0, 1, 4095, 4096, 8192, 8999] {
        assert_eq!(place(&heap, block + offset), first + offset);
        assert_eq!(heap.bytes(VirtAddr(block + offset)).expect("live").len(), 9000 - offset);
    }
    heap.bytes_mut(VirtAddr(block + 5000)).expect("live")[0] = 99;
    assert_eq!(heap.bytes(VirtAddr(block)).expect("live")[5000], 99);
    let past = heap.spans().next_back().expect("a span").last().0 + 1;
    for wrong in [0, 999, block + 9010, past - 1, past, usize::MAX] {
        assert_eq!(heap.get(VirtAddr(wrong)), None, "{wrong}");
        assert!(heap.bytes(VirtAddr(wrong)).is_none() && heap.bytes_mut(VirtAddr(wrong)).is_none());
    }
    heap.free(VirtAddr(block)).expect("live");
    assert_eq!(heap.get(VirtAddr(block)), None, "freed");
}

#[test]
fn a_free_merges_with_holes_on_both_sides() {
    let mut heap = heap();
    let blocks = [1000; 4].map(|size| malloc(&mut heap, size));
    for (block, holes, segments) in [(0, 2, 5), (2, 3, 5), (1, 2, 3), (3, 1, 1)] {
        heap.free(VirtAddr(blocks[block])).expect("live");
        let stats = heap.stats();
        assert_eq!((stats.holes, stats.segments), (holes, segments), "block {block}");
        assert_eq!(heap.check(), Ok(()));
    }
    assert_eq!(chain(&heap), [(1000, 5095, false)], "an empty span stays");
}

#[test]
fn holes_of_different_spans_stay_apart() {
    let mut heap = heap();
    let blocks = [4096, 4096].map(|size| malloc(&mut heap, size));
    for block in blocks {
        heap.free(VirtAddr(block)).expect("live");
    }
    assert_eq!(chain(&heap), [(1000, 5095, false), (5096, 9191, false)]);
    assert_eq!(malloc(&mut heap, 4097), 9192, "a block never lies in two spans");
}

#[test]
fn a_wrong_free_says_so_and_changes_nothing() {
    let mut heap = heap();
    let block = malloc(&mut heap, 100);
    malloc(&mut heap, 100);
    heap.free(VirtAddr(block)).expect("live");
    let before = chain(&heap);
    for wrong in [0, 1, 999, block, block + 1, block + 150, block + 200, 5096, usize::MAX] {
        let error = heap.free(VirtAddr(wrong)).expect_err("not a block's start");
        assert_eq!(error, AddressNotFound(VirtAddr(wrong)));
        assert!(error.to_string().contains("ADDRESS NOT FOUND"));
    }
    assert_eq!(chain(&heap), before);
    assert_eq!(malloc(&mut heap, 60), block);
    assert_eq!(heap.free(VirtAddr(block)), Ok(()), "a block's start again");
}

#[test]
fn finish_resets_everything_and_the_page_size_stays() {
    let mut heap = Mems::with_page_size(1024);
    for round in 0..3 {
        assert_eq!(malloc(&mut heap, 1500), 1000, "round {round}");
        assert_eq!(malloc(&mut heap, 1500), 1000 + 2048);
        heap.finish();
        assert_eq!(heap.stats(), MemsStats::default());
        assert_eq!((heap.get(VirtAddr(1000)), heap.page_size()), (None, 1024));
        assert!(heap.free(VirtAddr(1000)).is_err());
        heap.finish();
    }
    let mut untouched = self::heap();
    untouched.finish();
    assert_eq!(untouched.stats(), MemsStats::default());
}

#[test]
fn heaps_live_side_by_side_and_each_unmaps_its_own() {
    let os = TestOs::new(4096);
    let mut heaps: Vec<_> = [1024, 4096, 8192].map(|it| Mems::with_os(&os, it)).into();
    for (index, heap) in heaps.iter_mut().enumerate() {
        let block = heap.malloc(5000).expect("memory");
        assert_eq!(block, FIRST_ADDRESS, "each heap numbers its own");
        heap.bytes_mut(block).expect("live").fill(1 + u8::try_from(index).expect("three"));
    }
    for (index, heap) in heaps.iter().enumerate() {
        let bytes = heap.bytes(FIRST_ADDRESS).expect("live");
        assert!(bytes.iter().all(|byte| usize::from(*byte) == index + 1));
    }
    for left in (0..3).rev() {
        let mappings = os.live().len();
        drop(heaps.pop());
        assert!(os.live().len() < mappings);
        assert_eq!(os.live().is_empty(), left == 0);
    }
}

#[test]
fn chains_are_walked_from_both_ends() {
    let mut heap = heap();
    for size in [3000, 2000, 5000, 4096, 10] {
        malloc(&mut heap, size);
    }
    let spans: Vec<usize> = heap.spans().map(|span| span.start.0).collect();
    let mut back: Vec<usize> = heap.spans().rev().map(|span| span.start.0).collect();
    back.reverse();
    assert_eq!(spans, back);
    assert_eq!(heap.spans().len(), spans.len());
    let mut both = heap.spans();
    assert_eq!(both.next().map(|span| span.start.0), spans.first().copied());
    assert_eq!(both.next_back().map(|span| span.start.0), spans.last().copied());
    assert_eq!(both.len(), spans.len() - 2);
    for span in heap.spans() {
        let segments = span.segments();
        assert_eq!(segments.len(), span.segment_count);
        let sum: usize = segments.clone().map(|segment| segment.size).sum();
        assert_eq!((sum, span.used + span.free), (span.size, span.size));
        let mut inwards = segments.clone();
        let mut seen = Vec::new();
        while let Some(front) = inwards.next() {
            seen.push(front.start);
            seen.extend(inwards.next_back().map(|back| back.start));
        }
        seen.sort();
        assert_eq!(seen, segments.map(|segment| segment.start).collect::<Vec<_>>());
    }
    assert_eq!(segments(&heap).len(), heap.stats().segments);
}

#[test]
fn the_nodes_of_ten_thousand_blocks_fit_in_4_mib() {
    let os = TestOs::new(4096);
    let mut heap = Mems::with_os(&os, 4096);
    for _ in 0..10_000 {
        heap.malloc(40).expect("memory");
    }
    let nodes = os.live_bytes() - heap.stats().mapped;
    assert!(nodes < 4 << 20 && heap.stats().metadata <= nodes, "{nodes} bytes");
}

#[test]
fn a_hundred_thousand_splits_and_merges_reuse_their_nodes() {
    let os = TestOs::new(4096);
    let mut heap = Mems::with_os(&os, 4096);
    let blocks: Vec<_> = (0..1000).map(|_| heap.malloc(40).expect("memory")).collect();
    let before = os.live_bytes();
    for round in 0..100_000 {
        let block = blocks[round % blocks.len()];
        heap.free(block).expect("live");
        assert_eq!(heap.malloc(20), Ok(block), "a split");
        heap.free(block).expect("live");
        assert_eq!(heap.malloc(40), Ok(block), "a merge made room again");
    }
    let more = os.live_bytes() - before;
    assert!(more < 1 << 20, "{more} bytes more");
    assert_eq!(heap.check(), Ok(()));
}
