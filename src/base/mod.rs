//! What everything else stands on and what knows nothing of blocks.
//!
//! [`os`] is the only place that maps and unmaps, [`commit`] how the floors above map over what they have reserved,
//! and [`guarded`] where what is noted about a heap lies; [`addr`] is the only one where a number becomes a pointer.

pub(crate) mod addr;
pub(crate) mod round;
pub(crate) mod bits;
pub(crate) mod law;
pub(crate) mod clock;
pub(crate) mod random;
pub(crate) mod text;
pub(crate) mod path;
pub(crate) mod file;
pub(crate) mod thread_name;
pub(crate) mod fatal;
pub(crate) mod counted;
pub(crate) mod lock;
pub mod os;
pub(crate) mod commit;
pub(crate) mod guarded;
pub(crate) mod array;
#[cfg(feature = "symbols")]
pub(crate) mod symbol_table;
pub(crate) mod index;
pub(crate) mod texts;
pub(crate) mod bump;
pub(crate) mod weak;
