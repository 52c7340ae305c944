//! Who allocated what is in memory, and what grows: a small server under load, with a fault if you like, and what a
//! sampled profile says of it.
//!
//! ```text
//! cargo run --release --example who_allocates                      # a leak, as text
//! cargo run --release --example who_allocates -- hoarding FOLDER   # or: leaking, fragmented, healthy
//! ```
//!
//! In the folder you find all other forms: the page with flame graph and map, flame graphs as pictures, files for pprof
//! and DHAT, collapsed stacks, JSON.
#![allow(clippy::unwrap_used, reason = "an example")]

use core::fmt;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Mutex;
use std::thread;

use fastrand::Rng;
use mems::IoText;
use mems::profile::{Growth, Sites};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// Text to a file.
type Text<'out> = IoText<'out, BufWriter<File>>;

/// What is wrong with the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// Logins are noted for an audit that nobody ever holds.
    Leaking,
    /// Of each import a record here and there is kept.
    Fragmented,
    /// The cache of pages is larger than anybody needs.
    Hoarding,
}

/// What the server keeps.
#[derive(Default)]
struct State {
    sessions: Mutex<HashMap<u64, Vec<u8>>>,
    audit: Mutex<Vec<Box<[u8]>>>,
    pages: Mutex<VecDeque<Vec<u8>>>,
    records: Mutex<Vec<Vec<u8>>>,
}

#[inline(never)]
fn login(state: &State, fault: Fault, user: u64) {
    state.sessions.lock().unwrap().insert(user % 4000, vec![0; 1500]);
    if fault == Fault::Leaking && user.is_multiple_of(10) {
        state.audit.lock().unwrap().push(vec![0; 200].into());
    }
}

#[inline(never)]
fn logout(state: &State, user: u64) {
    state.sessions.lock().unwrap().remove(&(user % 4000));
}

/// Makes a page of many small pieces, and keeps the last ones.
#[inline(never)]
fn render(state: &State, fault: Fault, rng: &mut Rng) {
    let pieces: Vec<String> = (0..40).map(|_| "x".repeat(rng.usize(10..400))).collect();
    let mut pages = state.pages.lock().unwrap();
    pages.push_back(pieces.concat().into_bytes());
    if pages.len() > if fault == Fault::Hoarding { 10_000 } else { 300 } {
        pages.pop_front();
    }
}

/// Reads many records, and keeps some until the next imports.
#[inline(never)]
fn import(state: &State, fault: Fault, rng: &mut Rng) {
    let mut read: Vec<Vec<u8>> = (0..2000).map(|_| vec![0; rng.usize(16..2000)]).collect();
    let mut records = state.records.lock().unwrap();
    let every = if fault == Fault::Fragmented { 16 } else { 500 };
    records.extend(read.drain(..).step_by(every));
    let surplus = records.len().saturating_sub(40_000 / every);
    records.drain(..surplus);
}

fn work(state: &State, fault: Fault, is_over: &AtomicBool, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    while !is_over.load(Ordering::Relaxed) {
        let user = rng.u64(..1 << 40);
        match rng.u8(..100) {
            0 => import(state, fault, &mut rng),
            1..=40 => login(state, fault, user),
            41..=70 => logout(state, user),
            _ => render(state, fault, &mut rng),
        }
        // A real server waits for the network.
        if rng.u8(..30) == 0 {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Two looks at the profile, one after a quarter of the time.
fn serve(fault: Fault, state: &State, time: Duration) -> [Sites; 2] {
    // In production 512 KiB: `mems::Profile::DEFAULT_MEAN`. A smaller distance for this small program.
    GLOBAL.profile().start(32 << 10);
    let is_over = &AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 1..=4_u64 {
            let run = move || work(state, fault, is_over, number);
            thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn_scoped(scope, run)
                .unwrap();
        }
        thread::sleep(time / 4);
        let before = GLOBAL.profile().sites().unwrap();
        thread::sleep(time * 3 / 4);
        let after = GLOBAL.profile().sites().unwrap();
        is_over.store(true, Ordering::Relaxed);
        [before, after]
    })
}

/// Writes everything that a profile can be written as.
fn write_files(folder: &str, growth: &Growth<'_>) -> io::Result<()> {
    let write = |name: &str, write: &dyn Fn(&mut Text<'_>) -> fmt::Result| {
        let path = format!("{folder}/{name}");
        let mut file = BufWriter::new(File::create(&path)?);
        let mut text = IoText::new(&mut file);
        let written = write(&mut text);
        text.finish(written).and_then(|()| file.flush())?;
        println!("{path}: {} KiB", std::fs::metadata(&path)?.len().div_ceil(1024));
        Ok::<(), io::Error>(())
    };
    let (before, after) = (growth.before(), growth.after());
    std::fs::create_dir_all(folder)?;
    let snapshot = mems::snapshot().map_err(io::Error::other)?;
    write("heap.html", &|text| snapshot.write_html_with(text, after, Some(before)))?;
    write("flame.svg", &|text| after.write_flame_svg(text))?;
    write("growth.svg", &|text| growth.write_flame_svg(text))?;
    write("stacks.txt", &|text| after.write_collapsed(text))?;
    write("profile.json", &|text| after.write_json(text))?;
    write("dhat.json", &|text| after.write_dhat(text))?;
    after.write_pprof(&mut File::create(format!("{folder}/profile.pb.gz"))?)?;
    println!("{folder}/profile.pb.gz, for `go tool pprof`");
    Ok(())
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let fault = match arguments.next().as_deref() {
        None | Some("leaking") => Fault::Leaking,
        Some("fragmented") => Fault::Fragmented,
        Some("hoarding") => Fault::Hoarding,
        Some("healthy") => Fault::Nothing,
        Some(other) => {
            eprintln!("who_allocates: leaking, fragmented, hoarding or healthy, not {other:?}");
            std::process::exit(2);
        }
    };
    let state = State::default();
    let [before, after] = serve(fault, &state, Duration::from_secs(2));
    // What was learned lies outside of the heap, so nothing of this is in it.
    let growth = after.growth_since(&before).map_err(io::Error::other)?;
    let mut out = io::stdout();
    let mut text = IoText::new(&mut out);
    let written = after.write_report(&mut text).and_then(|()| growth.write_report(&mut text));
    text.finish(written)?;
    match arguments.next() {
        Some(folder) => write_files(&folder, &growth)?,
        None => println!(
            "Name a fault and a folder, such as `leaking target/who`, for flame graphs and a page."
        ),
    }
    black_box(&state);
    Ok(())
}
