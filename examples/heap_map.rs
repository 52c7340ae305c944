//! Draws this program's heap: a page to look around in, and a picture.
//!
//! ```text
//! cargo run --release --example heap_map                        # a small heap, to target/heap_map.html and .svg
//! cargo run --release --example heap_map -- fragmented PATH     # or: large, huge, threads, empty
//! ```

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use fastrand::Rng;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// Blocks of sizes up to `2^bits` bytes, as many of each power of two, until they have `bytes` bytes.
/// Their seeds are fixed, so that the picture is the same in every run.
fn blocks(bytes: usize, bits: usize, seed: u64) -> Vec<Vec<u8>> {
    let (mut rng, mut sum, mut blocks) = (Rng::with_seed(seed), 0, Vec::new());
    while sum < bytes {
        let power = 1 << rng.usize(3..bits);
        let size = power + rng.usize(..power);
        sum += size;
        blocks.push(vec![0; size]);
    }
    blocks
}

/// A program's life: blocks come, and most of them go.
fn fragmented() -> Vec<Vec<u8>> {
    let (mut rng, mut kept) = (Rng::with_seed(7), Vec::new());
    for (round, block) in blocks(48 << 20, 17, 1).into_iter().enumerate() {
        if rng.usize(..8) == 0 || round % 4000 < 300 {
            kept.push(block);
        }
    }
    kept
}

/// 100 GiB of addresses, most of them never touched, and three million small blocks.
fn huge() -> Vec<Vec<u8>> {
    let (mut rng, mut kept) = (Rng::with_seed(9), Vec::with_capacity(4 << 20));
    for block in blocks(100 << 30, 30, 2) {
        if rng.usize(..3) > 0 {
            kept.push(block);
        }
    }
    for _ in 0..3_000_000 {
        let block = vec![0; rng.usize(8..208)];
        if rng.usize(..5) > 0 {
            kept.push(block);
        }
    }
    kept
}

/// Four threads, one of which has ended.
fn threads() -> Vec<Vec<u8>> {
    let (ask, answers) = std::sync::mpsc::channel();
    for number in 1..=4_u64 {
        let ask = ask.clone();
        let work = move || {
            let mine = blocks(2 << 20, 14, number);
            if number == 4 {
                let _ = ask.send(mine);
            } else {
                let _ = ask.send(Vec::new());
                std::thread::park();
                drop(mine);
            }
        };
        let spawned = std::thread::Builder::new().name(format!("worker-{number}")).spawn(work);
        if let Ok(thread) = spawned
            && number == 4
        {
            let _ = thread.join();
        }
    }
    answers.into_iter().take(4).flatten().collect()
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_else(|| "small".to_owned());
    let target = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/heap_map"));
    let path = arguments.next().map_or(target, PathBuf::from);
    let live = match kind.as_str() {
        "small" => blocks(100 << 10, 12, 3),
        "large" => blocks(1 << 30, 22, 3),
        "huge" => huge(),
        "fragmented" => fragmented(),
        "threads" => threads(),
        "empty" => Vec::new(),
        _ => {
            eprintln!("heap_map: small, large, huge, fragmented, threads or empty, not {kind:?}");
            std::process::exit(2);
        }
    };
    let snapshot = mems::snapshot().map_err(io::Error::other)?;
    println!("{}", snapshot.stats());
    for (ending, is_page) in [("html", true), ("svg", false)] {
        let path = path.with_extension(ending);
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        let mut out = BufWriter::new(File::create(&path)?);
        let mut text = mems::IoText::new(&mut out);
        let written =
            if is_page { snapshot.write_html(&mut text) } else { snapshot.write_svg(&mut text) };
        text.finish(written)?;
        out.flush()?;
        println!("{}: {} KiB", path.display(), std::fs::metadata(&path)?.len() >> 10);
    }
    drop(live);
    Ok(())
}
