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
    /// Its name.
    pub name: &'static str,
    /// The cargo feature of its worker.
    pub feature: &'static str,
    /// Environment variables for its worker.
    pub environment: &'static [(&'static str, &'static str)],
    /// How it counts.
    pub role: Role,
    /// Whether it asks the kernel for huge pages: against those that do, memory in [`Group::Big`] and
    /// [`Group::Fragment`] is compared only where MeMS does, too.
    ///
    /// [`Group::Big`]: crate::rows::Group::Big
    /// [`Group::Fragment`]: crate::rows::Group::Fragment
    pub wants_huge_pages: bool,
    /// What it is.
    pub what: &'static str,
}

/// The name of the contestant that the report is about.
pub const SUBJECT: &str = "mems";

/// The name of MeMS where it asks for huge pages.
pub const SUBJECT_HUGE: &str = "mems-huge";

/// The name of the column that shows what is possible.
pub const FLOOR: &str = "floor";

/// All contestants, in the order of the tables.
pub const ALL: [Contestant; 15] = [
    new(SUBJECT, Role::Subject, "MeMS"),
    Contestant {
        feature: SUBJECT,
        environment: &[("MEMS_HUGE_PAGES", "1")],
        ..with_huge_pages(new(SUBJECT_HUGE, Role::Shown, "MeMS that asks for huge pages"))
    },
    new("system", Role::Peer, "malloc of the C library"),
    with_huge_pages(new("mimalloc", Role::Peer, "mimalloc v3 (C)")),
    with_huge_pages(new("mimalloc-v2", Role::Peer, "mimalloc v2 (C)")),
    new("jemalloc", Role::Peer, "jemalloc 5 (C; tikv-jemallocator)"),
    new("snmalloc", Role::Peer, "snmalloc (C++; needs cmake)"),
    new("rpmalloc", Role::Peer, "rpmalloc (C)"),
    new("rusty_alloc", Role::Peer, "rusty_alloc (Rust)"),
    new("stoolap-jemalloc", Role::Peer, "stoolap-jemalloc (Rust)"),
    with_huge_pages(new(
        "tcmalloc",
        Role::Shown,
        "Google's tcmalloc (C++; takes two minutes to build)",
    )),
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
    Contestant { name, feature: name, environment: &[], role, wants_huge_pages: false, what }
}

const fn with_huge_pages(contestant: Contestant) -> Contestant {
    Contestant { wants_huge_pages: true, ..contestant }
}

/// The contestant called `name`.
pub fn find(name: &str) -> Option<Contestant> {
    ALL.into_iter().find(|contestant| contestant.name == name)
}
