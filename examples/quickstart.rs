//! MeMS in a program that does some work: counts the words of files, prints the most frequent ones, then looks at its
//! own heap.
//!
//! ```text
//! cargo run --release --example quickstart                  # the files of this project
//! cargo run --release --example quickstart -- PATH [PATH]   # your files and folders
//! ```

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// Words printed.
const TOP: usize = 10;

/// All files below `path`, hidden folders and build results left out.
fn files_below(path: &Path, files: &mut Vec<PathBuf>) {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if path.is_file() {
        files.push(path.to_path_buf());
    } else if let Ok(entries) = fs::read_dir(path)
        && name != "target"
        && !name.starts_with('.')
    {
        let mut below: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        below.sort();
        below.iter().for_each(|path| files_below(path, files));
    }
}

/// Adds the words of a text to the counts.
fn count_words(text: &str, counts: &mut HashMap<String, usize>) {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 2);
    for word in words {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
}

fn main() {
    let mut roots: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if roots.is_empty() {
        roots.push(PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    }
    let mut files = Vec::new();
    for root in &roots {
        if !root.exists() {
            eprintln!("quickstart: {} is not there", root.display());
            std::process::exit(2);
        }
        files_below(root, &mut files);
    }

    let (mut counts, mut bytes, mut read) = (HashMap::new(), 0, 0_usize);
    for file in &files {
        // What is no text is passed over.
        if let Ok(text) = fs::read_to_string(file) {
            bytes += text.len();
            read += 1;
            count_words(&text, &mut counts);
        }
    }

    let mut top: Vec<(&String, &usize)> = counts.iter().collect();
    top.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    println!("{read} texts, {bytes} bytes, {} different words. The most frequent:\n", counts.len());
    for (word, count) in top.iter().take(TOP) {
        println!("{count:8}  {word}");
    }

    println!("\nThe heap of this program, every byte of it accounted for:\n");
    GLOBAL.print_stats();

    if let Some((word, _)) = top.first()
        && let Some(found) = GLOBAL.find(word.as_ptr())
    {
        println!("\nThe word {word:?} lives in {found}.");
    }
    let before = GLOBAL.stats();
    drop(top);
    drop(counts);
    println!("\nblocks with the words    {:8}   {:10} bytes", before.blocks, before.allocated);
    let after = GLOBAL.stats();
    println!("blocks without them      {:8}   {:10} bytes", after.blocks, after.allocated);
    println!("trim() gave back         {:8}   {:10} bytes", "", GLOBAL.trim());
    match GLOBAL.check() {
        Ok(()) => println!("check(): every law of the heap holds"),
        Err(broken) => println!("check(): {broken}"),
    }
}
