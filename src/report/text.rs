//! Why memory is high, and what changed, as text.

use core::fmt::{self, Display, Write};

use crate::heap::HeapStats;
use crate::inspect::{Diff, Fragmentation, PlaceState, SPARSE, Snapshot, SnapshotSlab};

/// Blocks of a slab that a report names.
const NAMED_BLOCKS: usize = 3;
/// Changed blocks that a report names.
const NAMED_CHANGES: usize = 10;

/// A number of bytes for people: three digits and a unit of 1024.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes(pub(super) usize);

#[cfg(feature = "profile")]
impl Bytes {
    /// An estimate of bytes.
    pub(super) fn about(bytes: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let bytes = bytes as usize;
        Self(bytes)
    }
}

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let mut text = crate::base::text::StackText::<32>::new();
        let mut unit_bits = 10;
        let mut unit = UNITS.into_iter();
        let (mut name, mut whole) = ("B", self.0);
        if self.0 >= 1024 {
            name = unit.next().unwrap_or_default();
            while self.0 >> unit_bits >= 1024 {
                unit_bits += 10;
                name = unit.next().unwrap_or_default();
            }
            whole = self.0 >> unit_bits;
            let tenth = (self.0 >> (unit_bits - 10) & 1023) * 10 / 1024;
            if whole < 100 {
                write!(text, "{whole}.{tenth} {name}")?;
                return f.pad(text.as_str());
            }
        }
        write!(text, "{whole} {name}")?;
        f.pad(text.as_str())
    }
}

impl Snapshot {
    /// Writes why the heap is as large as it is: who holds what, the sizes of holes, the blocks that keep nearly empty
    /// pages and slabs, and what a trim would give back. About 60 lines. O(slots + segments).
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_fragmentation<W: Write>(&self, out: &mut W) -> fmt::Result {
        let (stats, found) = (self.stats(), self.fragmentation());
        write_parts(out, &stats)?;
        write_idle(out, &stats, &found)?;
        write_histogram(out, &found)?;
        self.write_threads(out)?;
        self.write_classes(out)?;
        write_pins(out, &found)?;
        writeln!(out, "\ntrim() would give {} back", Bytes(found.would_trim))
    }

    fn write_threads<W: Write>(&self, out: &mut W) -> fmt::Result {
        writeln!(out, "\nthread                    state        slabs       live     cached")?;
        for thread in self.threads().iter().filter(|thread| thread.slabs > 0) {
            let (live, cached) = (Bytes(thread.live_bytes), Bytes(thread.cached_bytes));
            write!(out, "{:<5} {:<19} ", thread.number, thread.name())?;
            let slabs = Bytes(thread.slab_bytes);
            writeln!(out, "{:<8} {slabs:>10} {live:>10} {cached:>10}", thread.state.word())?;
        }
        Ok(())
    }

    fn write_classes<W: Write>(&self, out: &mut W) -> fmt::Result {
        writeln!(out, "\nslots of      slabs       live        blocks     cached")?;
        for class in self.classes().filter(|class| class.slabs > 0) {
            let live = Bytes(class.live * class.slot_bytes);
            let cached = Bytes(class.cached * class.slot_bytes);
            let (slabs, slot) = (Bytes(class.slab_bytes), class.slot_bytes);
            writeln!(out, "{slot:>8} {slabs:>10} {live:>10} {:>13} {cached:>10}", class.live)?;
        }
        Ok(())
    }
}

/// Where the memory is: each mapped byte in one line.
fn write_parts<W: Write>(out: &mut W, stats: &HeapStats) -> fmt::Result {
    writeln!(out, "{} resident at most:", Bytes(stats.resident))?;
    writeln!(out, "{:>12}  live in {} blocks", Bytes(stats.allocated), stats.blocks)?;
    let parts = [
        (stats.cached, "in caches of threads"),
        (stats.free_running, "free in slabs of threads that run"),
        (stats.free_sleeping, "free in slabs of threads that sleep"),
        (stats.free_ended, "free in slabs of threads that have ended"),
        (stats.dirty, "in holes that wait for the decay"),
        (stats.metadata, "records"),
    ];
    for (bytes, what) in parts {
        writeln!(out, "{:>12}  {what}", Bytes(bytes))?;
    }
    writeln!(out, "{} mapped without memory", Bytes(stats.clean))?;
    writeln!(out, "{} in pages that a live block lies on", Bytes(stats.active))
}

fn write_idle<W: Write>(out: &mut W, stats: &HeapStats, found: &Fragmentation<'_>) -> fmt::Result {
    writeln!(out, "\n{} not used:", Bytes(stats.free))?;
    let (holes, back) = (Bytes(found.hole_bytes), Bytes(found.given_back));
    writeln!(out, "{holes:>12}  in {} holes, {back} of it given back", stats.holes)?;
    let (slots, fresh) = (Bytes(found.free_slots), Bytes(found.fresh_slots));
    writeln!(out, "{slots:>12}  in free slots of slabs, {fresh} of it never handed out")?;
    writeln!(out, "{:>12}  in caches of threads", Bytes(found.cached))?;
    writeln!(out, "{:>12}  behind the last slots of slabs", Bytes(found.tails))
}

fn write_histogram<W: Write>(out: &mut W, found: &Fragmentation<'_>) -> fmt::Result {
    writeln!(
        out,
        "\nholes from       count       bytes    the largest has {}",
        Bytes(found.largest_hole)
    )?;
    for (power, bin) in found.histogram.iter().enumerate().filter(|(_, bin)| bin.holes > 0) {
        let part = bin.bytes as u128 * 40 / found.hole_bytes.max(1) as u128;
        write!(out, "{:>10} {:>11} {:>11}    ", Bytes(1 << power), bin.holes, Bytes(bin.bytes))?;
        (0..part).try_for_each(|_| out.write_char('#'))?;
        out.write_char('\n')?;
    }
    Ok(())
}

fn write_pins<W: Write>(out: &mut W, found: &Fragmentation<'_>) -> fmt::Result {
    let (pages, slabs, empty) = (found.sparse_pages, found.sparse_slabs, found.empty_slabs);
    writeln!(
        out,
        "\n{:>10} idle in {} pages of which 1/{SPARSE} or less is live",
        Bytes(pages.idle_bytes),
        pages.count
    )?;
    writeln!(
        out,
        "{:>10} idle in {} slabs of which 1/{SPARSE} or less is live",
        Bytes(slabs.idle_bytes),
        slabs.count
    )?;
    writeln!(out, "{:>10} idle in {} slabs that are empty", Bytes(empty.idle_bytes), empty.count)?;
    for slab in found.worst_slabs() {
        write_pinned(out, &slab)?;
    }
    Ok(())
}

/// One line for a slab that a few blocks keep, with the first of those.
fn write_pinned<W: Write>(out: &mut W, slab: &SnapshotSlab<'_>) -> fmt::Result {
    let (live, idle) = (slab.live(), slab.size() - slab.live() * slab.slot_bytes());
    write!(out, "{:>10} kept at {:#x} of thread {} by ", Bytes(idle), slab.start(), slab.thread())?;
    write!(out, "{live} of {} x {} bytes:", slab.slots(), slab.slot_bytes())?;
    for slot in slab.live_slots().take(NAMED_BLOCKS) {
        write!(out, " {:#x}", slab.place(slot).start)?;
    }
    writeln!(out, "{}", if live > NAMED_BLOCKS { " ..." } else { "" })
}

impl Diff<'_> {
    /// Writes what came and what went, by class, and the first few of the blocks that came. O(n).
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_text<W: Write>(&self, out: &mut W) -> fmt::Result {
        let (came, went) = self.sums();
        writeln!(out, "came {:>8} blocks {:>10}", came.blocks, Bytes(came.bytes))?;
        writeln!(out, "went {:>8} blocks {:>10}", went.blocks, Bytes(went.bytes))?;
        for change in self.classes() {
            match change.slot_bytes {
                Some(bytes) => write!(out, "  slots of {bytes:>5}:")?,
                None => write!(out, "  larger blocks: ")?,
            }
            let (came, went) = (change.came, change.went);
            write!(out, " {:>8} came {:>10}", came.blocks, Bytes(came.bytes))?;
            writeln!(out, ", {:>8} went {:>10}", went.blocks, Bytes(went.bytes))?;
        }
        let news = self.changes().filter_map(|change| match change {
            crate::inspect::Change::Came(block) => Some(block),
            crate::inspect::Change::Went(_) => None,
        });
        for block in news.take(NAMED_CHANGES) {
            debug_assert!(block.state == PlaceState::Live, "only blocks come");
            write!(out, "  {:#x} {} bytes", block.start, block.size)?;
            match block.thread {
                Some(thread) => writeln!(out, ", thread {thread}")?,
                None => out.write_char('\n')?,
            }
        }
        let more = came.blocks.saturating_sub(NAMED_CHANGES);
        if more > 0 { writeln!(out, "  and {more} more") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::Bytes;

    #[test]
    fn bytes_have_three_digits_at_the_most() {
        let texts = [0, 1023, 1024, 1536, 102_399, 102_400, 1 << 20, usize::MAX]
            .map(|bytes| Bytes(bytes).to_string());
        assert_eq!(texts[..6], ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "99.9 KiB", "100 KiB"]);
        assert_eq!(texts[6..], ["1.0 MiB", "15.9 EiB"]);
        assert_eq!(format!("{:>8}|{:<8}|", Bytes(5), Bytes(5)), "     5 B|5 B     |");
    }
}
