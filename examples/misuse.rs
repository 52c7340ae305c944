//! What MeMS says to each kind of misuse. Every kind but `list` ends by `SIGABRT`, as it would in your program.
//!
//! ```text
//! cargo run --release --example misuse               # the list of kinds
//! cargo run --release --example misuse double-free   # one of them
//! ```
#![allow(unsafe_code, reason = "misuse is what this shows")]

use core::alloc::{GlobalAlloc, Layout};
use std::alloc::{alloc, dealloc, realloc};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// A way to misuse an allocator, given a live block of this layout.
type Misuse = fn(*mut u8, Layout);

/// Frees a pointer as it is.
///
/// # Safety
///
/// None is kept: the allocator has to stop this.
unsafe fn free(pointer: *mut u8, layout: Layout) {
    // SAFETY: deliberately not upheld.
    unsafe { dealloc(pointer, layout) };
}

fn double_free(block: *mut u8, layout: Layout) {
    for _ in 0..2 {
        // SAFETY: upheld the first time only.
        unsafe { free(block, layout) };
    }
}

fn interior(block: *mut u8, layout: Layout) {
    // SAFETY: not upheld, the pointer is inside the block.
    unsafe { free(block.wrapping_add(16), layout) };
}

fn misaligned(block: *mut u8, layout: Layout) {
    // SAFETY: not upheld, no block starts there.
    unsafe { free(block.wrapping_add(1), layout) };
}

fn stack(_: *mut u8, layout: Layout) {
    let mut local = [0_u64; 8];
    // SAFETY: not upheld, this is the stack.
    unsafe { free((&raw mut local).cast(), layout) };
}

fn foreign(_: *mut u8, layout: Layout) {
    // SAFETY: the layout has a size.
    let other = unsafe { std::alloc::System.alloc(layout) };
    // SAFETY: not upheld, the block is another allocator's.
    unsafe { free(other, layout) };
}

fn never_allocated(block: *mut u8, layout: Layout) {
    let untouched = GLOBAL.segments().filter(|segment| segment.start > block.addr()).last();
    let address = untouched.map_or(16, |hole| (hole.start + hole.size - 16) & !15);
    // SAFETY: not upheld, the memory was never handed out.
    unsafe { free(block.with_addr(address), layout) };
}

fn wrong_size(block: *mut u8, layout: Layout) {
    let other = Layout::from_size_align(layout.size() * 2, layout.align()).unwrap_or(layout);
    // SAFETY: not upheld, the block has another size.
    unsafe { free(block, other) };
}

fn realloc_freed(block: *mut u8, layout: Layout) {
    // SAFETY: the block is live.
    unsafe { free(block, layout) };
    // SAFETY: not upheld, it is not live any more.
    let _ = unsafe { realloc(block, layout, 1000) };
}

fn other_thread(block: *mut u8, layout: Layout) {
    let address = block.expose_provenance();
    let thread = std::thread::spawn(move || {
        // SAFETY: the block is live, and nobody uses it any more.
        unsafe { free(core::ptr::with_exposed_provenance_mut(address), layout) };
    });
    let _ = thread.join();
    // SAFETY: not upheld, the other thread has freed it.
    unsafe { free(block, layout) };
}

const KINDS: [(&str, Misuse); 9] = [
    ("double-free", double_free),
    ("interior", interior),
    ("misaligned", misaligned),
    ("stack", stack),
    ("foreign", foreign),
    ("never-allocated", never_allocated),
    ("wrong-size", wrong_size),
    ("realloc-freed", realloc_freed),
    ("other-thread", other_thread),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_else(|| "list".to_owned());
    let size = arguments.next().and_then(|size| size.parse().ok()).unwrap_or(64);
    let Some((_, misuse)) = KINDS.iter().find(|(name, _)| *name == kind) else {
        println!("usage: misuse KIND [SIZE]; the kinds are:");
        KINDS.iter().for_each(|(name, _)| println!("  {name}"));
        std::process::exit(if kind == "list" { 0 } else { 2 });
    };
    let Ok(layout) = Layout::from_size_align(size, 8) else { std::process::exit(2) };
    // SAFETY: the layout has a size, unless the user asks for 0, which MeMS takes as 1.
    let block = unsafe { alloc(layout) };
    misuse(block, layout);
    eprintln!("misuse: {kind} of {size} bytes was not stopped");
    std::process::exit(1);
}
