//! What a profile knows: the live blocks, by the stack that asked for them.

use core::sync::atomic::Ordering;
use core::time::Duration;

use super::estimate::Estimate;
use super::profiler::{OLDER, PROFILER, UNKNOWN};
use super::records::Record;
pub use super::walk::StackEnd;
use crate::base::array::Array;
use crate::base::clock;
use crate::base::os::OutOfMemory;

/// Sums over the blocks of a site.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    samples: usize,
    blocks: Estimate,
    bytes: Estimate,
    requested: Estimate,
    /// When the oldest sample was allocated.
    oldest: u64,
}

impl Sums {
    fn add(&mut self, record: &Record) {
        self.oldest = if self.samples == 0 { record.at } else { self.oldest.min(record.at) };
        self.samples += 1;
        self.blocks.add(1.0, record.chance);
        self.bytes.add(record.block_bytes as f64, record.chance);
        self.requested.add(record.requested as f64, record.chance);
    }
}

/// What is kept of a site.
#[derive(Clone, Copy, Debug)]
struct Kept {
    first: usize,
    len: usize,
    end: StackEnd,
    sums: Sums,
    allocated: [f64; 2],
}

/// What the profile knows of the live blocks, by the stack that asked for them: a *site*. A copy in mappings of its
/// own, so nothing of it is a block of the heap.
#[derive(Debug)]
pub struct Sites {
    frames: Array<usize>,
    sites: Array<Kept>,
    older: Sums,
    mean: usize,
    at: u64,
    began_at: u64,
}

/// Live blocks that were allocated at one stack.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    kept: &'a Kept,
    frames: &'a [usize],
    at: u64,
}

impl Sites {
    /// Collects what the process heap's profile knows now. Other threads go on meanwhile. O(samples + stacks).
    pub(crate) fn now() -> Result<Self, OutOfMemory> {
        let profiler = &PROFILER;
        let newest = profiler.newest.load(Ordering::Relaxed);
        let mut sums = Array::<Sums>::new();
        let (mut older, mut unknown, mut refused) = (Sums::default(), Sums::default(), Ok(()));
        profiler.records.for_each(|record| {
            if record.profile != newest {
                return;
            }
            match record.stack {
                OLDER => return older.add(record),
                UNKNOWN => return unknown.add(record),
                _ => {}
            }
            let index = record.stack as usize;
            while refused.is_ok() && sums.len() <= index {
                refused = sums.push(Sums::default());
            }
            if let Some(sums) = sums.items_mut().get_mut(index) {
                sums.add(record);
            }
        });
        refused?;
        let mut sites = Self {
            frames: Array::new(),
            sites: Array::new(),
            older,
            mean: profiler.mean(),
            at: clock::milliseconds(),
            began_at: profiler.began_at.load(Ordering::Relaxed),
        };
        let stacks = profiler.stacks.lock();
        for (index, (stack, frames)) in stacks.iter().enumerate() {
            let first = sites.frames.len();
            frames.iter().try_for_each(|frame| sites.frames.push(*frame))?;
            let sums = sums.get(index).copied().unwrap_or_default();
            let (len, end, allocated) = (frames.len(), stack.end, stack.allocated);
            sites.sites.push(Kept { first, len, end, sums, allocated })?;
        }
        drop(stacks);
        if unknown.samples > 0 {
            let (end, allocated) = (StackEnd::Lost, [0.0; 2]);
            sites.sites.push(Kept { first: 0, len: 0, end, sums: unknown, allocated })?;
        }
        Ok(sites)
    }

    /// Counts blocks that are older than the profile, and known one by one.
    pub(crate) fn add_older(&mut self, blocks: usize, bytes: usize) {
        self.older.blocks.add_exact(blocks as f64);
        self.older.bytes.add_exact(bytes as f64);
        self.older.requested.add_exact(bytes as f64);
    }

    /// All sites at which a block was sampled, also those of which none is live any more, in no particular order. One
    /// without frames has the blocks for whose stacks there was no memory.
    pub fn iter(&self) -> impl Iterator<Item = Site<'_>> {
        self.sites.iter().map(|kept| Site {
            kept,
            frames: self.frames.get(kept.first..kept.first + kept.len).unwrap_or_default(),
            at: self.at,
        })
    }

    /// Live blocks that were allocated before the profile began: how many, and the bytes they have.
    #[must_use]
    pub const fn older(&self) -> (Estimate, Estimate) {
        (self.older.blocks, self.older.bytes)
    }

    /// The mean distance of samples in bytes, 0 if nothing is sampled any more.
    #[must_use]
    pub const fn mean_bytes(&self) -> usize {
        self.mean
    }

    /// How long ago the profile began.
    #[must_use]
    pub const fn age(&self) -> Duration {
        Duration::from_millis(self.at.saturating_sub(self.began_at))
    }
}

impl<'a> Site<'a> {
    /// The return addresses of the stack, the innermost first: that of the call into the allocator or a function of
    /// MeMS's own, and so on outwards. 64 at the most.
    #[must_use]
    pub const fn frames(&self) -> &'a [usize] {
        self.frames
    }

    /// Where the stack ends, or why no more of it is known.
    #[must_use]
    pub const fn end(&self) -> StackEnd {
        self.kept.end
    }

    /// How many live blocks of the site were sampled.
    #[must_use]
    pub const fn samples(&self) -> usize {
        self.kept.sums.samples
    }

    /// Live blocks.
    #[must_use]
    pub const fn blocks(&self) -> Estimate {
        self.kept.sums.blocks
    }

    /// The bytes that live blocks have: whole slots, as `stats().allocated` counts them.
    #[must_use]
    pub const fn bytes(&self) -> Estimate {
        self.kept.sums.bytes
    }

    /// The bytes that were asked for. What [`bytes`](Site::bytes) has more is lost inside of slots.
    #[must_use]
    pub const fn requested_bytes(&self) -> Estimate {
        self.kept.sums.requested
    }

    /// How long ago the oldest live block among the samples was allocated; none if there is none.
    #[must_use]
    pub fn oldest(&self) -> Option<Duration> {
        let age = self.at.saturating_sub(self.kept.sums.oldest);
        (self.samples() > 0).then(|| Duration::from_millis(age))
    }

    /// How many blocks the site has allocated since the profile began, and bytes that it asked for. *Cluster samples*:
    /// unbiased, but a loop that uses one slot again and again is sampled each time or never, so a site of short-lived
    /// blocks may be far off.
    #[must_use]
    pub const fn allocated(&self) -> (f64, f64) {
        (self.kept.allocated[0], self.kept.allocated[1])
    }
}
