//! A small server with a planted leak: threads handle requests, sessions come and go, a cache is bounded, and one login
//! in ten keeps an audit entry for ever.

use core::hint::black_box;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use mems::{Label, label, with_label};

use super::Rng;

/// What leaks, by the name that its function has.
pub(crate) const LEAKING: &str = "::server::login";
/// Threads that handle requests.
const THREADS: u64 = 4;
/// The time between two rounds of requests, and the requests of each.
const ROUND: Duration = Duration::from_millis(1);
const REQUESTS: usize = 54;
/// Sessions of a thread, and entries of its cache. Each is replaced within some ten rounds, so what one look sees is
/// gone at the next one.
const SESSIONS: usize = 50;
const ENTRIES: usize = 32;
/// Of how many logins one leaks.
const LEAKY: usize = 10;

/// An audit entry: 200 bytes, and what happened.
#[derive(Debug)]
struct Audit {
    _bytes: Box<[u8; 200]>,
    _what: String,
}

#[derive(Debug)]
struct Session {
    user: String,
    _bytes: Vec<u8>,
}

/// What a thread of the server has.
#[derive(Debug)]
pub(crate) struct Server {
    open: HashMap<usize, Session>,
    users: VecDeque<usize>,
    cache: Vec<Vec<u8>>,
    audit: Vec<Audit>,
    leaks: bool,
}

#[inline(never)]
fn login(server: &mut Server, random: &mut Rng, user: usize) {
    let session = Session { user: format!("user {user}"), _bytes: vec![1; 1000] };
    if server.leaks && random.once_in(LEAKY) {
        let what = format!("{} has come in", session.user);
        server.audit.push(Audit { _bytes: Box::new([2; 200]), _what: what });
    }
    server.open.insert(user, session);
}

#[inline(never)]
fn logout(server: &mut Server, user: usize) {
    server.open.remove(&user);
}

#[inline(never)]
fn search(server: &Server, random: &mut Rng) -> usize {
    let wanted = random.below(10).to_string();
    let found: Vec<_> =
        server.open.values().filter(|session| session.user.ends_with(&wanted)).collect();
    black_box(found).len()
}

#[inline(never)]
fn render(server: &Server, found: usize) -> usize {
    let mut page = String::new();
    for line in 0..20 + found {
        page.push_str(&format!("{line} of {}\n", server.open.len()));
    }
    black_box(page).len()
}

#[inline(never)]
fn cache_put(server: &mut Server, random: &mut Rng) {
    let entry = vec![3; 500 + random.below(1000)];
    if server.cache.len() < ENTRIES {
        server.cache.push(entry);
    } else {
        server.cache[random.below(ENTRIES)] = entry;
    }
}

impl Server {
    /// With all the room that its tables will ever need, so that they do not grow.
    fn new(leaks: bool) -> Self {
        Self {
            open: HashMap::with_capacity(4 * SESSIONS),
            users: VecDeque::with_capacity(2 * SESSIONS),
            cache: Vec::with_capacity(ENTRIES),
            audit: Vec::new(),
            leaks,
        }
    }

    fn handle(&mut self, random: &mut Rng, labels: [Label; 2]) {
        let [sessions, pages] = labels;
        match random.below(4) {
            0 => with_label(sessions, || {
                // The user is a new one, or comes back, and then the session before is dropped.
                let user = random.below(1_000_000);
                login(self, random, user);
                self.users.push_back(user);
                if self.users.len() > SESSIONS {
                    let first = self.users.pop_front().expect("a user");
                    logout(self, first);
                }
            }),
            1 => {
                search(self, random);
            }
            2 => with_label(pages, || {
                let found = search(self, random);
                render(self, found);
            }),
            _ => cache_put(self, random),
        }
    }

    /// How many audit entries have leaked.
    pub(crate) fn leaked(&self) -> usize {
        self.audit.len()
    }
}

/// Runs the server for about this time: it has a fixed number of requests, and a slow machine takes longer for them.
/// Calls `look` when a quarter of them is done. What the server has at the end is answered.
pub(crate) fn serve(time: Duration, leaks: bool, look: impl FnOnce()) -> Vec<Server> {
    let rounds = u32::try_from(time.as_nanos() / ROUND.as_nanos()).expect("a short time");
    let (send, quarter) = mpsc::channel();
    let run = |seed: u64| {
        let send = send.clone();
        let work = move || {
            let (start, mut random) = (Instant::now(), Rng::quiet(seed));
            let mut server = Server::new(leaks);
            let labels = [label("sessions"), label("pages")];
            for round in 0..rounds {
                (0..REQUESTS).for_each(|_| server.handle(&mut random, labels));
                if round == rounds / 4 {
                    send.send(()).expect("somebody looks");
                }
                thread::sleep((start + ROUND * round).saturating_duration_since(Instant::now()));
            }
            server
        };
        thread::Builder::new().name(format!("server-{seed}")).spawn(work).expect("a thread")
    };
    let threads: Vec<_> = (0..THREADS).map(run).collect();
    (0..THREADS).for_each(|_| quarter.recv().expect("a quarter"));
    look();
    threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
}
