//! The atomics of the handover. A file of its own, so that `tests/loom_handover.rs` can put a model checker's in its
//! place.

pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
