//! What the integration tests share: an [`Os`](mems::os::Os) that keeps accounts, and a list of
//! all segments.
#![allow(dead_code, unused_imports, reason = "every test binary uses a part of this")]

mod accounts;

pub(crate) use accounts::TestOs;

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
