//! The process heap as a global allocator: [`MemsAlloc`], its [`Builder`], its profile, a thread that gives idle memory
//! back, and budgets of tests.

mod allocator;
mod builder;
#[cfg(feature = "profile")]
mod profile;
#[cfg(all(feature = "report", feature = "profile"))]
mod budget;
#[cfg(feature = "report")]
mod files_at_exit;
#[cfg(all(feature = "std", feature = "report"))]
mod look;
mod at_exit;
#[cfg(feature = "std")]
mod scavenger;

pub use allocator::MemsAlloc;
#[cfg(all(feature = "report", feature = "profile"))]
pub use budget::{Budget, BudgetError};
pub use builder::Builder;
#[cfg(feature = "profile")]
pub use profile::Profile;
#[cfg(feature = "std")]
pub use scavenger::Scavenger;
