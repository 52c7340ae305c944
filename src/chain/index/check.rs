//! The laws of the index, checked from the root down.

use super::super::node_arena::Id;
use super::super::segment::Extent;
use super::node::{Child, Leaf, Summary};
use super::tree::Index;
use crate::base::law::{BrokenLaw, law};

/// What a walk from the root has seen so far.
struct Walk<const N: usize> {
    /// The leaf that must come next.
    expected_leaf: Id<Leaf<N>>,
    last_leaf: Id<Leaf<N>>,
    last_start: Option<usize>,
    leaf_count: usize,
    inner_count: usize,
}

impl<const N: usize> Index<N> {
    /// Checks all laws of the index. O(n).
    pub(crate) fn check(&self) -> Result<(), BrokenLaw> {
        let mut walk = Walk {
            expected_leaf: self.first_leaf,
            last_leaf: Id::NONE,
            last_start: None,
            leaf_count: 0,
            inner_count: 0,
        };
        if self.height > 0 {
            self.check_node(self.root, self.inner_levels(), &mut walk)?;
        }
        law(walk.expected_leaf.is_none(), "the chain of leaves ends with the last leaf", 0)?;
        law(walk.last_leaf == self.last_leaf, "the last leaf is known", 0)?;
        law(walk.leaf_count == self.leaves.live_count(), "no leaf is lost", 0)?;
        law(walk.inner_count == self.inners.live_count(), "no inner node is lost", 0)
    }

    fn check_node(
        &self,
        node: Child<N>,
        levels: usize,
        walk: &mut Walk<N>,
    ) -> Result<Summary, BrokenLaw> {
        if levels == 0 {
            return self.check_leaf(node.cast(), walk);
        }
        let inner = self.inners.get(node);
        walk.inner_count += 1;
        let is_root = node == self.root;
        law(inner.len() > usize::from(is_root), "no inner node is empty (I2)", 0)?;
        let (mut largest, mut previous_len) = (Extent::NO_HOLE, None);
        for index in 0..inner.len() {
            #[expect(clippy::cast_possible_truncation, reason = "below N")]
            let child = inner.child(index as u32);
            let found = self.check_node(child, levels - 1, walk)?;
            let known = inner.known(index) == found;
            law(known, "an inner node knows its children (I1)", found.first)?;
            let len = match levels {
                1 => self.leaves.get(child.cast()).len(),
                _ => self.inners.get(child).len(),
            };
            let together = previous_len.is_none_or(|previous| previous + len > Self::MERGE_COUNT);
            law(together, "two small neighbours are one (I3)", found.first)?;
            previous_len = Some(len);
            largest = largest.max(found.largest);
        }
        law(largest == inner.largest(), "the largest hole is known", 0)?;
        Ok(inner.summary())
    }

    fn check_leaf(&self, id: Id<Leaf<N>>, walk: &mut Walk<N>) -> Result<Summary, BrokenLaw> {
        law(id == walk.expected_leaf, "leaves are linked in order", 0)?;
        let leaf = self.leaves.get(id);
        law(leaf.prev == walk.last_leaf, "leaves are linked backwards", 0)?;
        law(leaf.len() > 0, "no leaf is empty (I2)", 0)?;
        for index in 0..leaf.len() {
            let start = leaf.segment(index).start;
            let ascending = walk.last_start.is_none_or(|last| last < start);
            law(ascending, "segments are in address order", start)?;
            walk.last_start = Some(start);
        }
        walk.leaf_count += 1;
        (walk.expected_leaf, walk.last_leaf) = (leaf.next, id);
        Ok(leaf.summary())
    }
}
