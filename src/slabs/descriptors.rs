//! Descriptors of slabs: how they are made, and how those without a slab wait for one, shared by all heaps.
//!
//! They wait by the number of their slots: a late reader meets one of the same shape. Meanwhile the pages of their
//! states and words may go back: zero is free.
//!
//! One may be on the list of the heap that had it before, put there by a thread that had slots on their way to it and
//! was late. Nobody else would hear of it then, so it waits on until that heap has looked.
#![allow(unsafe_code, reason = "lays out arrays in a new piece")]

use super::class::{Class, DESCRIPTOR_KINDS};
use super::names::HeapName;
use super::records::Records;
use super::slab::Slab;
use super::slab::arrays::{Arrays, LINE};
use crate::base::addr;
use crate::base::fatal::debug_law;
use crate::base::os::System;
use crate::heap::Heap;

/// How many are looked at for one that may be used.
const TRIES: usize = 8;

/// The descriptors that wait: of each kind those with few slots, and the others.
#[derive(Debug)]
pub(super) struct Descriptors([[Option<&'static Slab>; 2]; DESCRIPTOR_KINDS]);

impl Descriptors {
    /// None.
    pub(super) const fn new() -> Self {
        Self([[None; 2]; DESCRIPTOR_KINDS])
    }

    /// Where those with `slots` slots wait for a slab of a class. Those of all large classes are alike.
    const fn list(&mut self, class: Class, slots: usize) -> &mut Option<&'static Slab> {
        let is_few = slots == class.shape().slots[0] as usize;
        &mut self.0[class.descriptor_index()][if is_few { 0 } else { 1 }]
    }

    /// All that wait.
    pub(super) fn all(&self) -> impl Iterator<Item = &'static Slab> {
        let lists = self.0.iter().flatten().copied();
        lists.flat_map(|first| core::iter::successors(first, |slab| slab.next.get()))
    }

    /// Lets one wait whose slab has ended.
    pub(super) fn put(&mut self, slab: &'static Slab) {
        debug_law!(slab.start() == 0 && !slab.is_listed.get(), "its slab has ended");
        slab.let_memory_wait();
        let list = self.list(slab.class(), slab.slots());
        slab.next.set(list.replace(slab));
    }

    /// One for a slab of `class` with `slots` slots that is to be `owner`'s.
    pub(super) fn take(
        &mut self,
        class: Class,
        slots: usize,
        owner: HeapName,
    ) -> Option<&'static Slab> {
        let list = self.list(class, slots);
        let (mut before, mut next) = (None::<&'static Slab>, *list);
        for _ in 0..TRIES {
            let slab = next?;
            next = slab.next.get();
            if !slab.is_on_no_list(owner) {
                before = Some(slab);
                continue;
            }
            match before {
                Some(before) => before.next.set(next),
                None => *list = next,
            }
            slab.next.set(None);
            if slab.use_memory_again() {
                return Some(slab);
            }
        }
        None
    }

    /// A new one.
    pub(super) fn make(
        records: &mut Records,
        heap: &Heap<System>,
        class: Class,
        slots: usize,
    ) -> Option<&'static Slab> {
        let shape = class.shape();
        let piece = records.piece(heap, Arrays::bytes(shape, slots), LINE)?;
        let start = addr::pointer(piece.range().start)?;
        // SAFETY: the piece is new, so it is zero, aligned, and nobody else's; and it is never unmapped.
        let arrays = unsafe { Arrays::at(start, shape, slots) };
        records.keep(heap, Slab::new(class, arrays, Some(piece.chunk())))
    }
}
