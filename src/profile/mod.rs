//! Who allocated what: what [`MemsAlloc::profile`](crate::MemsAlloc::profile) knows of the live blocks, by the stack
//! that asked for them.
//!
//! Which blocks are sampled is decided below, by `slabs::marks`; here it is noted what is known of them. Nothing here
//! allocates through the heap, and what is noted lies in mappings of its own. A sample costs a walk of the stack and
//! two short locks; a block that is not sampled costs nothing.
//!
//! From the ground up: `objects` which library has an address, and `rules` how to find a function's caller, from the
//! unwind tables of that; `bounds` where a thread's stack ends; `walk` the frames of a stack; `stacks` each one once;
//! `records` the live blocks, and `ended` those that were freed last; `accounts` what regions count; `estimate` what
//! samples say of all; `label_word` the label of a thread; `probes` what tracers hear; `profiler` the profile of the
//! process heap, and `locks` its locks; `regions` which of its blocks are noted one by one; `labels` and `labelled` a
//! program's own words for its work; `life` what the profile knows of one block, `threads`, `label_sums`, `sites` and
//! `samples` of all; `growth` what changed since an earlier look.

#[cfg(target_arch = "x86_64")]
mod objects;
#[cfg(target_arch = "x86_64")]
mod rules;
mod bounds;
pub(crate) mod walk;
mod stacks;
mod records;
mod ended;
mod accounts;
mod estimate;
mod label_word;
mod probes;
pub(crate) mod profiler;
mod locks;
mod regions;
mod labels;
mod labelled;
pub(crate) mod life;
mod threads;
mod label_sums;
mod sites;
mod samples;
mod growth;

pub(crate) use accounts::RegionSums;
pub use estimate::{Change, Estimate};
#[cfg(feature = "report")]
pub(crate) use growth::Suspicion;
pub use growth::{Growth, SiteGrowth};
pub use label_sums::LabelSum;
pub use labelled::Labelled;
pub use labels::{Label, LabelScope, label, with_label};
pub use samples::Sample;
pub use sites::{Site, Sites, StackEnd};
pub use threads::ThreadSum;
