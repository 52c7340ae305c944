//! Stacks, each noted once, in mappings of their own. They stay until another profile begins.

use super::walk::{Frames, StackEnd};
use crate::base::array::Array;
use crate::base::index::Index;
use crate::base::os::OutOfMemory;

/// A stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stack {
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
    /// The numbers of stacks.
    index: Index,
}

impl Stacks {
    pub(super) const fn new() -> Self {
        Self { frames: Array::new(), stacks: Array::new(), index: Index::new() }
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// All of them with their frames, by their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Stack, &[usize])> {
        self.stacks.iter().map(|stack| (stack, self.frames_of(stack)))
    }

    /// The frames of the stack with this number.
    pub(super) fn frames(&self, number: u32) -> Option<&[usize]> {
        self.stacks.get(number as usize).map(|stack| self.frames_of(stack))
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
        self.index.reserve()?;
        let is_meant = |number: u32| {
            let stack = self.stacks.get(number as usize);
            stack.is_some_and(|stack| self.frames_of(stack) == addresses)
        };
        let place = match self.index.find(hash, is_meant) {
            Ok(number) => return Ok(number),
            Err(place) => place,
        };
        let (first, len) = (self.frames.len(), addresses.len());
        for address in addresses {
            self.frames.push(*address).inspect_err(|_| self.frames.truncate(first))?;
        }
        let number = self.index.next();
        let stack = Stack { first, len, end: frames.end, allocated: [0.0; 2] };
        self.stacks.push(stack).inspect_err(|_| self.frames.truncate(first))?;
        self.index.enter(place, hash);
        Ok(number)
    }
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
