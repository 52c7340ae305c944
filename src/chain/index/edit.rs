//! The one change of the index: replacing a few neighbouring segments of one leaf by others.
//!
//! [`Index::splice`] edits the leaf, splitting it if it overflows, and then [`Index::settle`] walks the path back up:
//! on each level it notes what the child holds now, enters a new child if there is one, and drops or merges a child
//! that has become empty or small. It stops as soon as a level has no news.

use super::super::node_arena::Id;
use super::super::segment::{Extent, Segment};
use super::node::{Child, Inner, Leaf, Summary};
use super::tree::{Index, Path};
use crate::base::fatal::debug_law;

/// The largest hole among what left a node and among what came in.
#[derive(Clone, Copy, Debug)]
struct Change {
    gone: Extent,
    come: Extent,
}

impl Change {
    /// The node's largest hole, if it follows from the one before the change: the node need not be searched.
    #[inline]
    fn largest(self, before: Extent) -> Option<Extent> {
        if self.come >= before { Some(self.come) } else { (self.gone < before).then_some(before) }
    }
}

/// The level of the leaves; inner nodes stand on levels from 1 up.
const LEAVES: usize = 0;

impl<const N: usize> Index<N> {
    /// Two neighbouring children with at most this many entries together become one. Splitting a full leaf leaves
    /// at least one more than this in any two neighbours, so a merge is never undone at once.
    pub(super) const MERGE_COUNT: usize = {
        assert!(N >= 8, "a split needs room on both sides");
        N / 2 - 2
    };

    /// Enters the first segment of an empty index. The caller has reserved one splice.
    pub(crate) fn insert_first(&mut self, segment: Segment) {
        debug_law!(self.height == 0, "the index is empty");
        let mut leaf = Leaf::new(Id::NONE, Id::NONE);
        leaf.splice(0, 0, &[segment]);
        let id = self.leaves.create(leaf);
        (self.root, self.height) = (id.cast(), 1);
        (self.first_leaf, self.last_leaf) = (id, id);
    }

    /// Replaces the `removed` segments from the path's place on by `added` (at most 3 more than are removed, with
    /// starts between those of the neighbours). The segments removed stand in one leaf. The caller has reserved one
    /// splice unless it adds no segment. O(log n).
    #[inline]
    pub(crate) fn splice(&mut self, path: &Path<N>, removed: usize, added: &[Segment]) {
        let leaf = self.leaves.get_mut(path.leaf);
        let len = leaf.len() - removed + added.len();
        if len <= Self::MERGE_COUNT || len > N {
            return self.splice_and_settle(path, removed, added);
        }
        let gone = leaf.largest_of(path.index, removed);
        leaf.splice(path.index, removed, added);
        let come = added.iter().map(|segment| segment.extent.hole_or_none());
        let come = come.fold(Extent::NO_HOLE, Extent::max);
        let first = leaf.first();
        self.note_upwards(path, first, Change { gone, come });
    }

    /// Splices where the leaf overflows or becomes small.
    #[inline(never)]
    fn splice_and_settle(&mut self, path: &Path<N>, removed: usize, added: &[Segment]) {
        let leaf = self.leaves.get_mut(path.leaf);
        let carry = if leaf.len() - removed + added.len() <= N {
            leaf.splice(path.index, removed, added);
            None
        } else {
            Some(self.split_leaf(path, removed, added))
        };
        self.settle(path, carry);
    }

    /// Brings the inner nodes of a path up to date after a change of its leaf that leaves all nodes where they are.
    /// `first` is the leaf's first start now.
    #[inline]
    fn note_upwards(&mut self, path: &Path<N>, mut first: usize, mut change: Change) {
        let (mut child, mut level) = (path.leaf.cast(), LEAVES);
        for step in (0..self.inner_levels()).rev() {
            let (parent, taken) = path.steps[step];
            let before = self.inners.get(parent).known(taken as usize);
            let largest = match change.largest(before.largest) {
                Some(largest) => largest,
                None => self.summary_of(child, level).largest,
            };
            let parent_node = self.inners.get_mut(parent);
            if !parent_node.note(taken as usize, Summary { first, largest }) {
                return;
            }
            change = Change { gone: before.largest, come: largest };
            first = parent_node.first();
            (child, level) = (parent, level + 1);
        }
    }

    /// Inserts segments behind the path's place.
    pub(crate) fn insert_behind(&mut self, path: &Path<N>, added: &[Segment]) {
        let behind = Path { index: path.index + 1, ..*path };
        self.splice(&behind, 0, added);
    }

    /// Enters `segment` in front of all others.
    pub(crate) fn insert_in_front(&mut self, segment: Segment) {
        let mut path = Path::new();
        let mut child = self.root;
        for step in path.steps.iter_mut().take(self.inner_levels()) {
            *step = (child, 0);
            child = self.inner(child).child(0);
        }
        path.leaf = child.cast();
        self.splice(&path, 0, &[segment]);
    }

    /// Whether the `count` segments from the path's place on stand in its leaf.
    #[inline]
    pub(crate) fn in_one_leaf(&self, path: &Path<N>, count: usize) -> bool {
        path.index + count <= self.leaves.get(path.leaf).len()
    }

    /// Splits a leaf that a splice would overflow, and splices. Returns the new right half.
    #[cold]
    fn split_leaf(&mut self, path: &Path<N>, removed: usize, added: &[Segment]) -> Child<N> {
        let old_next = self.leaves.get(path.leaf).next;
        let mut right = Leaf::new(path.leaf, old_next);
        let left = self.leaves.get_mut(path.leaf);
        let end = path.index + removed;
        let cut = if old_next.is_none() && end == left.len() {
            path.index // Filling in ascending order leaves full leaves behind.
        } else if path.index < N / 2 {
            end.max(N / 2)
        } else {
            N / 2
        };
        left.move_tail(cut, &mut right);
        if path.index < cut {
            left.splice(path.index, removed, added);
        } else {
            right.splice(path.index - cut, removed, added);
        }
        let id = self.leaves.create(right);
        self.leaves.get_mut(path.leaf).next = id;
        match old_next.some() {
            Some(next) => self.leaves.get_mut(next).prev = id,
            None => self.last_leaf = id,
        }
        id.cast()
    }

    /// Brings the inner nodes of a path up to date after its leaf has changed in any way.
    fn settle(&mut self, path: &Path<N>, mut carry: Option<Child<N>>) {
        let (mut child, mut level) = (path.leaf.cast(), LEAVES);
        let on_right_edge = carry == Some(self.last_leaf.cast());
        for step in (0..self.inner_levels()).rev() {
            let (parent, taken) = path.steps[step];
            let taken = taken as usize;
            let len = self.len_of(child, level);
            let changed = if len == 0 {
                self.inners.get_mut(parent).remove(taken);
                self.drop_node(child, level);
                true
            } else {
                let summary = self.summary_of(child, level);
                self.inners.get_mut(parent).note(taken, summary)
            };
            let entered = carry.is_some();
            let shrunk = match carry {
                Some(new) => {
                    carry = self.enter(parent, taken + 1, new, level, on_right_edge);
                    false
                }
                None => (1..=Self::MERGE_COUNT).contains(&len) && self.absorb(parent, taken, level),
            };
            if !(changed || entered || shrunk) {
                return;
            }
            (child, level) = (parent, level + 1);
        }
        match carry {
            Some(new) => self.raise_root(new),
            None => self.lower_root(),
        }
    }

    #[inline]
    fn len_of(&self, child: Child<N>, level: usize) -> usize {
        match level {
            LEAVES => self.leaf(child.cast()).len(),
            _ => self.inner(child).len(),
        }
    }

    #[inline]
    fn summary_of(&self, child: Child<N>, level: usize) -> Summary {
        match level {
            LEAVES => self.leaf(child.cast()).summary(),
            _ => self.inner(child).summary(),
        }
    }

    /// Enters `child` into `parent` at `at`. Returns the new right half of a parent that had to be split.
    fn enter(
        &mut self,
        parent: Child<N>,
        at: usize,
        child: Child<N>,
        level: usize,
        on_right_edge: bool,
    ) -> Option<Child<N>> {
        let summary = self.summary_of(child, level);
        let node = self.inners.get_mut(parent);
        if node.len() < N {
            node.insert(at, child, summary);
            return None;
        }
        // On the right edge, filling in ascending order leaves full nodes behind.
        let cut = if on_right_edge { N } else { N / 2 };
        let mut right = Inner::new();
        node.move_tail(cut, &mut right);
        if at < cut {
            node.insert(at, child, summary);
        } else {
            right.insert(at - cut, child, summary);
        }
        Some(self.inners.create(right))
    }

    /// Merges child `taken` of `parent` with its neighbours as long as the rule asks for it (I3).
    fn absorb(&mut self, parent: Child<N>, mut taken: usize, level: usize) -> bool {
        let mut merged = false;
        loop {
            let count = self.inner(parent).len();
            let lefts = [taken.checked_sub(1), (taken + 1 < count).then_some(taken)];
            let Some(left) =
                lefts.into_iter().flatten().find(|left| self.fits(parent, *left, level))
            else {
                return merged;
            };
            self.merge(parent, left, level);
            (taken, merged) = (left, true);
        }
    }

    /// Whether child `left` of `parent` and the one behind it have to become one.
    fn fits(&self, parent: Child<N>, left: usize, level: usize) -> bool {
        let [left, right] = [self.child_of(parent, left), self.child_of(parent, left + 1)];
        self.len_of(left, level) + self.len_of(right, level) <= Self::MERGE_COUNT
    }

    #[expect(clippy::cast_possible_truncation, reason = "below N")]
    fn child_of(&self, parent: Child<N>, index: usize) -> Child<N> {
        self.inner(parent).child(index as u32)
    }

    /// Moves all entries of the child behind `left` into child `left`.
    #[cold]
    fn merge(&mut self, parent: Child<N>, left: usize, level: usize) {
        let [into, from] = [self.child_of(parent, left), self.child_of(parent, left + 1)];
        if level == LEAVES {
            let mut moved = *self.leaves.get(from.cast());
            moved.move_tail(0, self.leaves.get_mut(into.cast()));
        } else {
            let mut moved = *self.inners.get(from);
            let seam = self.inners.get(into).len();
            moved.move_tail(0, self.inners.get_mut(into));
            // The last child of the one and the first of the other are neighbours only now.
            self.absorb(into, seam, level - 1);
        }
        self.drop_node(from, level);
        let summary = self.summary_of(into, level);
        let parent = self.inners.get_mut(parent);
        parent.remove(left + 1);
        parent.note(left, summary);
    }

    /// Takes a node out of the chain of leaves, if it is one, and recycles it.
    fn drop_node(&mut self, node: Child<N>, level: usize) {
        if level != LEAVES {
            return self.inners.destroy(node);
        }
        let Leaf { prev, next, .. } = *self.leaves.get(node.cast());
        match prev.some() {
            Some(prev) => self.leaves.get_mut(prev).next = next,
            None => self.first_leaf = next,
        }
        match next.some() {
            Some(next) => self.leaves.get_mut(next).prev = prev,
            None => self.last_leaf = prev,
        }
        self.leaves.destroy(node.cast());
    }

    /// Puts a new root above the old one and its new right half.
    #[cold]
    fn raise_root(&mut self, new: Child<N>) {
        let level = self.inner_levels();
        let mut root = Inner::new();
        root.insert(0, self.root, self.summary_of(self.root, level));
        root.insert(1, new, self.summary_of(new, level));
        self.root = self.inners.create(root);
        self.height += 1;
    }

    /// Drops roots that have one child, or none.
    fn lower_root(&mut self) {
        while self.height > 1 {
            let root = self.root;
            match self.inner(root).len() {
                0 => self.height = 1,
                1 => self.root = self.inner(root).child(0),
                _ => return,
            }
            self.inners.destroy(root);
            self.height -= 1;
        }
        if self.height == 1 && self.len_of(self.root, LEAVES) == 0 {
            self.drop_node(self.root, LEAVES);
            self.height = 0;
        }
    }
}
