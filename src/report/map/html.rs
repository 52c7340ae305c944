//! The heap map as a page: one file that needs nothing else.
//!
//! The page holds every slot's state as long as that takes less than [`DETAIL_BYTES`]; of a larger heap it holds cells
//! with sums, so it never takes more than some 12 MiB.

use core::fmt::{self, Write};

use super::super::json::{Quoted, list};
use super::super::markup::Escaped;
#[cfg(feature = "profile")]
use super::super::sites::debug_info::debug_info;
#[cfg(feature = "profile")]
use super::super::sites::names::Source;
#[cfg(feature = "profile")]
use super::super::sites::page::PageProfile;
use super::super::text::Bytes;
use super::cells::{Cell, Cells, cell_bytes_for, stretches};
use crate::inspect::{SegmentState, Snapshot, SnapshotSlab};
#[cfg(feature = "profile")]
use crate::profile::Sites;

/// The most that a page spends on single blocks, in bytes of text.
const DETAIL_BYTES: usize = 8 << 20;
/// The most cells of a page that does not show single blocks.
const MOST_CELLS: usize = 256 << 10;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// What a page with a profile has besides.
#[cfg(feature = "profile")]
const SITES: &str = include_str!("sites.js");
#[cfg(feature = "profile")]
const FLAME: &str = include_str!("flame.js");

/// What writes the data of a profile, and with which scripts.
struct Profile<'a, W> {
    sites_script: &'static str,
    flame_script: &'static str,
    write_data: &'a dyn Fn(&mut W) -> fmt::Result,
}

impl Snapshot {
    /// Writes a map of the heap as one HTML page that loads nothing: the address space in rows, coloured by size, kind
    /// or thread; every block, slot and hole under the pointer; search, zoom, the sums. At most some 12 MiB: where
    /// single blocks would take more than 8 MiB, cells with sums are written instead. O(slots + segments).
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_html<W: Write>(&self, out: &mut W) -> fmt::Result {
        self.write_page(out, DETAIL_BYTES, None)
    }

    /// Writes the same page with a profile: a flame graph of who allocated what is live, the map coloured by that, and,
    /// if there was an earlier look, what has grown since. Take the snapshot right after the look, so that both are of
    /// about the same moment.
    ///
    /// # Errors
    ///
    /// Those of `out`, and if there is no memory for the names.
    #[cfg(feature = "profile")]
    pub fn write_html_with<W: Write>(
        &self,
        out: &mut W,
        sites: &Sites,
        earlier: Option<&Sites>,
    ) -> fmt::Result {
        self.write_html_by(out, sites, earlier, debug_info)
    }

    /// The same with names from somewhere else.
    #[cfg(feature = "profile")]
    pub(crate) fn write_html_by<W: Write>(
        &self,
        out: &mut W,
        sites: &Sites,
        earlier: Option<&Sites>,
        source: Source,
    ) -> fmt::Result {
        let profile = PageProfile::new(sites, earlier, source).map_err(|_| fmt::Error)?;
        let write_data = |out: &mut W| {
            out.write_str(",\n\"profile\":")?;
            profile.write(out)
        };
        let (sites_script, flame_script) = (SITES, FLAME);
        let profile = Profile { sites_script, flame_script, write_data: &write_data };
        self.write_page(out, DETAIL_BYTES, Some(profile))
    }

    fn write_page<W: Write>(
        &self,
        out: &mut W,
        detail_bytes: usize,
        profile: Option<Profile<'_, W>>,
    ) -> fmt::Result {
        let mut parts = PAGE.split("{{");
        out.write_str(parts.next().unwrap_or_default())?;
        for part in parts {
            let (name, text) = part.split_once("}}").unwrap_or((part, ""));
            match name {
                "style" => out.write_str(STYLE)?,
                "script" => out.write_str(SCRIPT)?,
                "sites" => out.write_str(profile.as_ref().map_or("", |one| one.sites_script))?,
                "flame" => out.write_str(profile.as_ref().map_or("", |one| one.flame_script))?,
                "lead" => self.write_lead(out)?,
                "sums" => self.write_sums(out)?,
                "classes" => self.write_class_rows(out)?,
                "threads" => self.write_thread_rows(out)?,
                "fragmentation" => self.write_fragmentation(&mut Escaped(out))?,
                _ => {
                    self.write_data(out, detail_bytes)?;
                    profile.as_ref().map_or(Ok(()), |one| (one.write_data)(out))?;
                    out.write_char('}')?;
                }
            }
            out.write_str(text)?;
        }
        Ok(())
    }

    fn write_lead<W: Write>(&self, out: &mut W) -> fmt::Result {
        let stats = self.stats();
        let (live, mapped) = (Bytes(stats.allocated), Bytes(stats.mapped));
        write!(out, "{live} live in {} blocks, of {mapped} mapped", stats.blocks)
    }

    fn write_sums<W: Write>(&self, out: &mut W) -> fmt::Result {
        for (name, value) in self.stats().named() {
            let words = if name == "largest_hole" { "largest hole" } else { name };
            write!(out, "<div><dt>{words}</dt><dd ")?;
            write!(out, "id=\"stat-{name}\" data-value=\"{value}\" title=\"{value}\">")?;
            match name {
                "blocks" | "holes" | "spans" | "slabs" => write!(out, "{value}")?,
                _ => write!(out, "{}", Bytes(value))?,
            }
            out.write_str("</dd></div>\n")?;
        }
        Ok(())
    }

    fn write_class_rows<W: Write>(&self, out: &mut W) -> fmt::Result {
        for class in self.classes().filter(|class| class.slabs > 0) {
            let (live, cached) = (class.live * class.slot_bytes, class.cached * class.slot_bytes);
            write!(out, "<tr><td>{}</td><td>{}</td>", class.slot_bytes, class.live)?;
            write!(out, "<td>{}</td><td>{}</td>", Bytes(live), Bytes(cached))?;
            let per_cent = |bytes: usize| bytes as u128 * 100 / class.slab_bytes.max(1) as u128;
            let (live, taken) = (per_cent(live), per_cent(live + cached));
            write!(out, "<td>{}</td><td class=\"bar\">", Bytes(class.slab_bytes))?;
            writeln!(out, "<i style=\"--live:{live}%;--taken:{taken}%\"></i></td></tr>")?;
        }
        Ok(())
    }

    fn write_thread_rows<W: Write>(&self, out: &mut W) -> fmt::Result {
        for thread in self.threads().iter().filter(|thread| thread.slabs > 0) {
            write!(out, "<tr><td>{}</td><td>", thread.number)?;
            Escaped(out).write_str(thread.name())?;
            write!(out, "</td><td>{}</td><td>{}</td>", thread.state.word(), thread.live)?;
            write!(out, "<td>{}</td>", Bytes(thread.live_bytes))?;
            write!(out, "<td>{}</td>", Bytes(thread.cached_bytes))?;
            writeln!(out, "<td>{}</td></tr>", Bytes(thread.slab_bytes))?;
        }
        Ok(())
    }

    /// Writes what the script draws, without the end of the object.
    fn write_data<W: Write>(&self, out: &mut W, detail_bytes: usize) -> fmt::Result {
        out.write_str("{\"threads\":")?;
        list(out, self.threads().iter(), |out, thread| {
            let (name, state) = (Quoted(thread.name()), thread.state.word());
            write!(out, "[{},{name},\"{state}\",{}]", thread.number, thread.slabs)
        })?;
        if self.detail_bytes() <= detail_bytes {
            out.write_str(",\n\"cell\":0,\"slabs\":")?;
            list(out, self.slabs(), slab)?;
            out.write_str(",\n\"stretches\":")?;
            let mut segments = self.segments().peekable();
            list(out, stretches(self), |out, stretch| {
                write!(out, "\n[{},{},\"", stretch.start, stretch.end)?;
                let mut at = stretch.start;
                while let Some(segment) = segments.next_if(|next| next.start < stretch.end) {
                    if segment.start > at {
                        write!(out, "u{}", Base36(segment.start - at))?;
                    }
                    write!(out, "{}{}", letter(segment.state), Base36(segment.size))?;
                    at = segment.start + segment.size;
                }
                out.write_str("\"]")
            })?;
        } else {
            let cell_bytes = cell_bytes_for(self, MOST_CELLS);
            write!(out, ",\n\"cell\":{cell_bytes},\"stretches\":")?;
            let mut places = self.places();
            list(out, stretches(self), |out, stretch| {
                write!(out, "\n[{},{},\"", stretch.start, stretch.end)?;
                write_cells(out, Cells::new(&mut places, stretch, cell_bytes))?;
                out.write_str("\"]")
            })?;
        }
        Ok(())
    }

    /// About how many bytes of text single blocks would take.
    fn detail_bytes(&self) -> usize {
        let slabs: usize = self.slabs().map(|slab| 24 + slab.slots() / 3).sum();
        slabs + self.segments().len() * 6
    }
}

/// The letter of a segment in a page's data.
const fn letter(state: SegmentState) -> char {
    match state {
        SegmentState::Hole => 'h',
        SegmentState::CleanHole => 'e',
        SegmentState::Block => 'b',
        SegmentState::Slab => 's',
        SegmentState::Between => 'u',
    }
}

/// Writes a slab: bytes of a slot, slots, thread, and the live and the cached slots, six to a letter.
fn slab<W: Write>(out: &mut W, slab: SnapshotSlab<'_>) -> fmt::Result {
    write!(out, "\n\"{}.{}.{}.", slab.slot_bytes(), slab.slots(), slab.thread())?;
    sixes(out, slab.live_words())?;
    out.write_char('.')?;
    sixes(out, slab.cached_words())?;
    out.write_char('"')
}

/// Writes bits, six to a letter, the first bit lowest, without the zeros at the end.
fn sixes<W: Write>(out: &mut W, words: &[u64]) -> fmt::Result {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let count = words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
    let (mut bits, mut len) = (0_u128, 0);
    for word in words.iter().take(count) {
        bits |= u128::from(*word) << len;
        len += 64;
        while len >= 6 {
            out.write_char(char::from(LETTERS[(bits & 63) as usize]))?;
            bits >>= 6;
            len -= 6;
        }
    }
    if bits == 0 { Ok(()) } else { out.write_char(char::from(LETTERS[(bits & 63) as usize])) }
}

/// Writes cells with commas between them: `live.cached.free.hole.slot.thread`, nothing for a cell of clean holes, `=`
/// for one like the one before it.
fn write_cells<W: Write>(out: &mut W, cells: Cells<'_, '_>) -> fmt::Result {
    let numbers = |cell: &Cell| {
        let slot = cell.slot_bytes().unwrap_or(0);
        let thread = cell.thread().unwrap_or(0);
        let bytes = [cell.live, cell.cached, cell.free, cell.hole].map(|bytes| bytes as u64);
        [bytes[0], bytes[1], bytes[2], bytes[3], slot, thread]
    };
    let mut before = None;
    for cell in cells {
        out.write_str(if before.is_some() { "," } else { "" })?;
        let now = numbers(&cell);
        if before == Some(now) {
            out.write_char('=')?;
        } else if now[..4].iter().any(|bytes| *bytes > 0) {
            let last = now.iter().rposition(|number| *number > 0).unwrap_or(0);
            for (index, number) in now.into_iter().take(last + 1).enumerate() {
                let number = Base36(usize::try_from(number).unwrap_or(0));
                write!(out, "{}{number}", if index == 0 { "" } else { "." })?;
            }
        }
        before = Some(now);
    }
    Ok(())
}

/// A number in few letters: digits and capitals.
struct Base36(usize);

impl fmt::Display for Base36 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let mut text = [0; 13];
        let (mut rest, mut first) = (self.0, text.len());
        for place in text.iter_mut().rev() {
            *place = DIGITS[rest % 36];
            rest /= 36;
            first -= 1;
            if rest == 0 {
                break;
            }
        }
        f.write_str(str::from_utf8(text.get(first..).unwrap_or_default()).unwrap_or_default())
    }
}
