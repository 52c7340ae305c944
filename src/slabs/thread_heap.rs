//! A thread's heap of small blocks: its magazines, its outboxes, and the slabs it owns.
//!
//! Slots it allocates come from its own slabs; slots of other heaps' slabs that it frees wait in the outbox of their
//! class and are delivered together. A thread that ends leaves its heap, slabs and all, to the next thread that starts;
//! until then others may adopt single slabs from it.
//!
//! This file has the data and the keys; the verbs stand in the files above it.
//!
//! Invariants: **I1** a heap is used by one thread at a time: the one whose thread-local word names it, or while it is
//! retired the one that holds the pool's lock; **I2** a slab's owner changes only under the pool's lock while the old
//! owner is retired, so a heap that drains can trust the owner it reads if that is itself; **I3** a slab is in the list
//! of its class exactly if one of its slots is in its free words; **I4** the counts and sums are what they say.
//! [`ThreadHeap::check`] looks whether they hold.

use core::fmt;
use core::mem::offset_of;
use core::num::NonZeroUsize;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::budget::Budget;
use super::class::{CLASS_PLACES, CLASS_STRIDE, Class};
use super::class_lists::ClassLists;
use super::depot::{DEPOT, Depot};
use super::handover::NoticeList;
use super::heap_cards::HeapCard;
use super::magazine::{Magazine, Stack};
use super::marks::Marks;
use super::names::HeapName;
use super::notes::Notes;
use super::outbox::Outbox;
use super::place_runs::PlaceRun;
use super::rounds::Round;
use super::slab::Slab;
use super::slot::LiveSlot;
use super::sync::{AtomicU32, Cell};
use super::view::View;
use crate::base::addr;
use crate::base::bump::Bump;

/// A thread's heap.
#[repr(C, align(64))]
pub(crate) struct ThreadHeap {
    /// First, so that a class's magazine is found with one addition.
    pub(super) magazines: [Magazine; CLASS_PLACES],
    /// What it knows of the slab map. All of its own slabs lie in what that covers.
    pub(crate) view: View,
    /// Its number; 0 is that of heaps that are nobody's.
    pub(crate) number: u64,
    /// What the system calls its thread, or the last one; 0 if that is not known.
    pub(crate) thread_id: AtomicU32,
    /// The request to flush that was met last.
    pub(super) flushes: Cell<u32>,
    /// Bytes of large slots in the magazines.
    pub(super) large_bytes: Cell<usize>,
    /// The slot of the newest slab of one slot, if its bytes were never handed out.
    pub(crate) fresh_slot: Cell<usize>,
    pub(super) lists: [ClassLists; CLASS_PLACES],
    /// Memory for further places, and the runs from which it has that and the places it gave.
    pub(super) space: Cell<Bump>,
    pub(super) place_runs: Cell<Option<&'static PlaceRun>>,
    /// Bytes of slots that magazines and outboxes may hold.
    pub(super) place_bytes: Cell<usize>,
    /// Bytes of small slots that magazines may hold.
    pub(super) small_place_bytes: Cell<usize>,
    /// Bytes of its empty slabs.
    pub(super) empty_bytes: Cell<usize>,
    /// How much it may keep.
    pub(super) budget: Budget,
    /// How far it has looked for pages to give back.
    pub(super) round: Round,
    /// Whether its magazines are armed, for how many calls they may be, until when that many, and when the last slow
    /// way of free was taken: milliseconds.
    pub(super) is_armed: Cell<bool>,
    pub(super) armed_left: Cell<u32>,
    pub(super) part_ends_at: Cell<u64>,
    pub(super) freed_at: Cell<u64>,
    /// Whether another thread ought to arm them.
    pub(super) wants_arming: AtomicBool,
    /// When its thread has been away from all slow ways for long enough that its caches go home: milliseconds. Others
    /// look at it; models do not follow this, nor the two flags below.
    pub(super) idle_at: AtomicU64,
    /// Whether that was over when another thread looked, and it has not come by since.
    pub(super) is_asleep: AtomicBool,
    /// The start of the block that its thread holds for a realloc; 0 while it holds none.
    pub(crate) held: Cell<usize>,
    /// Whether its thread has ended: then empty slabs stay until somebody with the pool's lock takes them.
    pub(super) is_retired: AtomicBool,
    /// Whether nothing was left of it when it was looked at last, and no thread had it since.
    pub(super) was_empty: Cell<bool>,
    /// Its neighbours among those.
    pub(super) next_retired: Cell<Option<&'static ThreadHeap>>,
    pub(super) prev_retired: Cell<Option<&'static ThreadHeap>>,
    /// Which slots a profile samples.
    pub(crate) marks: Marks,
    /// What it notes while it serves a region.
    pub(crate) notes: Notes,
    /// The heap that its thread used before the region.
    pub(crate) outer: Cell<Option<&'static ThreadHeap>>,
    /// The heaps of inner regions that left something, linked by `next_inner`.
    pub(crate) inner: Cell<Option<&'static ThreadHeap>>,
    pub(crate) next_inner: Cell<Option<&'static ThreadHeap>>,
    /// What is kept of it when its memory waits.
    pub(super) card: Option<&'static HeapCard>,
    /// What it draws on, if that is not the process heap's depot. Only the slow ways ask.
    pub(super) other_depot: Option<&'static Depot>,
    /// Slabs with news from other threads.
    pub(super) notified: NoticeList,
    /// Last, as a thread that frees no blocks of others never touches them.
    pub(super) outboxes: [Outbox; CLASS_PLACES],
}

const _: () = assert!(size_of::<Magazine>() == CLASS_STRIDE, "classes are counted in magazines");
const _: () = assert!(offset_of!(ThreadHeap, magazines) == 0, "a heap's name is its first key");

// SAFETY: all cells are used by one thread at a time (I1); `notified` is atomic.
#[expect(unsafe_code, reason = "promises who uses the cells")]
unsafe impl Sync for ThreadHeap {}

impl fmt::Debug for ThreadHeap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadHeap").field("number", &self.number).finish_non_exhaustive()
    }
}

impl ThreadHeap {
    /// A heap that is nobody's: all zero, so that it takes no place in a binary, and no memory while nobody writes.
    pub(crate) const fn nobody() -> Self {
        Self {
            number: 0,
            thread_id: AtomicU32::new(0),
            magazines: [const { Magazine::empty() }; CLASS_PLACES],
            view: View::new(),
            flushes: Cell::new(0),
            large_bytes: Cell::new(0),
            fresh_slot: Cell::new(0),
            space: Cell::new(Bump::EMPTY),
            place_runs: Cell::new(None),
            place_bytes: Cell::new(0),
            small_place_bytes: Cell::new(0),
            empty_bytes: Cell::new(0),
            budget: Budget::new(),
            round: Round::new(),
            is_armed: Cell::new(false),
            armed_left: Cell::new(0),
            part_ends_at: Cell::new(0),
            freed_at: Cell::new(0),
            wants_arming: AtomicBool::new(false),
            idle_at: AtomicU64::new(0),
            is_asleep: AtomicBool::new(false),
            held: Cell::new(0),
            is_retired: AtomicBool::new(false),
            was_empty: Cell::new(false),
            next_retired: Cell::new(None),
            prev_retired: Cell::new(None),
            marks: Marks::new(),
            notes: Notes::off(),
            outer: Cell::new(None),
            inner: Cell::new(None),
            next_inner: Cell::new(None),
            card: None,
            other_depot: None,
            notified: NoticeList::new(),
            lists: [const { ClassLists::new() }; CLASS_PLACES],
            outboxes: [const { Outbox::empty() }; CLASS_PLACES],
        }
    }

    /// Makes a heap that draws on a depot of zero bytes where they are, or of what [`ThreadHeap::give_up`] left: on a
    /// small stack there is no room for one. Its list of notices stays as it is.
    ///
    /// # Safety
    ///
    /// The place is aligned, and nobody else's.
    #[expect(unsafe_code, reason = "writes fields one by one")]
    pub(super) unsafe fn make_at(
        place: ptr::NonNull<Self>,
        depot: &'static Depot,
        card: &'static HeapCard,
    ) {
        let heap = place.as_ptr();
        macro_rules! set {
            ($field:ident, $value:expr) => {{
                // SAFETY: the place is a heap's.
                let field = unsafe { &raw mut (*heap).$field };
                // SAFETY: it is nobody else's, by the caller's contract.
                unsafe { field.write($value) };
            }};
        }
        // All other fields are zero: magazines and lists without anything, cells with 0, `false` or `None`.
        set!(other_depot, (!ptr::eq(depot, &raw const DEPOT)).then_some(depot));
        set!(number, card.number);
        set!(card, Some(card));
        set!(notes, Notes::off());
        // SAFETY: now it is a heap.
        let heap = unsafe { place.as_ref() };
        Class::all().for_each(|class| heap.magazine(class).set_magic(class.shape().magic));
    }

    /// Its name.
    #[expect(unsafe_code, reason = "vouches for its address")]
    pub(crate) fn name(&'static self) -> HeapName {
        let address = NonZeroUsize::from(ptr::NonNull::from(self).expose_provenance());
        // SAFETY: a heap lies there for ever.
        unsafe { HeapName::at(address) }
    }

    /// The heap of a name.
    #[expect(unsafe_code, reason = "reads a heap by its name")]
    pub(crate) fn named(name: HeapName) -> &'static Self {
        let heap: *const Self = addr::raw_pointer(name.number()).cast_const().cast();
        // SAFETY: a name is the address of a heap, which is never unmapped.
        unsafe { &*heap }
    }

    /// Whether it is the same heap as `other`.
    pub(crate) fn is(&self, other: &Self) -> bool {
        ptr::from_ref(self) == ptr::from_ref(other)
    }

    /// Whether it is nobody's, so that its cells must not be written.
    pub(crate) const fn is_nobody(&self) -> bool {
        self.number == 0
    }

    /// Whether its thread has ended.
    pub(crate) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }

    /// Whether its thread had not come by for longer than the decay time when another one looked, nor since. It stays
    /// so while nobody takes a slow way: that time goes by changes no sum.
    pub(crate) fn is_asleep(&self) -> bool {
        self.is_asleep.load(Ordering::Relaxed)
    }

    /// Whether its thread has been away from all slow ways for longer than the decay time `now`, in milliseconds.
    pub(super) fn is_idle(&self, now: u64) -> bool {
        let idle_at = self.idle_at.load(Ordering::Relaxed);
        idle_at > 0 && now >= idle_at
    }

    /// Notes that it sleeps, if it does `now`, in milliseconds. Any thread may ask.
    pub(super) fn note_sleep(&self, now: u64) {
        if self.is_idle(now) {
            self.is_asleep.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a slab is one of its own.
    pub(crate) fn owns(&'static self, slab: &Slab) -> bool {
        slab.owner() == Some(self.name())
    }

    /// Whether `other` is this heap, or waits for the end of a region in which this one is used.
    pub(crate) fn holds(&'static self, other: &Self) -> bool {
        let mut outwards =
            core::iter::successors(Some(self), |heap: &&'static Self| heap.outer.get());
        outwards.any(|heap| heap.is(other) || heap.inner().any(|heap| heap.is(other)))
    }

    /// The heaps of inner regions that left something.
    pub(crate) fn inner(&self) -> impl Iterator<Item = &'static Self> {
        core::iter::successors(self.inner.get(), |heap| heap.next_inner.get())
    }

    /// The key of its slabs of a class: where its magazine for them is, which no other heap and class have.
    #[inline]
    pub(crate) fn key(&self, class: Class) -> usize {
        self.magazine(class).place()
    }

    /// The small class of a key, if it is a key of this heap and of such a class.
    #[inline]
    pub(crate) fn small_class_of(&self, key: usize) -> Option<Class> {
        Class::small_at_distance(key.wrapping_sub((&raw const self.magazines).addr()))
    }

    /// The magazine of a class.
    #[inline]
    #[expect(unsafe_code, reason = "one addition instead of a multiplication with a test")]
    pub(crate) fn magazine(&self, class: Class) -> &Magazine {
        let first = (&raw const self.magazines).cast::<Magazine>();
        // SAFETY: a class's distance is its number, which is below the array's length, times the size of a magazine.
        let magazine = unsafe { first.byte_add(class.distance() as usize) };
        // SAFETY: it is an element of the array.
        unsafe { &*magazine }
    }

    /// The live slot of a class that starts at `address`, if that lies in an own slab.
    #[inline]
    pub(crate) fn own_slot(&self, class: Class, address: usize) -> Option<LiveSlot> {
        let (magazine, entry) = (self.magazine(class), self.view.entry(address)?);
        if entry.key() == magazine.place() {
            entry.own_slot(address, magazine.magic())
        } else {
            None
        }
    }

    /// What it draws on.
    pub(super) fn depot(&self) -> &'static Depot {
        self.other_depot.unwrap_or(&DEPOT)
    }

    /// The magazine of a class with its array.
    pub(super) fn stack(&self, class: Class) -> Stack<'_> {
        let lists = self.list(class);
        Stack::new(self.magazine(class), &lists.places, &lists.marked)
    }

    /// Looks at the slab map, which may have grown.
    pub(crate) fn renew_view(&self) {
        self.view.renew(&self.depot().map);
    }

    /// What it has of a class beside the magazine.
    pub(crate) fn list(&self, class: Class) -> &ClassLists {
        &self.lists[class.index()]
    }

    /// The outbox of a class.
    #[inline]
    pub(crate) fn outbox(&self, class: Class) -> &Outbox {
        &self.outboxes[class.index()]
    }

    /// Forgets the memory for its places, and its regions: its thread has vanished, or it has none and is given up.
    pub(super) fn forget_places_and_regions(&self) {
        self.space.set(Bump::EMPTY);
        self.place_bytes.set(0);
        self.small_place_bytes.set(0);
        self.is_armed.set(false);
        self.notes.forget();
        #[cfg(feature = "profile")]
        self.marks.set_region(0);
        self.outer.set(None);
        self.inner.set(None);
        self.next_inner.set(None);
    }
}
