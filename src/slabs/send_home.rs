//! The way home of slots: what a thread heap does with those that its caches do not keep.
//!
//! Slots of its own slabs go into their free words; those of other heaps' slabs go into the remote words, and the owner
//! hears of it ([`handover`]). Going home, neighbouring slots are gathered word by word.
//!
//! Here it is found that two frees of one block were accepted ([`slot`](super::slot)): the slot comes home and is not
//! [`SENT`](super::slot::SENT) any more, or it is on its way twice, or its slab has ended meanwhile.
//!
//! All of it goes home when the thread ends, when somebody trims the heap, and when the thread comes to a slow way
//! after long: a few slots in a magazine keep their slabs, which can be many times their size. (After random frees a
//! thread that had 300 MiB kept 82 MiB of slabs for 9 MiB of cached slots.) Either the thread did nothing meanwhile, or
//! its caches alone served it, and then it fills them again in a few microseconds.

use core::ptr;

use super::class::Class;
use super::handover;
use super::raced::stop_raced;
use super::slab::claim::SentSlot;
use super::slab::{Slab, WORD_SLOTS};
use super::slot::FreeSlot;
use super::sync::Ordering;
use super::thread_heap::ThreadHeap;
use crate::base::fatal::debug_law;
use crate::settings;

/// Neighbouring slots that belong to one word of one slab.
#[derive(Default)]
struct Bits {
    slab: Option<&'static Slab>,
    word: usize,
    bits: u64,
}

impl Bits {
    /// Adds slot `index` of a slab, which starts at `address`. What is of another word is `put` first.
    #[inline]
    fn add(&mut self, slab: &'static Slab, index: usize, address: usize, put: impl FnOnce(&Self)) {
        let word = index / WORD_SLOTS;
        if self.word != word || !self.slab.is_some_and(|other| ptr::eq(other, slab)) {
            put(self);
            *self = Self { slab: Some(slab), word, bits: 0 };
        }
        let bit = 1 << (index % WORD_SLOTS);
        if self.bits & bit != 0 {
            stop_raced(address);
        }
        self.bits |= bit;
    }

    /// The address of the first one of `bits`.
    fn address_of(&self, bits: u64) -> usize {
        let index = self.word * WORD_SLOTS + bits.trailing_zeros() as usize;
        self.slab.map_or(0, |slab| slab.slot_start(index))
    }
}

impl ThreadHeap {
    /// Sends the oldest `count` slots of a magazine to their slabs.
    pub(super) fn send_home(&'static self, class: Class, count: usize) {
        let mut gathered = Bits::default();
        self.stack(class).take_oldest(count, |slot| self.gather(&mut gathered, &slot));
        self.put(&gathered);
    }

    /// Sends one slot to its slab.
    pub(super) fn put_one(&'static self, slot: FreeSlot) {
        let mut gathered = Bits::default();
        self.gather(&mut gathered, &slot);
        self.put(&gathered);
    }

    /// Sends one slot home that was freed as another heap's.
    pub(super) fn send_one(&'static self, slot: &SentSlot) {
        let mut gathered = Bits::default();
        self.gather_sent(&mut gathered, slot);
        self.put_sent(&gathered);
    }

    /// Sends the slots in the outbox of a class home. Whether there were any.
    pub(super) fn deliver(&'static self, class: Class) -> bool {
        let outbox = self.outbox(class);
        if outbox.len() == 0 {
            return false;
        }
        let mut gathered = Bits::default();
        outbox.take_all(|slot| self.gather_sent(&mut gathered, &slot));
        self.put_sent(&gathered);
        true
    }

    /// Adds a slot of an own slab to the gathered ones, which are put first if they are of another word.
    #[inline]
    fn gather(&'static self, gathered: &mut Bits, slot: &FreeSlot) {
        let address = slot.address();
        // As a rule the next one lies in the same slab.
        let place = gathered.slab.and_then(|slab| Some((slab, slab.slot_index(address)?)));
        match place.or_else(|| self.depot().map.find_slot(address)) {
            Some((slab, index)) => {
                gathered.add(slab, index, address, |gathered| self.put(gathered));
            }
            // A slab with a slot on its way stays, unless the slot is there twice.
            None => stop_raced(address),
        }
    }

    /// Does the same with a slot that was freed as one of another heap's slab.
    #[inline]
    fn gather_sent(&'static self, gathered: &mut Bits, slot: &SentSlot) {
        let (slab, address) = (slot.slab(), slot.address());
        match slab.slot_index(address) {
            Some(index) => {
                gathered.add(slab, index, address, |gathered| self.put_sent(gathered));
            }
            None => stop_raced(address),
        }
    }

    /// Puts gathered free slots of an own slab into its free words.
    fn put(&'static self, gathered: &Bits) {
        if let Some(slab) = gathered.slab {
            debug_law!(slab.key() == self.key(slab.class()), "a magazine has slots of own slabs");
            slab.put(gathered.word, gathered.bits);
            self.round.note_free();
            self.budget.take_back(slab.class(), gathered.bits.count_ones() as usize);
            self.enlist(slab);
        }
    }

    /// Puts gathered slots that were freed as another heap's into the remote words, or, if their slab is an own one by
    /// now, into the free words.
    fn put_sent(&'static self, gathered: &Bits) {
        let &Bits { slab: Some(slab), word: index, bits } = gathered else { return };
        if slab.key() == self.key(slab.class()) {
            if self.put_home(slab, index, bits) {
                self.enlist(slab);
            }
        } else if let Some(word) = slab.remote().get(index) {
            let twice = handover::enter(word, bits);
            if twice != 0 {
                stop_raced(gathered.address_of(twice));
            }
            // Its owner may sleep.
            self.round.note_free();
            if slab.notice.send()
                && let Some(owner) = slab.owner()
            {
                ThreadHeap::named(owner).accept_notice(slab);
            }
        }
    }

    /// Puts slots that were sent home into the free words of an own slab. Whether there were any.
    fn put_home(&'static self, slab: &'static Slab, index: usize, bits: u64) -> bool {
        let right = slab.welcome(index, bits);
        if right != bits {
            let gathered = Bits { slab: Some(slab), word: index, bits };
            stop_raced(gathered.address_of(bits & !right));
        }
        slab.put(index, right);
        self.round.note_free();
        self.budget.take_back(slab.class(), right.count_ones() as usize);
        right != 0
    }

    pub(super) fn accept_notice(&self, slab: &'static Slab) {
        self.notified.push(slab.name(), &slab.notice);
    }

    /// Collects what other threads freed of this heap's slabs. Returns whether there was anything.
    pub(super) fn drain(&'static self) -> bool {
        let mut next = self.notified.take_all();
        let has_news = next.is_some();
        while let Some(slab) = next.map(Slab::named) {
            next = slab.notice.next();
            match slab.owner() {
                Some(owner) if owner != self.name() => Self::named(owner).accept_notice(slab),
                _ => self.collect(slab),
            }
        }
        has_news
    }

    /// Collects what other threads freed of an own slab, or leaves it for the next time while its pages go back.
    pub(super) fn collect(&'static self, slab: &'static Slab) {
        if !slab.notice.hold() {
            return self.accept_notice(slab);
        }
        slab.notice.clear();
        let mut found = false;
        for (index, word) in slab.remote().iter().enumerate() {
            handover::collect(word, |bits| {
                found |= self.put_home(slab, index, bits);
            });
        }
        slab.notice.release();
        if found {
            self.enlist(slab);
        }
    }

    /// Sends every cached slot home and takes in what others sent.
    pub(crate) fn flush(&'static self) {
        for class in Class::all() {
            self.send_home(class, self.stack(class).len());
            self.deliver(class);
        }
        self.large_bytes.set(0);
        self.drain();
    }

    /// Flushes, and ends the empty slabs. Returns their bytes.
    pub(crate) fn flush_and_end_slabs(&'static self) -> usize {
        let mut bytes = 0;
        self.flush();
        self.end_empty_slabs(|slab| {
            bytes += slab.slab_bytes();
            self.depot().end_slab(slab);
        });
        bytes
    }

    /// Gives up what it keeps if somebody has trimmed the heap since it last did.
    pub(super) fn flush_if_asked(&'static self) {
        let asked = self.depot().flushes.load(Ordering::Relaxed);
        if self.flushes.replace(asked) != asked {
            self.flush_and_end_slabs();
        }
    }

    /// Notes that its thread takes a slow way `now`, in milliseconds, and sends everything home if that is the first
    /// one for long. The caller holds no lock but `shared`.
    pub(super) fn flush_if_idle(&'static self, now: u64) {
        let is_idle = self.is_idle(now);
        self.idle_at.store(now.saturating_add(settings::decay_ms().max(1)), Ordering::Relaxed);
        if self.is_asleep() {
            self.is_asleep.store(false, Ordering::Relaxed);
        }
        if is_idle {
            self.flush_idle();
        }
    }

    #[cold]
    #[inline(never)]
    fn flush_idle(&'static self) {
        self.depot().heap.count_as_idle(self.flush_and_end_slabs());
    }
}
