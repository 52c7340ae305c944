//! What follows the line of a mistake that ends the program: who made it, and what a profile knows of the block.
//!
//! The thread may hold any lock, be in a signal handler on a small stack, or in the child of a fork, and descriptors
//! may be closed or used up. So nothing here waits for a lock, asks the loader, or touches the heap; what is not to be
//! had is left out, and the program ends by SIGABRT in any case.
//!
//! From the ground up: `own_stack` room for all of it; `modules` which files have some addresses; `calls` the functions
//! of these; `told` the lines.

#[cfg(feature = "profile")]
mod own_stack;
#[cfg(feature = "profile")]
mod modules;
#[cfg(feature = "profile")]
mod calls;
mod told;

pub(super) use told::die;
