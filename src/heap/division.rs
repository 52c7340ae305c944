//! How the first reservation is divided into zones.
//!
//! ```text
//! guard | random | nodes | guard | random | blocks | random | huge blocks
//! ```
//!
//! So a block that overflows, or memory of the program that lies beside the reservation, does not reach a node; and
//! who knows the address of a block knows none of a node or of a huge block. Where addresses are scarce there are
//! the guards alone.

use core::iter;
use core::ops::Range;

use super::bounds::Bounds;
use super::zone::{Use, Zone};
use crate::base::random::Random;
use crate::base::round::align_down;

/// The part of a reservation that is for nodes: with blocks of 16 bytes nodes can take more; then a zone is chained.
const NODE_SHARE: usize = 16;
/// A random distance is less than this part of a reservation.
const DISTANCE_SHARE: usize = 16;
/// The least reservation with random distances, where no limit counts addresses.
const RANDOM_FROM: usize = 4 << 30;
/// The room for nodes is a multiple of this.
const NODES_ALIGN: usize = 256 << 10;
/// Blocks begin at a multiple of this, the largest page size there is.
const BLOCKS_ALIGN: usize = 64 << 10;
/// Huge blocks begin at a multiple of this, what huge pages need.
const HUGE_ALIGN: usize = 2 << 20;

/// The zones of a reservation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Division {
    pub(super) nodes: Zone,
    pub(super) blocks: Zone,
    pub(super) huge: Option<Zone>,
    /// Bytes by which records elsewhere may lie apart by chance.
    pub(super) spread: usize,
}

impl Division {
    /// Divides `whole`, which has a few MiB at least. `is_ample` if there is no limit on addresses.
    pub(super) fn of(
        whole: &Range<usize>,
        bounds: &Bounds,
        is_ample: bool,
        page_size: usize,
    ) -> Self {
        let (len, end) = (whole.len(), whole.end);
        let is_random = is_ample && len >= RANDOM_FROM;
        let spread = if is_random { align_down(len / DISTANCE_SHARE, HUGE_ALIGN) } else { 0 };
        let mut random = is_random.then(Random::seeded);
        // Where a zone starts whose addresses begin at `from`.
        let mut place = |from: usize, unit: usize| {
            let distance = random.as_mut().map_or(0, |random| random.below(spread / unit) * unit);
            align_down(from + unit - 1, unit) + distance
        };

        let first_node = place(whole.start + page_size, page_size);
        let node_bytes = align_down(len / NODE_SHARE, page_size.max(NODES_ALIGN));
        let nodes_end = first_node + node_bytes + page_size;
        let nodes = Zone::within(whole.start..nodes_end, first_node, page_size);
        let has_huge = is_ample && len >= bounds.huge_zone_from;
        let middle = if has_huge { whole.start + align_down(len / 2, page_size) } else { end };
        let blocks = Zone::within(nodes_end..middle, place(nodes_end, BLOCKS_ALIGN), 0);
        let huge =
            has_huge.then(|| Zone::within(middle..end, place(middle, HUGE_ALIGN), 0).for_huge());
        Self { nodes, blocks, huge, spread }
    }

    /// The zones, and what each is for.
    pub(super) fn zones(&self) -> impl Iterator<Item = (Use, Zone)> {
        let blocks = [self.blocks].into_iter().chain(self.huge);
        iter::once((Use::Nodes, self.nodes)).chain(blocks.map(|zone| (Use::Blocks, zone)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn divide(len: usize, is_ample: bool, page_size: usize) -> Division {
        let bounds = Bounds { huge_zone_from: 16 << 30, ..Bounds::new(len) };
        Division::of(&(1 << 40..(1 << 40) + len), &bounds, is_ample, page_size)
    }

    #[test]
    fn zones_tile_the_reservation_and_nodes_have_guards() {
        for len in [4 << 20, 64 << 20, (1 << 30) + (12 << 16), 64 << 30, 92 << 30, 16 << 40] {
            for (is_ample, page_size) in
                [(true, 4096), (false, 4096), (true, 64 << 10), (false, 64 << 10)]
            {
                let Division { nodes, blocks, huge, .. } = divide(len, is_ample, page_size);
                let mut end = 1 << 40;
                for zone in [nodes, blocks].into_iter().chain(huge) {
                    assert!(
                        zone.owned().start == end && zone.reserved > len / 32,
                        "{zone:?} of {len}"
                    );
                    assert!(
                        zone.start.is_multiple_of(page_size)
                            && zone.reserved.is_multiple_of(page_size)
                    );
                    end = zone.owned().end;
                }
                assert_eq!(end, (1 << 40) + len);
                assert!(nodes.start >= nodes.owned().start + page_size);
                assert!(blocks.owned().start == nodes.start + nodes.reserved + page_size);
                assert_eq!(huge.is_some(), is_ample && len >= 16 << 30);
            }
        }
    }

    #[test]
    fn distances_are_random_where_addresses_are_ample() {
        let starts = |len, is_ample| {
            let zones = (0..20).map(|_| divide(len, is_ample, 4096));
            zones
                .map(|it| [it.blocks.start - it.nodes.start, it.blocks.start])
                .collect::<BTreeSet<_>>()
                .len()
        };
        assert!(starts(64 << 30, true) > 18);
        assert_eq!((starts(64 << 30, false), starts(1 << 30, true)), (1, 1));
    }
}
