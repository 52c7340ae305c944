//! A heap's segments, seen from both ends.

use mems::os::Os;
use mems::{Mems, MemsSegment};

/// All segments in address order, after a look from the back as well.
pub(crate) fn segments<O: Os>(heap: &Mems<O>) -> Vec<MemsSegment> {
    let forwards: Vec<_> = heap.segments().collect();
    let mut backwards: Vec<_> = heap.segments().rev().collect();
    backwards.reverse();
    assert_eq!(forwards, backwards, "both directions show the same");
    forwards
}
