//! `mems-bench`: compares MeMS with the system allocator and the allocators people would pick instead.
//!
//! An allocator is chosen when a program is linked, so every *contestant* has a *worker* of its own: the same
//! binary, built with another `#[global_allocator]`. The *driver* builds the workers, runs one process per
//! contestant, *row* (a piece of fixed, seeded work) and *round*, and keeps what each printed in a *raw file*.
//! Tables and pictures are made from raw files alone.
//!
//! From the ground floor up:

// What runs inside a worker.
pub mod block;
pub mod measure;
pub mod random;
pub mod rows;

pub mod latency;
pub mod paths;
pub mod patterns;

pub mod faulty;
pub mod floor;
pub mod worker;

// What runs inside the driver.
pub mod contestants;
pub mod machine;
pub mod raw;
pub mod stats;
pub mod warm;

pub mod builder;
pub mod race;
pub mod report;

pub mod cli;
pub mod session;

pub mod c_half;
pub mod compare;
pub mod counts;
pub mod external;
pub mod fragmentation;
pub mod instructions;
pub mod tails;
