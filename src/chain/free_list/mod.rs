//! The free list: the main chain of spans, each with its sub chain of segments, and the verbs that keep their laws.
//!
//! From the ground up: [`list`] the type, its sums and its walk; [`spans`] the verbs of the main chain; [`blocks`]
//! those of the sub chain; [`claims`] runs whose pages somebody works on; [`check`] the laws.

mod list;
mod spans;
mod blocks;
mod claims;
mod check;
#[cfg(test)]
mod tests;

pub(crate) use blocks::{Block, NotABlock};
pub(crate) use claims::Claim;
pub(crate) use list::{FreeList, Nodes, Units};
