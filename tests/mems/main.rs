//! The virtual-address heap: its rules one by one, against a model of the original, under faults, and as the kernel
//! sees it.

#[path = "../helpers/mod.rs"]
mod helpers;
mod faults;
mod model;
mod segments;
mod semantics;
mod syscalls;
mod wrong_addresses;
