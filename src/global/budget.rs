//! [`Budget`]: a test that fails where code allocates more than it may, or leaves something behind.

use core::error::Error;
use core::fmt::{self, Write};
use std::boxed::Box;
use std::string::String;

use crate::inspect::{RegionError, Remains};
use crate::process::counting::Wishes;
use crate::process::region::Region;
use crate::profile::Sites;
use crate::report::Told;

/// What a closure may allocate, and leave behind: nothing, if you say no more. For tests.
///
/// ```
/// # #[global_allocator]
/// # static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();
/// use mems::Budget;
///
/// # fn parse(text: &str) -> usize { text.split(',').map(str::to_owned).collect::<Vec<_>>().len() }
/// // #[test]
/// fn parsing_takes_little_memory() {
///     let budget = Budget::new().allocations(10).peak_bytes(4 << 10);
///     assert_eq!(budget.assert(|| parse("a,b,c")), 3);
/// }
/// # parsing_takes_little_memory();
/// ```
///
/// It counts as [`region`](crate::region) does, exactly, on the calling thread, and beside other tests. Where a budget
/// is exceeded the message says by how much, and names the calls that have allocated, with lines where the test has
/// debug info. Costs a quarter to half of a microsecond for each block, with its free.
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a budget is asserted"]
pub struct Budget {
    allocations: Option<usize>,
    allocated_bytes: Option<usize>,
    peak_bytes: Option<usize>,
    left_blocks: usize,
    left_bytes: Option<usize>,
    threads: bool,
}

/// Why a budget does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BudgetError {
    /// It could not be measured; the closure has not run.
    Region(RegionError),
    /// It is exceeded.
    Exceeded {
        /// What was counted.
        counted: Box<Remains>,
        /// What is exceeded, by how much, and by whom.
        message: String,
    },
}

impl Budget {
    /// A budget with which nothing may be left behind.
    pub const fn new() -> Self {
        Self {
            allocations: None,
            allocated_bytes: None,
            peak_bytes: None,
            left_blocks: 0,
            left_bytes: None,
            threads: false,
        }
    }

    /// At most this many blocks may be handed out ([`Remains::allocations`]).
    pub const fn allocations(mut self, most: usize) -> Self {
        self.allocations = Some(most);
        self
    }

    /// At most this many bytes may be handed out in all ([`Remains::allocated_bytes`]).
    pub const fn allocated_bytes(mut self, most: usize) -> Self {
        self.allocated_bytes = Some(most);
        self
    }

    /// At most this many bytes may be live at a time ([`Remains::peak_bytes`]).
    pub const fn peak_bytes(mut self, most: usize) -> Self {
        self.peak_bytes = Some(most);
        self
    }

    /// This many blocks may be left behind, those of the closure's result included; 0 unless you say so.
    pub const fn left_blocks(mut self, most: usize) -> Self {
        self.left_blocks = most;
        self
    }

    /// At most this many bytes may be left behind.
    pub const fn left_bytes(mut self, most: usize) -> Self {
        self.left_bytes = Some(most);
        self
    }

    /// Counts for threads as well that start meanwhile: see [`region_with_threads`](crate::region_with_threads). What
    /// std keeps of a thread that was not joined is left behind.
    pub const fn with_threads(mut self) -> Self {
        self.threads = true;
        self
    }

    /// Runs a closure, and panics if it exceeds the budget.
    ///
    /// # Panics
    ///
    /// With what [`Budget::check`] answers.
    #[track_caller]
    #[expect(clippy::panic, reason = "that is how a test fails")]
    pub fn assert<T>(self, run: impl FnOnce() -> T) -> T {
        match self.check(run) {
            Ok(answer) => answer,
            Err(error) => panic!("{error}"),
        }
    }

    /// Runs a closure, and answers what it does, if that is within the budget.
    ///
    /// # Errors
    ///
    /// [`BudgetError`], with a message that names who has allocated. The closure's result is dropped then.
    pub fn check<T>(self, run: impl FnOnce() -> T) -> Result<T, BudgetError> {
        let wishes = Wishes { stacks: true, threads: self.threads };
        let region = Region::begin(wishes).map_err(BudgetError::Region)?;
        let answer = run();
        let counted = Remains::of(&region);
        if self.holds(&counted) {
            return Ok(answer);
        }
        let sites = region.counting().sites();
        drop(region);
        let mut message = String::new();
        // A string takes whatever is written.
        let _ = self.write(&mut message, &counted, sites.ok().as_ref());
        Err(BudgetError::Exceeded { counted: Box::new(counted), message })
    }

    /// What may be counted at the most, beside what was.
    fn limits(&self, counted: &Remains) -> [Limit; 5] {
        let (left, left_bytes) = (counted.blocks(), counted.bytes());
        let left_blocks = Some(self.left_blocks);
        let (peak, allocated) = (counted.peak_bytes(), counted.allocated_bytes());
        [
            Limit::new(left, left_blocks, "block", "left behind", Told::Left),
            Limit::new(left_bytes, self.left_bytes, "byte", "left behind", Told::Left),
            Limit::new(peak, self.peak_bytes, "byte", "live at a time", Told::Allocated),
            Limit::new(allocated, self.allocated_bytes, "byte", "allocated", Told::Allocated),
            Limit::new(
                counted.allocations(),
                self.allocations,
                "block",
                "allocated",
                Told::Allocated,
            ),
        ]
    }

    fn holds(&self, counted: &Remains) -> bool {
        !self.limits(counted).iter().any(Limit::is_exceeded)
    }

    fn write(&self, out: &mut String, counted: &Remains, sites: Option<&Sites>) -> fmt::Result {
        let limits = self.limits(counted);
        let exceeded = || limits.iter().filter(|limit| limit.is_exceeded());
        out.write_str("the budget for memory is exceeded:")?;
        exceeded().try_for_each(|limit| write!(out, "\n  {limit}"))?;
        let Some(sites) = sites else { return Ok(()) };
        for (told, head) in [(Told::Left, "left behind by"), (Told::Allocated, "allocated by")] {
            if exceeded().any(|limit| limit.told == told) {
                sites.write_told(out, told, head)?;
            }
        }
        Ok(())
    }
}

/// A limit, and what was counted.
struct Limit {
    counted: usize,
    most: Option<usize>,
    unit: &'static str,
    what: &'static str,
    /// By which blocks it is explained.
    told: Told,
}

impl Limit {
    const fn new(
        counted: usize,
        most: Option<usize>,
        unit: &'static str,
        what: &'static str,
        told: Told,
    ) -> Self {
        Self { counted, most, unit, what, told }
    }

    fn is_exceeded(&self) -> bool {
        self.most.is_some_and(|most| self.counted > most)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counted, unit, what, .. } = self;
        let plural = if *counted == 1 { "" } else { "s" };
        write!(f, "{counted} {unit}{plural} {what}, {} may be", self.most.unwrap_or_default())
    }
}

impl fmt::Display for BudgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(error) => write!(f, "the budget cannot be measured: {error}"),
            Self::Exceeded { message, .. } => f.write_str(message),
        }
    }
}

impl Error for BudgetError {}
