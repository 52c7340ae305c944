//! The ordered index: all segments of a free list in address order, in O(log n).
//!
//! From the ground up: [`node`] the two kinds of node and what each can do alone; [`tree`] the tree and the ways down;
//! [`edit`] the one change, replacing a few neighbouring segments by others; [`check`] the laws.

mod node;
mod tree;
mod edit;
mod check;
#[cfg(test)]
mod tests;

pub(crate) use tree::{Cursor, Index, Path};
