//! The index against a `BTreeMap`, and its visits counted.
#![allow(clippy::cast_possible_truncation, reason = "MeMS is for 64 bits only")]

use super::super::node_arena::Id;
use super::super::node_arena::tests::TestChunks;
use super::super::segment::{Extent, Segment};
use super::tree::{FANOUT, Index};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use fastrand::Rng;

fn insert<const N: usize>(index: &mut Index<N>, segment: Segment, source: &mut TestChunks) {
    index.reserve(1, source).expect("nodes");
    let (height, leaves, inners) =
        (index.height, index.leaves.live_count(), index.inners.live_count());
    match index.locate(segment.start) {
        _ if height == 0 => index.insert_first(segment),
        Some(path) => index.insert_behind(&path, &[segment]),
        None => index.insert_in_front(segment),
    }
    assert!(index.leaves.live_count() <= leaves + 1, "I4");
    assert!(index.inners.live_count() <= inners + height, "I4");
}

fn random_run<const N: usize>(seed: u64, steps: usize, keys: usize) {
    let mut source = TestChunks::default();
    let (mut index, mut model) = (Index::<N>::new(), BTreeMap::new());
    let mut random = Rng::with_seed(seed);
    for step in 0..steps {
        let growing = (step / (steps / 4)).is_multiple_of(2);
        let start = random.usize(..keys) * 16;
        if random.usize(..10) < if growing { 7 } else { 2 } {
            let size = random.usize(1..=1000);
            let make = if random.bool() { Segment::hole } else { Segment::block };
            if let Entry::Vacant(vacant) = model.entry(start) {
                let segment = *vacant.insert(make(start, size, Id::NONE));
                insert(&mut index, segment, &mut source);
            }
        } else if let Some((&found, _)) = model.range(..=start).next_back() {
            let path = index.locate(start).expect("the model has it");
            assert_eq!(index.segment(path.cursor()).start, found);
            index.splice(&path, 1, &[]);
            model.remove(&found);
        }
        let size = random.usize(1..=1100);
        let fit = index.first_fit(size).map(|path| index.segment(path.cursor()));
        let model_fit = model.values().find(|segment| segment.is_hole() && segment.size() >= size);
        assert_eq!(fit.as_ref(), model_fit, "seed {seed} step {step}");
        let floor = model.range(..=start).next_back().map(|(_, segment)| *segment);
        assert_eq!(index.find(start), floor);
        index.check().unwrap_or_else(|broken| panic!("seed {seed} step {step}: {broken}"));
    }
    let mut at = index.first();
    for segment in model.values() {
        let here = at.expect("as many as the model has");
        assert_eq!(index.segment(here), *segment);
        at = index.next(here);
        if let Some(behind) = at {
            assert_eq!(index.prev(behind).map(|cursor| index.segment(cursor)), Some(*segment));
        }
    }
    assert!(at.is_none());
    index.release(&mut source);
    assert_eq!(source.live, 0);
}

#[test]
fn it_agrees_with_a_btree_map() {
    for seed in 0..8 {
        random_run::<8>(seed, 4_000, 300);
        random_run::<16>(seed, 4_000, 2_000);
        random_run::<FANOUT>(seed, 4_000, 4_000);
    }
}

#[test]
fn ascending_segments_fill_their_leaves() {
    let mut source = TestChunks::default();
    let mut index = Index::<FANOUT>::new();
    for number in 0..100_000 {
        insert(&mut index, Segment::block(number * 16, 16, Id::NONE), &mut source);
    }
    index.check().expect("laws");
    let leaves = index.leaves.live_count();
    assert!(leaves * (FANOUT - 1) <= 100_000 + FANOUT, "{leaves} leaves");
    index.release(&mut source);
}

/// The top bit of a size is where an extent says hole: a size that has it must not be taken for a smaller one.
#[test]
fn a_size_beyond_isize_max_fits_nowhere() {
    let mut source = TestChunks::default();
    let mut index = Index::<8>::new();
    insert(&mut index, Segment::hole(1000, 4096, Id::NONE), &mut source);
    let top = 1_usize << (usize::BITS - 1);
    for size in [top - 1, top, top + 1, top + 100, usize::MAX] {
        assert!(index.first_fit(size).is_none(), "{size}");
    }
    index.release(&mut source);
}

/// One descent visits one node a level, and the levels grow as the logarithm of the segments.
#[test]
fn visits_grow_with_the_logarithm() {
    let mut source = TestChunks::default();
    let mut index = Index::<FANOUT>::new();
    let mut random = Rng::with_seed(7);
    let mut seen = Vec::new();
    for power in [1_000_usize, 10_000, 100_000, 1_000_000] {
        let mut inserted = index.leaves.live_count();
        while inserted < power {
            let start = random.usize(..) >> 8;
            if index.find(start).is_none_or(|segment| segment.start != start) {
                insert(&mut index, Segment::hole(start, 16, Id::NONE), &mut source);
                inserted += 1;
            }
        }
        index.visits.set(0);
        for _ in 0..1_000 {
            let start = random.usize(..) >> 8;
            if let Some(path) = index.locate(start) {
                let segment = index.segment(path.cursor());
                index.splice(&path, 1, &[Segment { extent: Extent::block(16), ..segment }]);
                index.splice(&path, 1, &[segment]);
            }
        }
        seen.push(index.visits.get() / 1_000);
    }
    // Down once, up twice; a level holds at least 7.5 entries a node, so ten times the segments add at most 1.2
    // levels of 3 visits each, and with random insertion less than one.
    for pair in seen.windows(2) {
        assert!(pair[1] <= pair[0] + 6, "visits per size: {seen:?}");
    }
    assert!(seen[3] <= 24, "visits per size: {seen:?}");
    index.release(&mut source);
}
