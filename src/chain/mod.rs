//! The chains of MeMS, and the free list that is made of them.
//!
//! From the ground up: [`node_arena`] stores nodes out of band and names them by id; [`segment`] and [`span`] are the
//! two kinds of fact (sub chain and main chain); [`index`] keeps all segments in address order and finds the first
//! hole that is large enough; [`free_list`] is the chain itself, with its verbs and its laws. None of these files
//! takes a lock or maps a page: a free list is a value, and its owner hands it a [`node_arena::ChunkSource`].

pub(crate) mod node_arena;
pub(crate) mod span;
pub(crate) mod segment;
pub(crate) mod index;
pub(crate) mod free_list;
