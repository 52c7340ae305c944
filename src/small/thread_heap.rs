//! A thread's heap of small blocks: its magazines, its outboxes, and the slabs it owns.
//!
//! Slots it allocates come from its own slabs; slots of other heaps' slabs that it frees wait in the outbox of their
//! class and are delivered together. A thread that ends leaves its heap, slabs and all, to the next thread that starts;
//! until then others may adopt single slabs from it.
//!
//! Invariants: **I1** a heap is used by one thread at a time: the one whose thread-local word names it, or whoever holds
//! the pool's lock while it is retired; **I2** a slab's owner changes only under the pool's lock while the old owner is
//! retired, so whoever drains can trust the owner it reads if that is itself; **I3** a slab is in the list of its class
//! exactly if one of its slots is in its free words.

use core::cell::Cell;
use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::class::{CLASS_PLACES, CLASS_STRIDE, Class};
use super::handover;
use super::magazine::{Entry, Magazine};
use super::measured::Measuring;
use super::owners::{slab_at, slab_name};
use super::pool;
use super::process::PROCESS;
use super::slab::{Slab, WORD_SLOTS};
use super::slab_lists::ClassLists;
use crate::base::{addr, clock};
use crate::settings;

/// The first capacity of a magazine.
const FIRST_CAPACITY: usize = 8;
/// A magazine grows to this on misses alone; beyond only when frees overflow it as well.
const MISS_CAPACITY: usize = 64;
/// See [`MISS_CAPACITY`].
const MISS_BYTES: usize = 16 << 10;
/// No magazine holds more slots, nor more than [`MAGAZINE_BYTES`] of them. With 64 KiB batches of 512-byte and 4-KiB blocks
/// took a fifth longer, and no program less memory: a magazine grows only where slots go in and out by so many.
const MAX_CAPACITY: usize = 1024;
/// See [`MAX_CAPACITY`].
const MAGAZINE_BYTES: usize = 512 << 10;
/// Slots of an outbox, and their bytes.
const OUTBOX_CAPACITY: usize = 64;
/// See [`OUTBOX_CAPACITY`].
const OUTBOX_BYTES: usize = 16 << 10;
/// A thread's heap.
#[repr(C, align(64))]
pub(crate) struct ThreadHeap {
    /// First, so that a class's magazine is found with one addition.
    pub(super) magazines: [Magazine; CLASS_PLACES],
    /// Its number; 0 is that of heaps that are nobody's.
    pub(super) number: u64,
    /// What the system calls its thread, or the last one; 0 if that is not known.
    pub(super) thread_id: AtomicU32,
    outboxes: [Magazine; CLASS_PLACES],
    pub(super) lists: [ClassLists; CLASS_PLACES],
    /// The request to flush that was met last.
    flushes: Cell<u32>,
    /// Bytes of large slots in the magazines.
    pub(super) large_bytes: Cell<usize>,
    /// The slot of the newest slab of one slot, if its bytes were never handed out.
    pub(super) fresh_slot: Cell<usize>,
    /// Memory for further places: next and end.
    space: Cell<(usize, usize)>,
    /// Bytes of slots that magazines and outboxes have places for.
    place_bytes: Cell<usize>,
    /// When its thread has been away from all slow ways for so long that its caches go home: milliseconds.
    pub(super) idle_at: Cell<u64>,
    /// Whether its thread has ended: then empty slabs stay until somebody with the pool's lock takes them.
    pub(super) is_retired: Cell<bool>,
    pub(super) next_retired: Cell<Option<&'static ThreadHeap>>,
    /// What it notes while it serves a region.
    pub(super) measuring: Measuring,
    /// The heap that was made before it.
    made_before: Option<&'static ThreadHeap>,
    /// Slabs with news from other threads.
    notified: Notified,
}

const _: () = assert!(size_of::<Magazine>() == CLASS_STRIDE, "classes are counted in magazines");

/// The one word that others write, on a cache line of its own.
#[derive(Debug)]
#[repr(C, align(128))]
struct Notified(AtomicUsize);

// SAFETY: all cells are used by one thread at a time (I1); `notified` is atomic.
#[expect(unsafe_code, reason = "promises who uses the cells")]
unsafe impl Sync for ThreadHeap {}

impl fmt::Debug for ThreadHeap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadHeap").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Neighbouring entries that belong to one word of one slab.
struct Bits {
    slab: Option<&'static Slab>,
    word: usize,
    bits: u64,
}

impl ThreadHeap {
    /// A heap without slots.
    pub(super) const fn new(number: u64, made_before: Option<&'static Self>) -> Self {
        Self {
            number,
            thread_id: AtomicU32::new(0),
            magazines: [const { Magazine::empty() }; CLASS_PLACES],
            outboxes: [const { Magazine::empty() }; CLASS_PLACES],
            lists: [const { ClassLists::new() }; CLASS_PLACES],
            flushes: Cell::new(0),
            large_bytes: Cell::new(0),
            fresh_slot: Cell::new(0),
            space: Cell::new((0, 0)),
            place_bytes: Cell::new(0),
            idle_at: Cell::new(0),
            is_retired: Cell::new(false),
            next_retired: Cell::new(None),
            measuring: Measuring::off(),
            made_before,
            notified: Notified(AtomicUsize::new(0)),
        }
    }

    /// The heap at an address that [`ThreadHeap::address`] gave, or none for 0.
    #[expect(unsafe_code, reason = "reads a heap by address")]
    pub(super) fn at(address: usize) -> Option<&'static Self> {
        let heap = addr::pointer(address)?.cast::<Self>();
        // SAFETY: addresses come from `address`, and heaps are never unmapped.
        Some(unsafe { heap.as_ref() })
    }

    /// A heap and all that were made before it.
    pub(super) fn all_from(last: Option<&'static Self>) -> impl Iterator<Item = &'static Self> {
        core::iter::successors(last, |heap| heap.made_before)
    }

    /// Whether it is the same heap as `other`.
    pub(super) fn is(&self, other: &Self) -> bool {
        ptr::from_ref(self) == ptr::from_ref(other)
    }

    /// Whether it is nobody's, so that its cells must not be written.
    pub(super) const fn is_nobody(&self) -> bool {
        self.number == 0
    }

    /// Where it is.
    pub(super) fn address(&'static self) -> usize {
        (&raw const *self).expose_provenance()
    }

    /// The key of its slabs of a class: where its magazine for them is, which no other heap and class have.
    #[inline]
    pub(super) fn key(&self, class: Class) -> usize {
        self.magazine(class).place()
    }

    /// The small class of a key, if it is a key of this heap and of such a class.
    #[inline]
    pub(super) fn small_class_of(&self, key: usize) -> Option<Class> {
        Class::small_at_distance(key.wrapping_sub((&raw const self.magazines).addr()))
    }

    /// The magazine of a class.
    #[inline]
    #[expect(unsafe_code, reason = "one addition instead of a multiplication with a test")]
    pub(super) fn magazine(&self, class: Class) -> &Magazine {
        let first = (&raw const self.magazines).cast::<Magazine>();
        // SAFETY: a class's distance is its number, which is below the array's length, times the size of a magazine.
        let magazine = unsafe { first.byte_add(class.distance() as usize) };
        // SAFETY: it is an element of the array.
        unsafe { &*magazine }
    }

    pub(super) fn list(&self, class: Class) -> &ClassLists {
        &self.lists[class.index()]
    }

    /// The outbox of a class.
    #[inline]
    pub(super) fn outbox(&self, class: Class) -> &Magazine {
        &self.outboxes[class.index()]
    }

    // ---- malloc ------------------------------------------------------------------------------------------------

    /// Hands out a slot although the magazine is empty: its address.
    #[cold]
    #[inline(never)]
    pub(super) fn refill(&'static self, class: Class) -> Option<usize> {
        let magazine = self.magazine(class);
        if magazine.capacity() < MISS_CAPACITY.min(MISS_BYTES / class.shape().slot_bytes).max(16) {
            self.enlarge(magazine, class);
        }
        magazine.has_missed.set(true);
        // Of a slot that was not handed out after all, or by a thread that vanished in a fork, nobody has asked.
        self.fresh_slot.set(0);
        let now = clock::milliseconds();
        self.flush_if_idle(now);
        PROCESS.heap.look_now_and_then(now);
        self.flush_if_asked();
        self.restock(class)?;
        let slot = magazine.hand_out();
        if class.is_large() {
            self.count_large();
        }
        slot
    }

    /// Puts slots into an empty magazine. Those that were used before come first, lowest addresses first, wherever they
    /// are; then those that would make further pages resident.
    fn restock(&'static self, class: Class) -> Option<()> {
        let recycled = || self.recycled_slab(class);
        if let Some(slab) = recycled().or_else(|| if self.drain() { recycled() } else { None }) {
            self.take_from(slab, slab.recycled_count());
        } else if !self.reuse_outbox(class) {
            let slab = match self.list(class).listed.get() {
                Some(slab) => slab,
                None => self.another_slab(class)?,
            };
            self.take_from(slab, usize::MAX);
        }
        Some(())
    }

    /// Lists a slab of a thread that ended, or a new one.
    #[cold]
    fn another_slab(&'static self, class: Class) -> Option<&'static Slab> {
        let slab = match pool::adopt(self, class) {
            Some(slab) => slab,
            None => {
                let (slab, is_fresh) = pool::new_slab(self, class)?;
                self.fresh_slot.set(if is_fresh && class.is_large() { slab.start() } else { 0 });
                slab
            }
        };
        self.list_new(slab);
        Some(slab)
    }

    /// Takes up to `most` slots of a listed slab into the magazine, but no more than half of what that holds.
    fn take_from(&'static self, slab: &'static Slab, most: usize) {
        let class = slab.class();
        let magazine = self.magazine(class);
        let wanted = (magazine.capacity() / 2).saturating_sub(magazine.len()).min(most);
        let before = magazine.len();
        if wanted > 0 && slab.is_empty() {
            self.list(class).empty.update(|empty| empty - 1);
        }
        slab.take(wanted, |slot, state| {
            magazine.push(Entry::new(slot, state));
        });
        magazine.reverse_newest(magazine.len() - before);
        if settings::random_slots() {
            magazine.shuffle();
        }
        if !slab.has_free() {
            self.unlist(slab);
        }
    }

    /// Doubles a magazine, within its limits.
    fn enlarge(&'static self, magazine: &Magazine, class: Class) {
        self.give_places(magazine, magazine.capacity() * 2, MAGAZINE_BYTES, class);
    }

    /// Gives a magazine or outbox as many places as are wished for, or as its limit of `bytes` and the settings allow,
    /// but two in any case.
    fn give_places(&self, magazine: &Magazine, wish: usize, bytes: usize, class: Class) {
        let (slot_bytes, held) = (class.shape().slot_bytes, magazine.capacity());
        let others = self.place_bytes.get() - held * slot_bytes;
        let bytes = bytes.min(settings::cache_bytes().saturating_sub(others));
        let most = (bytes / slot_bytes).clamp(2, MAX_CAPACITY);
        let capacity = wish.clamp(FIRST_CAPACITY.min(most), most);
        if capacity > held
            && let Some(places) = pool::places(&self.space, capacity)
        {
            magazine.move_to(places);
            self.place_bytes.set(others + capacity * slot_bytes);
        }
    }

    /// Moves slots of other heaps that wait for delivery into the magazine.
    fn reuse_outbox(&'static self, class: Class) -> bool {
        if self.measuring.is_on() {
            return false;
        }
        let (outbox, magazine) = (self.outbox(class), self.magazine(class));
        let room = magazine.capacity() - magazine.len();
        outbox.take_oldest(room, |entry| {
            magazine.push(entry);
        });
        magazine.len() > 0
    }

    // ---- free --------------------------------------------------------------------------------------------------

    /// Takes in a slot of an own slab although the magazine is full.
    #[cold]
    #[inline(never)]
    pub(super) fn overflow(&'static self, class: Class, entry: Entry) {
        self.flush_if_asked();
        let magazine = self.magazine(class);
        if magazine.has_missed.get() || magazine.capacity() == 0 {
            magazine.has_missed.set(false);
            self.enlarge(magazine, class);
        }
        if class.is_large() {
            return self.overflow_large(class, entry);
        }
        if !magazine.push(entry) {
            self.send_home(magazine, magazine.capacity().div_ceil(2));
            if !magazine.push(entry) {
                self.send_entry_home(entry);
            }
        }
    }

    /// Takes in a slot of another heap's slab.
    #[inline(never)]
    pub(super) fn post(&'static self, class: Class, entry: Entry) {
        let outbox = self.outbox(class);
        if outbox.push(entry) {
            return;
        }
        if outbox.capacity() == 0 {
            self.give_places(outbox, OUTBOX_CAPACITY, OUTBOX_BYTES, class);
        } else {
            self.send_home(outbox, outbox.capacity());
        }
        if !outbox.push(entry) {
            self.send_entry_home(entry);
        }
    }

    /// Sends the oldest `count` entries to their slabs.
    pub(super) fn send_home(&'static self, magazine: &Magazine, count: usize) {
        let mut gathered = Bits { slab: None, word: 0, bits: 0 };
        magazine.take_oldest(count, |entry| self.gather(&mut gathered, entry));
        self.put(&gathered);
    }

    pub(super) fn send_entry_home(&'static self, entry: Entry) {
        let mut gathered = Bits { slab: None, word: 0, bits: 0 };
        self.gather(&mut gathered, entry);
        self.put(&gathered);
    }

    /// Adds an entry to the gathered ones, which go home first if they are of another word.
    #[inline]
    fn gather(&'static self, gathered: &mut Bits, entry: Entry) {
        let Some(slab) = PROCESS.owners.find(entry.slot) else { return };
        let Some(slot) = slab.slot_index(entry.slot) else { return };
        let word = slot / WORD_SLOTS;
        if gathered.word != word || !gathered.slab.is_some_and(|other| ptr::eq(other, slab)) {
            self.put(gathered);
            *gathered = Bits { slab: Some(slab), word, bits: 0 };
        }
        gathered.bits |= 1 << (slot % WORD_SLOTS);
    }

    /// Puts gathered slots where they belong: into the free words of an own slab, else into the remote words.
    fn put(&'static self, gathered: &Bits) {
        let Some(slab) = gathered.slab else { return };
        if slab.key() == self.key(slab.class()) {
            slab.put(gathered.word, gathered.bits);
            self.enlist(slab);
        } else if let Some(word) = slab.remote.get(gathered.word) {
            handover::enter(word, gathered.bits);
            if handover::notify(&slab.is_notified)
                && let Some(owner) = slab.owner()
            {
                owner.accept_notice(slab);
            }
        }
    }

    pub(super) fn accept_notice(&self, slab: &'static Slab) {
        handover::push(&self.notified.0, slab_name(slab), &slab.next_notified);
    }

    /// Collects what other threads freed of this heap's slabs. Returns whether there was anything.
    pub(super) fn drain(&'static self) -> bool {
        let mut name = handover::take_all(&self.notified.0);
        let has_news = name != 0;
        while let Some(slab) = slab_at(name) {
            name = slab.next_notified.load(Ordering::Relaxed);
            match slab.owner() {
                Some(owner) if !owner.is(self) => owner.accept_notice(slab),
                _ => self.collect(slab),
            }
        }
        has_news
    }

    fn collect(&'static self, slab: &'static Slab) {
        handover::clear_notice(&slab.is_notified);
        let mut found = false;
        for (index, word) in slab.remote.iter().enumerate() {
            let bits = handover::collect(word);
            if bits != 0 {
                slab.put(index, bits);
                found = true;
            }
        }
        if found {
            self.enlist(slab);
        }
    }

    // ---- the end -----------------------------------------------------------------------------------------------

    /// Sends every cached slot home and takes in what others sent.
    pub(super) fn flush(&'static self) {
        for class in Class::all() {
            for magazine in [self.magazine(class), self.outbox(class)] {
                self.send_home(magazine, magazine.len());
            }
        }
        self.large_bytes.set(0);
        self.drain();
    }

    /// Flushes, and ends the empty slabs. Returns their bytes.
    pub(super) fn let_go(&'static self) -> usize {
        let mut bytes = 0;
        self.flush();
        self.end_empty_slabs(|slab| {
            bytes += slab.slab_bytes();
            pool::end_slab(slab);
        });
        bytes
    }

    /// Lets go of what it keeps if somebody has trimmed the heap since it last did.
    fn flush_if_asked(&'static self) {
        let asked = PROCESS.flushes.load(Ordering::Relaxed);
        if self.flushes.replace(asked) != asked {
            self.let_go();
        }
    }

    /// Takes all empty slabs out of the lists, ends each with `end`, and keeps their descriptors.
    pub(super) fn end_empty_slabs(&'static self, mut end: impl FnMut(&'static Slab)) {
        for class in Class::all().filter(|class| self.list(*class).empty.get() > 0) {
            let mut next = self.list(class).listed.get();
            while let Some(slab) = next {
                next = slab.next.get();
                if slab.is_empty() {
                    self.list(class).empty.update(|empty| empty - 1);
                    self.unlist(slab);
                    end(slab);
                    self.wait(slab);
                }
            }
        }
    }

    /// Forgets everything but its descriptors without slab, after a fork in which threads vanished. The slabs are rebuilt
    /// and listed one by one.
    pub(super) fn forget_all(&self) {
        for class in Class::all() {
            self.magazine(class).forget();
            self.outbox(class).forget();
            self.list(class).listed.set(None);
            self.list(class).empty.set(0);
            // A late notice may have vanished on its way to a list: the next slab must be heard of all the same.
            self.list(class).count.set(0);
            for waiting in &self.list(class).waiting {
                core::iter::successors(waiting.get(), |slab| slab.next.get())
                    .for_each(|slab| handover::clear_notice(&slab.is_notified));
            }
        }
        self.large_bytes.set(0);
        self.notified.0.store(0, Ordering::Relaxed);
    }

    /// Forgets where its places are, after a fork in which its thread vanished: perhaps while it moved a magazine, so
    /// that its ends do not belong together. What memory they had is lost to the child.
    pub(super) fn forget_places(&self) {
        for class in Class::all() {
            self.magazine(class).forget_places();
            self.outbox(class).forget_places();
        }
        self.space.set((0, 0));
        self.place_bytes.set(0);
    }

    /// Lists a slab that was rebuilt, if it has free slots.
    pub(super) fn take_rebuilt(&'static self, slab: &'static Slab) {
        self.list(slab.class()).count.update(|count| count + 1);
        if slab.has_free() {
            self.enlist(slab);
        }
    }
}
