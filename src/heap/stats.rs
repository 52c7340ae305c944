//! The sums of a [`Heap`], in jemalloc's words.

use core::fmt;

use super::handle::Heap;
use crate::base::law::BrokenLaw;
use crate::base::os::Os;

/// The sums of a heap. Bytes, unless the name says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapStats {
    /// In live blocks, each counted with its whole size (a multiple of 8).
    pub allocated: usize,
    /// In pages that a live block lies on.
    pub active: usize,
    /// In pages that may hold memory of the machine: active ones, free ones that were not given back, and metadata. An
    /// upper bound: pages of a block that its user never touched are counted.
    pub resident: usize,
    /// Readable and writable: spans and metadata.
    pub mapped: usize,
    /// Addresses without memory, reserved for growth or to keep things apart.
    pub retained: usize,
    /// In MeMS's own records, without those that wait for their next use and have no memory.
    pub metadata: usize,
    /// Live blocks, a count.
    pub blocks: usize,
    /// Holes, a count.
    pub holes: usize,
    /// In holes.
    pub free: usize,
    /// In the largest hole.
    pub largest_hole: usize,
    /// Spans, a count.
    pub spans: usize,
    /// Slabs, a count. Only the process heap has them.
    pub slabs: usize,
    /// In free slots that some thread's cache holds.
    pub cached: usize,
}

impl HeapStats {
    /// Of nothing.
    pub(crate) const NONE: Self = Self {
        allocated: 0,
        active: 0,
        resident: 0,
        mapped: 0,
        retained: 0,
        metadata: 0,
        blocks: 0,
        holes: 0,
        free: 0,
        largest_hole: 0,
        spans: 0,
        slabs: 0,
        cached: 0,
    };

    /// How many sums there are.
    #[cfg(feature = "report")]
    pub(crate) const COUNT: usize = 13;

    /// The sums and their names, in the order of the fields.
    #[cfg(feature = "report")]
    pub(crate) const fn named(&self) -> [(&'static str, usize); Self::COUNT] {
        [
            ("allocated", self.allocated),
            ("active", self.active),
            ("resident", self.resident),
            ("mapped", self.mapped),
            ("retained", self.retained),
            ("metadata", self.metadata),
            ("blocks", self.blocks),
            ("holes", self.holes),
            ("free", self.free),
            ("largest_hole", self.largest_hole),
            ("spans", self.spans),
            ("slabs", self.slabs),
            ("cached", self.cached),
        ]
    }
}

impl fmt::Display for HeapStats {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "allocated {} in {} blocks, active {}, resident {}, mapped {}, retained {}, metadata {}, \
             {} holes in {} spans, largest {}, {} slabs, cached {}",
            self.allocated,
            self.blocks,
            self.active,
            self.resident,
            self.mapped,
            self.retained,
            self.metadata,
            self.holes,
            self.spans,
            self.largest_hole,
            self.slabs,
            self.cached
        )
    }
}

impl<O: Os> Heap<O> {
    /// The heap's sums. O(spans), and there are few.
    #[must_use]
    pub fn stats(&self) -> HeapStats {
        let Some(root) = self.root() else { return HeapStats::default() };
        let ((committed, retained), metadata) = {
            let zones = root.zones.lock();
            (zones.sums(), zones.node_bytes())
        };
        let chains = root.chains.lock();
        let totals = chains.list.totals();
        let active = totals.span_bytes - totals.hole_page_bytes;
        let dirty = chains.dirty_bytes(root.page_size);
        HeapStats {
            allocated: totals.block_bytes,
            active,
            resident: active + dirty + metadata,
            mapped: committed,
            retained,
            metadata,
            blocks: totals.block_count,
            holes: totals.hole_count(),
            free: totals.hole_bytes(),
            largest_hole: chains.list.largest_hole(),
            spans: totals.span_count,
            slabs: 0,
            cached: 0,
        }
    }

    /// Checks every law of the heap's records. O(n), under the lock: other threads wait.
    ///
    /// # Errors
    ///
    /// The first law found broken, and where.
    pub fn check(&self) -> Result<(), BrokenLaw> {
        let Some(root) = self.root() else { return Ok(()) };
        let zones = root.zones.lock();
        let chains = root.chains.lock();
        chains.list.check()?;
        let mut next = chains.list.first_span();
        while let Some(id) = next.some() {
            let span = chains.list.span(id);
            for address in [span.start, span.end() - 1] {
                if !zones.has_block_address(address) {
                    return Err(BrokenLaw { law: "a span lies in committed memory", address });
                }
            }
            next = span.next;
        }
        Ok(())
    }
}
