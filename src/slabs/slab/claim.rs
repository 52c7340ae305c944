//! A slab's slots as other threads' frees and reallocs change them, and how they come home: see [`slot`]. The owner's
//! frees find the state byte through the [`entry`](super::super::entry) of the slab map.

use super::super::class::Class;
use super::super::slot::{self, BUSY, ENDING, FREE, FreeSlot, LIVE, Refused, SAMPLED, SENT};
use super::super::sync::{AtomicU8, Ordering};
use super::{Slab, WORD_SLOTS};
use crate::base::counted::{Counted, count};

impl Slab {
    /// Frees the slot that starts at `address`, if that is one of `class` and live: it has to go home. Any thread may
    /// ask.
    #[inline]
    pub(crate) fn send(&'static self, address: usize, class: Class) -> Result<SentSlot, Refused> {
        self.claim(address, class, LIVE, SENT).map(|_| SentSlot { address, slab: self })
    }

    /// Claims the slot that starts at `address` for a realloc, if that is one of `class` and live. Any thread may ask.
    pub(crate) fn hold(&'static self, address: usize, class: Class) -> Result<BusySlot, Refused> {
        self.hold_from(address, class, LIVE)
    }

    /// Frees the slot that starts at `address`, if that is one of `class` that the profile knows: its record has to
    /// end, and then it goes home. Any thread may ask.
    pub(crate) fn end_sampled(
        &'static self,
        address: usize,
        class: Class,
    ) -> Result<EndingSlot, Refused> {
        let state = self.claim(address, class, SAMPLED, ENDING)?;
        Ok(EndingSlot { address, state, slab: self })
    }

    /// Claims a block that the profile knows for a realloc.
    pub(crate) fn hold_sampled(
        &'static self,
        address: usize,
        class: Class,
    ) -> Result<BusySlot, Refused> {
        self.hold_from(address, class, SAMPLED)
    }

    fn hold_from(
        &'static self,
        address: usize,
        class: Class,
        before: u8,
    ) -> Result<BusySlot, Refused> {
        let state = self.claim(address, class, before, BUSY)?;
        Ok(BusySlot { address, state, slab: self, is_sampled: before == SAMPLED })
    }

    /// Makes slot `index` of an own slab, which is live, one that the profile knows, or the other way round. Whether
    /// nobody else has claimed it. Only the owner may ask.
    #[cfg(feature = "profile")]
    pub(in crate::slabs) fn change_sampled(&self, index: usize, is_sampled: bool) -> bool {
        self.state(index).is_some_and(|state| slot::change_sampled(state, is_sampled))
    }

    #[inline]
    fn claim(
        &self,
        address: usize,
        class: Class,
        before: u8,
        claimed: u8,
    ) -> Result<&'static AtomicU8, Refused> {
        let start = self.start();
        let state = self.slot_index_from(start, address).and_then(|index| self.states().get(index));
        let state = state.ok_or(Refused::NoSlot)?;
        self.claim_state(start, class, state, [before, claimed]).map(|()| state)
    }

    /// Claims a slot through its state byte, from one state to the other, if the slab starts at `start`, as it did when
    /// the byte was found, and is of `class`.
    ///
    /// The slab may be another thread's, so unless the slot is live it may end, and its descriptor serve another run,
    /// after the byte was found: then the byte is that of a slot elsewhere, to which it is left.
    #[inline]
    pub(crate) fn claim_state(
        &self,
        start: usize,
        class: Class,
        state: &AtomicU8,
        [before, claimed]: [u8; 2],
    ) -> Result<(), Refused> {
        slot::claim(state, before, claimed)?;
        if self.start() == start && self.class() == class {
            return Ok(());
        }
        // Should the owner have freed it meanwhile, it stays as it is.
        slot::end_claim(state, claimed, before);
        Err(Refused::Moved)
    }

    /// Makes the slots of `bits` of word `index` free, which others have sent home. Those that are [`SENT`]: of the
    /// others two frees were accepted. Only the owner may ask.
    pub(crate) fn welcome(&self, index: usize, bits: u64) -> u64 {
        let state_of = |slot: usize| self.state(index * WORD_SLOTS + slot);
        let is_sent = |slot: &usize| {
            state_of(*slot).is_some_and(|state| state.load(Ordering::Relaxed) == SENT)
        };
        // All loads before all stores: they share a cache line, which other threads want, too.
        let sent = ones(bits).filter(is_sent).fold(0, |sent, slot| sent | 1 << slot);
        for state in ones(sent).filter_map(state_of) {
            state.store(FREE, Ordering::Relaxed);
        }
        count(Counted::SharedLine);
        sent
    }
}

/// The numbers of the bits that are set, lowest first.
fn ones(bits: u64) -> impl Iterator<Item = usize> {
    let next = |bits: &u64| Some(bits & (bits - 1)).filter(|bits| *bits != 0);
    core::iter::successors(Some(bits).filter(|bits| *bits != 0), next)
        .map(|bits| bits.trailing_zeros() as usize)
}

/// A slot of another heap's slab that was freed, and has to go home. It has no `Clone`, as a slot is in one place at a
/// time.
#[derive(Debug)]
#[must_use = "a slot that is not sent home is lost"]
pub(crate) struct SentSlot {
    address: usize,
    slab: &'static Slab,
}

impl SentSlot {
    /// The slot that an outbox has kept.
    #[inline]
    pub(in crate::slabs) const fn new(address: usize, slab: &'static Slab) -> Self {
        Self { address, slab }
    }

    /// Where it starts.
    #[inline]
    pub(in crate::slabs) const fn address(&self) -> usize {
        self.address
    }

    /// The slab in which it lay when it was sent. It stays, unless the block was freed twice.
    #[inline]
    pub(in crate::slabs) const fn slab(&self) -> &'static Slab {
        self.slab
    }

    /// Makes it free: it has come home. Only the slab's owner may ask. `None` if the block was freed twice.
    pub(in crate::slabs) fn come_home(self) -> Option<FreeSlot> {
        let state = self.slab.state(self.slab.slot_index(self.address)?)?;
        let is_sent = state.load(Ordering::Relaxed) == SENT;
        if is_sent {
            state.store(FREE, Ordering::Relaxed);
        }
        is_sent.then(|| FreeSlot::new(self.address, state))
    }
}

/// A block that was freed, and whose record ends.
#[derive(Debug)]
#[must_use = "a slot that is dropped here is lost"]
pub(crate) struct EndingSlot {
    address: usize,
    state: &'static AtomicU8,
    slab: &'static Slab,
}

impl EndingSlot {
    /// Sends it home. `None` if somebody has freed it meanwhile.
    pub(crate) fn send(self) -> Option<SentSlot> {
        let is_sent = slot::end_claim(self.state, ENDING, SENT);
        is_sent.then_some(SentSlot { address: self.address, slab: self.slab })
    }
}

/// A block on which a realloc works: nobody else can free it.
#[derive(Debug)]
#[must_use = "a block that is dropped here stays claimed for ever"]
pub(crate) struct BusySlot {
    address: usize,
    state: &'static AtomicU8,
    slab: &'static Slab,
    /// Whether the profile knows it.
    pub(crate) is_sampled: bool,
}

impl BusySlot {
    /// Makes it live again. Whether nobody has freed it meanwhile.
    pub(crate) fn keep(self) -> bool {
        slot::end_claim(self.state, BUSY, if self.is_sampled { SAMPLED } else { LIVE })
    }

    /// Frees it, on behalf of another thread than the slab's owner, or of that. `None` if somebody has freed it
    /// meanwhile.
    pub(crate) fn send(self) -> Option<SentSlot> {
        let is_sent = slot::end_claim(self.state, BUSY, SENT);
        is_sent.then_some(SentSlot { address: self.address, slab: self.slab })
    }
}
