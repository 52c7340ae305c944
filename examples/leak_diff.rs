//! Finds a leak in two ways: two snapshots of a running program side by side, and a region in a test.
//!
//! ```text
//! cargo run --release --example leak_diff                  # a server that forgets to forget
//! cargo run --release --example leak_diff -- OLD NEW       # two snapshot files, as Snapshot::write_to writes them
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};

use mems::Snapshot;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// A server with a cache from which nothing is ever removed.
#[derive(Default)]
struct Server {
    answers: HashMap<u64, Box<[u8; 300]>>,
}

impl Server {
    fn serve(&mut self, request: u64) -> usize {
        let scratch = vec![0_u8; 10_000];
        let answer = self.answers.entry(request).or_insert_with(|| Box::new([1; 300]));
        scratch.len() + answer.len()
    }
}

fn read(path: &str) -> io::Result<Snapshot> {
    let mut file = BufReader::new(File::open(path)?);
    Snapshot::read_from(&mut file).map_err(io::Error::other)
}

fn print(old: &Snapshot, new: &Snapshot) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut text = mems::IoText::new(&mut out);
    let written = old.diff(new).write_text(&mut text);
    text.finish(written)
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [old, new] = arguments.as_slice() {
        return print(&read(old)?, &read(new)?);
    }
    let mut server = Server::default();
    (0..1000).for_each(|request| assert!(server.serve(request) > 0));

    println!("What 500 further requests have changed:\n");
    let before = mems::snapshot().map_err(io::Error::other)?;
    (1000..1500).for_each(|request| assert!(server.serve(request) > 0));
    let after = mems::snapshot().map_err(io::Error::other)?;
    print(&before, &after)?;

    println!("\nThe same in a test, whatever other threads do meanwhile:\n");
    let (_, left) = mems::region(|| server.serve(1)).map_err(io::Error::other)?;
    println!("a request seen before: {left}");
    let (_, left) = mems::region(|| server.serve(1500)).map_err(io::Error::other)?;
    println!("a new request:         {left}");
    Ok(())
}
