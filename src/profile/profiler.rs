//! The profile of the process heap: whether there is one, and what is noted for it.

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::estimate::chance_of;
use super::label_word;
use super::records::{Record, Records};
use super::stacks::Stacks;
use super::walk::{Frames, walk};
use crate::base::clock;
use crate::base::lock::Lock;
use crate::base::random::Random;
use crate::base::texts::Texts;
use crate::heap::block_size;
use crate::slabs::class::Class;
use crate::slabs::sync::Cell;
use crate::slabs::thread_heap::ThreadHeap;

/// The number of no stack: the block is older than the profile.
pub(super) const OLDER: u32 = u32::MAX;
/// The same where there was no memory for the stack.
pub(super) const UNKNOWN: u32 = u32::MAX - 1;

/// The profile of the process heap.
pub(crate) static PROFILER: Profiler = Profiler::new();

/// A profile, or none.
#[derive(Debug)]
pub(crate) struct Profiler {
    /// How often a profile was begun or ended: heaps look at it.
    turn: AtomicU32,
    /// The turn that began the newest profile, and when that was, in milliseconds.
    pub(super) newest: AtomicU32,
    pub(super) began_at: AtomicU64,
    /// The mean distance of samples, in bytes; 0 while nothing is sampled.
    mean: AtomicUsize,
    seed: AtomicU64,
    /// Numbers drawn so far.
    drawn: AtomicU64,
    pub(super) records: Records,
    pub(super) stacks: Lock<Stacks>,
    /// The names of labels. They stay.
    pub(super) labels: Lock<Texts>,
    /// Who asks the loader for all libraries: it has a lock that some versions of glibc leave locked in the child of a
    /// fork.
    loader: Lock<()>,
}

/// What is known of a block that was, or was not, sampled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    address: usize,
    /// Bytes that it has: those of its slot, or of its run.
    block_bytes: usize,
    /// Whether it lies in a run of its own: then each one is sampled.
    is_run: bool,
}

impl Profiler {
    const fn new() -> Self {
        Self {
            turn: AtomicU32::new(0),
            newest: AtomicU32::new(0),
            began_at: AtomicU64::new(0),
            mean: AtomicUsize::new(0),
            seed: AtomicU64::new(0),
            drawn: AtomicU64::new(0),
            records: Records::new(),
            stacks: Lock::new(Stacks::new()),
            labels: Lock::new(Texts::new()),
            loader: Lock::new(()),
        }
    }

    /// Begins a profile with this mean distance of samples, and forgets the stacks of the one before. Its records stay
    /// until heaps hear of the new one, when their threads come by, or until the blocks are freed.
    pub(crate) fn start(&self, mean: usize, seed: u64) {
        let mut stacks = self.stacks.lock();
        stacks.clear();
        self.mean.store(mean.max(1), Ordering::Relaxed);
        self.seed.store(seed, Ordering::Relaxed);
        // Those of two seeds have none in common.
        self.drawn.store(Random::with_seed(!seed).next(), Ordering::Relaxed);
        self.began_at.store(clock::milliseconds(), Ordering::Relaxed);
        // Under the lock, so that turns are one behind the other.
        let turn = self.turn.load(Ordering::Relaxed).wrapping_add(1).max(1);
        self.newest.store(turn, Ordering::Relaxed);
        self.turn.store(turn, Ordering::Release);
    }

    /// Samples no more blocks. Those that are noted stay so until they are freed.
    pub(crate) fn stop(&self) {
        let _one_at_a_time = self.stacks.lock();
        self.mean.store(0, Ordering::Relaxed);
        let turn = self.turn.load(Ordering::Relaxed).wrapping_add(1).max(1);
        self.turn.store(turn, Ordering::Release);
    }

    /// The mean distance of samples, in bytes; 0 while nothing is sampled.
    #[inline]
    pub(crate) fn mean(&self) -> usize {
        self.mean.load(Ordering::Relaxed)
    }

    /// Whether a heap has yet to hear of the profile's beginning or end.
    #[inline]
    pub(crate) fn is_new_to(&self, heap: &ThreadHeap) -> bool {
        heap.marks.profile() != self.turn.load(Ordering::Relaxed)
    }

    /// Lets a heap draw its marks for the profile: see [`ThreadHeap::begin_marks`]. The caller is its thread, or acts
    /// for it.
    #[cold]
    #[inline(never)]
    pub(crate) fn begin(&self, heap: &'static ThreadHeap) {
        let turn = self.turn.load(Ordering::Acquire);
        let mean = self.mean();
        let seed = Random::with_seed(self.seed.load(Ordering::Relaxed) ^ heap.number).next();
        let note = |address, block_bytes, was_sampled| {
            let record = older(turn, address, block_bytes, chance_of(block_bytes, mean));
            if was_sampled {
                self.records.change(address, |before| *before = record)
            } else {
                self.records.insert(record)
            }
        };
        let forget = |address| {
            self.records.remove(address);
        };
        heap.begin_marks(turn, mean, seed, note, forget);
    }

    /// Notes a block of a run of its own that is older than the profile.
    pub(crate) fn note_older_run(&self, address: usize, bytes: usize) {
        self.records.insert(older(self.newest.load(Ordering::Relaxed), address, bytes, 1.0));
    }

    /// Notes a block that is about to be handed out by a heap, in a slot that is marked, or in a run of its own.
    #[cold]
    #[inline(never)]
    pub(crate) fn sample(&self, heap: &ThreadHeap, block: Extent, requested: usize) {
        if self.mean() == 0 {
            return;
        }
        let (turn, mean) = if block.is_run || heap.is_nobody() {
            (self.newest.load(Ordering::Relaxed), self.mean())
        } else {
            (heap.marks.profile(), heap.marks.mean())
        };
        let mut frames = Frames::new();
        let unknown = Cell::new([0; 3]);
        let seen = if heap.is_nobody() { &unknown } else { &heap.marks.stack };
        walk(&mut frames, seen);
        let chance = block.chance(mean);
        let stack = self.intern(&frames, chance, block.block_bytes);
        self.records.insert(Record {
            address: block.address,
            requested,
            block_bytes: block.block_bytes,
            chance,
            at: clock::milliseconds(),
            profile: turn,
            stack,
            thread: heap.thread_id.load(Ordering::Relaxed),
            label: label_word::get(),
        });
    }

    fn intern(&self, frames: &Frames, chance: f64, block_bytes: usize) -> u32 {
        let Some(mut stacks) = self.stacks.lock_unless_mine() else { return UNKNOWN };
        let Ok(number) = stacks.intern(frames) else { return UNKNOWN };
        stacks.count(number, 1.0 / chance, block_bytes as f64 / chance);
        number
    }

    /// Ends what is noted of a block in a slot. Whether the next one there is to be sampled.
    pub(crate) fn end(&self, address: usize) -> bool {
        self.records.remove(address).is_some() && self.mean() > 0
    }

    /// Ends what is noted of a block in a run of its own: to be [put back](Profiler::put_back) if its free is refused.
    pub(crate) fn end_run(&self, address: usize) -> Option<Ended> {
        if self.has_begun() { self.records.remove(address).map(Ended) } else { None }
    }

    /// Notes again what [`Profiler::end_run`] has ended.
    pub(crate) fn put_back(&self, ended: Ended) {
        self.records.insert(ended.0);
    }

    /// Notes that a block has another size, where it is.
    pub(crate) fn resize(&self, block: Extent, requested: usize) {
        if self.has_begun() {
            self.records.change(block.address, |record| {
                record.requested = requested;
                record.block_bytes = block.block_bytes;
            });
        }
    }

    /// Whether there ever was a profile: else no block has a record, and who has one of the free list need not ask.
    #[inline]
    fn has_begun(&self) -> bool {
        self.newest.load(Ordering::Relaxed) > 0
    }

    /// Decides whether a block is sampled that got another size class where it is, and notes that: with the probability
    /// of its class now, and so that one which was sampled and has grown still is.
    pub(crate) fn reclass(
        &self,
        heap: &ThreadHeap,
        [before, after]: [Extent; 2],
        requested: usize,
        was_sampled: bool,
    ) -> bool {
        let mean = self.mean();
        if mean == 0 {
            return was_sampled;
        }
        let [old, new] = [before, after].map(|block| block.chance(mean));
        let change = |record: &mut Record| {
            record.requested = requested;
            record.block_bytes = after.block_bytes;
            record.chance = new;
        };
        if !was_sampled {
            let begins = old < new && self.draws((new - old) / (1.0 - old));
            if begins {
                self.sample(heap, after, requested);
            }
            return begins;
        }
        let stays = self.draws(new / old) && self.records.change(after.address, change);
        if !stays {
            self.records.remove(after.address);
        }
        stays
    }

    /// Notes that the bytes of a block have moved from one address to another, where it is sampled, or not, as every
    /// block there is. Where both are, it is one block with one record.
    pub(crate) fn follow(&self, from: usize, to: usize) {
        let mut known = None;
        self.records.change(from, |record| known = Some(*record));
        if let Some(before) = known {
            self.records.change(to, |record| {
                if record.profile == before.profile {
                    record.stack = before.stack;
                    record.at = before.at;
                    record.thread = before.thread;
                    record.label = before.label;
                }
            });
        }
    }

    /// Whether something happens that does with this probability.
    fn draws(&self, chance: f64) -> bool {
        chance >= 1.0
            || Random::with_seed(self.drawn.fetch_add(1, Ordering::Relaxed)).fraction() <= chance
    }

    /// Ends the records of blocks that are not `live`: in the child of a fork, what vanished threads were about to hand
    /// out.
    pub(crate) fn keep_live(&self, live: impl Fn(usize) -> bool) {
        self.records.retain(|record| live(record.address));
    }

    /// Asks the loader something under its own lock, so that no fork comes in between. None where a signal handler has
    /// interrupted its thread in the middle of that.
    #[cfg(feature = "report")]
    pub(crate) fn with_loader<R>(&self, ask: impl FnOnce() -> R) -> Option<R> {
        let _guard = self.loader.lock_unless_mine()?;
        Some(ask())
    }

    /// Waits until nobody asks the loader any more, and takes the lock for that for the time of a fork: before all
    /// others, since the loader's lock may be held by who waits for the heap.
    pub(crate) fn hold_loader_for_fork(&self) {
        self.loader.hold_for_fork(self.loader.is_mine());
    }

    /// Ends [`Profiler::hold_loader_for_fork`].
    pub(crate) fn release_loader_after_fork(&self, is_child: bool) {
        self.loader.release_after_fork(is_child);
    }

    /// Takes all locks for the time of a fork: see [`Lock::hold_for_fork`].
    pub(crate) fn hold_for_fork(&self, is_interrupted: bool) {
        self.stacks.hold_for_fork(is_interrupted);
        self.records.hold_for_fork(is_interrupted);
        self.labels.hold_for_fork(is_interrupted);
    }

    /// Ends [`Profiler::hold_for_fork`].
    pub(crate) fn release_after_fork(&self, is_child: bool) {
        self.labels.release_after_fork(is_child);
        self.records.release_after_fork(is_child);
        self.stacks.release_after_fork(is_child);
    }

    /// Whether the calling thread holds one of the locks.
    pub(crate) fn is_mine(&self) -> bool {
        self.stacks.is_mine() || self.records.is_mine() || self.labels.is_mine()
    }
}

impl Extent {
    /// A slot of this class.
    pub(crate) fn of_slot(address: usize, class: Class) -> Self {
        Self { address, block_bytes: class.shape().slot_bytes, is_run: false }
    }

    /// A block of the free list for a request of this many bytes.
    pub(crate) fn of_run(address: usize, requested: usize) -> Self {
        Self { address, block_bytes: block_size(requested).unwrap_or(requested), is_run: true }
    }

    /// The probability with which such a block is sampled.
    fn chance(&self, mean: usize) -> f64 {
        if self.is_run { 1.0 } else { chance_of(self.block_bytes, mean) }
    }
}

/// What was noted of a block.
#[derive(Debug)]
pub(crate) struct Ended(Record);

/// The record of a block that is older than the profile of a turn.
fn older(profile: u32, address: usize, block_bytes: usize, chance: f64) -> Record {
    Record {
        address,
        // Nobody knows.
        requested: block_bytes,
        block_bytes,
        chance,
        at: 0,
        profile,
        stack: OLDER,
        thread: 0,
        label: 0,
    }
}
