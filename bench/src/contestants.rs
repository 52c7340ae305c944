//! The contestants: which allocators are compared, and how each of them counts.

/// How a contestant enters the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// MeMS: what the report is about.
    Subject,
    /// A row's best peer is chosen among these.
    Peer,
    /// A column beside, which does not count.
    Shown,
}

/// An allocator that a worker can be built with.
#[derive(Debug, Clone, Copy)]
pub struct Contestant {
    /// Its name, which is also the cargo feature of the worker.
    pub name: &'static str,
    /// How it counts.
    pub role: Role,
    /// What it is.
    pub what: &'static str,
}

/// The name of the contestant that the report is about.
pub const SUBJECT: &str = "mems";

/// The name of the column that shows what is possible.
pub const FLOOR: &str = "floor";

/// All contestants, in the order of the tables.
pub const ALL: [Contestant; 14] = [
    new(SUBJECT, Role::Subject, "MeMS"),
    new("system", Role::Peer, "malloc of the C library"),
    new("mimalloc", Role::Peer, "mimalloc v3 (C)"),
    new("mimalloc-v2", Role::Peer, "mimalloc v2 (C)"),
    new("jemalloc", Role::Peer, "jemalloc 5 (C; tikv-jemallocator)"),
    new("snmalloc", Role::Peer, "snmalloc (C++; needs cmake)"),
    new("rpmalloc", Role::Peer, "rpmalloc (C)"),
    new("rusty_alloc", Role::Peer, "rusty_alloc (Rust)"),
    new("stoolap-jemalloc", Role::Peer, "stoolap-jemalloc (Rust)"),
    new("tcmalloc", Role::Shown, "Google's tcmalloc (C++; takes two minutes to build)"),
    new("talc", Role::Shown, "talc behind one spin lock, on the system allocator (Rust)"),
    new("mimalloc-secure", Role::Shown, "mimalloc v3 with its checks (C)"),
    new("snmalloc-check", Role::Shown, "snmalloc with its checks (C++; needs cmake)"),
    new(
        FLOOR,
        Role::Shown,
        "a per-thread stack of free blocks: checks nothing, gives nothing back",
    ),
];

const fn new(name: &'static str, role: Role, what: &'static str) -> Contestant {
    Contestant { name, role, what }
}

/// The contestant called `name`.
pub fn find(name: &str) -> Option<Contestant> {
    ALL.into_iter().find(|contestant| contestant.name == name)
}
