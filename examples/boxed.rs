//! What `Box::new` and its drop become where the allocator is inlined: with fat LTO, for a size that is known.
//!
//! ```sh
//! CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 cargo build --release --example boxed
//! objdump -d --no-show-raw-insn target/release/examples/boxed | grep -A60 '<box_new>:\|<box_drop>:'
//! ```
#![allow(unsafe_code, reason = "names that a disassembler finds")]

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// A box of 64 bytes.
#[unsafe(no_mangle)]
#[inline(never)]
extern "Rust" fn box_new(number: u64) -> Box<[u64; 8]> {
    Box::new([number; 8])
}

/// Its end.
#[unsafe(no_mangle)]
#[inline(never)]
extern "Rust" fn box_drop(boxed: Box<[u64; 8]>) {
    drop(boxed);
}

fn main() {
    let sum: u64 = (0..1000_u64)
        .map(|number| {
            let boxed = box_new(number);
            let first = boxed[0];
            box_drop(boxed);
            first
        })
        .sum();
    assert_eq!(sum, 499_500);
    println!(
        "1000 boxes made and dropped; see this file's head for how to look at what they became"
    );
}
