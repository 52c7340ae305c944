//! MeMS: a memory allocator that one can look into.
//!
//! ```
//! #[global_allocator]
//! static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();
//!
//! let words = vec!["one", "two", "three"];
//! println!("{}", GLOBAL.stats());
//! println!("the words lie in {}", GLOBAL.find(words.as_ptr().cast()).unwrap());
//! ```
//!
//! Two heaps stand on one free list:
//!
//! * [`MemsAlloc`], the process heap, to be declared as the `#[global_allocator]` of a program;
//! * [`Mems`], a heap of virtual addresses: the original MeMS.
//!
//! Both are *exact*: a free of anything but the start of a live block is recognised at that call, in release builds,
//! whatever the address. (When two threads free one block within a few nanoseconds, both calls may return: the second
//! is recognised when its slot comes home, and the block has one owner all the while.) Both are *visible*: every block
//! and every hole can be walked. And no bookkeeping lies in the memory it describes, so a program that writes beyond
//! its blocks does not break the allocator's own records. Memory comes from `mmap` and goes by `munmap`, or by mapping
//! over it; no other memory system call is made, but for `madvise` where a program asks for huge pages
//! ([`Builder::want_huge_pages`]).
//!
//! # Words
//!
//! | original MeMS | here | the field says | meaning |
//! |---|---|---|---|
//! | main chain, MainChainNode | span | span, extent | a run of pages obtained from the OS |
//! | sub chain, SubChainNode | segment | segment, chunk | a run of bytes of one span, in address order |
//! | PROCESS / HOLE | [`SegmentKind`] | allocated / free | handed out / available |
//! | MeMS virtual address | [`VirtAddr`] | an integer in an arena | an address in MeMS's own numbering, from 1000 |
//! | MeMS physical address | `NonNull<u8>` | pointer | where the byte is in this process |
//! | - | slot, slab, size class | the same | equal pieces of one segment, for small blocks |
//! | - | magazine | magazine, tcache | a thread's stack of free slots, out of band |
//! | - | outbox | remote free list | slots of other threads' slabs that wait for delivery |
//! | - | node arena | boundary-tag pool | storage of the nodes of the chains |
//!
//! The chains are a small *vmem* (Bonwick and Adams, USENIX 2001), and obey its laws: segments tile their span; no two
//! neighbours are both holes; a segment never crosses a span. `check()` asserts them, and the sums.
//!
//! # Looking inside
//!
//! [`MemsAlloc`]'s walks go over the heap as it is; [`snapshot`] copies what it is made of into mappings of its own
//! (`inspect`), from which `report` makes text, pages and pictures, behind the default feature of that name; `region`
//! says what a closure leaves behind. `MemsAlloc::profile`, behind the default feature `profile`, says who allocated
//! the live blocks, from samples.
//!
//! # Inside
//!
//! ARCHITECTURE.md in the repository follows one block down all floors and back up, and lists the locks. The fast paths
//! take none.
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(test, allow(clippy::std_instead_of_core, reason = "tests use std"))]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "MeMS needs 64-bit Linux: it reserves terabytes of addresses and maps over parts of them"
);

// The floors, from the ground up: a file uses only those above it in this list, and `cargo test --test tidy` holds it
// to that.
mod base;
mod chain;
mod settings;
mod heap;
mod slabs;
#[cfg(feature = "profile")]
pub mod profile;
mod process;
pub mod inspect;
mod report;
mod global;
mod mems;

pub use base::law::BrokenLaw;
pub use base::os::{self, OutOfMemory};
pub use chain::segment::SegmentKind;
#[cfg(feature = "profile")]
pub use global::Profile;
#[cfg(feature = "std")]
pub use global::Scavenger;
#[cfg(all(feature = "report", feature = "profile"))]
pub use global::{Budget, BudgetError};
pub use global::{Builder, MemsAlloc};
pub use heap::{
    Block, Found, Heap, HeapBlocks, HeapSegment, HeapSegments, HeapSpan, HeapSpans, HeapStats,
    Misuse, MisuseCall, MisuseKind,
};
#[cfg(feature = "profile")]
pub use inspect::region_with_threads;
#[cfg(feature = "std")]
pub use inspect::{RegionError, Remains, region};
pub use inspect::{Snapshot, snapshot};
pub use mems::{
    AddressNotFound, FIRST_ADDRESS, MallocError, Mems, MemsSegment, MemsSegments, MemsSpan,
    MemsSpans, MemsStats, VirtAddr,
};
pub use process::walk::{ProcessBlocks, ProcessSegments};
#[cfg(feature = "profile")]
pub use profile::{Label, LabelScope, Labelled, label, with_label};
#[cfg(feature = "std")]
pub use report::IoText;
#[cfg(feature = "report")]
pub use report::files::{WriteError, write_heap_map_to, write_heap_picture_to, write_snapshot_to};
pub use settings::{Occasions, OnMisuse, Settings};

/// The unit tests themselves run on MeMS.
#[cfg(test)]
#[cfg_attr(not(mems_loom), global_allocator)]
#[cfg_attr(
    mems_loom,
    expect(dead_code, reason = "loom itself allocates while it switches threads")
)]
static GLOBAL: MemsAlloc = MemsAlloc::new();

/// What the other packages of this workspace share with this one. Not for anybody else: it changes without notice.
#[doc(hidden)]
pub mod internal {
    #[cfg(mems_counted)]
    pub use crate::base::counted::counts;
    pub use crate::base::lock::{Lock, LockGuard};
    pub use crate::base::text::FdText;
    pub use crate::process::c;
    pub use crate::settings::set_variable;
}

/// The README's programs are tests.
#[cfg(all(doctest, feature = "std", feature = "report"))]
#[doc = include_str!("../README.md")]
struct Readme;
