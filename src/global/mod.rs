//! The process heap as a global allocator: [`MemsAlloc`], its [`Builder`], its profile, and a thread that gives idle
//! memory back.

mod allocator;
mod builder;
#[cfg(feature = "profile")]
mod profile;
#[cfg(feature = "report")]
mod files_at_exit;
mod at_exit;
#[cfg(feature = "std")]
mod scavenger;

pub use allocator::MemsAlloc;
pub use builder::Builder;
#[cfg(feature = "profile")]
pub use profile::Profile;
#[cfg(feature = "std")]
pub use scavenger::Scavenger;
