//! A snapshot as JSON. See `docs/snapshot-format.md`.

use core::fmt::{self, Write};

use crate::heap::HeapStats;
use crate::inspect::{Snapshot, SnapshotSlab, SnapshotThread};

/// A text between quotes, as JSON wants it.
pub(super) struct Quoted<'text>(pub(super) &'text str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for letter in self.0.chars() {
            match letter {
                '"' | '\\' => write!(f, "\\{letter}")?,
                // A page's script would end at "</script", and lines at the two separators.
                '\0'..=' ' | '<' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                    write!(f, "\\u{:04x}", u32::from(letter))?;
                }
                _ => f.write_char(letter)?,
            }
        }
        f.write_char('"')
    }
}

/// Writes items with commas between them.
pub(super) fn list<W: Write, T>(
    out: &mut W,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut W, T) -> fmt::Result,
) -> fmt::Result {
    out.write_char('[')?;
    for (index, item) in items.enumerate() {
        out.write_str(if index == 0 { "" } else { "," })?;
        write(out, item)?;
    }
    out.write_char(']')
}

/// Writes the sums as an object.
pub(super) fn sums<W: Write>(out: &mut W, stats: &HeapStats) -> fmt::Result {
    for (index, (name, value)) in stats.named().into_iter().enumerate() {
        write!(out, "{}\"{name}\":{value}", if index == 0 { '{' } else { ',' })?;
    }
    out.write_char('}')
}

impl Snapshot {
    /// Writes the snapshot as one JSON object: all that the binary file has. Addresses are decimal numbers below 2^53;
    /// slots are words of 64 bits in hexadecimal, the first slot lowest.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_json<W: Write>(&self, out: &mut W) -> fmt::Result {
        write!(
            out,
            "{{\"format\":\"mems-snapshot\",\"version\":3,\"page_size\":{}",
            self.page_size()
        )?;
        write!(out, ",\"taken_by\":{},\"stats\":", self.taken_by())?;
        sums(out, &self.stats())?;
        out.write_str(",\n\"spans\":")?;
        list(out, self.spans().iter(), |out, span| {
            write!(
                out,
                "{{\"start\":{},\"total\":{},\"fresh\":{}}}",
                span.start, span.size, span.fresh
            )
        })?;
        out.write_str(",\n\"classes\":")?;
        list(out, self.classes(), |out, class| {
            write!(out, "{{\"slot_bytes\":{},\"slabs\":{},", class.slot_bytes, class.slabs)?;
            write!(out, "\"slots\":{},\"live\":{},", class.slots, class.live)?;
            write!(out, "\"cached\":{},\"slab_bytes\":{}}}", class.cached, class.slab_bytes)
        })?;
        out.write_str(",\n\"threads\":")?;
        list(out, self.threads().iter(), thread)?;
        out.write_str(",\n\"segments\":")?;
        list(out, self.segments(), |out, segment| {
            let state = segment.state.word();
            write!(out, "\n[{},{},\"{state}\"]", segment.start, segment.size)
        })?;
        out.write_str(",\n\"slabs\":")?;
        list(out, self.slabs(), slab)?;
        out.write_str("}\n")
    }
}

fn thread<W: Write>(out: &mut W, thread: &SnapshotThread) -> fmt::Result {
    write!(out, "{{\"number\":{},\"state\":\"{}\",", thread.number, thread.state.word())?;
    write!(out, "\"thread_id\":{},\"name\":{},", thread.thread_id, Quoted(thread.name()))?;
    write!(out, "\"slabs\":{},\"slab_bytes\":{},", thread.slabs, thread.slab_bytes)?;
    write!(out, "\"live\":{},\"live_bytes\":{},", thread.live, thread.live_bytes)?;
    write!(out, "\"cached_bytes\":{}}}", thread.cached_bytes)
}

fn slab<W: Write>(out: &mut W, slab: SnapshotSlab<'_>) -> fmt::Result {
    write!(out, "\n{{\"start\":{},\"size\":{},", slab.start(), slab.size())?;
    write!(out, "\"slot_bytes\":{},\"slots\":{},", slab.slot_bytes(), slab.slots())?;
    write!(
        out,
        "\"carved\":{},\"given_back\":{},\"sent\":{},",
        slab.carved(),
        slab.given_back(),
        slab.sent()
    )?;
    write!(out, "\"thread\":{},\"live\":", slab.thread())?;
    let word = |out: &mut W, word: &u64| write!(out, "\"{word:x}\"");
    list(out, slab.live_words().iter(), word)?;
    out.write_str(",\"cached\":")?;
    list(out, slab.cached_words().iter(), word)?;
    out.write_char('}')
}
