//! MeMS: a memory allocator that one can look into.
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(test, allow(clippy::std_instead_of_core, reason = "tests use std"))]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "MeMS needs 64-bit Linux: it reserves terabytes of addresses and maps over parts of them"
);

mod base;
mod chain;
mod global;
mod heap;
mod mems;
mod report;
mod small;

pub use base::law::BrokenLaw;
pub use base::os::{self, OutOfMemory};
pub use chain::segment::SegmentKind;
pub use global::MemsAlloc;
pub use heap::{
    Block, Blocks, Found, Heap, HeapSegment, HeapSpan, HeapStats, Misuse, MisuseKind, Segments,
    Spans,
};
pub use mems::{
    AddressNotFound, FIRST_ADDRESS, MallocError, Mems, MemsSegment, MemsSegments, MemsSpan,
    MemsSpans, MemsStats, VirtAddr,
};
pub use small::walk::{ProcessBlocks, ProcessSegments};

/// The unit tests themselves run on MeMS.
#[cfg(test)]
#[global_allocator]
static GLOBAL: MemsAlloc = MemsAlloc::new();

/// What the other packages of this workspace share with this one. Not for anybody else: it changes without notice.
#[doc(hidden)]
pub mod internal {
    pub use crate::base::lock::{Lock, LockGuard};
    pub use crate::base::text::FdText;
}
