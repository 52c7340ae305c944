//! Looking inside the process heap, and keeping what was seen.
//!
//! [`snapshot()`] takes a picture of the heap that lies outside of it: [`Snapshot`] answers questions, is compared with
//! another one ([`Diff`]), explains why memory is high ([`Fragmentation`]), and goes to a file and back. `region`
//! says what a closure leaves behind (`Remains`). Nothing here allocates from the heap it looks at.
// From the ground up: `records` what a snapshot is made of; `slab` and `snapshot` the questions it answers; `capture`
// how it is taken; `diff` and `holes` what is computed from it; `binary` as a file; `region`. Text and pictures are
// made of it one floor above, in `report`.

mod records;
mod slab;
mod snapshot;
mod capture;
mod diff;
mod holes;
mod binary;
#[cfg(feature = "std")]
mod region;

#[cfg(feature = "std")]
pub use crate::process::region::RegionError;
pub use binary::ReadError;
pub use capture::snapshot;
pub use diff::{BlockSum, Change, Changes, ClassChange, Diff};
#[cfg(feature = "report")]
pub(crate) use holes::SPARSE;
pub use holes::{Fragmentation, HoleBin, Sparse};
pub use records::{
    ClassTotals, Place, PlaceState, SegmentState, SnapshotSegment, SnapshotSpan, SnapshotThread,
    ThreadState,
};
#[cfg(feature = "profile")]
pub use region::region_with_threads;
#[cfg(feature = "std")]
pub use region::{Remains, region};
pub use slab::SnapshotSlab;
pub use snapshot::{Places, Snapshot};
