//! The n-th `mmap` failing, for every n of a fixed script: an `Err`, nothing changed, nothing leaked, and the same call
//! succeeds afterwards.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that finds something wrong ends")]

use crate::helpers::accounts::TestOs;
use crate::segments::segments;
use fastrand::Rng;
use mems::{MallocError, Mems, MemsSegment, MemsStats, VirtAddr};

const SEED: u64 = 17;
const STEPS: usize = 1_500;

/// The sums without the nodes' memory, which a failed call may have grown.
fn visible(heap: &Mems<&TestOs>) -> (MemsStats, Vec<MemsSegment>) {
    let mut stats = heap.stats();
    stats.metadata = 0;
    (stats, segments(heap))
}

/// Every live mapping is a span's or belongs to the nodes.
fn assert_accounts(heap: &Mems<&TestOs>, os: &TestOs, page_size: usize) {
    let live = os.live();
    let mut spans = 0;
    for span in heap.spans() {
        let start = span.physical.expect("a span is mapped").addr().get();
        let len = span.size.next_multiple_of(page_size);
        assert!(live.contains(&(start, len)), "{span:?} is one mapping");
        spans += len;
    }
    let nodes = os.live_bytes() - spans;
    let metadata = heap.stats().metadata;
    let rounding = (live.len() - heap.spans().len()) * page_size;
    assert!(metadata <= nodes && nodes <= metadata + rounding, "{metadata} of {nodes} for nodes");
}

/// Calls `malloc`; where it fails, the failure must be the one that was ordered, and without a trace.
fn malloc(heap: &mut Mems<&TestOs>, os: &TestOs, size: usize, failures: &mut usize) -> VirtAddr {
    // One call maps a few times at most: far from the failure there is nothing to remember.
    let before = if os.maps_until_failure() < 10 { visible(heap) } else { Default::default() };
    match heap.malloc(size) {
        Ok(block) => block,
        Err(error) => {
            assert_eq!(error, MallocError::OutOfMemory);
            *failures += 1;
            assert_eq!(visible(heap), before, "a failed call changes nothing");
            assert_eq!(heap.check(), Ok(()));
            assert_accounts(heap, os, os_page(os));
            for segment in &before.1 {
                let is_hole = segment.kind == mems::SegmentKind::Hole;
                assert_eq!(heap.get(segment.start).is_none(), is_hole, "everything is usable");
            }
            heap.malloc(size).expect("the next call succeeds")
        }
    }
}

fn os_page(os: &TestOs) -> usize {
    mems::os::Os::page_size(os)
}

/// Runs the script; returns what is to be seen at its end, and how many calls failed.
fn run(os: &TestOs) -> ((MemsStats, Vec<VirtAddr>), usize) {
    let mut heap = Mems::with_os(os, 1024);
    let mut random = Rng::with_seed(SEED);
    let (mut live, mut failures) = (Vec::new(), 0);
    for step in 0..STEPS {
        let size = random.usize(1..=if step % 25 == 0 { 70_000 } else { 60 });
        live.push(malloc(&mut heap, os, size, &mut failures));
        if random.usize(..8) == 0 {
            let block = live.swap_remove(random.usize(..live.len()));
            assert_eq!(heap.free(block), Ok(()));
        }
    }
    assert_eq!(heap.check(), Ok(()));
    assert_accounts(&heap, os, os_page(os));
    let (stats, segments) = visible(&heap);
    drop(heap);
    assert_eq!(os.live(), [], "dropped: nothing leaked");
    let spans = stats.spans;
    assert!(os.unmaps().len() >= spans, "every span went back as a whole");
    // Physical addresses differ from run to run.
    ((stats, segments.iter().map(|segment| segment.start).collect()), failures)
}

fn fail_each_map(page_size: usize) {
    println!("seed {SEED}, pages of {page_size} bytes");
    let undisturbed = TestOs::new(page_size);
    let (expected, failures) = run(&undisturbed);
    assert_eq!(failures, 0);
    assert!(undisturbed.map_calls() > 40, "{} calls: spans and nodes", undisturbed.map_calls());
    for call in 1..=undisturbed.map_calls() {
        let os = TestOs::new(page_size);
        os.fail_at(call);
        let (seen, failures) = run(&os);
        assert_eq!(failures, 1, "map call {call} failed, and one malloc with it");
        assert_eq!(seen, expected, "map call {call}");
    }
}

#[test]
fn each_failing_map_is_survived_on_pages_of_4_kib() {
    fail_each_map(4096);
}

#[test]
fn each_failing_map_is_survived_on_pages_of_16_kib() {
    fail_each_map(16_384);
}

#[test]
fn each_failing_map_is_survived_on_pages_of_64_kib() {
    fail_each_map(65_536);
}

#[test]
fn finish_gives_every_mapping_back_and_the_heap_starts_again() {
    for page_size in [4096, 16_384, 65_536] {
        let os = TestOs::new(page_size);
        let mut heap = Mems::with_os(&os, 0);
        assert_eq!(heap.page_size(), page_size);
        assert_eq!(os.live(), [], "a new heap has mapped nothing");
        for _ in 0..3 {
            let block = heap.malloc(page_size + 1).expect("memory");
            assert_eq!(block, mems::FIRST_ADDRESS);
            assert!(heap.get(block).expect("live").addr().get().is_multiple_of(page_size));
            assert_accounts(&heap, &os, page_size);
            heap.finish();
            assert_eq!(os.live(), []);
            assert_eq!((heap.stats(), heap.get(block)), (MemsStats::default(), None));
            heap.finish();
        }
    }
}
