//! A bump allocator: memory that is taken from the front and never given back.
//!
//! It holds numbers only: where the memory comes from and what becomes of it is the owner's affair.

use core::num::NonZeroUsize;
use core::ops::Range;

use super::round::align_up;

/// A run of memory that is used up from the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bump {
    next: usize,
    end: usize,
}

impl Bump {
    /// No memory.
    pub(crate) const EMPTY: Self = Self { next: 0, end: 0 };

    /// All of a run.
    pub(crate) const fn of(run: &Range<usize>) -> Self {
        Self { next: run.start, end: run.end }
    }

    /// Takes `len` bytes aligned to the power of two `align`: where they start. `None`, and nothing is used up, where
    /// there are not that many.
    #[inline]
    pub(crate) fn take(&mut self, len: usize, align: usize) -> Option<NonZeroUsize> {
        let start = align_up(self.next, align)?;
        let end = start.checked_add(len)?;
        if end > self.end {
            return None;
        }
        self.next = end;
        NonZeroUsize::new(start)
    }

    /// Adds a run that was just obtained. If it does not begin where the memory ends, what is left of that is lost.
    pub(crate) fn add(&mut self, run: &Range<usize>) {
        if run.start != self.end {
            self.next = run.start;
        }
        self.end = run.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(bump: &mut Bump, len: usize, align: usize) -> Option<usize> {
        bump.take(len, align).map(NonZeroUsize::get)
    }

    #[test]
    fn memory_is_taken_from_the_front_until_it_is_used_up() {
        let mut bump = Bump::of(&(100..200));
        assert_eq!(take(&mut bump, 1, 1), Some(100));
        assert_eq!(take(&mut bump, 8, 16), Some(112));
        assert_eq!(take(&mut bump, 81, 1), None);
        assert_eq!(take(&mut bump, 80, 1), Some(120), "a request that failed used nothing up");
        assert_eq!(take(&mut bump, 1, 1), None);
        assert_eq!(take(&mut bump, usize::MAX, 64), None);
    }

    #[test]
    fn a_run_that_follows_lengthens_the_memory_and_another_replaces_it() {
        let mut bump = Bump::EMPTY;
        assert_eq!(take(&mut bump, 1, 1), None);
        bump.add(&(64..128));
        assert_eq!(take(&mut bump, 40, 8), Some(64));
        bump.add(&(128..192));
        assert_eq!(take(&mut bump, 80, 8), Some(104), "across the seam");
        bump.add(&(1024..1032));
        assert_eq!(take(&mut bump, 8, 8), Some(1024), "what was left is lost");
        assert_eq!(take(&mut bump, 1, 1), None);
    }
}
