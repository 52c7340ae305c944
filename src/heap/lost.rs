//! Runs inside of zones that are lost: a failure left them unmapped, and something else may lie there by now.
//!
//! They are never handed out, mapped over or unmapped again. On Linux 6.12 and later there are none.
//!
//! Invariant: **I1** an entry is written once. Until then it stands for all addresses.

use core::sync::atomic::{AtomicUsize, Ordering};

/// Runs that are known one by one. Where there are more, all memory of the heap is taken for lost.
const MOST: usize = 32;

/// The runs. Anybody may enter and read them; there is no lock, so that a fork finds them whole.
#[derive(Debug)]
pub(super) struct LostRuns {
    /// Start and length of each. The start is written last.
    runs: [(AtomicUsize, AtomicUsize); MOST],
    /// How many were entered, or were to be.
    count: AtomicUsize,
}

impl LostRuns {
    /// None.
    pub(super) const fn new() -> Self {
        let runs = [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; MOST];
        Self { runs, count: AtomicUsize::new(0) }
    }

    /// Enters a run.
    #[cold]
    pub(super) fn enter(&self, start: usize, len: usize) {
        let index = self.count.fetch_add(1, Ordering::AcqRel);
        if let Some((entered, bytes)) = self.runs.get(index) {
            bytes.store(len, Ordering::Relaxed);
            entered.store(start, Ordering::Release);
        }
    }

    /// The first lost run that ends behind `from` and begins before `to`: where it starts, and its end.
    fn first_in(&self, from: usize, to: usize) -> Option<(usize, usize)> {
        let count = self.count.load(Ordering::Acquire);
        if count > MOST {
            return Some((from, to));
        }
        let runs =
            self.runs.iter().take(count).map(|(start, len)| match start.load(Ordering::Acquire) {
                0 => (from, to),
                start => (start, start + len.load(Ordering::Relaxed)),
            });
        runs.filter(|(start, end)| *end > from && *start < to).min()
    }

    /// Whether some byte of a run may be lost.
    pub(super) fn touches(&self, start: usize, end: usize) -> bool {
        self.first_in(start, end).is_some()
    }

    /// Where the next piece of `start..end` ends that is not lost, which may be empty, and where to go on behind the
    /// run that follows it. `None` at the end.
    pub(super) fn next_piece(&self, start: usize, end: usize) -> Option<(usize, usize)> {
        if start >= end {
            return None;
        }
        let (lost, behind) = self.first_in(start, end).unwrap_or((end, end));
        Some((lost.max(start), behind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(lost: &LostRuns, start: usize, end: usize) -> Vec<(usize, usize)> {
        let (mut from, mut pieces) = (start, Vec::new());
        while let Some((kept, next)) = lost.next_piece(from, end) {
            pieces.extend((from < kept).then_some((from, kept)));
            from = next;
        }
        pieces
    }

    #[test]
    fn what_is_not_lost_comes_in_pieces() {
        let lost = LostRuns::new();
        assert_eq!(pieces(&lost, 10, 100), [(10, 100)]);
        for (start, len) in [(60, 10), (20, 5), (95, 20), (1, 9)] {
            lost.enter(start, len);
        }
        assert_eq!(pieces(&lost, 10, 100), [(10, 20), (25, 60), (70, 95)]);
        assert_eq!(pieces(&lost, 22, 24), []);
        assert!(lost.touches(24, 26) && !lost.touches(25, 60));
    }

    #[test]
    fn where_too_many_are_lost_everything_is() {
        let lost = LostRuns::new();
        (0..=MOST).for_each(|number| lost.enter(1000 * number + 1, 1));
        assert!(lost.touches(500, 501));
        assert_eq!(pieces(&lost, 500, 501), []);
    }
}
