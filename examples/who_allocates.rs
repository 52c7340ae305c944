//! Who allocated what is in memory, and what grows: a sampled profile as text, and in all other forms as files.
//!
//! ```text
//! cargo run --release --example who_allocates
//! cargo run --release --example who_allocates -- FOLDER    # flame graphs, pprof, DHAT, a page
//! ```
#![allow(clippy::unwrap_used, reason = "an example")]

use core::fmt;
use core::hint::black_box;
use core::ops::Range;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use mems::IoText;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// Text to a file.
type Text<'out> = IoText<'out, BufWriter<File>>;

/// Sessions of a server that forgets to end some of them.
#[derive(Default)]
struct Sessions {
    open: HashMap<u64, Vec<u8>>,
    audit: Vec<Box<[u8]>>,
}

#[inline(never)]
fn login(sessions: &mut Sessions, user: u64) {
    sessions.open.insert(user, vec![0; 3000]);
    // Nobody ever takes it out again.
    sessions.audit.push(vec![0; 200].into());
}

#[inline(never)]
fn logout(sessions: &mut Sessions, user: u64) {
    sessions.open.remove(&user);
}

/// Users come and go, but for the last thousand.
#[inline(never)]
fn serve(sessions: &mut Sessions, users: Range<u64>) {
    for user in users {
        login(sessions, user);
        if user >= 1000 {
            logout(sessions, user - 1000);
        }
    }
}

fn main() {
    // In production 512 KiB: `mems::Profile::DEFAULT_MEAN`. A smaller distance for this small program.
    GLOBAL.profile().start(16 << 10);
    let mut sessions = Sessions::default();
    serve(&mut sessions, 0..50_000);
    let before = GLOBAL.profile().sites().unwrap();
    serve(&mut sessions, 50_000..100_000);
    let after = GLOBAL.profile().sites().unwrap();
    let growth = after.growth_since(&before).unwrap();

    // What was learned lies outside of the heap, so nothing of this is in it.
    let mut out = io::stdout();
    let mut text = IoText::new(&mut out);
    let written = after.write_report(&mut text).and_then(|()| growth.write_report(&mut text));
    text.finish(written).unwrap();

    let Some(folder) = std::env::args().nth(1) else { return };
    let write = |name: &str, write: &dyn Fn(&mut Text<'_>) -> fmt::Result| {
        let mut file = BufWriter::new(File::create(format!("{folder}/{name}")).unwrap());
        let mut text = IoText::new(&mut file);
        let written = write(&mut text);
        text.finish(written).and_then(|()| file.flush()).unwrap();
    };
    write("flame.svg", &|text| after.write_flame_svg(text));
    write("growth.svg", &|text| growth.write_flame_svg(text));
    write("stacks.txt", &|text| after.write_collapsed(text));
    write("profile.json", &|text| after.write_json(text));
    write("dhat.json", &|text| after.write_dhat(text));
    let snapshot = mems::snapshot().unwrap();
    write("heap.html", &|text| snapshot.write_html_with(text, &after, Some(&before)));
    after.write_pprof(&mut File::create(format!("{folder}/profile.pb.gz")).unwrap()).unwrap();
    black_box(&sessions);
}
