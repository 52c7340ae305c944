//! The settings of the process heap.
//!
//! A program says what it wants with [`MemsAlloc::builder`](crate::MemsAlloc::builder); the user who runs it overrides
//! that with environment variables ([`environment`]). The first use of the heap, through any static, fixes both
//! ([`force`]).
//!
//! The fast paths know nothing of settings. What changes malloc and free for every block is not *plain*: then no thread
//! gets a heap of its own, so each call takes the slow way, and there [`is_plain`] is asked.

mod occasions;
mod profile_form;
mod record;
mod value;
mod misspelling;
mod environment;
mod force;

pub use environment::set_variable;
pub(crate) use force::{
    cache_bytes, decay_ms, fix, hold_for_fork, in_force, is_mine, is_plain, random_slots,
    release_after_fork,
};
pub use occasions::Occasions;
#[cfg(all(feature = "report", feature = "profile"))]
pub(crate) use profile_form::ProfileForm;
pub use record::{OnMisuse, Settings};
