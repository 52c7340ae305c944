//! The process heap's free list on reserved addresses, and [`Heap`], its handle.
//!
//! Owns: the policy. Where a request goes, when the heap grows, what an address that comes back is checked against,
//! when pages go back. Each block is a segment of the free list, 16 bytes or a multiple of them; slabs of smaller
//! blocks are segments, too, cut up one floor above.
//!
//! From the ground up: [`sizes`] of blocks; [`misuse`] wrong addresses; [`decay`] when pages go back; [`bounds`] what a
//! heap starts with; [`lost`] runs that are nobody's; [`inherited`] what a fork's child may give back; [`zone`],
//! [`division`], [`zone_table`] and [`zones`] the reserved addresses; [`chains`] what one lock guards; [`root`] the
//! record that all hangs off; [`handle`] the way to it; [`give_back`] pages that go back to the OS; [`allocate`],
//! [`release`], [`hold`] and [`resize`] the verbs; [`clear`] zero bytes; [`walk`] and [`stats`] looking inside.
//!
//! Invariants: **I1** no system call is made under the `chains` lock; **I2** pointers handed out are made from the
//! heap's own numbers, so they never carry the provenance of a pointer that was freed.

mod sizes;
mod misuse;
mod decay;
mod bounds;
mod lost;
mod inherited;
mod zone;
mod division;
mod zone_table;
mod zones;
mod chains;
mod root;
mod handle;
mod give_back;
mod allocate;
mod release;
mod hold;
mod resize;
mod clear;
mod walk;
mod stats;
#[cfg(feature = "allocator-api2")]
mod allocator_api;

pub(crate) use chains::Allocation;
pub(crate) use decay::Policy;
pub use handle::Heap;
pub use misuse::{Misuse, MisuseCall, MisuseKind};
pub(crate) use sizes::HUGE_FROM;
#[cfg(feature = "profile")]
pub(crate) use sizes::block_size;
pub use stats::HeapStats;
pub use walk::{Block, Found, HeapBlocks, HeapSegment, HeapSegments, HeapSpan, HeapSpans};
