//! Stacks, each noted once, in mappings of their own. They stay until another profile begins.

use super::walk::{Frames, StackEnd};
use crate::base::array::Array;
use crate::base::os::OutOfMemory;

/// Places of the first index.
const FIRST_PLACES: usize = 1024;
/// A place of the index without a stack.
const NONE: u32 = u32::MAX;

/// A stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stack {
    hash: u64,
    first: usize,
    len: usize,
    /// Where the walk ended.
    pub(super) end: StackEnd,
    /// How many blocks that were allocated there the samples stand for, and their bytes.
    pub(super) allocated: [f64; 2],
}

/// All stacks that were met.
#[derive(Debug)]
pub(super) struct Stacks {
    frames: Array<usize>,
    stacks: Array<Stack>,
    /// The numbers of stacks, each at the first free place from where its hash points to; at most half full.
    index: Array<u32>,
}

impl Stacks {
    pub(super) const fn new() -> Self {
        Self { frames: Array::new(), stacks: Array::new(), index: Array::new() }
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// All of them with their frames, by their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Stack, &[usize])> {
        self.stacks.iter().map(|stack| (stack, self.frames_of(stack)))
    }

    fn frames_of(&self, stack: &Stack) -> &[usize] {
        self.frames.get(stack.first..stack.first + stack.len).unwrap_or_default()
    }

    /// Counts that samples there stand for this many blocks, and bytes, more.
    pub(super) fn count(&mut self, number: u32, blocks: f64, bytes: f64) {
        if let Some(stack) = self.stacks.items_mut().get_mut(number as usize) {
            stack.allocated[0] += blocks;
            stack.allocated[1] += bytes;
        }
    }

    /// The number of a stack, which is noted if it is new. O(frames). Nothing has changed where there is no memory.
    pub(super) fn intern(&mut self, frames: &Frames) -> Result<u32, OutOfMemory> {
        let (addresses, hash) = (frames.addresses(), hash_of(frames.addresses()));
        if 2 * (self.stacks.len() + 1) > self.index.len() {
            self.grow()?;
        }
        let place = match self.find(hash, |stack| self.frames_of(stack) == addresses) {
            Ok(number) => return Ok(number),
            Err(place) => place,
        };
        let (first, len) = (self.frames.len(), addresses.len());
        for address in addresses {
            self.frames.push(*address).inspect_err(|_| self.frames.truncate(first))?;
        }
        let number = u32::try_from(self.stacks.len()).map_err(|_| OutOfMemory)?;
        let stack = Stack { hash, first, len, end: frames.end, allocated: [0.0; 2] };
        self.stacks.push(stack).inspect_err(|_| self.frames.truncate(first))?;
        self.index.items_mut()[place] = number;
        Ok(number)
    }

    /// The number of a stack with this hash, or the place for it.
    fn find(&self, hash: u64, is_meant: impl Fn(&Stack) -> bool) -> Result<u32, usize> {
        let mask = self.index.len() - 1;
        let mut place = place_of(hash, mask);
        loop {
            let number = self.index.get(place).copied().unwrap_or(NONE);
            match self.stacks.get(number as usize) {
                Some(stack) if stack.hash == hash && is_meant(stack) => return Ok(number),
                Some(_) => place = (place + 1) & mask,
                None => return Err(place),
            }
        }
    }

    /// Makes the index twice as large.
    #[cold]
    fn grow(&mut self) -> Result<(), OutOfMemory> {
        let places = (2 * self.index.len()).max(FIRST_PLACES);
        let mut index = Array::new();
        (0..places).try_for_each(|_| index.push(NONE))?;
        self.index = index;
        for number in 0..self.stacks.len() {
            let hash = self.stacks.get(number).map_or(0, |stack| stack.hash);
            if let (Err(place), Ok(number)) = (self.find(hash, |_| false), u32::try_from(number)) {
                self.index.items_mut()[place] = number;
            }
        }
        Ok(())
    }
}

const fn place_of(hash: u64, mask: usize) -> usize {
    (hash >> 32) as usize & mask
}

/// A number for some addresses; others have another one as a rule.
fn hash_of(addresses: &[usize]) -> u64 {
    addresses.iter().fold(addresses.len() as u64, |hash, address| {
        let mixed = (hash ^ *address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(addresses: &[usize]) -> Frames {
        let mut frames = Frames::new();
        assert!(addresses.iter().all(|address| frames.push(*address)));
        frames
    }

    #[test]
    fn each_stack_is_noted_once() {
        let mut stacks = Stacks::new();
        let all = || (0..5000_usize).map(|number| stack(&[number / 7, 1, number]));
        for frames in all().chain(all()) {
            let number = stacks.intern(&frames).expect("memory");
            stacks.count(number, 1.0, 8.0);
        }
        assert_eq!(stacks.iter().count(), 5000);
        for ((found, addresses), frames) in stacks.iter().zip(all()) {
            assert_eq!((addresses, found.allocated), (frames.addresses(), [2.0, 16.0]));
        }
        stacks.clear();
        assert_eq!(stacks.iter().count(), 0);
        assert_eq!(stacks.intern(&stack(&[])), Ok(0), "a stack of which nothing is known");
    }
}
