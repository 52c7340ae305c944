//! The virtual-address heap: the original MeMS.

mod heap;
mod walk;
mod stats;

pub use heap::{AddressNotFound, FIRST_ADDRESS, MallocError, Mems, VirtAddr};
pub use stats::MemsStats;
pub use walk::{MemsSegment, MemsSegments, MemsSpan, MemsSpans};
