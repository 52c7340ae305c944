//! What a closure leaves behind: leaks and budgets for tests.

use core::fmt;

use super::diff::BlockSum;
use crate::heap::Block;
use crate::process::counting::Wishes;
use crate::process::region::{Region, RegionError};
#[cfg(feature = "profile")]
use crate::profile::RegionSums;
use crate::slabs::class::{CLASS_PLACES, Class};

/// Blocks that [`Remains`] names.
const NAMED: usize = 8;

/// The blocks that a closure was handed out and that were live when it returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remains {
    slots: [BlockSum; CLASS_PLACES],
    larger: BlockSum,
    named: [Option<Block>; NAMED],
    #[cfg(feature = "profile")]
    sums: RegionSums,
}

/// Runs a closure and counts what it leaves behind on the calling thread: the blocks that this thread was handed out
/// meanwhile and that are still live when the closure has returned, those of its result included.
///
/// With the feature `profile` it counts what was handed out, too, be it freed by now or not, and the most that was live
/// at a time. [`Budget`](crate::Budget) fails a test by that, and names who has allocated.
///
/// For that time the thread uses an empty heap of which each call takes a slow way, so no fast path counts anything,
/// and other threads do not disturb the answer: they may run other tests, regions of their own included. What is exact,
/// and what is not:
///
/// * A block counts if *this* thread was handed it out in the closure, by `alloc`, `alloc_zeroed`, or a `realloc` that
///   moved it. What threads started by the closure are handed out does not count; with `region_with_threads` it does.
/// * It counts no more once it was freed, by whichever thread.
/// * A block from before the closure never counts, whether it is freed, or grows in place.
/// * If *another* thread frees a block of the closure, and the same place is handed out again before the closure
///   returns, that block counts. Blocks that stay on one thread never have this fate.
/// * Text printed by a test is kept by the harness, and counts.
/// * What a signal handler is handed out where it interrupts its thread within an allocation does not count; nor, to
///   what was handed out meanwhile, a block for whose note there was no memory.
///
/// A panic of the closure goes on to the caller. Costs some 2 us, with the feature `profile` a quarter to half of one
/// for each block, a page or two for each size class that the closure uses, and, if it leaves slots behind, a look at
/// the map of all slabs: 0.1 ms for each GiB of the heap.
///
/// ```
/// #[global_allocator]
/// static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();
///
/// let (sum, left) = mems::region(|| (0..100_u64).map(|n| vec![n]).map(|v| v[0]).sum::<u64>())?;
/// assert_eq!(sum, 4950);
/// assert!(left.is_nothing(), "{left}");
///
/// let (kept, left) = mems::region(|| vec![1_u8; 100])?;
/// assert_eq!((left.blocks(), left.bytes()), (1, 104), "a budget: {left}");
/// # drop(kept);
/// # Ok::<(), mems::RegionError>(())
/// ```
///
/// # Errors
///
/// [`RegionError`] if there can be no region; the closure has not run.
pub fn region<T>(run: impl FnOnce() -> T) -> Result<(T, Remains), RegionError> {
    let region = Region::begin(Wishes::default())?;
    let answer = run();
    Ok((answer, Remains::of(&region)))
}

/// Does what [`region`] does, and counts for threads as well that start in the closure, by whatever code: threads of
/// libraries, and threads that these start. What they are handed out while the closure runs counts, also when they go
/// on after that; join them first if you want to know what they leave behind for good. Threads that were there before,
/// as those of a pool, do not count.
///
/// ```
/// # #[global_allocator]
/// # static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();
/// let worker = || std::thread::spawn(|| std::mem::forget(vec![1_u8; 1000])).join();
/// let (joined, left) = mems::region_with_threads(worker)?;
/// assert!(joined.is_ok() && left.bytes() >= 1000, "{left}");
/// # Ok::<(), mems::RegionError>(())
/// ```
///
/// Linux tells nobody which thread has started another one, but a new thread has its parent's timer slack
/// ([`prctl`](https://man7.org/linux/man-pages/man2/PR_SET_TIMERSLACK.2const.html)). For the time of the closure that
/// of the calling thread is another one, between 50 and 100 microseconds, and threads keep it that start there. It
/// serves again after 49,999 such closures: threads that outlive theirs for so long, and what these start then, may
/// count for another one, as may those of a program that sets such a value itself.
///
/// # Errors
///
/// [`RegionError`] if there can be no region, or threads cannot be followed here; the closure has not run.
#[cfg(feature = "profile")]
pub fn region_with_threads<T>(run: impl FnOnce() -> T) -> Result<(T, Remains), RegionError> {
    let region = Region::begin(Wishes { threads: true, ..Wishes::default() })?;
    let answer = run();
    Ok((answer, Remains::of(&region)))
}

impl Remains {
    fn nothing() -> Self {
        Self {
            slots: [BlockSum::default(); CLASS_PLACES],
            larger: BlockSum::default(),
            named: [None; NAMED],
            #[cfg(feature = "profile")]
            sums: RegionSums::default(),
        }
    }

    /// What a region has left by now. The thread uses its own heap again.
    pub(crate) fn of(region: &Region) -> Self {
        let mut remains = Self::nothing();
        region.for_each_left(|block, is_slot| remains.add(block, is_slot));
        #[cfg(feature = "profile")]
        {
            remains.sums = region.counting().sums();
        }
        remains
    }

    fn add(&mut self, block: Block, is_slot: bool) {
        if let Some(place) = self.named.iter_mut().find(|place| place.is_none()) {
            *place = Some(block);
        }
        let class = if is_slot { Class::of_any(block.size, 1) } else { None };
        let sum = class.and_then(|class| self.slots.get_mut(class.index()));
        sum.unwrap_or(&mut self.larger).add(block.size);
    }

    fn sums(&self) -> impl Iterator<Item = &BlockSum> {
        self.slots.iter().chain([&self.larger])
    }

    /// Whether nothing was left behind.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.blocks() == 0
    }

    /// Blocks left behind, a count.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.sums().map(|sum| sum.blocks).sum()
    }

    /// Bytes of those blocks, each counted with its whole slot.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.sums().map(|sum| sum.bytes).sum()
    }

    /// How many blocks were handed out meanwhile, by `alloc`, `alloc_zeroed`, or a `realloc` that moved a block.
    #[cfg(feature = "profile")]
    #[must_use]
    pub const fn allocations(&self) -> usize {
        self.sums.allocations
    }

    /// Bytes of all blocks that were handed out meanwhile, each counted with its whole slot, and with the bytes by
    /// which a `realloc` has made it larger where it was.
    #[cfg(feature = "profile")]
    #[must_use]
    pub const fn allocated_bytes(&self) -> usize {
        self.sums.allocated
    }

    /// The most bytes that were live at a time of what was handed out meanwhile, whole slots. A block that a `realloc`
    /// moves is there twice for a moment.
    #[cfg(feature = "profile")]
    #[must_use]
    pub const fn peak_bytes(&self) -> usize {
        self.sums.peak
    }

    /// The classes of which blocks were left, the smallest first: bytes of a slot, and how many.
    pub fn classes(&self) -> impl Iterator<Item = (usize, BlockSum)> + '_ {
        Class::all()
            .map(|class| (class.shape().slot_bytes, self.slots[class.index()]))
            .filter(|(_, sum)| sum.blocks > 0)
    }

    /// Blocks outside of slabs: above 4 MiB, or under a limit on addresses above 32 KiB, but for a few.
    #[must_use]
    pub const fn larger(&self) -> BlockSum {
        self.larger
    }

    /// The first few of the blocks, in address order, slots first.
    pub fn first_blocks(&self) -> impl Iterator<Item = Block> + '_ {
        self.named.iter().flatten().copied()
    }
}

impl fmt::Display for Remains {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_nothing() {
            return f.write_str("nothing is left behind");
        }
        let (blocks, bytes) = (self.blocks(), self.bytes());
        match blocks {
            1 => write!(f, "1 block of {bytes} bytes is left behind:")?,
            _ => write!(f, "{blocks} blocks of {bytes} bytes are left behind:")?,
        }
        for (slot_bytes, sum) in self.classes() {
            write!(f, " {} x {slot_bytes},", sum.blocks)?;
        }
        if self.larger.blocks > 0 {
            write!(f, " {} larger of {} bytes,", self.larger.blocks, self.larger.bytes)?;
        }
        f.write_str(" at")?;
        self.first_blocks().try_for_each(|block| write!(f, " {:#x}", block.start))?;
        if self.blocks() > NAMED { f.write_str(" ...") } else { Ok(()) }
    }
}
