//! What grew between two looks at a profile, and who is suspected of a leak.

use core::cmp::Ordering;
use core::ops::AddAssign;
use core::time::Duration;

use super::estimate::{Change, Events};
use super::profiler::OLDER;
use super::records::Record;
use super::sites::{Site, Sites};
use crate::base::array::Array;
use crate::base::os::OutOfMemory;

/// No such site.
const NONE: u32 = u32::MAX;

/// What is kept of a site that is in one look, or in both.
#[derive(Clone, Copy, Debug)]
struct Kept {
    before: u32,
    after: u32,
    blocks: Change,
    bytes: Change,
    events: Events,
    /// Samples of the earlier look that are live still.
    stayed: usize,
}

/// Two looks at a profile side by side: [`Sites::growth_since`].
#[derive(Debug)]
pub struct Growth<'a> {
    before: &'a Sites,
    after: &'a Sites,
    sites: Array<Kept>,
}

/// How a site has changed.
#[derive(Clone, Copy, Debug)]
pub struct SiteGrowth<'a> {
    kept: &'a Kept,
    before: Option<Site<'a>>,
    after: Option<Site<'a>>,
    /// How long it was from one look to the other.
    span: Duration,
    is_one_profile: bool,
}

/// What speaks for a leak at some sites.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspicion {
    events: Events,
    had: usize,
    stayed: usize,
}

impl Sites {
    /// What has changed since an earlier look. What is sampled in both is the same block: only what came and went is
    /// uncertain. Blocks that are older than the profile are left out. O(samples + stacks log stacks).
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn growth_since<'a>(&'a self, before: &'a Self) -> Result<Growth<'a>, OutOfMemory> {
        let mut growth = Growth { before, after: self, sites: Array::new() };
        let twins = growth.pair_sites()?;
        growth.compare_samples(&twins);
        Ok(growth)
    }
}

impl<'a> Growth<'a> {
    /// Enters each site once; for those of the earlier look, where that is.
    fn pair_sites(&mut self) -> Result<Array<u32>, OutOfMemory> {
        let frames = |sites: &'a Sites, number: u32| {
            sites.site(number as usize).map(|site| site.frames()).unwrap_or_default()
        };
        let (before, after) = (self.before, self.after);
        let mut order = Array::new();
        for (number, _) in (0..).zip(after.iter()) {
            let kept = Kept::of(NONE, number);
            self.sites.push(kept)?;
            order.push(number)?;
        }
        order.sort_by(|one: &u32, other| frames(after, *one).cmp(frames(after, *other)));
        let mut twins = Array::new();
        for (number, site) in (0..).zip(before.iter()) {
            let found = order.binary_search_by(|other| frames(after, *other).cmp(site.frames()));
            let twin = match found.ok().and_then(|index| order.get(index).copied()) {
                Some(twin) => twin,
                None => u32::try_from(self.sites.len()).map_err(|_| OutOfMemory)?,
            };
            match self.sites.items_mut().get_mut(twin as usize) {
                Some(kept) => kept.before = number,
                None => self.sites.push(Kept::of(number, NONE))?,
            }
            twins.push(twin)?;
        }
        Ok(twins)
    }

    /// Goes over the samples of both, in address order.
    fn compare_samples(&mut self, twins: &[u32]) {
        let (before, after) = (&*self.before.samples, &*self.after.samples);
        let is_one_profile = self.is_one_profile();
        let twin_of = |sample: &Record| twins.get(sample.stack as usize).copied().unwrap_or(OLDER);
        let sites = self.sites.items_mut();
        let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.address.cmp(&new.address),
            };
            let went = if order.is_le() { old.next() } else { None };
            let came = if order.is_ge() { new.next() } else { None };
            let twin = went.map_or(OLDER, twin_of);
            if let (Some(went), Some(came)) = (went, came)
                && is_one_profile
                && went.at == came.at
                && twin == came.stack
            {
                if let Some(site) = sites.get_mut(twin as usize) {
                    site.stay(went, came);
                }
                continue;
            }
            if let (Some(went), Some(site)) = (went, sites.get_mut(twin as usize)) {
                site.go(went);
            }
            if let Some((came, site)) =
                came.and_then(|came| Some((came, sites.get_mut(came.stack as usize)?)))
            {
                site.come(came);
            }
        }
    }

    /// Whether both looks are at one profile, that was not begun anew in between.
    fn is_one_profile(&self) -> bool {
        self.before.profile == self.after.profile
    }

    /// How long it was from one look to the other.
    #[must_use]
    pub const fn span(&self) -> Duration {
        Duration::from_millis(self.after.at.saturating_sub(self.before.at))
    }

    /// The earlier look.
    #[must_use]
    pub const fn before(&self) -> &'a Sites {
        self.before
    }

    /// The later look.
    #[must_use]
    pub const fn after(&self) -> &'a Sites {
        self.after
    }

    /// How a site of the later look has changed, by its [number](Site::number).
    #[must_use]
    pub fn site(&self, number: usize) -> Option<SiteGrowth<'_>> {
        let kept = self.sites.get(number).filter(|kept| kept.after != NONE)?;
        Some(self.growth_of(kept))
    }

    fn growth_of<'growth>(&'growth self, kept: &'growth Kept) -> SiteGrowth<'growth> {
        SiteGrowth {
            kept,
            before: self.before.site(kept.before as usize),
            after: self.after.site(kept.after as usize),
            span: self.span(),
            is_one_profile: self.is_one_profile(),
        }
    }

    /// All sites that are in one of the looks, first those of the later one by their numbers.
    pub fn iter(&self) -> impl Iterator<Item = SiteGrowth<'_>> {
        self.sites.iter().map(|kept| self.growth_of(kept))
    }
}

impl Kept {
    fn of(before: u32, after: u32) -> Self {
        Self {
            before,
            after,
            blocks: Change::NONE,
            bytes: Change::NONE,
            events: Events::default(),
            stayed: 0,
        }
    }

    fn come(&mut self, record: &Record) {
        self.events.add(0, record.chance);
        self.blocks.came.add(1.0, record.chance);
        self.bytes.came.add(record.block_bytes as f64, record.chance);
    }

    fn go(&mut self, record: &Record) {
        self.events.add(1, record.chance);
        self.blocks.went.add(1.0, record.chance);
        self.bytes.went.add(record.block_bytes as f64, record.chance);
    }

    /// A block that is there still, if with another size.
    fn stay(&mut self, before: &Record, after: &Record) {
        self.stayed += 1;
        if before.block_bytes != after.block_bytes {
            self.bytes.went.add(before.block_bytes as f64, before.chance);
            self.bytes.came.add(after.block_bytes as f64, after.chance);
        }
    }
}

impl<'a> SiteGrowth<'a> {
    /// The site as it is now, or was before if it is not there any more.
    #[must_use]
    pub fn site(&self) -> Option<Site<'a>> {
        self.after.or(self.before)
    }

    /// The site as it is now.
    #[must_use]
    pub const fn now(&self) -> Option<Site<'a>> {
        self.after
    }

    /// How its live blocks have changed.
    #[must_use]
    pub const fn blocks(&self) -> Change {
        self.kept.blocks
    }

    /// How the bytes of its live blocks have changed.
    #[must_use]
    pub const fn bytes(&self) -> Change {
        self.kept.bytes
    }

    /// How many samples of the earlier look are live still.
    #[must_use]
    pub const fn stayed(&self) -> usize {
        self.kept.stayed
    }

    /// How many blocks, and bytes, the site has allocated a second: *cluster samples*, see [`Site::allocated`]. None if
    /// another profile has begun in between.
    #[must_use]
    pub fn allocated_per_second(&self) -> Option<(f64, f64)> {
        let seconds = self.span.as_secs_f64();
        let sum = |site: Option<Site<'a>>| site.map_or((0.0, 0.0), |site| site.allocated());
        let (before, after) = (sum(self.before), sum(self.after));
        (self.is_one_profile && seconds > 0.0)
            .then(|| ((after.0 - before.0) / seconds, (after.1 - before.1) / seconds))
    }

    /// Whether the stack is suspected of a leak: it has more live blocks than before, by more than three standard
    /// deviations, what was there before is getting older, and at least three of four samples of it are live still. A
    /// cache that is being filled looks the same.
    #[must_use]
    pub fn is_leak_suspect(&self) -> bool {
        Suspicion::of(self).is_of_a_leak()
    }
}

impl Suspicion {
    /// What speaks for it at one site.
    pub(crate) fn of(site: &SiteGrowth<'_>) -> Self {
        let had = site.before.map_or(0, |before| before.samples());
        Self { events: site.kept.events, had, stayed: site.stayed() }
    }

    /// How many blocks there are more.
    #[cfg(feature = "report")]
    pub(crate) const fn growth(&self) -> f64 {
        self.events.growth()
    }

    /// How many of the samples that there were are live still, and how many there were.
    #[cfg(feature = "report")]
    pub(crate) const fn stayed_of(&self) -> (usize, usize) {
        (self.stayed, self.had)
    }

    /// Whether there are more blocks than before, by more than chance explains, and little of what was there is gone.
    /// Where another profile has begun in between, nothing has stayed.
    pub(crate) fn is_of_a_leak(&self) -> bool {
        self.events.least_growth() > 0.0
            && self.stayed > 0
            && self.stayed * LEAST_STAYED.1 >= self.had * LEAST_STAYED.0
    }
}

impl AddAssign for Suspicion {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.had += other.had;
        self.stayed += other.stayed;
    }
}

/// The part of earlier blocks that a leak has still, at the least: three of four.
const LEAST_STAYED: (usize, usize) = (3, 4);
