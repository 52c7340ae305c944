//! Rounds: how far it has been looked for pages of free slots, and how much a step of such a look may do.
//!
//! What a step does stands in [`give_back`](super::give_back).

use core::ptr;

use super::slab::Slab;
use super::slab::pages::Which;
use super::sync::Cell;

/// Granules of the slab map that are looked at for each millisecond that has passed, up to [`MOST_LOOK_MS`]: a few
/// microseconds. A slab counts as [`SLAB_LOOKS`] of them.
pub(super) const LOOKS: usize = 256;
const MOST_LOOK_MS: u64 = 128;
pub(super) const SLAB_LOOKS: usize = 8;
/// Runs of pages that go back for each millisecond that has passed, up to [`MOST_RUN_MS`]: about an eighth of the time.
const RUNS: usize = 32;
const MOST_RUN_MS: u64 = 16;

/// How much a step may do, and what it has done.
#[derive(Debug)]
pub(crate) struct Step {
    pub(super) which: Which,
    looks: usize,
    pub(super) runs: usize,
    /// Bytes that went back.
    pub(crate) given_back: usize,
    /// Whether the system takes no more.
    pub(super) is_refused: bool,
}

impl Step {
    /// One that gives all pages back.
    pub(crate) const fn all() -> Self {
        Self::new(Which::All, usize::MAX, usize::MAX)
    }

    /// One of a round whose last step was `passed` milliseconds ago.
    pub(super) fn after(passed: u64) -> Self {
        let looks = passed.min(MOST_LOOK_MS) as usize * LOOKS;
        Self::new(Which::SeenBefore, looks, passed.min(MOST_RUN_MS) as usize * RUNS)
    }

    pub(super) const fn new(which: Which, looks: usize, runs: usize) -> Self {
        Self { which, looks, runs, given_back: 0, is_refused: false }
    }

    /// Whether there may be one look more.
    pub(super) const fn goes_on(&self) -> bool {
        self.looks > 0 && self.runs > 0 && !self.is_refused
    }

    /// Counts a look, as that many.
    pub(super) const fn count_look(&mut self, looks: usize) {
        self.looks = self.looks.saturating_sub(looks);
    }
}

/// A heap's round over its slabs.
#[derive(Debug)]
pub(super) struct Round {
    /// Which one it is. A slab that was looked at in it is not looked at again.
    pub(super) number: Cell<u32>,
    is_under_way: Cell<bool>,
    /// How many classes are done, and which listed slab of the next one comes next; none for the first.
    pub(super) classes: Cell<usize>,
    pub(super) slab: Cell<Option<&'static Slab>>,
    /// When the last step was made, and when the next one is due, in milliseconds.
    pub(super) stepped_at: Cell<u64>,
    pub(super) next_at: Cell<u64>,
    /// Whether there may be free pages that the next round gives back.
    waits: Cell<bool>,
}

impl Round {
    /// None yet.
    pub(super) const fn new() -> Self {
        Self {
            number: Cell::new(0),
            is_under_way: Cell::new(false),
            classes: Cell::new(0),
            slab: Cell::new(None),
            stepped_at: Cell::new(0),
            next_at: Cell::new(0),
            waits: Cell::new(false),
        }
    }

    /// Notes that slots have come home, so that there may be free pages.
    pub(super) fn note_free(&self) {
        self.waits.set(true);
    }

    /// Whether the next step may give something back, or the one behind it.
    pub(super) fn waits(&self) -> bool {
        self.waits.get() || self.is_under_way.get()
    }

    /// Whether it is under way still, or there is a reason to begin the next one, which has begun then.
    pub(super) fn goes_on(&self) -> bool {
        if !self.is_under_way.get() {
            self.is_under_way.set(self.waits.replace(false));
            self.number.update(|number| number.wrapping_add(1));
        }
        self.is_under_way.get()
    }

    /// Goes on with `next` where it would have with a slab that leaves the list: that may soon be another heap's.
    pub(super) fn leave_out(&self, slab: &'static Slab, next: Option<&'static Slab>) {
        if self.slab.get().is_some_and(|first| ptr::eq(first, slab)) {
            self.slab.set(next);
        }
    }

    pub(super) fn end(&self) {
        self.is_under_way.set(false);
        self.classes.set(0);
        self.slab.set(None);
    }
}

/// The depot's round, over slabs that need not be the calling thread's.
#[derive(Debug)]
pub(crate) struct OthersRound {
    /// Where in the slab map it goes on.
    pub(super) address: usize,
    /// Heaps whose threads have ended that it has still to look at; `None` while it is in the slab map.
    pub(super) retired: Option<usize>,
    pub(super) stepped_at: u64,
    /// Whether there are free pages that the next round gives back, and whether the last one found any.
    pub(super) waits: bool,
    pub(super) waited: bool,
}

impl OthersRound {
    /// None yet.
    pub(super) const fn new() -> Self {
        Self { address: 0, retired: None, stepped_at: 0, waits: false, waited: false }
    }
}
