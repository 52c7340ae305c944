//! The sums in the text format that Prometheus reads.

use core::fmt::{self, Write};

use crate::heap::HeapStats;

/// What each sum means, in the order of [`HeapStats::named`].
const MEANINGS: [(&str, &str); HeapStats::COUNT] = [
    ("allocated_bytes", "Bytes in live blocks."),
    ("active_bytes", "Bytes in pages that a live block lies on."),
    ("resident_bytes", "Bytes in pages that may hold memory of the machine."),
    ("mapped_bytes", "Bytes that are readable and writable."),
    ("reserved_bytes", "Bytes of addresses that cannot be read, reserved for growth."),
    ("metadata_bytes", "Bytes in the allocator's own records."),
    ("blocks", "Live blocks."),
    ("holes", "Holes of the free list."),
    ("free_bytes", "Bytes in holes and free slots."),
    ("largest_hole_bytes", "Bytes in the largest hole."),
    ("spans", "Runs of pages obtained from the system."),
    ("slabs", "Slabs."),
    ("cached_bytes", "Bytes in free slots that some thread's cache holds."),
    ("free_running_bytes", "Bytes free in slabs of running threads, but for clean pages."),
    ("free_sleeping_bytes", "Bytes free in slabs of sleeping threads, but for clean pages."),
    ("free_ended_bytes", "Bytes free in slabs of ended threads, but for clean pages."),
    ("dirty_bytes", "Bytes in holes that wait for the decay."),
    ("clean_bytes", "Bytes mapped without memory: never touched, or given back."),
];

impl HeapStats {
    /// Writes the sums in the text format of Prometheus (version 0.0.4): gauges named `mems_..._bytes`, or `mems_...`
    /// where they are counts.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_prometheus<W: Write>(&self, out: &mut W) -> fmt::Result {
        for ((name, help), (_, value)) in MEANINGS.into_iter().zip(self.named()) {
            writeln!(out, "# HELP mems_{name} {help}")?;
            writeln!(out, "# TYPE mems_{name} gauge")?;
            writeln!(out, "mems_{name} {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::plain::PROCESS_HEAP;

    #[test]
    fn each_metric_has_the_value_it_is_named_for() {
        let stats = PROCESS_HEAP.stats();
        for ((metric, _), (name, _)) in MEANINGS.into_iter().zip(stats.named()) {
            assert_eq!(metric.trim_end_matches("_bytes"), name);
        }
        let mut text = String::new();
        stats.write_prometheus(&mut text).expect("a string takes it");
        assert_eq!(text.lines().count(), 3 * HeapStats::COUNT);
        assert!(text.contains(&format!("\nmems_mapped_bytes {}\n", stats.mapped)), "{text}");
    }
}
