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
//! whatever the address. Both are *visible*: every block and every hole can be walked. And no bookkeeping lies in the
//! memory it describes, so a program that writes beyond its blocks does not break the allocator's own records.
//! Memory comes from `mmap` and goes by `munmap`, or by mapping over it; no other memory system call is made.
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
//! # The path of one block
//!
//! *Down.* `Box::new` calls `GlobalAlloc::alloc` of [`MemsAlloc`] with a layout (`process::malloc`). Up to 32 KiB the
//! size names a class (`slabs::class`), and the calling thread's magazine of that class gives its newest slot: one
//! compare, one pop, one store of the slot's state byte. If the magazine is empty the thread's heap fills half of it
//! from one of its slabs, after it has looked what other threads sent home (`slabs::refill`). If it has no slab with
//! free slots it adopts one of a thread that ended (`slabs::retired`), or asks the free list for a run and cuts it into
//! slots (`slabs::depot`).
//!
//! Up to 4 MiB it is the same with slabs of one slot. Above, the block is a segment of the free list (`heap::allocate`,
//! `chain::free_list`), as every slab is: the first hole, in address order, that is large enough, found in O(log n) by
//! `chain::index`, whose inner nodes know the largest hole below them. If there is none, the heap commits further pages
//! of its reserved range (`heap::zones`), in which huge blocks have a part of their own, so that they can grow in
//! place.
//!
//! *Up.* `dealloc` looks the address up in the slab map: one load (`process::free`, `slabs::slab_map`). The slab's
//! descriptor says with one multiplication which slot starts there, if one does. Owner and class are compared with the
//! thread's and the layout's, the state byte is swapped, and the slot is on the magazine. A slot of another thread's
//! slab goes into the outbox, and with others into that slab's remote words (`slabs::send_home`, `slabs::handover`). An
//! address that no slab has is looked up among the segments (`heap::release`). A wrong address ends the process with
//! one line that says what was wrong, and where. A slab that is empty becomes a hole again, and what is idle for a
//! second goes back to the system (`heap::decay`).
//!
//! # Looking inside
//!
//! [`MemsAlloc`]'s walks go over the heap as it is; [`snapshot`] copies what it is made of into mappings of its own
//! (`inspect`), from which `report` makes text, pages and pictures; `region` says what a closure leaves behind.
//!
//! # Locks
//!
//! In the order in which they may be taken:
//!
//! | lock | where | guards |
//! |---|---|---|
//! | `FIXING` | `settings::force` | settings while they come into force, once |
//! | `HARDENED` | `process::hardened` | the heap of programs that run with more checks |
//! | `shared` | `process::plain` | the heap of threads without one of their own |
//! | `pool` | `slabs::depot` | slabs that come and go, thread heaps whose threads have ended |
//! | `starting` | `heap::handle` | the start of a heap |
//! | `zones` | `heap::root` | reserved addresses; system calls are made under it |
//! | `chains` | `heap::root` | spans and segments; no system call is made under it |
//!
//! The fast paths take none. A [`Heap`] of your own has the last three. [`Mems`] has none: it is `&mut`.
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
mod process;
pub mod inspect;
mod report;
mod global;
mod mems;

pub use base::law::BrokenLaw;
pub use base::os::{self, OutOfMemory};
pub use chain::segment::SegmentKind;
#[cfg(feature = "std")]
pub use global::Scavenger;
pub use global::{Builder, MemsAlloc};
pub use heap::{
    Block, Found, Heap, HeapBlocks, HeapSegment, HeapSegments, HeapSpan, HeapSpans, HeapStats,
    Misuse, MisuseCall, MisuseKind,
};
#[cfg(feature = "std")]
pub use inspect::{Remains, region};
pub use inspect::{Snapshot, snapshot};
pub use mems::{
    AddressNotFound, FIRST_ADDRESS, MallocError, Mems, MemsSegment, MemsSegments, MemsSpan,
    MemsSpans, MemsStats, VirtAddr,
};
pub use process::walk::{ProcessBlocks, ProcessSegments};
#[cfg(feature = "std")]
pub use report::files::IoText;
pub use report::files::{WriteError, write_heap_map_to, write_heap_picture_to, write_snapshot_to};
pub use settings::{OnMisuse, Settings};

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
    pub use crate::base::lock::{Lock, LockGuard};
    pub use crate::base::text::FdText;
    pub use crate::process::c;
    pub use crate::settings::set_variable;
}

/// The README's programs are tests.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;
