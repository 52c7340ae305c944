//! How many dirty bytes have been idle, and when they go back.
//!
//! Dirty bytes are those of holes whose pages may be resident. Their number goes up and down with the program's work;
//! the *lowest* number within the last second, or however long [`Policy`] says, tells how many were not needed in all
//! that time, whichever they were. What is idle beyond what the heap keeps goes back, from the highest addresses down,
//! since first fit needs those last. (The low-water mark is what tcmalloc's caches shrink by; here it is taken over a
//! sliding window of quarters.)
//!
//! A heap that grows beyond all it ever had, although there are holes, evidently cannot use these for what it needs:
//! huge blocks do not fit those of slabs, and slabs do not go where huge blocks do. Then as much of the holes goes back
//! at once, so that the heap grows out of them. A program that goes to and fro between the same sizes pays for that
//! once.
//!
//! There is no thread for it: each thread that uses the free list, or refills a magazine, looks at the clock.

use crate::base::clock;

/// Parts of the time whose low-water marks are kept.
const QUARTERS: usize = 4;
/// Idle bytes that are kept, whatever the heap holds.
const KEPT_BYTES: usize = 4 << 20;
/// Who lets pages wait for longer than a day wants them to stay.
const NEVER_MS: u64 = 24 * 3600 * 1000 / QUARTERS as u64;
/// Holes go back for growth in steps of this many bytes, as a system call is worth.
const LEAST_GROWTH: usize = 256 << 10;
/// A heap keeps this part of its live bytes idle, if that is more than [`KEPT_BYTES`].
const KEPT_SHARE: usize = 8;

/// What goes back, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// How long bytes must have been idle, in milliseconds.
    pub(crate) decay_ms: usize,
    /// Idle bytes that are kept; `None` for 4 MiB or 1/8 of what is live.
    pub(crate) retained_bytes: Option<usize>,
}

impl Policy {
    /// What holds where nothing else is wanted.
    pub(super) const DEFAULT: Self = Self { decay_ms: 100, retained_bytes: None };
}

/// The low-water marks.
#[derive(Debug)]
pub(super) struct Decay {
    /// The length of a quarter, in milliseconds.
    quarter_ms: u64,
    /// Idle bytes that are kept.
    retained_bytes: Option<usize>,
    /// The lowest number of dirty bytes in each of the last quarters, the oldest first.
    lowest: [usize; QUARTERS],
    /// The lowest number in the quarter that runs.
    current: usize,
    /// The number at the last look, and how many of them may stay.
    last: usize,
    most_kept: usize,
    /// The most bytes that were in use or dirty, but for what holes have been asked for since.
    peak: usize,
    /// The quarter that runs.
    quarter: u64,
    /// Holes from here on have been looked at in this round, and whether one of them was fit to go.
    pub(super) below: usize,
    is_any_fit: bool,
    /// The quarter in which all holes were looked at in vain; what is idle nevertheless lies in holes that stay.
    rests_in: u64,
}

impl Decay {
    /// Nothing is dirty yet.
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            quarter_ms: (policy.decay_ms / QUARTERS).max(1) as u64,
            retained_bytes: policy.retained_bytes,
            lowest: [0; QUARTERS],
            current: 0,
            last: 0,
            most_kept: 0,
            peak: 0,
            quarter: 0,
            below: usize::MAX,
            is_any_fit: false,
            rests_in: u64::MAX,
        }
    }

    /// Says where to look for the next hole: below an address, or anew when all have been looked at. If none of them
    /// was found fit to go, nobody looks before the next quarter: for each call that would cost more than it gives.
    pub(super) const fn go_on_below(&mut self, below: usize, is_fit: bool) {
        self.below = below;
        if is_fit {
            self.is_any_fit = true;
        } else if below == usize::MAX {
            if !self.is_any_fit {
                self.rests_in = self.quarter;
            }
            self.is_any_fit = false;
        }
    }

    /// Notes how many bytes are dirty. Returns how many ought to go back, where `live` bytes are in use.
    pub(super) fn note(&mut self, dirty: usize, live: usize) -> usize {
        self.note_at(clock::milliseconds() / self.quarter_ms, dirty, live)
    }

    fn note_at(&mut self, quarter: u64, dirty: usize, live: usize) -> usize {
        let passed = quarter.saturating_sub(self.quarter);
        self.quarter = self.quarter.max(quarter);
        for _ in 0..passed.min(QUARTERS as u64 + 1) {
            self.lowest.rotate_left(1);
            self.lowest[QUARTERS - 1] = self.current;
            // Nobody came by until now, so nothing changed.
            self.current = self.last;
        }
        (self.current, self.last) = (self.current.min(dirty), dirty);
        let idle = self.lowest.iter().fold(self.current, |lowest, other| lowest.min(*other));
        let kept = self.retained_bytes.unwrap_or(KEPT_BYTES.max(live / KEPT_SHARE));
        // A little more than what is kept is not worth a system call.
        self.most_kept = kept.saturating_add(kept / 4);
        let is_resting = self.rests_in == self.quarter;
        let spare = |bytes| if bytes > self.most_kept && !is_resting { bytes - kept } else { 0 };
        let (idle, in_the_way) = (spare(idle), spare(dirty));
        idle.max(self.grow(dirty + live, in_the_way))
    }

    /// Notes how many bytes are in use or dirty. Returns how many of those that are `in_the_way` ought to make up for
    /// growth.
    fn grow(&mut self, resident: usize, in_the_way: usize) -> usize {
        let growth = resident.saturating_sub(self.peak);
        if self.quarter_ms >= NEVER_MS || in_the_way < LEAST_GROWTH {
            self.peak += growth;
            return 0;
        }
        let wanted = growth.min(in_the_way);
        if wanted < LEAST_GROWTH {
            // Until there is more of it.
            return 0;
        }
        self.peak += growth - wanted;
        wanted
    }

    /// Whether something may go back if nobody needs it for the whole time.
    pub(super) const fn waits(&self) -> bool {
        self.last > self.most_kept && self.rests_in != self.quarter
    }

    /// Notes that `bytes` of what is dirty now were not needed all the time, though they were no hole.
    pub(super) fn count_as_idle(&mut self, bytes: usize) {
        let marks = self.lowest.iter_mut().chain([&mut self.current]);
        marks.for_each(|lowest| *lowest += bytes);
    }

    /// The first millisecond of the next quarter.
    pub(super) const fn next_tick(&self) -> u64 {
        (self.quarter + 1).saturating_mul(self.quarter_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn what_was_idle_for_the_whole_time_goes() {
        let mut decay = Decay::new(Policy::DEFAULT);
        assert_eq!(decay.note_at(10, 0, 100 * MIB), 0);
        assert_eq!(decay.note_at(10, 100 * MIB, 0), 0, "it has just become dirty");
        assert_eq!(decay.note_at(12, 100 * MIB, 0), 0);
        assert_eq!(decay.note_at(13, 90 * MIB, 0), 0);
        assert_eq!(decay.note_at(15, 100 * MIB, 0), 86 * MIB, "90 MiB were not needed at any time");
        assert_eq!(
            decay.note_at(15, 14 * MIB, 0),
            10 * MIB,
            "what has gone is not asked for again"
        );
        assert_eq!(decay.note_at(15, 4 * MIB, 0), 0);
    }

    #[test]
    fn who_comes_back_after_long_finds_it_idle_and_who_uses_it_keeps_it() {
        let mut decay = Decay::new(Policy::DEFAULT);
        decay.note_at(1, 0, 500 * MIB);
        decay.note_at(1, 500 * MIB, 0);
        assert_eq!(decay.note_at(1000, 500 * MIB, 0), 496 * MIB);
        let mut busy = Decay::new(Policy::DEFAULT);
        busy.note_at(1, 0, 256 * MIB);
        for quarter in 1..100 {
            assert_eq!(busy.note_at(quarter, 256 * MIB, 0), 0);
            assert_eq!(busy.note_at(quarter, 0, 256 * MIB), 0, "each quarter needs all of it");
        }
        let mut large = Decay::new(Policy::DEFAULT);
        large.note_at(1, 0, 1100 * MIB);
        large.note_at(1, 100 * MIB, 1000 * MIB);
        assert_eq!(large.note_at(50, 100 * MIB, 1000 * MIB), 0, "a large heap keeps more");
    }

    /// Found where 60 MiB were idle in holes that are too small to go: each refill of a magazine went over all of them.
    #[test]
    fn who_has_looked_at_all_holes_rests_until_the_next_quarter() {
        let mut decay = Decay::new(Policy::DEFAULT);
        decay.note_at(1, 0, 100 * MIB);
        decay.note_at(1, 100 * MIB, 0);
        assert_eq!(decay.note_at(7, 100 * MIB, 0), 96 * MIB);
        decay.go_on_below(usize::MAX, false);
        assert_eq!(decay.note_at(7, 100 * MIB, 0), 0);
        assert_eq!(decay.note_at(8, 100 * MIB, 0), 96 * MIB);
    }

    #[test]
    fn what_was_idle_before_it_was_a_hole_goes_at_once() {
        let mut decay = Decay::new(Policy::DEFAULT);
        decay.note_at(1, 0, 100 * MIB);
        decay.note_at(9, 0, 100 * MIB);
        assert_eq!(decay.note_at(9, 80 * MIB, 0), 0);
        decay.count_as_idle(80 * MIB);
        assert_eq!(decay.note_at(9, 90 * MIB, 0), 76 * MIB, "10 MiB have just become dirty");
        assert_eq!(decay.note_at(9, 14 * MIB, 0), 10 * MIB);
        assert_eq!(decay.note_at(9, 4 * MIB, 0), 0);
    }

    #[test]
    fn another_policy_keeps_what_it_says_for_as_long_as_it_says() {
        let policy = Policy { decay_ms: 0, retained_bytes: Some(0) };
        let mut decay = Decay::new(policy);
        decay.note_at(1, 100 * MIB, 1000 * MIB);
        assert_eq!(decay.note_at(7, 100 * MIB, 1000 * MIB), 100 * MIB);
        assert_eq!(decay.next_tick(), 8, "a quarter is a millisecond at the least");
        let mut never = Decay::new(Policy { decay_ms: usize::MAX, retained_bytes: None });
        assert_eq!(never.note(100 * MIB, 0) + never.note(100 * MIB, 0), 0);
    }

    /// Found with maps whose tables are huge blocks, beside the holes that their entries had left.
    #[test]
    fn what_grows_beyond_all_there_was_grows_out_of_holes() {
        let mut decay = Decay::new(Policy::DEFAULT);
        decay.note_at(1, 0, 100 * MIB);
        assert_eq!(decay.note_at(1, 60 * MIB, 40 * MIB), 0, "it has not grown");
        assert_eq!(decay.note_at(1, 60 * MIB, 40 * MIB + 1000), 0, "too little for a system call");
        assert_eq!(decay.note_at(1, 60 * MIB, 41 * MIB), MIB);
        assert_eq!(decay.note_at(1, 59 * MIB, 41 * MIB), 0, "so much has gone");
        assert_eq!(
            decay.note_at(1, 59 * MIB, 101 * MIB),
            59 * MIB - 101 * MIB / 8,
            "as far as there are any"
        );
        assert_eq!(decay.note_at(1, 12 * MIB, 101 * MIB), 0);
        assert_eq!(decay.note_at(1, 12 * MIB, 200 * MIB), 0, "what is kept anyway");
        assert_eq!(decay.note_at(1, 100 * MIB, 112 * MIB), 0, "as much as there was");
    }

    #[test]
    fn who_gives_nothing_back_grows_beside_holes() {
        let mut never = Decay::new(Policy { decay_ms: usize::MAX, retained_bytes: None });
        assert_eq!(never.note_at(0, 100 * MIB, 0) + never.note_at(0, 100 * MIB, 100 * MIB), 0);
        let mut resting = Decay::new(Policy::DEFAULT);
        resting.note_at(1, 100 * MIB, 0);
        resting.go_on_below(usize::MAX, false);
        assert_eq!(resting.note_at(1, 100 * MIB, 50 * MIB), 0, "no hole is large enough");
    }
}
