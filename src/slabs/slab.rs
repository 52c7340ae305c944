//! A slab: an aligned run of the heap cut into slots of one class, and its descriptor, which lies elsewhere.
//!
//! A descriptor is made once and never unmapped; when its slab goes it waits for another slab *of the same class*, or
//! of any other class of one slot, whichever heap that is for ([`descriptors`](super::descriptors)). So a stale
//! reference leads to valid memory, of the same shape, and its `start` says whether it still is the slab that was
//! meant.
//!
//! Who may touch what: the *state bytes* belong to everybody, by the rules of [`slot`]. The *free words* and the lists
//! belong to the owner, the thread heap that `owner` names. The *remote words* are how everybody else hands slots back
//! ([`handover`](super::handover)).
//!
//! Invariants: **I1** a slot is in one place: a block of somebody's, in a magazine or outbox, in the free words, or in
//! the remote words; **I2** `free_count` is the number of bits in the free words; **I3** the byte behind the last
//! slot's is never [`LIVE`](slot::LIVE), so the slab's tail needs no test.

use core::fmt;
use core::num::NonZeroUsize;
use core::ptr;
use core::sync::atomic;

use self::arrays::Arrays;
use super::class::{self, Class, Shape};
use super::handover::Notice;
use super::names::{HeapName, SlabName};
use super::records::{Chunk, Piece};
use super::slot::{self, FREE, FreeSlot, NEW};
use super::sync::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Cell, Ordering};
use crate::base::addr;
use crate::base::fatal::debug_law;
use crate::base::law::{BrokenLaw, law};

/// Slots of a word.
pub(crate) const WORD_SLOTS: usize = 64;

/// A descriptor.
#[repr(C, align(64))]
pub(crate) struct Slab {
    // What a free reads.
    /// The first address of the slab; 0 while there is none.
    start: AtomicUsize,
    magic: u64,
    /// Owner and class in one word: see [`HeapName::key`]. 0 while there is no slab.
    key: AtomicUsize,
    /// State bytes, free words, remote words, marks of pages.
    arrays: Arrays,
    /// The distance of its class, which changes only where there is one slot.
    class: AtomicU16,
    /// Whether its bytes were never handed out before it began: then slots that were never taken have no memory.
    is_fresh: atomic::AtomicBool,
    // What the owner alone changes.
    pub(super) is_listed: Cell<bool>,
    free_count: Cell<u32>,
    /// No word below this one has a bit.
    hint: Cell<u32>,
    /// Slots from here on were never taken.
    carved: AtomicU32,
    /// The round of the owner in which its free pages were looked at last.
    pub(super) looked_in: Cell<u32>,
    pub(super) prev: Cell<Option<&'static Slab>>,
    pub(crate) next: Cell<Option<&'static Slab>>,
    /// The chunk in which the arrays lie.
    chunk: Option<&'static Chunk>,
    // What others change.
    pub(super) notice: Notice,
    owner: AtomicUsize,
}

// SAFETY: the cells are touched by the slab's owner alone, or under the pool's lock while there is no slab; everything
// else is atomic or never changes.
#[expect(unsafe_code, reason = "promises who touches the cells")]
unsafe impl Sync for Slab {}

impl fmt::Debug for Slab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab").field("start", &self.start()).finish_non_exhaustive()
    }
}

impl Slab {
    /// A descriptor without a slab, whose arrays lie in a chunk.
    pub(super) fn new(class: Class, arrays: Arrays, chunk: Option<&'static Chunk>) -> Self {
        Self {
            start: AtomicUsize::new(0),
            magic: class.shape().magic,
            key: AtomicUsize::new(0),
            arrays,
            class: AtomicU16::new(class.distance()),
            is_fresh: atomic::AtomicBool::new(false),
            is_listed: Cell::new(false),
            free_count: Cell::new(0),
            hint: Cell::new(0),
            carved: AtomicU32::new(0),
            looked_in: Cell::new(0),
            prev: Cell::new(None),
            next: Cell::new(None),
            chunk,
            notice: Notice::new(),
            owner: AtomicUsize::new(0),
        }
    }

    #[inline]
    const fn states(&self) -> &'static [AtomicU8] {
        self.arrays.states()
    }

    /// The free words.
    #[inline]
    fn free(&self) -> &'static [AtomicU64] {
        self.arrays.free()
    }

    /// The remote words.
    #[inline]
    pub(super) fn remote(&self) -> &'static [AtomicU64] {
        self.arrays.remote()
    }

    /// The memory of its arrays.
    fn memory(&self) -> Option<Piece> {
        self.chunk.map(|chunk| chunk.piece(&self.arrays.range()))
    }

    /// Its name.
    #[expect(unsafe_code, reason = "vouches for its address")]
    pub(super) fn name(&'static self) -> SlabName {
        let address = NonZeroUsize::from(ptr::NonNull::from(self).expose_provenance());
        // SAFETY: a descriptor lies there for ever.
        unsafe { SlabName::at(address) }
    }

    /// The slab of a name.
    #[inline]
    #[expect(unsafe_code, reason = "reads a descriptor by its name")]
    pub(super) fn named(name: SlabName) -> &'static Self {
        let slab: *const Self = addr::raw_pointer(name.number()).cast_const().cast();
        // SAFETY: a name is the address of a descriptor, which is never unmapped.
        unsafe { &*slab }
    }

    /// Its class.
    #[inline]
    pub(crate) fn class(&self) -> Class {
        Class::at_distance(self.class.load(Ordering::Relaxed))
    }

    /// What it looks like.
    #[inline]
    pub(crate) fn shape(&self) -> &'static Shape {
        self.class().shape()
    }

    /// Its first address, 0 while it has none.
    #[inline]
    pub(crate) fn start(&self) -> usize {
        self.start.load(Ordering::Relaxed)
    }

    /// Owner and class in one word.
    #[inline]
    pub(crate) fn key(&self) -> usize {
        self.key.load(Ordering::Relaxed)
    }

    /// Slots it has.
    #[inline]
    pub(crate) const fn slots(&self) -> usize {
        self.arrays.slots()
    }

    /// Bytes it has.
    #[inline]
    pub(crate) fn slab_bytes(&self) -> usize {
        self.shape().slab_bytes(self.slots())
    }

    /// The number of the slot that starts at `address`.
    #[inline]
    pub(crate) fn slot_index(&self, address: usize) -> Option<usize> {
        self.slot_index_from(self.start(), address)
    }

    /// The number of the slot that starts at `address`, in a slab that starts at `start`.
    #[inline]
    fn slot_index_from(&self, start: usize, address: usize) -> Option<usize> {
        // Where the address lies before the slab, or behind the last slot, the index is larger than that one's.
        let index = class::slot_index(address.wrapping_sub(start), self.magic)?;
        if index < self.slots() { Some(index) } else { None }
    }

    /// The state byte of its first slot; those of the others are behind it, and one more.
    pub(super) const fn first_state(&self) -> *const AtomicU8 {
        self.states().as_ptr()
    }

    /// The number of the slot that has `address`, and whether it starts there.
    pub(crate) fn slot_with(&self, address: usize) -> Option<(usize, bool)> {
        let offset = address.wrapping_sub(self.start());
        let index = offset / self.shape().slot_bytes;
        (index < self.slots()).then(|| (index, self.slot_index(address).is_some()))
    }

    /// Where slot `index` starts.
    #[inline]
    pub(crate) fn slot_start(&self, index: usize) -> usize {
        self.start() + index * self.shape().slot_bytes
    }

    /// The state byte of slot `index`.
    #[inline]
    pub(crate) fn state(&self, index: usize) -> Option<&'static AtomicU8> {
        self.states().get(index)
    }

    /// The state byte of slot `index` as it is now.
    pub(crate) fn state_now(&self, index: usize) -> u8 {
        self.state(index).map_or(FREE, |state| state.load(Ordering::Relaxed))
    }

    /// Whether slot `index`, which is not live and has this state byte, was handed out before.
    pub(crate) fn was_freed(&self, index: usize, state: u8) -> bool {
        !slot::is_new(state) && index < self.carved.load(Ordering::Relaxed) as usize
    }

    /// Whether slot `index` is handed out.
    pub(crate) fn is_live(&self, index: usize) -> bool {
        slot::is_block(self.state_now(index))
    }

    /// Slots that are handed out. O(slots).
    pub(crate) fn live_count(&self) -> usize {
        self.states().iter().filter(|state| slot::is_block(state.load(Ordering::Relaxed))).count()
    }

    /// Slots that are in some thread's cache, given the number of live ones. Exact while nobody changes anything.
    pub(crate) fn cached_count(&self, live: usize) -> usize {
        let ones = |words: &[AtomicU64]| -> u32 {
            words.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum()
        };
        let home = (ones(self.free()) + ones(self.remote())) as usize;
        // While others free slots, some are counted as live and as home.
        self.slots().saturating_sub(live + home)
    }

    /// Word `index` of the slots that are handed out, and of those that are home: a bit for each of 64 slots.
    pub(crate) fn live_and_home(&self, index: usize) -> (u64, u64) {
        let first = index * WORD_SLOTS;
        let slots = self.slots().saturating_sub(first).min(WORD_SLOTS);
        let states = self.states().get(first..first + slots).unwrap_or_default();
        let live = states
            .iter()
            .rev()
            .map(|state| slot::is_block(state.load(Ordering::Relaxed)))
            .fold(0, |bits, is_block| bits << 1 | u64::from(is_block));
        (live, self.home(index))
    }

    /// Word `index` of the slots that are home.
    fn home(&self, index: usize) -> u64 {
        let word = |words: &[AtomicU64]| -> u64 {
            words.get(index).map_or(0, |word| word.load(Ordering::Relaxed))
        };
        word(self.free()) | word(self.remote())
    }

    /// From which slot on none was ever taken.
    pub(crate) fn carved(&self) -> usize {
        self.carved.load(Ordering::Relaxed) as usize
    }

    /// Whether slot `index` waits in the free words.
    pub(crate) fn is_in_free_words(&self, index: usize) -> bool {
        let word = self.free().get(index / WORD_SLOTS);
        word.is_some_and(|word| word.load(Ordering::Relaxed) >> (index % WORD_SLOTS) & 1 == 1)
    }

    /// The thread heap it belongs to, none if it never belonged to any.
    #[expect(unsafe_code, reason = "reads a name back")]
    pub(crate) fn owner(&self) -> Option<HeapName> {
        // SAFETY: the word is 0, or `give_to` put a name's number there.
        unsafe { HeapName::from_number(self.owner.load(Ordering::Acquire)) }
    }

    /// Whether it is on no heap's list, and nobody holds its remote words. It has no slab, and is `owner`'s from now
    /// on: who notifies it later, for whatever reason, finds that heap. The caller holds the pool's lock.
    pub(super) fn is_on_no_list(&self, owner: HeapName) -> bool {
        // A heap that has it on its list may be looking.
        if !self.notice.hold() {
            return false;
        }
        self.owner.store(owner.number(), Ordering::Release);
        let is_sent = self.notice.is_sent_by_now();
        self.notice.release();
        !is_sent
    }

    /// Lets its memory wait with it. The caller holds the pool's lock.
    pub(super) fn let_memory_wait(&self) {
        self.memory().into_iter().for_each(Piece::wait);
    }

    /// Uses its memory again. `false` where that has gone for good. The caller holds the pool's lock.
    pub(super) fn use_memory_again(&self) -> bool {
        self.memory().is_none_or(Piece::use_again)
    }

    /// Makes it a slab of `class` and `owner` at `start`, all free. There is no slab, and the caller holds the pool's
    /// lock.
    pub(super) fn begin(&self, start: usize, class: Class, owner: HeapName) {
        self.class.store(class.distance(), Ordering::Relaxed);
        for (index, word) in self.free().iter().enumerate() {
            let slots = (self.slots() - index * WORD_SLOTS).min(WORD_SLOTS);
            word.store(u64::MAX >> (WORD_SLOTS - slots), Ordering::Relaxed);
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 8 Ki slots")]
        self.free_count.set(self.slots() as u32);
        self.hint.set(0);
        self.carved.store(0, Ordering::Relaxed);
        self.set_fresh(false);
        self.forget_marks();
        self.give_to(owner);
        self.start.store(start, Ordering::Release);
    }

    /// Says whether its bytes were never handed out before it began.
    pub(super) fn set_fresh(&self, is_fresh: bool) {
        self.is_fresh.store(is_fresh, Ordering::Relaxed);
    }

    /// Ends the slab, all of whose slots are free. `owner` stays: a late notifier must find a list to put it on.
    pub(super) fn end(&self) {
        debug_law!(self.is_empty() && self.live_count() == 0, "only an empty slab ends");
        self.start.store(0, Ordering::Relaxed);
        self.key.store(0, Ordering::Relaxed);
    }

    /// Changes the owner. The caller may act for the old one.
    pub(super) fn give_to(&self, owner: HeapName) {
        // Rounds are numbered heap by heap, from 1 on.
        self.looked_in.set(0);
        self.owner.store(owner.number(), Ordering::Release);
        self.key.store(owner.key(self.class()), Ordering::Release);
    }

    /// Makes its one slot, which is live, one of another class. The caller holds the pool's lock.
    pub(super) fn change_class(&self, class: Class) {
        debug_law!(self.class().is_large() && class.is_large(), "one slot stays one slot");
        self.class.store(class.distance(), Ordering::Relaxed);
        self.set_fresh(false);
        if let Some(owner) = self.owner() {
            self.key.store(owner.key(class), Ordering::Release);
        }
    }

    /// Whether all slots are in the free words.
    pub(super) fn is_empty(&self) -> bool {
        self.free_count.get() as usize == self.slots()
    }

    /// Slots that are in the free words.
    pub(super) fn free_count(&self) -> usize {
        self.free_count.get() as usize
    }

    /// Slots that are not.
    pub(super) fn given_count(&self) -> usize {
        self.slots() - self.free_count()
    }

    /// Whether some slot is in the free words.
    pub(super) fn has_free(&self) -> bool {
        self.free_count.get() > 0
    }

    /// Slots in the free words that were taken before, so that their pages may be resident. They are the lowest ones.
    pub(super) fn recycled_count(&self) -> usize {
        (self.free_count.get() + self.carved.load(Ordering::Relaxed)) as usize - self.slots()
    }

    /// Puts the slots of `bits` of word `index` into the free words.
    #[inline]
    pub(super) fn put(&self, index: usize, bits: u64) {
        let Some(word) = self.free().get(index) else { return };
        let before = word.load(Ordering::Relaxed);
        debug_law!(before & bits == 0, "a slot is in one place (I1)");
        word.store(before | bits, Ordering::Relaxed);
        self.free_count.set(self.free_count.get() + bits.count_ones());
        #[expect(clippy::cast_possible_truncation, reason = "at most 128 words")]
        self.hint.set(self.hint.get().min(index as u32));
    }

    /// Takes up to `most` slots, lowest first, out of the free words and hands each to `take`.
    #[inline]
    pub(super) fn take(&self, most: usize, mut take: impl FnMut(FreeSlot)) {
        let (mut left, mut index, mut start, mut end) =
            (most, self.hint.get() as usize, usize::MAX, 0);
        let (slot_bytes, carved) = (self.shape().slot_bytes, self.carved.load(Ordering::Relaxed));
        while left > 0
            && let Some(word) = self.free().get(index)
        {
            let mut bits = word.load(Ordering::Relaxed);
            let first = index * WORD_SLOTS;
            while bits != 0 && left > 0 {
                let slot = first + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                (left, start, end) = (left - 1, start.min(slot), slot + 1);
                if let Some(state) = self.states().get(slot) {
                    if slot >= carved as usize {
                        state.store(NEW, Ordering::Relaxed);
                    }
                    take(FreeSlot::new(self.start() + slot * slot_bytes, state));
                }
            }
            word.store(bits, Ordering::Relaxed);
            if bits == 0 {
                index += 1;
            }
        }
        self.mark_used(start, end);
        #[expect(clippy::cast_possible_truncation, reason = "at most 8 Ki slots")]
        let (hint, taken, end) = (index as u32, (most - left) as u32, end as u32);
        self.hint.set(hint);
        self.free_count.set(self.free_count.get() - taken);
        self.carved.store(carved.max(end), Ordering::Relaxed);
    }

    /// Checks what its owner says of its free slots. The caller is the owner, or acts for it. O(slots).
    pub(super) fn check(&self) -> Result<(), BrokenLaw> {
        let (start, slots) = (self.start(), self.slots());
        let carved = self.carved.load(Ordering::Relaxed) as usize;
        let mut count = 0;
        for (index, word) in self.free().iter().enumerate() {
            let bits = word.load(Ordering::Relaxed);
            count += bits.count_ones();
            let is_hinted = bits == 0 || index >= self.hint.get() as usize;
            law(is_hinted, "no word below the hint has a bit", start)?;
        }
        law(count == self.free_count.get(), "the free slots are counted (I2)", start)?;
        for slot in 0..self.free().len() * WORD_SLOTS {
            let is_free = self.is_in_free_words(slot);
            law(!is_free || slot < slots, "only slots are free", start)?;
            law(!is_free || !self.is_live(slot), "a slot is live or free (I1)", start)?;
            law(is_free || slot < carved || slot >= slots, "what was taken is carved", start)?;
        }
        law(self.are_clean_pages_free(), "on a page that has gone back are free slots", start)
    }
}

pub(super) mod arrays;
pub(crate) mod claim;
pub(crate) mod pages;
mod recount;
#[cfg(test)]
pub(super) mod tests;
