//! The free list against a plain list of segments that is searched from the front.

use super::super::node_arena::tests::TestChunks;
use super::blocks::{self, NotABlock};
use super::list::{FreeList, Nodes, Totals, Units};

use fastrand::Rng;

const GRANULE: usize = 16;
const UNITS: Units = Units { granule: GRANULE, page: 4096 };

/// What the original does: a list of (start, size, is hole, span number), walked from the front.
#[derive(Debug, Default)]
struct Plain {
    segments: Vec<(usize, usize, bool, usize)>,
}

impl Plain {
    fn allocate(&mut self, size: usize, align: usize) -> Option<usize> {
        let slack = align.saturating_sub(GRANULE);
        let holes = || self.segments.iter().enumerate().filter(|(_, s)| s.2 && s.1 >= size);
        let fits =
            |s: &(usize, usize, bool, usize)| s.0.next_multiple_of(align) + size <= s.0 + s.1;
        let tries = if slack == 0 { usize::MAX } else { blocks::ALIGNED_TRIES };
        let exact = holes().take(tries).find(|(_, s)| fits(s));
        let roomy = || holes().find(|(_, s)| s.1 >= size + slack);
        let index = exact.or_else(roomy)?.0;
        let (start, len, _, span) = self.segments.remove(index);
        let block = start.next_multiple_of(align);
        let mut parts = vec![(block, size, false, span)];
        if block > start {
            parts.insert(0, (start, block - start, true, span));
        }
        if start + len > block + size {
            parts.push((block + size, start + len - block - size, true, span));
        }
        self.segments.splice(index..index, parts);
        Some(block)
    }

    fn merge_holes(&mut self) {
        let mut index = 1;
        while index < self.segments.len() {
            let (before, here) = (self.segments[index - 1], self.segments[index]);
            if before.2 && here.2 && before.3 == here.3 {
                self.segments[index - 1].1 += here.1;
                self.segments.remove(index);
            } else {
                index += 1;
            }
        }
    }

    fn release(&mut self, start: usize) -> bool {
        let Some(found) = self.segments.iter_mut().find(|s| s.0 == start && !s.2) else {
            return false;
        };
        found.2 = true;
        self.merge_holes();
        true
    }

    fn resize(&mut self, start: usize, size: usize) -> bool {
        let Some(index) = self.segments.iter().position(|s| s.0 == start) else { return false };
        let behind = self.segments.get(index + 1).copied();
        let here = self.segments[index];
        let room = match behind {
            Some(hole) if hole.2 && hole.3 == here.3 => {
                self.segments.remove(index + 1);
                here.1 + hole.1
            }
            _ => here.1,
        };
        let fits = size <= room;
        let taken = if fits { size } else { here.1 };
        self.segments[index].1 = taken;
        if room > taken {
            self.segments.insert(index + 1, (start + taken, room - taken, true, here.3));
        }
        fits
    }
}

fn same(list: &FreeList, plain: &Plain) {
    list.check().expect("laws");
    let mut at = list.segments.first();
    for (start, size, is_hole, _) in &plain.segments {
        let here = at.expect("as many segments as the model has");
        let segment = list.segment(here);
        assert_eq!((segment.start, segment.size(), segment.is_hole()), (*start, *size, *is_hole));
        at = list.next(here);
    }
    assert!(at.is_none());
}

fn random_run(seed: u64, steps: usize) {
    let mut source = TestChunks::default();
    let mut list = FreeList::new(UNITS);
    let mut plain = Plain::default();
    let mut random = Rng::with_seed(seed);
    let mut live = Vec::new();
    let (mut end, mut span_number) = (1 << 20, 0);
    for step in 0..steps {
        list.reserve(Nodes::ROOM_AND_CHANGE, &mut source).expect("nodes");
        let size = random.usize(1..=60) * GRANULE;
        match random.usize(..16) {
            0..8 => {
                let align = 1 << random.usize(..9);
                let got = list.allocate(size, align).map(|block| block.start);
                assert_eq!(got, plain.allocate(size, align), "seed {seed} step {step}");
                match got {
                    Some(start) => live.push(start),
                    None => {
                        // A gap between spans now and then, so that they do not always touch.
                        end += random.usize(..2) * 4096;
                        list.span_create(end, 8192, end);
                        plain.segments.push((end, 8192, true, span_number));
                        (end, span_number) = (end + 8192, span_number + 1);
                    }
                }
            }
            8..13 if !live.is_empty() => {
                let start = live.swap_remove(random.usize(..live.len()));
                let hole = list.release(start, None).expect("a live block");
                assert!(hole.contains(start) && plain.release(start));
            }
            13 if !live.is_empty() => {
                let start = live[random.usize(..live.len())];
                assert_eq!(list.resize(start, size), Ok(plain.resize(start, size)));
            }
            14 if span_number > 0 => {
                list.span_extend(list.last_span(), size);
                plain.segments.push((end, size, true, span_number - 1));
                plain.merge_holes();
                end += size;
            }
            _ => {
                let wrong = random.usize(..end + 100);
                let known = plain.segments.iter().any(|s| s.0 == wrong && !s.2);
                assert_eq!(list.block(wrong, None).is_ok(), known);
            }
        }
        same(&list, &plain);
    }
    for start in live {
        list.release(start, None).expect("a live block");
    }
    while let Some(first) = list.first_span().some() {
        list.span_destroy(first);
        list.check().expect("laws");
    }
    assert_eq!(list.totals(), Totals::default());
    list.release_nodes(&mut source);
    assert_eq!(source.live, 0);
}

#[test]
fn it_agrees_with_a_plain_list() {
    for seed in 0..20 {
        random_run(seed, 2_000);
    }
}

#[test]
fn wrong_addresses_are_told_apart() {
    let mut source = TestChunks::default();
    let mut list = FreeList::new(UNITS);
    list.reserve(Nodes { spans: 2, changes: 4 }, &mut source).expect("nodes");
    assert_eq!(list.release(4096, None), Err(NotABlock::Outside));
    list.span_create(4096, 4096, 4096);
    list.span_create(12_288, 4096, 12_288);
    let block = list.allocate(64, 16).expect("room");
    assert!(block.is_fresh);
    let segment = list.find(block.start + 63).expect("inside");
    assert_eq!(list.release(4096 + 16, None), Err(NotABlock::Interior(segment)));
    assert_eq!(list.release(4096 + 64, None), Err(NotABlock::InHole));
    assert_eq!(list.release(4096, Some(80)), Err(NotABlock::OtherSize(segment)));
    for outside in [0, 4095, 8192, 12_287, 16_384, usize::MAX] {
        assert_eq!(list.release(outside, None), Err(NotABlock::Outside), "{outside}");
    }
    list.release(4096, Some(64)).expect("a live block");
    assert_eq!(list.release(4096, None), Err(NotABlock::InHole));
    assert!(!list.allocate(64, 16).expect("room").is_fresh);
    list.release_nodes(&mut source);
}
