//! The tree of the index, and the ways down: a B+ tree. Leaves hold the segments themselves, packed column by column,
//! and are linked in both directions; an inner node knows, for each child, the child's first address and its largest
//! hole. So one descent finds the segment an address lies in, and one descent finds the first hole, in address order,
//! that is large enough: where a child's largest hole suffices, the descent never has to come back.
//!
//! Invariants: **I1** `first[i]` of an inner node is the start of the first segment below child `i`, `largest[i]` its
//! largest hole; **I2** no node is empty, but the tree may be (`height` 0); **I3** two neighbouring children of one
//! inner node hold more than [`Index::MERGE_COUNT`] entries between them, so the height stays logarithmic however
//! segments come and go; **I4** one [`Index::splice`] creates at most one leaf and `height` inner nodes.
//!
//! Why a B+ tree: with a million segments the nodes do not fit in the caches, and what costs is the number of cache
//! lines on the way down. A balanced binary tree visits about 20 of them, this one 4 or 5.

use super::super::node_arena::{ChunkSource, Id, NodeArena};
use super::super::segment::{Extent, Segment};
use super::node::{Child, Inner, Leaf, Search};
use crate::base::os::OutOfMemory;

/// Entries of a node. Of 16, 24, 32, 48, 64 and 128, 32 was the best in the free-list benchmark over all sizes and
/// operations: smaller nodes make the tree higher, in larger ones a change moves and compares more.
pub(crate) const FANOUT: usize = 32;

/// The greatest height. With more than 7 entries a node on average (I3) 16 levels hold more leaves than ids exist.
const MAX_HEIGHT: usize = 16;

/// The index. `N` is the number of entries of a node, a parameter so that tests can make trees high.
#[derive(Debug)]
pub(crate) struct Index<const N: usize = FANOUT> {
    pub(super) leaves: NodeArena<Leaf<N>>,
    pub(super) inners: NodeArena<Inner<N>>,
    pub(super) root: Child<N>,
    /// Levels, the leaves' included; 0 when the tree is empty.
    pub(super) height: usize,
    pub(super) first_leaf: Id<Leaf<N>>,
    pub(super) last_leaf: Id<Leaf<N>>,
    #[cfg(test)]
    pub(crate) visits: core::cell::Cell<u64>,
}

/// The place of one segment. Valid until the next change.
#[derive(Debug)]
pub(crate) struct Cursor<const N: usize = FANOUT> {
    leaf: Id<Leaf<N>>,
    index: usize,
}

impl<const N: usize> Clone for Cursor<N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<const N: usize> Copy for Cursor<N> {}

/// A place and the way down to it. Valid until the next change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<const N: usize = FANOUT> {
    /// The inner nodes from the root down, each with the child taken.
    pub(super) steps: [(Child<N>, u32); MAX_HEIGHT - 1],
    pub(super) leaf: Id<Leaf<N>>,
    pub(super) index: usize,
}

impl<const N: usize> Path<N> {
    pub(super) const fn new() -> Self {
        Self { steps: [(Id::NONE, 0); MAX_HEIGHT - 1], leaf: Id::NONE, index: 0 }
    }

    /// The same way, `count` segments earlier, if they stand in the same leaf.
    #[inline]
    pub(crate) fn back(&self, count: usize) -> Option<Self> {
        self.index.checked_sub(count).map(|index| Self { index, ..*self })
    }

    /// The place.
    #[inline]
    pub(crate) fn cursor(&self) -> Cursor<N> {
        Cursor { leaf: self.leaf, index: self.index }
    }
}

impl<const N: usize> Index<N> {
    /// An index without segments and without memory.
    pub(crate) const fn new() -> Self {
        Self {
            leaves: NodeArena::new(),
            inners: NodeArena::new(),
            root: Id::NONE,
            height: 0,
            first_leaf: Id::NONE,
            last_leaf: Id::NONE,
            #[cfg(test)]
            visits: core::cell::Cell::new(0),
        }
    }

    /// Makes sure that the next `splices` calls of [`Index::splice`] find all the nodes they need (I4).
    #[inline]
    pub(crate) fn reserve(
        &mut self,
        splices: usize,
        source: &mut dyn ChunkSource,
    ) -> Result<(), OutOfMemory> {
        if self.height + splices > MAX_HEIGHT {
            return Err(OutOfMemory);
        }
        self.leaves.reserve(splices, source)?;
        self.inners.reserve(splices * (self.height + splices), source)
    }

    /// Makes sure that there are as many nodes again as are in use: blocks that come and go leave nodes half empty,
    /// where the same blocks in ascending order had filled them.
    pub(crate) fn reserve_spare(
        &mut self,
        source: &mut dyn ChunkSource,
    ) -> Result<(), OutOfMemory> {
        self.leaves.reserve(self.leaves.live_count(), source)?;
        self.inners.reserve(self.inners.live_count(), source)
    }

    /// Bytes that the nodes' chunks take.
    pub(crate) fn mapped_bytes(&self) -> usize {
        self.leaves.mapped_bytes() + self.inners.mapped_bytes()
    }

    /// Gives all memory back; the index is as new.
    pub(crate) fn release(&mut self, source: &mut dyn ChunkSource) {
        self.leaves.release(source);
        self.inners.release(source);
        (self.root, self.height) = (Id::NONE, 0);
        (self.first_leaf, self.last_leaf) = (Id::NONE, Id::NONE);
    }

    /// Inner levels.
    #[inline]
    pub(super) fn inner_levels(&self) -> usize {
        self.height.saturating_sub(1)
    }

    #[inline]
    pub(super) fn leaf(&self, id: Id<Leaf<N>>) -> &Leaf<N> {
        #[cfg(test)]
        self.visits.set(self.visits.get() + 1);
        self.leaves.get(id)
    }

    #[inline]
    pub(super) fn inner(&self, id: Child<N>) -> &Inner<N> {
        #[cfg(test)]
        self.visits.set(self.visits.get() + 1);
        self.inners.get(id)
    }

    /// The last segment that starts at or before `address`. O(log n).
    #[inline]
    pub(crate) fn locate(&self, address: usize) -> Option<Path<N>> {
        if self.height == 0 {
            return None;
        }
        let mut path = Path::new();
        let mut child = self.root;
        for step in path.steps.iter_mut().take(self.inner_levels()) {
            let inner = self.inner(child);
            let taken = inner.child_at(address, Search::Counting);
            *step = (child, taken);
            child = inner.child(taken);
        }
        path.leaf = child.cast();
        path.index = self.leaf(path.leaf).last_at_or_before(address, Search::Counting)?;
        Some(path)
    }

    /// The segment that has an address, without the way to it.
    #[inline]
    pub(crate) fn find(&self, address: usize) -> Option<Segment> {
        if self.height == 0 {
            return None;
        }
        let mut child = self.root;
        for _ in 0..self.inner_levels() {
            let inner = self.inner(child);
            child = inner.child(inner.child_at(address, Search::Halving));
        }
        let leaf = self.leaf(child.cast());
        Some(leaf.segment(leaf.last_at_or_before(address, Search::Halving)?))
    }

    /// The first hole, in address order, of at least `size` bytes, which may be more than any hole has. O(log n).
    #[inline]
    pub(crate) fn first_fit(&self, size: usize) -> Option<Path<N>> {
        if self.height == 0 || size > Extent::MAX_SIZE {
            return None;
        }
        let wanted = Extent::hole(size);
        let mut path = Path::new();
        let mut child = self.root;
        for step in path.steps.iter_mut().take(self.inner_levels()) {
            let inner = self.inner(child);
            let taken = inner.first_child_with(wanted)?;
            *step = (child, taken);
            child = inner.child(taken);
        }
        path.leaf = child.cast();
        path.index = self.leaf(path.leaf).first_with(wanted)?;
        Some(path)
    }

    /// The first hole behind a place of at least `size` bytes, which may be more than any hole has. O(log n).
    pub(crate) fn next_fit(&self, path: &Path<N>, size: usize) -> Option<Path<N>> {
        if size > Extent::MAX_SIZE {
            return None;
        }
        let wanted = Extent::hole(size);
        let mut path = *path;
        if let Some(index) = self.leaf(path.leaf).next_with(path.index + 1, wanted) {
            path.index = index;
            return Some(path);
        }
        // Up to the lowest inner node that has another child with such a hole, and down from there.
        for level in (0..self.inner_levels()).rev() {
            let (inner, taken) = path.steps[level];
            let Some(taken) = self.inner(inner).next_child_with(taken + 1, wanted) else {
                continue;
            };
            path.steps[level] = (inner, taken);
            let mut child = self.inner(inner).child(taken);
            for step in path.steps.iter_mut().take(self.inner_levels()).skip(level + 1) {
                let inner = self.inner(child);
                let taken = inner.first_child_with(wanted)?;
                *step = (child, taken);
                child = inner.child(taken);
            }
            path.leaf = child.cast();
            path.index = self.leaf(path.leaf).first_with(wanted)?;
            return Some(path);
        }
        None
    }

    /// The segment at a place.
    #[inline]
    pub(crate) fn segment(&self, at: Cursor<N>) -> Segment {
        self.leaves.get(at.leaf).segment(at.index)
    }

    /// The place of the first segment.
    pub(crate) fn first(&self) -> Option<Cursor<N>> {
        self.first_leaf.some().map(|leaf| Cursor { leaf, index: 0 })
    }

    /// The place behind.
    #[inline]
    pub(crate) fn next(&self, at: Cursor<N>) -> Option<Cursor<N>> {
        let leaf = self.leaves.get(at.leaf);
        if at.index + 1 < leaf.len() {
            return Some(Cursor { leaf: at.leaf, index: at.index + 1 });
        }
        leaf.next.some().map(|leaf| Cursor { leaf, index: 0 })
    }

    /// The place in front.
    #[inline]
    pub(crate) fn prev(&self, at: Cursor<N>) -> Option<Cursor<N>> {
        if at.index > 0 {
            return Some(Cursor { leaf: at.leaf, index: at.index - 1 });
        }
        let leaf = self.leaves.get(at.leaf).prev.some()?;
        Some(Cursor { leaf, index: self.leaves.get(leaf).len() - 1 })
    }

    /// The segments in front of a place and behind it.
    #[inline]
    pub(crate) fn beside(&self, path: &Path<N>) -> [Option<Segment>; 2] {
        let leaf = self.leaves.get(path.leaf);
        if path.index > 0 && path.index + 1 < leaf.len() {
            return [Some(leaf.segment(path.index - 1)), Some(leaf.segment(path.index + 1))];
        }
        let at = path.cursor();
        [self.prev(at), self.next(at)].map(|at| at.map(|at| self.segment(at)))
    }

    /// The largest hole of all. O(1) but for the root's entries.
    pub(crate) fn largest_hole(&self) -> usize {
        match self.height {
            0 => 0,
            1 => self.leaf(self.root.cast()).largest().size(),
            _ => self.inner(self.root).largest().size(),
        }
    }
}
