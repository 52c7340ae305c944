//! The rows: every piece of work by which allocators are compared, by name.
//!
//! A row is fixed, seeded work. It counts its operations and folds what it read into a checksum; both must be
//! the same under every allocator. `scale` divides the work (1 is the full row), never its shape.

mod ast;
mod batch;
mod calls;
mod churn;
mod cold;
mod collections;
mod fragment;
mod handoff;
mod json;
mod larson;
mod maps;
mod pair;
mod persistent;
mod prodcons;
mod regexes;
mod tasks;
mod vectors;

use crate::measure::Meter;

pub use batch::Order;
pub(crate) use churn::Slots;

/// Groups of rows for geometric means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// One block at a time.
    Pair,
    /// A thousand blocks at a time.
    Batch,
    /// Many or large blocks.
    Big,
    /// Several threads.
    Threads,
    /// Programs.
    Real,
    /// Its own table shows memory step by step.
    Fragment,
    /// Rows beside the main ones: calls and patterns that those do not have.
    Further,
}

impl Group {
    /// The groups in the order of the tables.
    pub const ALL: [Self; 7] = [
        Self::Pair,
        Self::Batch,
        Self::Big,
        Self::Fragment,
        Self::Threads,
        Self::Real,
        Self::Further,
    ];

    /// The group's name in tables and raw files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Batch => "batch",
            Self::Big => "big",
            Self::Threads => "threads",
            Self::Real => "real",
            Self::Fragment => "fragment",
            Self::Further => "further",
        }
    }
}

/// The clock by which a row is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Process CPU time, for one thread.
    Cpu,
    /// Wall time, for several threads.
    Wall,
}

/// What a row did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Operations in the sense of the row's unit.
    pub operations: u64,
    /// A fold over everything read back.
    pub checksum: u64,
}

/// The work of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pair { size_bytes: u32 },
    BoxPair,
    Batch { size_bytes: u32, order: Order },
    Churn,
    VecGrow,
    GiantVec,
    Zeroed,
    Fragment,
    Larson { threads: u64 },
    ProdCons { threads: u64 },
    Contend { threads: u64 },
    Json,
    Maps,
    Ast,
    Persistent,
    Regexes,
    Tasks,
    ZeroedPair { size_bytes: u32 },
    Realloc { from_bytes: u32, to_bytes: u32 },
    Aligned { align_bytes: u32 },
    SmallMaps,
    Handoff { threads: u64 },
    ShortThreads,
    ColdFree,
    Strings,
    Web,
}

impl Kind {
    /// Whether several threads work at a time.
    const fn is_threaded(self) -> bool {
        matches!(
            self,
            Self::Larson { .. }
                | Self::ProdCons { .. }
                | Self::Contend { .. }
                | Self::Tasks
                | Self::Handoff { .. }
                | Self::ShortThreads
                | Self::Web
        )
    }
}

/// One row of the comparison.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name, as given to `--only`.
    pub name: String,
    /// The group whose mean it enters.
    pub group: Group,
    /// The clock it is judged by.
    pub clock: Clock,
    /// What one operation is.
    pub operation: &'static str,
    /// Whether it takes more than a second, so that fewer rounds do.
    pub is_slow: bool,
    /// Whether `--quick` runs it.
    pub is_quick: bool,
    kind: Kind,
}

impl Row {
    fn new(name: &str, group: Group, operation: &'static str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            group,
            clock: if kind.is_threaded() { Clock::Wall } else { Clock::Cpu },
            operation,
            is_slow: matches!(kind, Kind::GiantVec | Kind::Fragment | Kind::Maps),
            is_quick: QUICK_ROWS.contains(&name),
            kind,
        }
    }

    /// About as much memory as the row needs, with any allocator, if that is much.
    pub const fn most_bytes(&self) -> usize {
        match self.kind {
            Kind::GiantVec => 2 << 30,
            Kind::Fragment => 3 << 29,
            Kind::Churn
            | Kind::VecGrow
            | Kind::Zeroed
            | Kind::Json
            | Kind::Maps
            | Kind::ColdFree => 1 << 29,
            _ => 0,
        }
    }

    /// Does the row's work, divided by `scale` (at least 1).
    pub fn run(&self, scale: u64, meter: &mut Meter) -> Done {
        let scale = scale.max(1);
        match self.kind {
            Kind::Pair { size_bytes } => pair::pair(size_bytes, scale, meter),
            Kind::BoxPair => pair::box_pair(scale, meter),
            Kind::Batch { size_bytes, order } => batch::batch(size_bytes, order, scale, meter),
            Kind::Churn => churn::churn(scale, meter),
            Kind::VecGrow => vectors::vec_grow(scale, meter),
            Kind::GiantVec => vectors::giant_vec(scale, meter),
            Kind::Zeroed => vectors::zeroed(scale, meter),
            Kind::Fragment => fragment::fragment(scale, meter),
            Kind::Larson { threads } => larson::larson(threads, scale, meter),
            Kind::ProdCons { threads } => prodcons::prodcons(threads, scale, meter),
            Kind::Contend { threads } => churn::contend(threads, scale, meter),
            Kind::Json => json::json(scale, meter),
            Kind::Maps => maps::maps(scale, meter),
            Kind::Ast => ast::ast(scale, meter),
            Kind::Persistent => persistent::persistent(scale, meter),
            Kind::Regexes => regexes::regexes(scale, meter),
            Kind::Tasks => tasks::tasks(scale, meter),
            Kind::ZeroedPair { size_bytes } => calls::zeroed_pair(size_bytes, scale, meter),
            Kind::Realloc { from_bytes, to_bytes } => {
                calls::realloc(from_bytes, to_bytes, scale, meter)
            }
            Kind::Aligned { align_bytes } => calls::aligned(align_bytes, scale, meter),
            Kind::SmallMaps => collections::small_maps(scale, meter),
            Kind::Handoff { threads } => handoff::handoff(threads, scale, meter),
            Kind::ShortThreads => handoff::short_threads(scale, meter),
            Kind::ColdFree => cold::cold_free(scale, meter),
            Kind::Strings => collections::strings(scale, meter),
            Kind::Web => handoff::web(scale, meter),
        }
    }
}

/// The rows of `--quick`: the corners of each family.
const QUICK_ROWS: [&str; 21] = [
    "pair-64",
    "pair-4Ki",
    "pair-256Ki",
    "boxpair-64",
    "batch-16-lifo",
    "batch-64-rand",
    "batch-512-fifo",
    "batch-4Ki-rand",
    "churn",
    "vecgrow",
    "giantvec",
    "zeroed",
    "larson-2",
    "larson-8",
    "prodcons-2",
    "contend-2",
    "contend-8",
    "real-json",
    "real-ast",
    "real-rpds",
    "real-tokio",
];

/// Every row, in the order of the tables.
pub fn all() -> Vec<Row> {
    let mut rows = main_rows();
    rows.extend(further_rows());
    rows
}

/// The rows beside the main ones.
fn further_rows() -> impl Iterator<Item = Row> {
    let further = [
        ("zeroed-64", "alloc_zeroed and free", Kind::ZeroedPair { size_bytes: 64 }),
        ("zeroed-1Ki", "alloc_zeroed and free", Kind::ZeroedPair { size_bytes: 1 << 10 }),
        ("realloc-100-104", "both ways", Kind::Realloc { from_bytes: 100, to_bytes: 104 }),
        ("realloc-100-200", "both ways", Kind::Realloc { from_bytes: 100, to_bytes: 200 }),
        ("realloc-4000-8000", "both ways", Kind::Realloc { from_bytes: 4_000, to_bytes: 8_000 }),
        ("realloc-40k-80k", "both ways", Kind::Realloc { from_bytes: 40_000, to_bytes: 80_000 }),
        ("realloc-5Mi-6Mi", "both ways", Kind::Realloc { from_bytes: 5 << 20, to_bytes: 6 << 20 }),
        ("aligned-16", "alloc and free", Kind::Aligned { align_bytes: 16 }),
        ("aligned-64", "alloc and free", Kind::Aligned { align_bytes: 64 }),
        ("aligned-4096", "alloc and free", Kind::Aligned { align_bytes: 4_096 }),
        ("maps-16", "insert or remove", Kind::SmallMaps),
        ("handoff-2", "block", Kind::Handoff { threads: 2 }),
        ("handoff-4", "block", Kind::Handoff { threads: 4 }),
        ("threads-short", "thread", Kind::ShortThreads),
        ("cold-free", "free", Kind::ColdFree),
        ("strings", "append", Kind::Strings),
        ("web", "block", Kind::Web),
    ];
    let row = |(name, operation, kind)| Row::new(name, Group::Further, operation, kind);
    further.into_iter().map(row)
}

/// The main rows, of which the means are made.
fn main_rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (label, size_bytes) in PAIR_SIZES {
        rows.push(Row::new(
            &format!("pair-{label}"),
            Group::Pair,
            "alloc and free",
            Kind::Pair { size_bytes },
        ));
    }
    rows.push(Row::new("boxpair-64", Group::Pair, "Box::new and drop", Kind::BoxPair));
    for (label, size_bytes) in BATCH_SIZES {
        for order in Order::ALL {
            let name = format!("batch-{label}-{}", order.name());
            rows.push(Row::new(
                &name,
                Group::Batch,
                "alloc and free",
                Kind::Batch { size_bytes, order },
            ));
        }
    }
    rows.push(Row::new("churn", Group::Big, "replace", Kind::Churn));
    rows.push(Row::new("vecgrow", Group::Big, "push", Kind::VecGrow));
    rows.push(Row::new("giantvec", Group::Big, "push", Kind::GiantVec));
    rows.push(Row::new("zeroed", Group::Big, "vector", Kind::Zeroed));
    rows.push(Row::new("fragment", Group::Fragment, "alloc or free", Kind::Fragment));
    for threads in [1, 2, 4, 8] {
        rows.push(Row::new(
            &format!("larson-{threads}"),
            Group::Threads,
            "replace",
            Kind::Larson { threads },
        ));
    }
    for threads in [2, 4] {
        rows.push(Row::new(
            &format!("prodcons-{threads}"),
            Group::Threads,
            "object",
            Kind::ProdCons { threads },
        ));
    }
    for threads in [1, 2, 4, 8, 16] {
        rows.push(Row::new(
            &format!("contend-{threads}"),
            Group::Threads,
            "replace",
            Kind::Contend { threads },
        ));
    }
    rows.push(Row::new("real-json", Group::Real, "byte", Kind::Json));
    rows.push(Row::new("real-maps", Group::Real, "entry", Kind::Maps));
    rows.push(Row::new("real-ast", Group::Real, "step", Kind::Ast));
    rows.push(Row::new("real-rpds", Group::Real, "update", Kind::Persistent));
    rows.push(Row::new("real-regex", Group::Real, "pattern", Kind::Regexes));
    rows.push(Row::new("real-tokio", Group::Real, "task", Kind::Tasks));
    rows
}

/// Rows of two threads, and the same with sixteen.
pub fn few_and_many_threads() -> [[Row; 2]; 4] {
    let both = |name: &str, kind: fn(u64) -> Kind| {
        let row =
            |threads| Row::new(&format!("{name}-{threads}"), Group::Threads, "", kind(threads));
        [row(2), row(16)]
    };
    [
        both("larson", |threads| Kind::Larson { threads }),
        both("prodcons", |threads| Kind::ProdCons { threads }),
        both("contend", |threads| Kind::Contend { threads }),
        both("handoff", |threads| Kind::Handoff { threads }),
    ]
}

/// The row called `name`.
pub fn find(name: &str) -> Option<Row> {
    let beside = few_and_many_threads().into_iter().flatten();
    all().into_iter().chain(beside).find(|row| row.name == name)
}

const PAIR_SIZES: [(&str, u32); 10] = [
    ("16", 16),
    ("64", 64),
    ("256", 256),
    ("1Ki", 1 << 10),
    ("4Ki", 4 << 10),
    ("32Ki", 32 << 10),
    ("64Ki", 64 << 10),
    ("256Ki", 256 << 10),
    ("1Mi", 1 << 20),
    ("4Mi", 4 << 20),
];

const BATCH_SIZES: [(&str, u32); 5] =
    [("16", 16), ("64", 64), ("512", 512), ("4Ki", 4 << 10), ("32Ki", 32 << 10)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_quick_rows_exist() {
        let mut names: Vec<String> = all().into_iter().map(|row| row.name).collect();
        let count = names.len();
        assert_eq!((main_rows().len(), count), (48, 65));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(QUICK_ROWS.iter().all(|name| find(name).is_some_and(|row| row.is_quick)));
    }

    /// Both runs do the same work; the scales keep a test in debug mode short.
    #[test]
    fn every_row_is_deterministic() {
        for row in all().iter().filter(|row| row.kind != Kind::Fragment) {
            let first = row.run(2_000, &mut Meter::default());
            let second = row.run(2_000, &mut Meter::default());
            assert_eq!(first, second, "{}", row.name);
            assert!(first.operations > 0, "{}", row.name);
        }
    }
}
