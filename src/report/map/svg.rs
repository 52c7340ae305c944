//! The heap map as a picture: a still one, for documents, of at most 2 MiB.

use core::fmt::{self, Write};

use super::super::text::Bytes;
use super::cells::{Cell, Cells, cell_count, stretches};
use crate::inspect::Snapshot;

/// Cells of a row, and its height and a cell's width in units of the picture.
const ROW_CELLS: usize = 256;
const ROW_UNITS: usize = 7;
const CELL_UNITS: usize = 4;
/// The most rows; their cells take some 2 MiB at the worst.
const MOST_ROWS: usize = 64;
/// The width left of the rows, for addresses.
const GUTTER: usize = 92;
/// The height above the rows, for the sums.
const HEAD: usize = 66;
/// The height above each stretch.
const STRETCH: usize = 6;

/// The largest slots, in bytes, that have the colour with that number. Larger slots, and blocks outside of slabs, have
/// the next ones.
const SIZES: [(u64, &str); 5] = [
    (32, "to 32 B"),
    (128, "to 128 B"),
    (512, "to 512 B"),
    (4096, "to 4 KiB"),
    (32768, "to 32 KiB"),
];
/// The colour of larger blocks.
const LARGE: usize = SIZES.len();

/// The colours, told apart by lightness, too: a part of viridis for sizes, Okabe and Ito's vermilion and reddish
/// purple.
const STYLE: &str = "
svg{background:#fff;color:#1c2024;font:11px system-ui,sans-serif}text{fill:currentColor}.f{fill:#60686f}
.h{fill:#e3e7ec}.e{fill:#f5f6f8}.i{fill:#c2c9d2}.k{fill:#cc79a7}
.c0{fill:#46327e}.c1{fill:#365c8d}.c2{fill:#1fa187}.c3{fill:#4ac16d}.c4{fill:#a0da39}.c5{fill:#d55e00}
@media(prefers-color-scheme:dark){svg{background:#14171a;color:#e4e7ea}.f{fill:#98a1a9}
.h{fill:#272d33}.e{fill:#1a1e22}.i{fill:#414953}}
";

/// What a cell looks like: a class of the style, and how much of it is covered, in quarters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    class: &'static str,
    quarters: usize,
}

const NOTHING: Look = Look { class: "e", quarters: 4 };

impl Look {
    /// The look of what most of a cell is.
    fn of(cell: &Cell) -> Self {
        let Cell { live, cached, free, hole, clean, .. } = *cell;
        let whole = (live + cached + free + hole + clean).max(1);
        // What is live shows, and what is hidden in caches, even where it is little.
        let (class, bytes) = if live * 8 >= whole {
            (Self::live_class(cell), live)
        } else if cached * 8 >= whole {
            ("k", cached)
        } else {
            let idle = [("e", clean), ("h", hole), ("i", free)];
            (idle.into_iter().max_by_key(|(_, bytes)| *bytes).unwrap_or(("e", 0)).0, whole)
        };
        Self { class, quarters: (bytes * 4).div_ceil(whole) }
    }

    fn live_class(cell: &Cell) -> &'static str {
        const CLASSES: [&str; LARGE + 1] = ["c0", "c1", "c2", "c3", "c4", "c5"];
        let fits = |bytes| SIZES.iter().position(|(most, _)| bytes <= *most).unwrap_or(LARGE);
        CLASSES[cell.slot_bytes().map_or(LARGE, fits)]
    }
}

/// Cells side by side in one row that look the same.
struct Run {
    look: Look,
    x: usize,
    y: usize,
    cells: usize,
    sums: [usize; 3],
    start: usize,
}

impl Run {
    fn write<W: Write>(&self, out: &mut W, cell_bytes: usize) -> fmt::Result {
        if self.cells == 0 || self.look == NOTHING {
            return Ok(());
        }
        let (x, width) = (GUTTER + self.x * CELL_UNITS, self.cells * CELL_UNITS);
        write!(out, "<rect x=\"{x}\" y=\"{}\" width=\"{width}\" ", self.y)?;
        write!(out, "height=\"{}\" class=\"{}\"", ROW_UNITS - 1, self.look.class)?;
        if self.look.quarters < 4 {
            write!(out, " opacity=\".{}\"", 25 + 25 * self.look.quarters - 10)?;
        }
        let [live, cached, unused] = self.sums.map(Bytes);
        write!(out, "><title>{:#x}, {}: {live} live", self.start, Bytes(self.cells * cell_bytes))?;
        writeln!(out, ", {cached} cached, {unused} unused</title></rect>")
    }
}

impl Snapshot {
    /// Writes a map of the heap as one SVG: the address space in rows, coloured by size. Each cell of a power of two of
    /// bytes (16 for heaps up to 256 KiB) shows what most of it is, fainter where it is not full. At most 2 MiB;
    /// pointing at a run of cells shows its sums. O(slots + segments).
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_svg<W: Write>(&self, out: &mut W) -> fmt::Result {
        let cell_bytes = self.picture_cell_bytes();
        let rows = self.picture_rows(cell_bytes * ROW_CELLS);
        let height = HEAD + rows * ROW_UNITS + stretches(self).count() * STRETCH + 6;
        let width = GUTTER + ROW_CELLS * CELL_UNITS + 8;
        write!(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" ")?;
        writeln!(out, "width=\"{width}\" height=\"{height}\" role=\"img\">")?;
        writeln!(out, "<style>{STYLE}</style><title>MeMS heap map</title>")?;
        self.write_head(out, cell_bytes)?;
        let (mut places, mut y) = (self.places(), HEAD);
        for stretch in stretches(self) {
            y += STRETCH;
            let cells = Cells::new(&mut places, stretch, cell_bytes);
            y = write_rows(out, cells, y, cell_bytes)?;
        }
        out.write_str("</svg>\n")
    }

    /// The smallest power of two, at least 16, with which the picture has at most [`MOST_ROWS`] rows, or as few as
    /// there are stretches.
    fn picture_cell_bytes(&self) -> usize {
        let mut bytes = 16;
        let least = stretches(self).count();
        while bytes < 1 << 50 && self.picture_rows(bytes * ROW_CELLS) > MOST_ROWS.max(least) {
            bytes *= 2;
        }
        bytes
    }

    fn picture_rows(&self, row_bytes: usize) -> usize {
        cell_count(self, row_bytes)
    }

    fn write_head<W: Write>(&self, out: &mut W, cell_bytes: usize) -> fmt::Result {
        let stats = self.stats();
        let (live, mapped, resident) =
            (Bytes(stats.allocated), Bytes(stats.mapped), Bytes(stats.resident));
        write!(
            out,
            "<text x=\"8\" y=\"20\" font-size=\"15\">{live} live in {} blocks",
            stats.blocks
        )?;
        write!(
            out,
            ", {mapped} mapped, {resident} resident at most</text><text x=\"8\" y=\"37\" class=\"f\">"
        )?;
        write!(
            out,
            "{} unused, of it {} in caches; {} ",
            Bytes(stats.free),
            Bytes(stats.cached),
            stats.holes
        )?;
        write!(out, "holes, the largest {}; {} slabs. ", Bytes(stats.largest_hole), stats.slabs)?;
        writeln!(
            out,
            "A cell is {}, a row {}.</text>",
            Bytes(cell_bytes),
            Bytes(cell_bytes * ROW_CELLS)
        )?;
        let sizes = SIZES.iter().map(|(_, text)| *text).chain(["larger block"]);
        let lives = ["c0", "c1", "c2", "c3", "c4", "c5"].into_iter().zip(sizes);
        let others =
            [("k", "in a cache"), ("i", "free slot"), ("h", "hole"), ("e", "hole, given back")];
        for (index, (class, text)) in lives.chain(others).enumerate() {
            let x = 8 + index * 106;
            write!(out, "<rect x=\"{x}\" y=\"47\" width=\"11\" height=\"11\" class=\"{class}\" ")?;
            writeln!(
                out,
                "stroke=\"#98a1a9\" stroke-width=\".5\"/><text x=\"{}\" y=\"56\">{text}</text>",
                x + 16
            )?;
        }
        Ok(())
    }
}

/// Writes the rows of a stretch from `y` on and says where they end.
fn write_rows<W: Write>(
    out: &mut W,
    cells: Cells<'_, '_>,
    first_y: usize,
    cell_bytes: usize,
) -> Result<usize, fmt::Error> {
    let mut y = first_y;
    let mut run = Run { look: NOTHING, x: 0, y, cells: 0, sums: [0; 3], start: 0 };
    let mut is_first = true;
    for cell in cells {
        let x = cell.start / cell_bytes % ROW_CELLS;
        if x == 0 || is_first {
            y += if is_first { 0 } else { ROW_UNITS };
            let row = cell.start / (cell_bytes * ROW_CELLS) * (cell_bytes * ROW_CELLS);
            write!(out, "<text x=\"8\" y=\"{}\" class=\"f\" font-size=\"7\" ", y + 6)?;
            writeln!(out, "font-family=\"monospace\">{row:#x}</text>")?;
            is_first = false;
        }
        let look = Look::of(&cell);
        if look != run.look || y != run.y {
            run.write(out, cell_bytes)?;
            run = Run { look, x, y, cells: 0, sums: [0; 3], start: cell.start };
        }
        run.cells += 1;
        let unused = cell.free + cell.hole + cell.clean;
        for (sum, bytes) in run.sums.iter_mut().zip([cell.live, cell.cached, unused]) {
            *sum += bytes;
        }
    }
    run.write(out, cell_bytes)?;
    Ok(y + ROW_UNITS)
}
