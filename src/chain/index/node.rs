//! The two kinds of node of the index, and what each can do without knowing the other nodes.
//!
//! Columns instead of rows: a search reads one column only, so it touches a fraction of the node's cache lines.

use super::super::node_arena::{Id, Node};
use super::super::segment::{Extent, Segment};
use super::super::span::Span;
use crate::base::fatal::debug_law;

/// A child of an inner node: an inner node, or a leaf on the lowest level.
pub(super) type Child<const N: usize> = Id<Inner<N>>;

/// Neighbouring segments.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Leaf<const N: usize> {
    count: u32,
    pub(super) prev: Id<Leaf<N>>,
    pub(super) next: Id<Leaf<N>>,
    start: [usize; N],
    extent: [Extent; N],
    span: [Id<Span>; N],
}

// SAFETY: integers only, and an id of any value is valid.
#[expect(unsafe_code, reason = "promises that all bit patterns are valid")]
unsafe impl<const N: usize> Node for Leaf<N> {}

/// Neighbouring nodes of the level below.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Inner<const N: usize> {
    count: u32,
    first: [usize; N],
    largest: [Extent; N],
    child: [Child<N>; N],
}

// SAFETY: integers only, and an id of any value is valid.
#[expect(unsafe_code, reason = "promises that all bit patterns are valid")]
unsafe impl<const N: usize> Node for Inner<N> {}

/// What an inner node knows of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// The start of its first segment.
    pub(super) first: usize,
    /// Its largest hole.
    pub(super) largest: Extent,
}

/// Moves the entries from `from` on to `to`, within a column that holds `count` entries.
#[inline]
fn shift<T: Copy>(column: &mut [T], count: usize, from: usize, to: usize) {
    column.copy_within(from..count, to);
}

/// How a node is searched for an address.
///
/// Halving reads a few cache lines of the node, each after the one before; counting reads all of them, but at once.
/// Where the node is changed afterwards all its lines are needed anyway, so a change counts and a lookup halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// By halves.
    Halving,
    /// By counting all addresses that are at or before the one sought.
    Counting,
}

impl Search {
    /// The number of leading addresses that are at or before `address`. Free of branches but for the loop: the
    /// mispredicted branch of an early exit costs more than the comparisons it saves.
    #[inline]
    fn count_at_or_before(self, starts: &[usize], address: usize) -> usize {
        match self {
            Self::Halving => starts.partition_point(|start| *start <= address),
            Self::Counting => starts.iter().map(|start| usize::from(*start <= address)).sum(),
        }
    }
}

/// The largest extent. In four lanes, as one lane would wait for each comparison before the next.
#[inline]
fn largest(extents: &[Extent]) -> Extent {
    let (rows, rest) = extents.as_chunks::<4>();
    let mut lanes = [Extent::NO_HOLE; 4];
    for row in rows {
        for (lane, extent) in lanes.iter_mut().zip(row) {
            *lane = Extent::max(*lane, *extent);
        }
    }
    let of_rest = rest.iter().fold(Extent::NO_HOLE, |most, extent| Extent::max(most, *extent));
    lanes.iter().fold(of_rest, |most, extent| Extent::max(most, *extent))
}

impl<const N: usize> Leaf<N> {
    /// A leaf without segments between two others.
    pub(super) const fn new(prev: Id<Self>, next: Id<Self>) -> Self {
        let (start, extent, span) = ([0; N], [Extent::NO_HOLE; N], [Id::NONE; N]);
        Self { count: 0, prev, next, start, extent, span }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        // A constant bound lets the compiler drop the checks on every column.
        (self.count as usize).min(N)
    }

    /// The segment `index`, which is below `len`.
    #[inline]
    pub(super) fn segment(&self, index: usize) -> Segment {
        Segment { start: self.start[index], extent: self.extent[index], span: self.span[index] }
    }

    /// The last segment that starts at or before `address`.
    #[inline]
    pub(super) fn last_at_or_before(&self, address: usize, search: Search) -> Option<usize> {
        search.count_at_or_before(&self.start[..self.len()], address).checked_sub(1)
    }

    /// The first hole at least as large as `wanted`.
    #[inline]
    pub(super) fn first_with(&self, wanted: Extent) -> Option<usize> {
        self.extent[..self.len()].iter().position(|extent| *extent >= wanted)
    }

    /// The first hole at least as large as `wanted` from `at` on.
    pub(super) fn next_with(&self, at: usize, wanted: Extent) -> Option<usize> {
        let rest = self.extent[..self.len()].get(at..)?;
        rest.iter().position(|extent| *extent >= wanted).map(|index| at + index)
    }

    /// The largest hole.
    #[inline]
    pub(super) fn largest(&self) -> Extent {
        largest(&self.extent[..self.len()]).hole_or_none()
    }

    /// The largest hole of the `count` segments from `at` on.
    #[inline]
    pub(super) fn largest_of(&self, at: usize, count: usize) -> Extent {
        let all = self.extent[at..at + count].iter().copied();
        all.fold(Extent::NO_HOLE, Extent::max).hole_or_none()
    }

    /// The start of the first segment; the leaf is not empty.
    #[inline]
    pub(super) fn first(&self) -> usize {
        self.start[0]
    }

    /// What the node above has to know; the leaf is not empty.
    #[inline]
    pub(super) fn summary(&self) -> Summary {
        Summary { first: self.start[0], largest: self.largest() }
    }

    /// Replaces `removed` segments from `at` on by `added`. All fit.
    #[inline]
    pub(super) fn splice(&mut self, at: usize, removed: usize, added: &[Segment]) {
        let count = self.len();
        debug_law!(at + removed <= count, "a splice stays inside its leaf");
        debug_law!(count - removed + added.len() <= N, "a splice fits");
        if removed != added.len() {
            self.shift_rows(at + removed, at + added.len());
        }
        for (index, segment) in (at..).zip(added) {
            self.start[index] = segment.start;
            self.extent[index] = segment.extent;
            self.span[index] = segment.span;
        }
        self.set_len(count - removed + added.len());
    }

    /// Moves the segments from `from` on to `to`: row by row, as for a few rows three calls of memmove cost more.
    #[inline]
    fn shift_rows(&mut self, from: usize, to: usize) {
        let count = self.len();
        let mut copy = |from: usize, to: usize| {
            self.start[to] = self.start[from];
            self.extent[to] = self.extent[from];
            self.span[to] = self.span[from];
        };
        if to < from {
            for row in from..count {
                copy(row, row - (from - to));
            }
        } else {
            for row in (from..count).rev() {
                copy(row, row + (to - from));
            }
        }
    }

    /// Moves the segments from `from` on to the end of `to`, which has room.
    pub(super) fn move_tail(&mut self, from: usize, to: &mut Self) {
        let (count, end) = (self.len(), to.len());
        let moved = count - from;
        to.start[end..end + moved].copy_from_slice(&self.start[from..count]);
        to.extent[end..end + moved].copy_from_slice(&self.extent[from..count]);
        to.span[end..end + moved].copy_from_slice(&self.span[from..count]);
        to.set_len(end + moved);
        self.set_len(from);
    }

    #[expect(clippy::cast_possible_truncation, reason = "at most N")]
    fn set_len(&mut self, len: usize) {
        self.count = len as u32;
    }
}

impl<const N: usize> Inner<N> {
    /// A node without children.
    pub(super) const fn new() -> Self {
        Self { count: 0, first: [0; N], largest: [Extent::NO_HOLE; N], child: [Id::NONE; N] }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        (self.count as usize).min(N)
    }

    /// The child `index`, which is below `len`.
    #[inline]
    pub(super) fn child(&self, index: u32) -> Child<N> {
        self.child[index as usize]
    }

    /// What is known of child `index`.
    #[inline]
    pub(super) fn known(&self, index: usize) -> Summary {
        Summary { first: self.first[index], largest: self.largest[index] }
    }

    /// Notes what child `index` holds now; says whether that is news.
    #[inline]
    pub(super) fn note(&mut self, index: usize, summary: Summary) -> bool {
        let news = self.known(index) != summary;
        self.first[index] = summary.first;
        self.largest[index] = summary.largest;
        news
    }

    /// The last child that begins at or before `address`, or the first.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "at most N")]
    pub(super) fn child_at(&self, address: usize, search: Search) -> u32 {
        search.count_at_or_before(&self.first[..self.len()], address).saturating_sub(1) as u32
    }

    /// The first child that has a hole at least as large as `wanted`.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "at most N")]
    pub(super) fn first_child_with(&self, wanted: Extent) -> Option<u32> {
        let found = self.largest[..self.len()].iter().position(|largest| *largest >= wanted);
        found.map(|index| index as u32)
    }

    /// The first child from `at` on that has a hole at least as large as `wanted`.
    #[expect(clippy::cast_possible_truncation, reason = "at most N")]
    pub(super) fn next_child_with(&self, at: u32, wanted: Extent) -> Option<u32> {
        let rest = self.largest[..self.len()].get(at as usize..)?;
        rest.iter().position(|largest| *largest >= wanted).map(|index| at + index as u32)
    }

    /// The largest hole.
    #[inline]
    pub(super) fn largest(&self) -> Extent {
        largest(&self.largest[..self.len()])
    }

    /// The start of the first segment below; the node is not empty.
    #[inline]
    pub(super) fn first(&self) -> usize {
        self.first[0]
    }

    /// What the node above has to know; the node is not empty.
    #[inline]
    pub(super) fn summary(&self) -> Summary {
        Summary { first: self.first[0], largest: self.largest() }
    }

    /// Enters a child at `at`. There is room.
    pub(super) fn insert(&mut self, at: usize, child: Child<N>, summary: Summary) {
        let count = self.len();
        debug_law!(at <= count && count < N, "a child fits");
        shift(&mut self.first, count, at, at + 1);
        shift(&mut self.largest, count, at, at + 1);
        shift(&mut self.child, count, at, at + 1);
        self.child[at] = child;
        self.first[at] = summary.first;
        self.largest[at] = summary.largest;
        self.set_len(count + 1);
    }

    /// Drops the child at `at`.
    pub(super) fn remove(&mut self, at: usize) {
        let count = self.len();
        debug_law!(at < count, "a child that is there");
        shift(&mut self.first, count, at + 1, at);
        shift(&mut self.largest, count, at + 1, at);
        shift(&mut self.child, count, at + 1, at);
        self.set_len(count - 1);
    }

    /// Moves the children from `from` on to the end of `to`, which has room.
    pub(super) fn move_tail(&mut self, from: usize, to: &mut Self) {
        let (count, end) = (self.len(), to.len());
        let moved = count - from;
        to.first[end..end + moved].copy_from_slice(&self.first[from..count]);
        to.largest[end..end + moved].copy_from_slice(&self.largest[from..count]);
        to.child[end..end + moved].copy_from_slice(&self.child[from..count]);
        to.set_len(end + moved);
        self.set_len(from);
    }

    #[expect(clippy::cast_possible_truncation, reason = "at most N")]
    fn set_len(&mut self, len: usize) {
        self.count = len as u32;
    }
}
