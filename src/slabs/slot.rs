//! A slot's state byte, and the right to a slot that is not handed out.
//!
//! | state | meaning | entered by | left by |
//! |---|---|---|---|
//! | [`FREE`] | not handed out | the free, or the owner taking it in | its holder, in malloc, with a store |
//! | [`NEW`] | not handed out since its slab was cut | the owner | the same |
//! | [`LIVE`] | handed out | malloc | a free: the owner's test and store, or a compare-exchange |
//! | [`SENT`] | freed by another thread, not home yet | that compare-exchange | the owner taking it in |
//! | [`BUSY`] | handed out, a realloc works on it | a compare-exchange, by all | the same realloc |
//! | [`SAMPLED`] | handed out, and the profile knows it | malloc, once it is noted | a compare-exchange, by all |
//! | [`ENDING`] | freed, and its record ends | that compare-exchange | the same free |
//! | [`MARKED`] | not handed out, and who gets it is sampled | the owner | malloc, or the owner sending it home |
//! | [`NEW_MARKED`] | the same of a slot that is [`NEW`] | the owner | the same |
//! | [`LOST`] | its memory is not there any more | a refused give-back | nobody |
//!
//! A free of an own slot has no locked instruction, and still no slot has two holders. If another thread frees the
//! block between the owner's test and its store, both frees are accepted: the slot is in the owner's magazine, and on
//! its way home as well. What comes home must be `SENT`, and this one is not, whether it is free by then or was handed
//! out again: so the second free is recognised there. `slot_model` has looked at all orders.
//!
//! A byte is written only where a block was found live, and by the thread that found it so. A free of an address whose
//! slab has ended may find the byte of another slab's slot, since descriptors serve again: so it looks once more where
//! the slab starts, and if that has changed puts `LIVE` back. A thread that meets `SENT` or `BUSY` meanwhile looks
//! again before it accuses. (Where that happens to a slot of which two frees have just been accepted, and its claim
//! comes home within these few instructions, the claim is believed: three mistakes at one instant. And on processors
//! with a weaker order than x86-64 the old start may be seen: then the byte stays `SENT`, the slot is nobody's to hand
//! out, and the address is recognised on its way home.)
//!
//! Invariants: **I1** a state byte is never unmapped; **I2** a slab begins, ends, and changes its class or its owner on
//! its owner's thread only, or when that has ended, so what an owner's test saw of its own slab holds at its store.

use super::sync::{AtomicU8, Ordering};
use crate::base::counted::{Counted, count};
use crate::base::fatal::debug_law;

/// Not handed out. Zero, as fresh memory is.
pub(crate) const FREE: u8 = 0;
/// Handed out.
pub(crate) const LIVE: u8 = 1;
/// Freed by another thread than the slab's owner, and not home yet.
pub(crate) const SENT: u8 = 2;
/// Handed out, and a realloc works on it.
pub(crate) const BUSY: u8 = 3;
/// Handed out, and the profile knows it.
pub(crate) const SAMPLED: u8 = 4;
/// Taken out of its slab, and never handed out since.
pub(crate) const NEW: u8 = 5;
/// Without memory.
pub(crate) const LOST: u8 = 6;
/// In a magazine, and the block that is handed out there next is to be sampled.
const MARKED: u8 = 7;
/// The same, and never handed out since it was taken out of its slab.
const NEW_MARKED: u8 = 8;
/// Freed, while the thread that has freed it ends its record. Not [`BUSY`], which a realloc that has lost its block to
/// a free may believe to be its own.
pub(crate) const ENDING: u8 = 9;

/// The bit of a state byte that marks slots in the child of a fork, while threads that vanished are dealt with. No
/// other state has it.
const MARK: u8 = 1 << 7;

/// Whether a slot with this state is a block of somebody's.
#[inline]
pub(super) const fn is_block(state: u8) -> bool {
    matches!(state, LIVE | BUSY | SAMPLED | ENDING)
}

/// Whether a slot with this state is nobody's: at home, in a cache, or on its way.
#[inline]
pub(super) const fn is_nobodys(state: u8) -> bool {
    matches!(state, FREE | NEW | SENT) || is_marked(state)
}

/// Whether a slot in a magazine with this state is marked.
#[inline]
pub(super) const fn is_marked(state: u8) -> bool {
    matches!(state, MARKED | NEW_MARKED)
}

/// Whether a slot with this state was never handed out since it was taken out of its slab.
pub(super) const fn is_new(state: u8) -> bool {
    matches!(state, NEW | NEW_MARKED)
}

/// Whether it is worth another look at a slot that was not live, or not sampled, and had this state. A wrong free may
/// have claimed it through a descriptor that served another slab before, and is about to put it back; or it is live
/// after all, in one way or the other.
pub(crate) const fn may_change(state: u8) -> bool {
    matches!(state, SENT | BUSY | ENDING | SAMPLED | LIVE)
}

/// Why a slot could not be freed or claimed. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No slot starts at the address.
    NoSlot,
    /// The slot is not live, and this is its state byte.
    NotLive(u8),
    /// The slab has ended or changed its class since the address was looked up.
    Moved,
}

/// Claims a slot that is [`LIVE`] or [`SAMPLED`], which is `before`: makes it [`SENT`], [`ENDING`] or [`BUSY`].
#[inline]
pub(super) fn claim(state: &AtomicU8, before: u8, claimed: u8) -> Result<(), Refused> {
    debug_law!(matches!(claimed, SENT | ENDING | BUSY), "a claim by compare-exchange");
    debug_law!(claimed == BUSY || (claimed == SENT) == (before == LIVE), "a record ends first");
    count(Counted::SharedLine);
    state
        .compare_exchange(before, claimed, Ordering::AcqRel, Ordering::Relaxed)
        .map(|_| ())
        .map_err(Refused::NotLive)
}

/// Ends a claim: makes the slot `after`. Whether it was claimed still.
#[inline]
pub(super) fn end_claim(state: &AtomicU8, claimed: u8, after: u8) -> bool {
    count(Counted::SharedLine);
    state.compare_exchange(claimed, after, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// Makes a slot of an own slab that is live one that the profile knows, or the other way round. Whether nobody else had
/// claimed it.
#[cfg(feature = "profile")]
pub(super) fn change_sampled(state: &AtomicU8, is_sampled: bool) -> bool {
    let (before, after) = if is_sampled { (LIVE, SAMPLED) } else { (SAMPLED, LIVE) };
    state.compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// Lets the block that is handed out next in a slot that waits be sampled, or not.
pub(super) fn set_marked(state: &AtomicU8, on: bool) {
    let before = state.load(Ordering::Relaxed);
    let after = match (is_new(before), on) {
        (true, true) => NEW_MARKED,
        (true, false) => NEW,
        (false, true) => MARKED,
        (false, false) => FREE,
    };
    if after != before {
        state.store(after, Ordering::Relaxed);
    }
}

/// Marks a slot that some cache has, or unmarks it.
pub(super) fn mark(state: &AtomicU8, on: bool) {
    let other = state.load(Ordering::Relaxed) & !MARK;
    state.store(if on { other | MARK } else { other }, Ordering::Relaxed);
}

/// A slot of an own slab that was found live. Nothing has changed yet.
#[derive(Debug)]
pub(crate) struct LiveSlot {
    address: usize,
    state: &'static AtomicU8,
}

impl LiveSlot {
    /// The slot at `address` with this state byte, if it is live.
    #[inline]
    pub(super) fn new(address: usize, state: &'static AtomicU8) -> Option<Self> {
        if state.load(Ordering::Relaxed) == LIVE { Some(Self { address, state }) } else { None }
    }

    /// Where it starts.
    #[inline]
    pub(crate) const fn address(&self) -> usize {
        self.address
    }

    /// The same slot, if it is live still.
    #[inline]
    pub(crate) fn again(self) -> Option<Self> {
        Self::new(self.address, self.state)
    }

    /// Makes it free.
    #[inline]
    pub(crate) fn free(self) -> FreeSlot {
        self.state.store(FREE, Ordering::Relaxed);
        FreeSlot::new(self.address, self.state)
    }
}

/// A free slot of an own slab, and the right to it. It has no `Clone`, as a slot is in one place at a time.
#[derive(Debug)]
#[repr(C)]
#[must_use = "a free slot that is dropped is lost"]
pub(crate) struct FreeSlot {
    address: usize,
    state: &'static AtomicU8,
}

impl FreeSlot {
    /// The slot at `address`, which the caller has made free, or has taken out of where it waited.
    #[inline]
    pub(crate) const fn new(address: usize, state: &'static AtomicU8) -> Self {
        Self { address, state }
    }

    /// Where it starts.
    #[inline]
    pub(super) const fn address(&self) -> usize {
        self.address
    }

    /// Its address and its state byte, to be put where it waits.
    #[inline]
    pub(super) const fn into_parts(self) -> (usize, &'static AtomicU8) {
        (self.address, self.state)
    }

    /// Whether the next block there is to be sampled.
    pub(super) fn is_marked(&self) -> bool {
        is_marked(self.state.load(Ordering::Relaxed))
    }

    /// The same slot, the next block of which is to be sampled, or not.
    pub(super) fn marked(self, on: bool) -> Self {
        set_marked(self.state, on);
        self
    }

    /// Makes it live: its address.
    #[inline]
    pub(super) fn hand_out(self) -> usize {
        debug_law!(
            matches!(self.state.load(Ordering::Relaxed), FREE | NEW),
            "a slot is handed out once"
        );
        self.state.store(LIVE, Ordering::Relaxed);
        self.address
    }
}

/// A slot that a slow way hands out.
#[derive(Debug)]
#[must_use = "a slot that is not handed out is lost"]
pub(crate) enum HandedOut {
    /// At this address, and live.
    Live(usize),
    /// One that is to be sampled first.
    Marked(MarkedSlot),
}

impl HandedOut {
    /// Hands it out, sampled or not: its address.
    pub(crate) fn address(self, sample: impl FnOnce(usize)) -> usize {
        match self {
            Self::Live(address) => address,
            Self::Marked(slot) => {
                sample(slot.0.address);
                slot.hand_out()
            }
        }
    }
}

/// A free slot whose next block is to be sampled.
#[derive(Debug)]
pub(crate) struct MarkedSlot(FreeSlot);

impl MarkedSlot {
    /// Makes it one that the profile knows, which has noted it by now: its address.
    fn hand_out(self) -> usize {
        self.0.state.store(SAMPLED, Ordering::Relaxed);
        self.0.address
    }
}

impl FreeSlot {
    /// Hands it out, unless it is to be sampled first.
    pub(super) fn hand_out_or_sample(self) -> HandedOut {
        if self.is_marked() {
            HandedOut::Marked(MarkedSlot(self))
        } else {
            HandedOut::Live(self.hand_out())
        }
    }
}
