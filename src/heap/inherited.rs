//! What the child of a fork may give back of the memory that it has from its parent.
//!
//! The kernel merges a fresh mapping with those beside it, but not with what a child has inherited. Each run that goes
//! back there becomes a mapping of its own, and splits another in two, until the process has all the mappings that it
//! may have and no `mmap` of anybody succeeds any more. So there only whole *units* go back: inherited memory has
//! [`MOST_PARTS`] of them at the most, however often runs come and go. A unit is a page where that is enough.
//!
//! Invariant: **I1** ranges are written while there is one thread, before `unit` is, and then only by another fork.

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::base::os::MAPPINGS;
use crate::base::round::{align_down, align_up};

/// The most parts that inherited memory is split into: a quarter of the mappings that a process may have.
const MOST_PARTS: usize = MAPPINGS / 4;
/// Ranges that are known one by one.
const MOST: usize = 16;

/// What was inherited.
#[derive(Debug)]
pub(super) struct Inherited {
    /// Bytes of a unit, a power of two; 0 where nothing was inherited.
    unit: AtomicUsize,
    /// Start and end of each range.
    ranges: [(AtomicUsize, AtomicUsize); MOST],
    /// How many there are.
    count: AtomicUsize,
}

impl Inherited {
    /// Nothing.
    pub(super) const fn new() -> Self {
        let ranges = [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; MOST];
        Self { unit: AtomicUsize::new(0), ranges, count: AtomicUsize::new(0) }
    }

    /// Notes, in the child of a fork, that these ranges are inherited. Where there are more than can be told apart, the
    /// last one reaches to the end of all addresses.
    pub(super) fn note(&self, page_size: usize, inherited: impl Iterator<Item = (usize, usize)>) {
        let (mut count, mut bytes) = (0, 0);
        for (start, end) in inherited {
            bytes += end - start;
            if let Some((noted_start, noted_end)) = self.ranges.get(count) {
                noted_start.store(start, Ordering::Relaxed);
                noted_end.store(end, Ordering::Relaxed);
            } else {
                self.ranges[MOST - 1].0.fetch_min(start, Ordering::Relaxed);
                self.ranges[MOST - 1].1.store(usize::MAX, Ordering::Relaxed);
            }
            count += 1;
        }
        self.count.store(count.min(MOST), Ordering::Relaxed);
        let unit = (bytes / MOST_PARTS).next_power_of_two().max(page_size);
        self.unit.store(if count == 0 { 0 } else { unit }, Ordering::Release);
    }

    /// Start and length of the part of a run of whole pages that may go back, if there is any.
    pub(super) fn part(&self, first: usize, len: usize) -> Option<(usize, usize)> {
        let unit = self.unit.load(Ordering::Acquire);
        if unit == 0 {
            return Some((first, len));
        }
        // A run lies in one zone, so in one range at the most.
        let (mut start, mut end) = (first, first + len);
        let ranges = self.ranges.iter().take(self.count.load(Ordering::Relaxed));
        let is_touched = |(from, to): &&(AtomicUsize, AtomicUsize)| {
            from.load(Ordering::Relaxed) < end && start < to.load(Ordering::Relaxed)
        };
        if let Some((_, to)) = ranges.into_iter().find(is_touched) {
            start = align_up(start, unit)?;
            // What lies behind its end is the child's own, and a run that reaches there splits nothing.
            if end <= to.load(Ordering::Relaxed) {
                end = align_down(end, unit);
            }
        }
        (start < end).then(|| (start, end - start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;
    const PAGE: usize = 4096;

    #[test]
    fn who_has_inherited_nothing_gives_everything_back() {
        assert_eq!(Inherited::new().part(3 * PAGE, PAGE), Some((3 * PAGE, PAGE)));
    }

    #[test]
    fn little_inherited_memory_goes_back_by_pages() {
        let inherited = Inherited::new();
        inherited.note(PAGE, [(0, MIB), (10 * MIB, 20 * MIB)].into_iter());
        assert_eq!(inherited.part(3 * PAGE, PAGE), Some((3 * PAGE, PAGE)));
    }

    #[test]
    fn much_of_it_goes_back_by_units_and_what_the_child_added_by_pages() {
        let inherited = Inherited::new();
        inherited.note(PAGE, [(0, 640 * MIB)].into_iter());
        let unit = MIB / 16;
        assert_eq!(inherited.part(unit + PAGE, unit), None);
        assert_eq!(inherited.part(unit - PAGE, unit + 2 * PAGE), Some((unit, unit)));
        assert_eq!(inherited.part(640 * MIB, PAGE), Some((640 * MIB, PAGE)));
        let across = (639 * MIB + PAGE, 2 * MIB);
        assert_eq!(
            inherited.part(across.0, across.1),
            Some((639 * MIB + unit, 2 * MIB - unit + PAGE)),
            "its end is the child's own"
        );
    }

    #[test]
    fn ranges_that_are_too_many_are_taken_together_and_forgotten_by_the_next_fork() {
        let inherited = Inherited::new();
        let gib = 1024 * MIB;
        let many = (0..20).map(|number| (10 * number * gib, (10 * number + 1) * gib));
        inherited.note(PAGE, many);
        assert_eq!(inherited.part(195 * gib, PAGE), None);
        assert_eq!(inherited.part(5 * gib, PAGE), Some((5 * gib, PAGE)), "between two of them");
        inherited.note(PAGE, [(0, gib)].into_iter());
        assert_eq!(inherited.part(195 * gib, PAGE), Some((195 * gib, PAGE)));
    }
}
