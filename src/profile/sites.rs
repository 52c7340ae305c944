//! What a profile knows: the live blocks that were sampled, and sums of them by the stack that asked for them.

use core::sync::atomic::Ordering;
use core::time::Duration;

use super::estimate::Estimate;
use super::label_sums::{LabelSum, LabelSums};
use super::profiler::{OLDER, PROFILER, UNKNOWN};
use super::records::Record;
use super::threads::{ThreadSum, Threads};
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
    /// The moments at which the blocks were allocated, summed up.
    moments: f64,
}

impl Sums {
    fn add(&mut self, record: &Record) {
        self.oldest = if self.samples == 0 { record.at } else { self.oldest.min(record.at) };
        self.samples += 1;
        self.blocks.add(1.0, record.chance);
        self.bytes.add(record.block_bytes as f64, record.chance);
        self.requested.add(record.requested as f64, record.chance);
        self.moments += record.at as f64 / record.chance;
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
    /// Samples in address order. Their stacks are numbers of sites.
    pub(super) samples: Array<Record>,
    pub(super) threads: Threads,
    pub(super) labels: LabelSums,
    older: Sums,
    mean: usize,
    pub(super) at: u64,
    began_at: u64,
    /// The number of the profile.
    pub(super) profile: u32,
}

/// Live blocks that were allocated at one stack.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    number: usize,
    kept: &'a Kept,
    frames: &'a [usize],
    at: u64,
}

impl Sites {
    /// Collects what the process heap's profile knows now. Other threads go on meanwhile. O(samples log samples +
    /// stacks).
    pub(crate) fn now() -> Result<Self, OutOfMemory> {
        loop {
            if let Some(mut sites) = Self::of_one_profile()? {
                sites.sum_up();
                sites.threads.name_all(&sites.samples)?;
                sites.labels.sum_up(&sites.samples)?;
                return Ok(sites);
            }
        }
    }

    /// What is live of a region's accounts, and what was asked for in the region; of a profile's number that there was
    /// when it began. Where another one has begun since, it is not known who has asked for anything.
    #[cfg(feature = "report")]
    pub(crate) fn of_region(accounts: [u32; 2], profile: u32) -> Result<Self, OutOfMemory> {
        let is_ours = |record: &Record| record.region > 0 && accounts.contains(&record.region);
        let mut sites = Self::with_samples(is_ours)?;
        let stacks = PROFILER.stacks.lock();
        let are_known = PROFILER.newest() == profile;
        if are_known {
            for (stack, frames) in stacks.iter() {
                sites.push(frames, stack.end, [0.0; 2])?;
            }
        }
        drop(stacks);
        sites.push(&[], StackEnd::Lost, [0.0; 2])?;
        if !are_known {
            sites.samples.items_mut().iter_mut().for_each(|sample| sample.stack = UNKNOWN);
        }
        let kept = sites.sites.items_mut();
        PROFILER.accounts.lock().for_each_stack(accounts[0], |stack, sum| {
            let place = if are_known { stack as usize } else { usize::MAX };
            let place = place.min(kept.len() - 1);
            kept[place].allocated =
                [kept[place].allocated[0] + sum[0], kept[place].allocated[1] + sum[1]];
        });
        sites.sum_up();
        Ok(sites)
    }

    /// The samples that are wanted, and no site yet.
    fn with_samples(is_wanted: impl Fn(&Record) -> bool) -> Result<Self, OutOfMemory> {
        let profiler = &PROFILER;
        let (mut samples, mut kept) = (Array::new(), Ok(()));
        profiler.records.for_each(|record| {
            if is_wanted(record) && kept.is_ok() {
                kept = samples.push(*record);
            }
        });
        kept?;
        Ok(Self {
            frames: Array::new(),
            sites: Array::new(),
            samples,
            threads: Threads::new(),
            labels: LabelSums::new(),
            older: Sums::default(),
            mean: profiler.mean(),
            at: clock::milliseconds(),
            began_at: profiler.began_at.load(Ordering::Relaxed),
            profile: 0,
        })
    }

    /// Samples first, so that all of their stacks are there; none where another profile began in between.
    fn of_one_profile() -> Result<Option<Self>, OutOfMemory> {
        let profile = PROFILER.newest();
        let mut sites = Self::with_samples(|record| record.profile == profile)?;
        sites.profile = profile;
        let stacks = PROFILER.stacks.lock();
        if PROFILER.newest() != profile {
            return Ok(None);
        }
        for (stack, frames) in stacks.iter() {
            sites.push(frames, stack.end, stack.allocated)?;
        }
        drop(stacks);
        if sites.samples.iter().any(|sample| sample.stack == UNKNOWN) {
            sites.push(&[], StackEnd::Lost, [0.0; 2])?;
        }
        Ok(Some(sites))
    }

    fn push(
        &mut self,
        frames: &[usize],
        end: StackEnd,
        allocated: [f64; 2],
    ) -> Result<(), OutOfMemory> {
        let first = self.frames.len();
        frames.iter().try_for_each(|frame| self.frames.push(*frame))?;
        let kept = Kept { first, len: frames.len(), end, sums: Sums::default(), allocated };
        self.sites.push(kept)
    }

    fn sum_up(&mut self) {
        let last = self.sites.len().checked_sub(1).and_then(|last| u32::try_from(last).ok());
        self.samples.items_mut().sort_unstable_by_key(|sample| sample.address);
        for sample in self.samples.items_mut() {
            if let (UNKNOWN, Some(last)) = (sample.stack, last) {
                sample.stack = last;
            }
            if sample.stack == OLDER {
                self.older.add(sample);
            } else if let Some(site) = self.sites.items_mut().get_mut(sample.stack as usize) {
                site.sums.add(sample);
            }
        }
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
        (0..self.sites.len()).filter_map(|number| self.site(number))
    }

    /// The site with this [number](Site::number).
    #[must_use]
    pub fn site(&self, number: usize) -> Option<Site<'_>> {
        let kept = self.sites.get(number)?;
        let frames = self.frames.get(kept.first..kept.first + kept.len).unwrap_or_default();
        Some(Site { number, kept, frames, at: self.at })
    }

    /// The threads that asked for live blocks, by the numbers that the system has for them. O(threads samples).
    pub fn threads(&self) -> impl Iterator<Item = ThreadSum<'_>> {
        self.threads.iter(&self.samples)
    }

    /// What was asked for under each [label](crate::label), and under none. Blocks that are older than the profile are
    /// left out.
    pub fn labels(&self) -> impl Iterator<Item = LabelSum<'_>> {
        self.labels.iter()
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
    /// Its number: the same in all that [`MemsAlloc::profile`](crate::MemsAlloc::profile) says while one profile goes
    /// on, but for that of the site without frames.
    #[must_use]
    pub const fn number(&self) -> usize {
        self.number
    }

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

    /// How long ago live blocks were allocated, on average; none if there is no sample of them.
    #[must_use]
    pub fn mean_age(&self) -> Option<Duration> {
        let mean = self.kept.sums.moments / self.blocks().value();
        let milliseconds = (self.at as f64 - mean).max(0.0);
        (self.samples() > 0).then(|| Duration::from_secs_f64(milliseconds / 1000.0))
    }

    /// How many blocks the site has allocated since the profile began, and the bytes that these had. *Cluster samples*:
    /// unbiased, but a loop that uses one slot again and again is sampled each time or never, so a site of short-lived
    /// blocks may be far off.
    #[must_use]
    pub const fn allocated(&self) -> (f64, f64) {
        (self.kept.allocated[0], self.kept.allocated[1])
    }
}
