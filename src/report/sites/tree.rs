//! All stacks as one tree: what the threads began with at the bottom, what allocated at the leaves.

use super::names::Names;
use super::origins::Origin;
use crate::base::array::Array;
use crate::base::os::OutOfMemory;
use crate::profile::{Growth, Site, Sites};

/// No such node.
const NONE: u32 = u32::MAX;
/// The node below all stacks.
pub(super) const ROOT: u32 = 0;

/// A function at its place in stacks. Its sums have those of all that it called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) parent: u32,
    /// Its name, a text.
    pub(super) name: u32,
    pub(super) origin: Origin,
    first_child: u32,
    next: u32,
    /// Live bytes and blocks.
    pub(super) bytes: f64,
    pub(super) blocks: f64,
    /// By how much its live bytes have grown, and by how much those of nodes that grew.
    pub(super) grown: f64,
    pub(super) risen: f64,
}

/// Nodes, a parent before its children.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Array<Node>,
    /// The innermost node of each site.
    leaves: Array<u32>,
}

impl Tree {
    /// The tree of a look's sites, and of what has grown up to it. O(frames, and those that one function called).
    pub(super) fn of(
        sites: &Sites,
        names: &Names,
        growth: Option<&Growth<'_>>,
    ) -> Result<Self, OutOfMemory> {
        let mut tree = Self { nodes: Array::new(), leaves: Array::new() };
        tree.nodes.push(Node::new(NONE, 0, Origin::Program))?;
        for site in sites.iter() {
            let leaf = tree.leaf_for(names, &site)?;
            tree.leaves.push(leaf)?;
            tree.add(leaf, [site.bytes().value(), site.blocks().value(), 0.0]);
        }
        for grown in growth.into_iter().flat_map(Growth::iter) {
            let leaf = match (grown.now(), grown.site()) {
                (Some(site), _) => tree.leaf(site.number()),
                (None, Some(site)) => tree.leaf_for(names, &site)?,
                (None, None) => continue,
            };
            tree.add(leaf, [0.0, 0.0, grown.bytes().value()]);
        }
        tree.sum_what_rose();
        tree.sort()?;
        Ok(tree)
    }

    /// Sums up what grew: what shrank elsewhere below the same function takes nothing of it.
    fn sum_what_rose(&mut self) {
        let nodes = self.nodes.items_mut();
        // First what each node has grown by itself.
        nodes.iter_mut().for_each(|node| node.risen = node.grown);
        for number in 1..nodes.len() {
            let (parent, grown) = (nodes[number].parent as usize, nodes[number].grown);
            nodes[parent].risen -= grown;
        }
        nodes.iter_mut().for_each(|node| node.risen = node.risen.max(0.0));
        for number in (1..nodes.len()).rev() {
            let (parent, risen) = (nodes[number].parent as usize, nodes[number].risen);
            nodes[parent].risen += risen;
        }
    }

    /// Links what one function called in the order of its live bytes.
    fn sort(&mut self) -> Result<(), OutOfMemory> {
        let mut order = Array::new();
        (0..).take(self.nodes.len()).try_for_each(|number: u32| order.push(number))?;
        let bytes = |number: &u32| self.node(*number).bytes;
        order.sort_by(|one, other| bytes(one).total_cmp(&bytes(other)));
        let nodes = self.nodes.items_mut();
        nodes.iter_mut().for_each(|node| node.first_child = NONE);
        // The largest is linked last, and so comes first.
        for number in order.iter().copied().filter(|number| *number != ROOT) {
            let parent = nodes[number as usize].parent as usize;
            nodes[number as usize].next = nodes[parent].first_child;
            nodes[parent].first_child = number;
        }
        Ok(())
    }

    /// The node of a stack, which is made if it is new.
    fn leaf_for(&mut self, names: &Names, site: &Site<'_>) -> Result<u32, OutOfMemory> {
        let mut at = ROOT;
        for function in names.functions(site).outermost_first() {
            at = self.child(at, function.name, function.origin)?;
        }
        // A stack of which nothing is known has a node, too.
        if at == ROOT { self.child(ROOT, 0, Origin::Library) } else { Ok(at) }
    }

    fn child(&mut self, parent: u32, name: u32, origin: Origin) -> Result<u32, OutOfMemory> {
        let mut next = self.node(parent).first_child;
        while next != NONE {
            let node = self.node(next);
            if node.name == name {
                return Ok(next);
            }
            next = node.next;
        }
        let number = u32::try_from(self.nodes.len()).map_err(|_| OutOfMemory)?;
        let elder = self.node(parent).first_child;
        self.nodes.push(Node { next: elder, ..Node::new(parent, name, origin) })?;
        self.nodes.items_mut()[parent as usize].first_child = number;
        Ok(number)
    }

    /// Adds bytes, blocks and growth to a node and all below it.
    fn add(&mut self, leaf: u32, [bytes, blocks, grown]: [f64; 3]) {
        let mut at = leaf;
        while let Some(node) = self.nodes.items_mut().get_mut(at as usize) {
            node.bytes += bytes;
            node.blocks += blocks;
            node.grown += grown;
            at = node.parent;
        }
    }

    /// The node with this number.
    pub(super) fn node(&self, number: u32) -> Node {
        self.nodes.get(number as usize).copied().unwrap_or(Node::new(NONE, 0, Origin::Program))
    }

    /// All but the root, by their numbers from 1 on.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().skip(1)
    }

    /// The innermost node of a site of the later look, by the site's number.
    pub(super) fn leaf(&self, site: usize) -> u32 {
        self.leaves.get(site).copied().unwrap_or(ROOT)
    }

    /// What a node called, the one with the most live bytes first.
    pub(super) fn children(&self, number: u32) -> impl Iterator<Item = (u32, Node)> + '_ {
        let mut next = self.node(number).first_child;
        core::iter::from_fn(move || {
            let node = *self.nodes.get(next as usize)?;
            let number = next;
            next = node.next;
            Some((number, node))
        })
    }
}

impl Node {
    const fn new(parent: u32, name: u32, origin: Origin) -> Self {
        Self {
            parent,
            name,
            origin,
            first_child: NONE,
            next: NONE,
            bytes: 0.0,
            blocks: 0.0,
            grown: 0.0,
            risen: 0.0,
        }
    }
}
