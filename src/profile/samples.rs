//! The sampled blocks one by one.

use core::time::Duration;

use super::profiler::OLDER;
use super::records::Record;
use super::sites::{Site, Sites};

/// A live block that was sampled.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    record: &'a Record,
    sites: &'a Sites,
}

impl Sites {
    /// The live blocks that were sampled, in address order; those that are older than the profile, too.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample<'_>> {
        self.samples.iter().map(|record| Sample { record, sites: self })
    }
}

impl<'a> Sample<'a> {
    /// Where the block starts.
    #[must_use]
    pub const fn address(&self) -> usize {
        self.record.address
    }

    /// The bytes that it has: those of its slot, or of its run of pages.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.record.block_bytes
    }

    /// The bytes that were asked for; of a block that is older than the profile those that it has.
    #[must_use]
    pub const fn requested_bytes(&self) -> usize {
        self.record.requested
    }

    /// How many blocks it stands for: one through the probability with which such a block is sampled.
    #[must_use]
    pub const fn weight(&self) -> f64 {
        1.0 / self.record.chance
    }

    /// The site that allocated it; none if it is older than the profile.
    #[must_use]
    pub fn site(&self) -> Option<Site<'a>> {
        self.sites.site(self.record.stack as usize)
    }

    /// How long ago it was allocated; none if it is older than the profile.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let age = self.sites.at.saturating_sub(self.record.at);
        (self.record.stack != OLDER).then(|| Duration::from_millis(age))
    }

    /// What the system calls the thread that asked for it, such as in `/proc/self/task`; 0 if that is not known.
    #[must_use]
    pub const fn thread_id(&self) -> u32 {
        self.record.thread
    }

    /// The name of the label that the thread had; empty if it had none. Names are as in [`Sites::labels`].
    #[must_use]
    pub fn label(&self) -> &'a str {
        self.sites.labels.name(self.record.label)
    }

    /// The place of that label among [`Sites::labels`]; none if the block is older than the profile.
    #[cfg(feature = "report")]
    pub(crate) fn label_place(&self) -> Option<usize> {
        let place = self.sites.labels.place(self.record.label);
        place.filter(|_| self.record.stack != OLDER)
    }

    /// The name of that thread; empty if it has ended.
    #[must_use]
    pub fn thread_name(&self) -> &'a str {
        self.sites.threads.name(self.record.thread)
    }
}
