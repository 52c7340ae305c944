//! Who allocated what is in memory: the largest sites of a sampled profile, with their stacks.
//!
//! ```text
//! cargo run --release --example who_allocates
//! ```
#![allow(clippy::unwrap_used, reason = "an example")]

use core::hint::black_box;
use core::ptr;
use std::collections::HashMap;

use mems::profile::Site;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

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

/// The functions of a stack, the innermost first, without those of the allocator.
fn names(site: &Site<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for frame in site.frames() {
        // The address behind the call: the call itself lies before.
        backtrace::resolve(ptr::without_provenance_mut(frame - 1), |symbol| {
            names.extend(symbol.name().map(|name| format!("{name:#}")));
        });
    }
    let is_ours = |name: &String| name.contains("mems::") || name.contains("__rust_alloc");
    let first = names.iter().rposition(is_ours).map_or(0, |last| last + 1);
    names.split_off(first)
}

fn main() {
    // In production 512 KiB: `mems::Profile::DEFAULT_MEAN`. A smaller distance for this small program.
    GLOBAL.profile().start(16 << 10);
    let mut sessions = Sessions::default();
    for user in 0..100_000 {
        login(&mut sessions, user);
        if user >= 1000 {
            logout(&mut sessions, user - 1000);
        }
    }
    black_box(&sessions);

    println!("allocated in all: {} bytes", GLOBAL.stats().allocated);
    let sites = GLOBAL.profile().sites().unwrap();
    let mut largest: Vec<_> = sites.iter().filter(|site| site.samples() > 0).collect();
    largest.sort_by(|one, other| other.bytes().value().total_cmp(&one.bytes().value()));
    for site in largest.iter().take(3) {
        println!("{} bytes in {} blocks, {} sampled", site.bytes(), site.blocks(), site.samples());
        for name in names(site).iter().take(6) {
            println!("    {name}");
        }
    }
}
