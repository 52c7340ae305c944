//! Freed blocks that wait before they are used again: first in, first out, bounded in bytes.

use crate::base::array::Array;
use crate::base::os::OutOfMemory;

/// The first number of places.
const FIRST_PLACES: usize = 1 << 10;

/// The queue: starts of blocks, in a ring whose length is a power of two.
#[derive(Debug)]
pub(super) struct Quarantine {
    ring: Array<usize>,
    first: usize,
    count: usize,
    bytes: usize,
}

impl Quarantine {
    /// An empty queue.
    pub(super) const fn new() -> Self {
        Self { ring: Array::new(), first: 0, count: 0, bytes: 0 }
    }

    /// Bytes that wait.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The start of the block that has waited longest.
    pub(super) fn oldest(&self) -> Option<usize> {
        (self.count > 0).then(|| self.ring[self.first])
    }

    /// Puts the block of `size` bytes at `start` behind all others.
    pub(super) fn push(&mut self, start: usize, size: usize) -> Result<(), OutOfMemory> {
        if self.count == self.ring.len() {
            self.grow()?;
        }
        let mask = self.ring.len() - 1;
        let place = (self.first + self.count) & mask;
        self.ring.items_mut()[place] = start;
        self.count += 1;
        self.bytes += size;
        Ok(())
    }

    /// Takes the oldest one out, which has `size` bytes.
    pub(super) fn pop(&mut self, size: usize) {
        self.first = (self.first + 1) & (self.ring.len() - 1);
        self.count -= 1;
        self.bytes -= size;
    }

    fn grow(&mut self) -> Result<(), OutOfMemory> {
        let len = self.ring.len();
        let mut ring = Array::zeroed((len * 2).max(FIRST_PLACES))?;
        for (index, place) in ring.items_mut().iter_mut().take(len).enumerate() {
            *place = self.ring[(self.first + index) & (len - 1)];
        }
        self.ring = ring;
        self.first = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_leave_in_the_order_in_which_they_came() {
        let mut queue = Quarantine::new();
        assert_eq!((queue.oldest(), queue.bytes()), (None, 0));
        let (mut next, mut oldest) = (1, 1);
        for round in 0..5_000 {
            for _ in 0..=round % 3 {
                queue.push(next, next).expect("memory");
                next += 1;
            }
            assert_eq!(queue.oldest(), Some(oldest));
            queue.pop(oldest);
            oldest += 1;
        }
        assert_eq!(queue.bytes(), (oldest..next).sum::<usize>());
    }
}
