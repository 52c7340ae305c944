//! Text for people, pages and pictures. The floors below return data; only this one writes, and only while it holds no
//! lock. (The one line that tells of a mistake is [`fatal`](crate::base::fatal)'s.)
//!
//! From the ground up: [`mod@print`] standard output; [`original`] the chains as the original prints them; `io_text`
//! text to what `std` writes to. Behind the feature `report`, as a setting may ask for it in any program: `metrics`
//! sums for Prometheus; `json` and `text` a snapshot in words, `markup` text in pages; `sites` a profile in all its
//! forms; `map` a snapshot as a picture and as a page; `files` all of it as files, and
//! `profile_files` a profile.

mod print;
mod original;
#[cfg(feature = "std")]
mod io_text;
#[cfg(feature = "report")]
mod metrics;
#[cfg(feature = "report")]
mod json;
#[cfg(feature = "report")]
mod text;
#[cfg(feature = "report")]
mod markup;
#[cfg(all(feature = "report", feature = "profile"))]
mod sites;
#[cfg(feature = "report")]
mod map;
#[cfg(feature = "report")]
pub(crate) mod files;
#[cfg(all(feature = "report", feature = "profile"))]
pub(crate) mod profile_files;

#[cfg(feature = "std")]
pub use io_text::IoText;
#[cfg(all(feature = "report", feature = "profile"))]
pub(crate) use sites::budget::Told;

pub(crate) use original::{
    FEW_SEGMENTS, FOOT, HEAD, write_lengths, write_process_heap, write_span,
};
pub(crate) use print::{print, print_in_order};
