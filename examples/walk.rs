//! Walks this program's heap: who holds what, which block an address lies in, and why memory is as high as it is.
//!
//! ```text
//! cargo run --release --example walk
//! ```

use std::collections::BTreeMap;
use std::io::{self, Write};

use mems::inspect::PlaceState;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// Blocks of the walk that are printed.
const SHOWN: usize = 5;

/// A program's memory: a map that has shrunk, a large buffer, and texts.
fn work() -> (BTreeMap<u32, String>, Vec<u8>) {
    let mut map: BTreeMap<u32, String> =
        (0..200_000).map(|n| (n, format!("entry {n}").repeat(1 + n as usize % 9))).collect();
    map.retain(|n, _| n % 50 == 0);
    (map, vec![7; 3 << 20])
}

fn main() -> io::Result<()> {
    let (map, buffer) = work();

    println!("The first blocks of the heap:");
    for block in GLOBAL.blocks().take(SHOWN) {
        println!("  {:#x}  {:6} bytes", block.start, block.size);
    }
    let count = GLOBAL.blocks().count();
    println!("  and {} more\n", count - SHOWN.min(count));

    let pointers =
        [buffer.as_ptr().wrapping_add(1234), map[&50].as_ptr(), (&raw const count).cast()];
    for pointer in pointers {
        match GLOBAL.find(pointer) {
            Some(found) => println!("{pointer:p} lies in {found}"),
            None => println!("{pointer:p} is not memory of the heap"),
        }
    }

    let snapshot = mems::snapshot().map_err(io::Error::other)?;
    let page = map[&100].as_ptr().addr() / snapshot.page_size() * snapshot.page_size();
    println!("\nWho holds the page at {page:#x}:");
    let blocks = snapshot.places_within(page..page + snapshot.page_size());
    for block in blocks.filter(|place| place.state == PlaceState::Live) {
        let thread = block.thread.and_then(|number| snapshot.thread(number));
        let name = thread.map_or("nobody", |thread| thread.name());
        println!("  {:#x}  {:6} bytes, thread {name}", block.start, block.size);
    }

    println!("\nWhy memory is as high as it is:\n");
    let mut out = io::stdout().lock();
    let mut text = mems::IoText::new(&mut out);
    let written = snapshot.write_fragmentation(&mut text);
    text.finish(written)?;
    writeln!(
        out,
        "trim() gave {} bytes back, as was foretold: {}",
        GLOBAL.trim(),
        snapshot.fragmentation().would_trim
    )?;
    Ok(())
}
