//! A shared library in Rust with MeMS as its allocator, for a program in any language: `cargo build --example plugin`
//! makes `target/debug/examples/libplugin.so`.
//!
//! The first allocation pins the library: `dlclose` succeeds and unloads nothing, so a thread that has used it may end
//! at any time, and the next `dlopen` finds the same heap.
#![allow(unsafe_code, reason = "exports functions for C")]

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::HashMap;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

static CALLS: AtomicU64 = AtomicU64::new(0);

/// Some work: counts how often each remainder comes up among the first numbers, and sums the counts up.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_work(numbers: u64) -> u64 {
    CALLS.fetch_add(1, Ordering::Relaxed);
    let mut counts = HashMap::new();
    for number in 0..numbers {
        *counts.entry(format!("{}", number % 1000)).or_insert(0) += 1;
    }
    counts.values().sum()
}

/// How often that was done since the library was loaded.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}
