//! The rows: every piece of work by which allocators are compared, by name.
//!
//! A row is fixed, seeded work. It counts its operations and folds what it read into a checksum; both must be
//! the same under every allocator. `scale` divides the work (1 is the full row), never its shape.

mod ast;
mod batch;
mod churn;
mod fragment;
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
    /// Shown by itself: time there is mostly a by-product, memory is the point.
    Fragment,
}

impl Group {
    /// The groups in the order of the tables.
    pub const ALL: [Self; 6] =
        [Self::Pair, Self::Batch, Self::Big, Self::Threads, Self::Real, Self::Fragment];

    /// The group's name in tables and raw files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Batch => "batch",
            Self::Big => "big",
            Self::Threads => "threads",
            Self::Real => "real",
            Self::Fragment => "fragment",
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
        let is_threaded = group == Group::Threads || kind == Kind::Tasks;
        Self {
            name: name.to_owned(),
            group,
            clock: if is_threaded { Clock::Wall } else { Clock::Cpu },
            operation,
            is_slow: matches!(kind, Kind::GiantVec | Kind::Fragment | Kind::Maps),
            is_quick: QUICK_ROWS.contains(&name),
            kind,
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

/// The row called `name`.
pub fn find(name: &str) -> Option<Row> {
    all().into_iter().find(|row| row.name == name)
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
        assert_eq!(count, 48);
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
