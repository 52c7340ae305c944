//! The process heap: which heap a thread uses, the fast paths, and what settings change.
//!
//! Every first call of a thread, and every call that the fast paths do not serve, passes one test
//! ([`settings::is_plain`](crate::settings::is_plain)). It fails as long as settings are not fixed, and for good where
//! they concern every call.
//!
//! From the ground up: [`image`] the program or library that has all of it; [`word`] the thread's own; [`counting`]
//! what regions count; [`sampling`] what a profile is told; [`thread`] which heap is the calling thread's; [`trace`]
//! what follows the line of a mistake; [`plain`] the heap without settings; `occasions` when it is looked at;
//! [`begin`] settings come into force; [`walk`] looking inside; [`hardened`] programs with more checks; [`trim`] memory
//! that goes back; `background` a thread that gives it back; [`fork`] what a child needs; [`malloc`] and [`free`] the
//! calls; [`held`] a block whose bytes are moved; [`realloc`] the third call; [`question`] what else can be asked of a
//! block; `profiling` a profile begins and ends; `region` what a closure leaves behind; [`c`] the fast paths for C.

mod image;
mod word;
pub(crate) mod counting;
mod sampling;
mod thread;
mod trace;
pub(crate) mod plain;
#[cfg(all(feature = "std", feature = "report"))]
pub(crate) mod occasions;
pub(crate) mod begin;
pub(crate) mod walk;
mod hardened;
pub(crate) mod trim;
#[cfg(feature = "std")]
mod background;
mod fork;
pub(crate) mod malloc;
pub(crate) mod free;
mod held;
pub(crate) mod realloc;
pub(crate) mod question;
#[cfg(feature = "profile")]
pub(crate) mod profiling;
#[cfg(feature = "std")]
pub(crate) mod region;
pub mod c;
#[cfg(all(test, feature = "std"))]
mod tests;
