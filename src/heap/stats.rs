//! The sums of a [`Heap`], in jemalloc's words.

use core::fmt;

use super::handle::Heap;
use crate::base::law::BrokenLaw;
use crate::base::os::Os;

/// The sums of a heap. Bytes, unless the name says otherwise.
///
/// Every byte that is `mapped` is counted once: `allocated` to the program; free in a cache (`cached`), in a slab
/// (`free_running`, `free_sleeping`, `free_ended`) or in a hole (`dirty`); without memory (`clean`); or the heap's own
/// (`metadata`). All but the clean ones are `resident`. The sums are exact while nobody changes the heap; while other
/// threads do, each of them is of its own moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapStats {
    /// In live blocks, each counted with its whole size (a multiple of 8).
    pub allocated: usize,
    /// In pages that a live block lies on.
    pub active: usize,
    /// In pages that may hold memory of the machine: all that is mapped and not clean. An upper bound: pages of a block
    /// that its user never touched are counted.
    pub resident: usize,
    /// Readable and writable: spans and metadata.
    pub mapped: usize,
    /// Addresses that cannot be read, reserved for growth or to keep things apart. They cost nothing.
    pub reserved: usize,
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
    /// In free slots of slabs whose thread runs, and behind their last slots, but for clean pages.
    pub free_running: usize,
    /// The same of threads that had not come by for longer than the decay time when another one looked, nor since: they
    /// sleep, or do without the heap.
    pub free_sleeping: usize,
    /// The same of threads that have ended: other threads adopt these slabs.
    pub free_ended: usize,
    /// In holes, but for clean pages: they wait for the decay.
    pub dirty: usize,
    /// In pages without memory: they were never touched, or have gone back.
    pub clean: usize,
}

impl HeapStats {
    /// Of nothing.
    pub(crate) const NONE: Self = Self {
        allocated: 0,
        active: 0,
        resident: 0,
        mapped: 0,
        reserved: 0,
        metadata: 0,
        blocks: 0,
        holes: 0,
        free: 0,
        largest_hole: 0,
        spans: 0,
        slabs: 0,
        cached: 0,
        free_running: 0,
        free_sleeping: 0,
        free_ended: 0,
        dirty: 0,
        clean: 0,
    };

    /// How many sums there are.
    #[cfg(feature = "report")]
    pub(crate) const COUNT: usize = 18;

    /// The sums and their names, in the order of the fields.
    #[cfg(feature = "report")]
    pub(crate) const fn named(&self) -> [(&'static str, usize); Self::COUNT] {
        [
            ("allocated", self.allocated),
            ("active", self.active),
            ("resident", self.resident),
            ("mapped", self.mapped),
            ("reserved", self.reserved),
            ("metadata", self.metadata),
            ("blocks", self.blocks),
            ("holes", self.holes),
            ("free", self.free),
            ("largest_hole", self.largest_hole),
            ("spans", self.spans),
            ("slabs", self.slabs),
            ("cached", self.cached),
            ("free_running", self.free_running),
            ("free_sleeping", self.free_sleeping),
            ("free_ended", self.free_ended),
            ("dirty", self.dirty),
            ("clean", self.clean),
        ]
    }
}

impl fmt::Display for HeapStats {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "allocated {} in {} blocks, active {}, resident {}, mapped {}, reserved {}, metadata {}, \
             {} holes in {} spans, largest {}, {} slabs, cached {}, \
             free in slabs of running threads {}, of sleeping ones {}, of ended ones {}, dirty {}, clean {}",
            self.allocated,
            self.blocks,
            self.active,
            self.resident,
            self.mapped,
            self.reserved,
            self.metadata,
            self.holes,
            self.spans,
            self.largest_hole,
            self.slabs,
            self.cached,
            self.free_running,
            self.free_sleeping,
            self.free_ended,
            self.dirty,
            self.clean
        )
    }
}

impl<O: Os> Heap<O> {
    /// The heap's sums. O(spans), and there are few.
    #[must_use]
    pub fn stats(&self) -> HeapStats {
        let Some(root) = self.root() else { return HeapStats::default() };
        let ((mapped, reserved), metadata) = {
            let zones = root.zones.lock();
            (zones.sums(), zones.node_bytes())
        };
        let chains = root.chains.lock();
        let totals = chains.list.totals();
        let clean = totals.hole_page_bytes - chains.dirty_bytes(root.page_size);
        HeapStats {
            allocated: totals.block_bytes,
            active: totals.span_bytes - totals.hole_page_bytes,
            resident: totals.span_bytes - clean + metadata,
            mapped,
            reserved,
            metadata,
            blocks: totals.block_count,
            holes: totals.hole_count(),
            free: totals.hole_bytes(),
            largest_hole: chains.list.largest_hole(),
            spans: totals.span_count,
            dirty: totals.hole_bytes() - clean,
            clean,
            ..HeapStats::NONE
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
