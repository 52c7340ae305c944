//! Programs that want more checks than the heap makes by itself: a heap that knows every block stands before it.
//!
//! Then no thread has a heap of its own, so every call takes the slow way and comes here.
//!
//! From the ground up: [`marks`] bytes that nobody may change; [`ledger`] what is known of each block; [`quarantine`]
//! freed blocks that wait; [`heap`] the heap; [`gate`] its one instance and its lock.

mod marks;
mod ledger;
mod quarantine;
mod heap;
mod gate;

pub(super) use gate::{hardened, hold_for_fork, is_mine, release_after_fork};
