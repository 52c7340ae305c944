//! A million wrong addresses to `free` and `get`: none is accepted, nothing changes.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that finds something wrong ends")]

use std::collections::BTreeMap;

use crate::segments::segments;
use fastrand::Rng;
use mems::{AddressNotFound, Mems, VirtAddr};

const SEED: u64 = 6_3;
const ADDRESSES: usize = 1_000_000;

/// A heap with live blocks and holes in many spans; the blocks' sizes by their starts.
fn heap_with_holes(random: &mut Rng) -> (Mems, BTreeMap<usize, usize>) {
    let mut heap = Mems::with_page_size(4096);
    let mut live = BTreeMap::new();
    for _ in 0..3_000 {
        let size = random.usize(1..=600);
        let block = heap.malloc(size).expect("memory");
        assert_eq!(live.insert(block.0, size), None);
        if random.usize(..3) == 0 {
            let starts: Vec<usize> = live.keys().copied().collect();
            let start = starts[random.usize(..starts.len())];
            assert_eq!(heap.free(VirtAddr(start)), Ok(()));
            live.remove(&start);
        }
    }
    (heap, live)
}

/// An address of one of several kinds, most of them close to right ones.
fn address(random: &mut Rng, starts: &[usize], end: usize, physical: usize) -> usize {
    let start = starts[random.usize(..starts.len())];
    match random.usize(..8) {
        0 => random.usize(..),
        1 => start + random.usize(1..=600),
        2 => start.wrapping_sub(random.usize(1..=600)),
        3 => random.usize(..1000),
        4 => end + random.usize(..10_000),
        5 => physical.wrapping_add(random.usize(..100_000)),
        6 => usize::MAX - random.usize(..1000),
        _ => random.usize(..end),
    }
}

#[test]
fn none_of_a_million_wrong_addresses_is_accepted() {
    println!("seed {SEED}");
    let mut random = Rng::with_seed(SEED);
    let (mut heap, live) = heap_with_holes(&mut random);
    let starts: Vec<usize> = live.keys().copied().collect();
    let end = heap.spans().next_back().expect("spans").last().0 + 1;
    let physical = heap.get(VirtAddr(starts[0])).expect("live").addr().get();
    let (stats, before) = (heap.stats(), segments(&heap));
    assert!(stats.holes > 500 && stats.spans > 100, "{stats:?}");
    let (mut freed, mut got) = (0, 0);
    while freed < ADDRESSES || got < ADDRESSES {
        let wrong = address(&mut random, &starts, end, physical);
        let block = live.range(..=wrong).next_back();
        let in_block = block.is_some_and(|(start, size)| wrong - start < *size);
        if !in_block {
            got += 1;
            let address = VirtAddr(wrong);
            assert_eq!(heap.get(address), None, "{wrong}");
            assert!(heap.bytes(address).is_none() && heap.bytes_mut(address).is_none());
        }
        if !live.contains_key(&wrong) {
            freed += 1;
            assert_eq!(heap.free(VirtAddr(wrong)), Err(AddressNotFound(VirtAddr(wrong))));
            assert_eq!(heap.stats(), stats, "{wrong}");
            if freed % 50_000 == 0 {
                assert_eq!(segments(&heap), before, "after {wrong}");
                assert_eq!(heap.check(), Ok(()));
            }
        }
    }
    assert_eq!(segments(&heap), before);
    for (start, size) in live {
        assert_eq!(heap.bytes(VirtAddr(start)).expect("live").len(), size);
        assert_eq!(heap.free(VirtAddr(start)), Ok(()));
    }
    assert_eq!((heap.stats().allocated, heap.check()), (0, Ok(())));
}
