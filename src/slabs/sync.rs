//! The atomics, cells and the lock of the slabs: in one place, so that a model checker has its own there.

#[cfg(not(all(test, mems_loom)))]
pub(crate) use core::cell::Cell;
#[cfg(not(all(test, mems_loom)))]
pub(crate) use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
};

pub(crate) use core::sync::atomic::Ordering;

#[cfg(all(test, mems_loom))]
pub(crate) use super::modelled::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Cell, Lock,
};
#[cfg(not(all(test, mems_loom)))]
pub(super) use crate::base::lock::Lock;
