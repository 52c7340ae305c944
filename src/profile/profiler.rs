//! The profile of the process heap: whether there is one, and what is noted for it.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::accounts::Accounts;
use super::ended::{EndedBlock, EndedBlocks, FREE_FRAMES};
use super::estimate::chance_of;
use super::label_word;
use super::probes;
use super::records::{Record, Records};
use super::stacks::Stacks;
use super::walk::{Frames, MOST, Registers, has_room, walk, walk_from};
use crate::base::clock;
use crate::base::lock::Lock;
use crate::base::random::Random;
use crate::base::texts::Texts;
use crate::base::thread_name::own_thread_id;
use crate::heap::block_size;
use crate::slabs::class::Class;
use crate::slabs::sync::Cell;
use crate::slabs::thread_heap::ThreadHeap;

/// The number of no stack: the block is older than the profile.
pub(super) const OLDER: u32 = u32::MAX;
/// The same where there was no memory for the stack.
pub(super) const UNKNOWN: u32 = u32::MAX - 1;

/// The number of no profile: a region alone has noted the block.
const NO_PROFILE: u32 = u32::MAX;

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
    /// Whether there may be records: there was a profile, or a region.
    pub(super) has_records: AtomicBool,
    pub(super) records: Records,
    pub(super) ended: EndedBlocks,
    pub(super) stacks: Lock<Stacks>,
    /// What regions are counted by.
    pub(super) accounts: Lock<Accounts>,
    /// The names of labels. They stay.
    pub(super) labels: Lock<Texts>,
    /// Who asks the loader for all libraries: it has a lock that some versions of glibc leave locked in the child of a
    /// fork.
    pub(super) loader: Lock<()>,
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
            has_records: AtomicBool::new(false),
            records: Records::new(|| PROFILER.is_interrupted()),
            ended: EndedBlocks::new(),
            stacks: Lock::new(Stacks::new()),
            accounts: Lock::new(Accounts::new()),
            labels: Lock::new(Texts::new()),
            loader: Lock::new(()),
        }
    }

    /// Begins a profile with this mean distance of samples, and forgets the stacks of the one before. Its records stay
    /// until heaps hear of the new one, when their threads come by, or until the blocks are freed.
    pub(crate) fn start(&self, mean: usize, seed: u64) {
        let mut stacks = self.stacks.lock();
        stacks.clear();
        self.has_records.store(true, Ordering::Relaxed);
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

    /// The number of the newest profile, which has the stacks; 0 for none.
    pub(crate) fn newest(&self) -> u32 {
        self.newest.load(Ordering::Acquire)
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
        let is_counted = heap.marks.region() > 0;
        let note = |address, block_bytes, was_sampled| {
            let chance = if is_counted { 1.0 } else { chance_of(block_bytes, mean) };
            let record = older(turn, address, block_bytes, chance);
            if was_sampled {
                self.records.change(address, |before| *before = record)
            } else {
                self.records.insert(record)
            }
        };
        let forget = |address| {
            self.forget(address);
        };
        heap.begin_marks(turn, mean, seed, note, forget, |address| self.keeps(turn, address));
    }

    /// Whether a block was noted by a region, and stays so for the profile of a turn.
    fn keeps(&self, turn: u32, address: usize) -> bool {
        let mut is_kept = false;
        self.records.change(address, |record| {
            is_kept = record.chance == 1.0 && (record.profile == turn || record.region > 0);
            if is_kept && record.profile != turn {
                *record = Record { profile: turn, stack: OLDER, at: 0, ..*record };
            }
        });
        is_kept
    }

    /// Notes a block of a run of its own that is older than the profile.
    pub(crate) fn note_older_run(&self, address: usize, bytes: usize) {
        let turn = self.newest.load(Ordering::Relaxed);
        if !self.keeps(turn, address) {
            self.records.insert(older(turn, address, bytes, 1.0));
        }
    }

    /// Notes a block that is about to be handed out by a heap, in a slot that is marked, or in a run of its own.
    #[cold]
    #[inline(never)]
    pub(crate) fn sample(&self, heap: &ThreadHeap, block: Extent, requested: usize) {
        let region = heap.marks.region();
        let (turn, mean) = if self.mean() == 0 {
            (NO_PROFILE, 0)
        } else if block.is_run || heap.is_nobody() {
            (self.newest.load(Ordering::Relaxed), self.mean())
        } else {
            (heap.marks.profile(), heap.marks.mean())
        };
        if mean == 0 && region == 0 {
            return;
        }
        let mut frames = Frames::new();
        with_seen(heap, |seen| walk(&mut frames, MOST, seen));
        let chance = if region > 0 { 1.0 } else { block.chance(mean) };
        let counted = (turn != NO_PROFILE).then_some((chance, block.block_bytes));
        let stack = self.intern(&frames, counted);
        if mean > 0 {
            probes::allocated(block.address, requested, block.block_bytes as f64 / chance);
        }
        let record = Record {
            address: block.address,
            requested,
            block_bytes: block.block_bytes,
            chance,
            at: clock::milliseconds(),
            profile: turn,
            stack,
            thread: heap.thread_id.load(Ordering::Relaxed),
            label: label_word::get(),
            region: 0,
        };
        self.records.insert_and(record, |record| {
            if region > 0 {
                let enter = |accounts: &mut Accounts| {
                    record.region = accounts.allocated(region, stack, block.block_bytes);
                };
                self.enter(enter);
            }
        });
    }

    /// The number of a stack. A profile counts what is asked for there: with which probability that is sampled, and
    /// its bytes.
    fn intern(&self, frames: &Frames, counted: Option<(f64, usize)>) -> u32 {
        let stacks = self.stacks.lock_unless(|| self.is_interrupted());
        let Some(mut stacks) = stacks else { return UNKNOWN };
        let Ok(number) = stacks.intern(frames) else { return UNKNOWN };
        if let Some((chance, block_bytes)) = counted {
            stacks.count(number, 1.0 / chance, block_bytes as f64 / chance);
        }
        number
    }

    /// Ends what is noted of a block in a slot, which the thread of a heap frees. Whether the next one there is to be
    /// sampled; that is drawn anew behind a block that was noted whatever its slot's mark was.
    pub(crate) fn end(&self, heap: &ThreadHeap, address: usize) -> Option<bool> {
        let Some(record) = self.free(address) else { return Some(false) };
        self.note_end(heap, &record);
        if record.chance == 1.0 { None } else { Some(self.mean() > 0) }
    }

    /// Ends what is noted of a block in a run of its own, which the thread of a heap frees: to be
    /// [put back](Profiler::put_back) if that is refused, else [told](Ended::tell).
    pub(crate) fn end_run(&self, heap: &ThreadHeap, address: usize) -> Option<Ended> {
        let record = if self.has_records() { self.forget(address)? } else { return None };
        self.note_end(heap, &record);
        Some(Ended(record))
    }

    /// Ends a record, as its block is freed, or is no sample any more.
    fn free(&self, address: usize) -> Option<Record> {
        let record = self.forget(address)?;
        record.tell_freed();
        Some(record)
    }

    /// Notes who frees a block that a profile knows, for those who free it once more.
    fn note_end(&self, heap: &ThreadHeap, record: &Record) {
        if self.mean() > 0 && record.profile != NO_PROFILE {
            self.note_end_of_sample(heap, record);
        }
    }

    #[cold]
    #[inline(never)]
    fn note_end_of_sample(&self, heap: &ThreadHeap, record: &Record) {
        let known = heap.thread_id.load(Ordering::Relaxed);
        let noted = self.ended.note(&EndedBlock {
            record: *record,
            at: clock::milliseconds(),
            thread: if known == 0 { own_thread_id() } else { known },
            frames: frames_of_free(heap),
        });
        // Without memory nobody is told.
        let _ = noted;
    }

    /// Notes again what [`Profiler::end_run`] has ended.
    pub(crate) fn put_back(&self, ended: Ended) {
        self.ended.forget(ended.0.address);
        self.records.insert_and(ended.0, |record| {
            self.enter_resized(record, 0, record.block_bytes);
        });
    }

    /// Ends what is noted of a block, and enters that where it is counted.
    fn forget(&self, address: usize) -> Option<Record> {
        self.records.remove(address, |record| self.enter_resized(record, record.block_bytes, 0))
    }

    /// Enters that a block has other bytes, where it is counted. The caller has the lock of its record, so that no
    /// region ends in between.
    fn enter_resized(&self, record: &Record, from: usize, to: usize) {
        if record.region > 0 {
            self.enter(|accounts| accounts.resized(record.region, from, to));
        }
    }

    fn enter(&self, enter: impl FnOnce(&mut Accounts)) {
        if let Some(mut accounts) = self.accounts.lock_unless_mine() {
            enter(&mut accounts);
        }
    }

    /// Notes that a block has another size, where it is.
    pub(crate) fn resize(&self, block: Extent, requested: usize) {
        if self.has_records() {
            self.records.change(block.address, |record| self.change_size(record, block, requested));
        }
    }

    fn change_size(&self, record: &mut Record, block: Extent, requested: usize) {
        self.enter_resized(record, record.block_bytes, block.block_bytes);
        record.requested = requested;
        record.block_bytes = block.block_bytes;
    }

    /// Whether there ever was a profile or a region: else no block has a record, and who has one of the free list need
    /// not ask.
    #[inline]
    pub(crate) fn has_records(&self) -> bool {
        self.has_records.load(Ordering::Relaxed)
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
        let [old, new] = [before, after].map(|block| block.chance(mean));
        if !was_sampled {
            let begins = mean > 0 && old < new && self.draws((new - old) / (1.0 - old));
            if begins {
                self.sample(heap, after, requested);
            }
            return begins;
        }
        let mut stays = mean == 0;
        self.records.change(after.address, |record| {
            // What a region counts is noted whatever it has become.
            let is_counted = record.region > 0;
            stays = stays || is_counted || self.draws(new / record.chance);
            if stays {
                self.change_size(record, after, requested);
                record.chance = if is_counted || mean == 0 { record.chance } else { new };
            }
        });
        if !stays {
            self.free(after.address);
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

impl Ended {
    /// The block is freed.
    pub(crate) fn tell(self) {
        self.0.tell_freed();
    }
}

impl Record {
    /// Lets tracers hear that the block is freed, if they have heard of it.
    fn tell_freed(&self) {
        if self.profile != NO_PROFILE {
            probes::freed(self.address);
        }
    }
}

/// The frames that called the one of these registers, on a stack of the calling thread, whose heap this is.
pub(crate) fn frames_from(registers: Registers, heap: &ThreadHeap) -> Frames {
    let mut frames = Frames::new();
    with_seen(heap, |seen| walk_from(registers, &mut frames, MOST, seen));
    frames
}

/// Where a thread frees a block. A free needs little stack, also in a signal handler.
fn frames_of_free(heap: &ThreadHeap) -> Frames<FREE_FRAMES> {
    let mut frames = Frames::<MOST>::new();
    with_seen(heap, |seen| {
        if has_room(seen) {
            walk(&mut frames, FREE_FRAMES, seen);
        }
    });
    Frames::of(frames.addresses())
}

/// Shows where the stack of a heap's thread was found before.
fn with_seen(heap: &ThreadHeap, action: impl FnOnce(&Cell<[usize; 3]>)) {
    let unknown = Cell::new([0; 3]);
    action(if heap.is_nobody() { &unknown } else { &heap.marks.stack });
}

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
        region: 0,
    }
}
