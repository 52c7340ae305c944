//! The picture: time and peak memory of all contestants as ratios to the best peer, on a logarithmic axis.
//!
//! One lane per mean or row; left is better. MeMS is a large filled diamond with its number beside; peers differ in
//! shape as well as in colour (Okabe and Ito's palette, safe for colour-blind readers). The page is light unless
//! the reader's system asks for dark.

use core::fmt::{self, Write as _};

use super::figures::{Figures, Metric, RowFigures};
use super::shapes::{Shape, write_shape};
use crate::contestants::{FLOOR, SUBJECT};
use crate::raw::EntrantRole;

/// Width of the picture.
const WIDTH: f64 = 880.0;

/// Where the axis begins and ends.
const AXIS: (f64, f64) = (150.0, 756.0);

/// Ratios at the ends of the axis; what lies beyond is drawn at the edge with its number.
const RANGE: (f64, f64) = (0.5, 8.0);

/// Ratios with a line and a label.
const TICKS: [(f64, &str); 9] = [
    (0.5, "0.5"),
    (0.7, "0.7"),
    (1.0, "1"),
    (1.5, "1.5"),
    (2.0, "2"),
    (3.0, "3"),
    (4.0, "4"),
    (6.0, "6"),
    (8.0, "8"),
];

/// Height of a lane.
const LANE: f64 = 34.0;

/// Marks nearer than this are drawn on different levels of their lane.
const APART: f64 = 12.0;

/// Distance of levels.
const LEVEL: f64 = 9.0;

/// How the peers look, by their order among the entrants.
const LOOKS: [(&str, Shape); 8] = [
    ("#8c8c8c", Shape::Square),
    ("#56b4e9", Shape::Circle),
    ("#0072b2", Shape::Triangle),
    ("#009e73", Shape::Circle),
    ("#cc79a7", Shape::Square),
    ("#e69f00", Shape::Triangle),
    ("#9a6b00", Shape::Cross),
    ("#7f7fff", Shape::Drop),
];

/// How MeMS looks.
const SUBJECT_LOOK: (&str, Shape) = ("#d55e00", Shape::Diamond);

/// The line below the title.
const HOW_TO_READ: &str =
    "Ratio to the best peer of each row, geometric means over rows. Left is better.";

/// A lane: its label and the entrants' ratios.
struct Lane {
    label: String,
    ratios: Vec<(usize, f64)>,
    is_total: bool,
}

/// Draws the picture.
pub fn picture(figures: &Figures) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_picture(&mut text, figures);
    text
}

fn write_picture(out: &mut String, figures: &Figures) -> fmt::Result {
    let time = lanes(figures, Metric::Time);
    let memory = lanes(figures, Metric::Rss);
    let legend_rows =
        f64::from(u32::try_from(drawn(figures).len().div_ceil(LEGEND_COLUMNS)).unwrap_or(1));
    let panel_height =
        |lanes: &[Lane]| if lanes.is_empty() { 0.0 } else { 78.0 + LANE * count(lanes.len()) };
    let height = 84.0 + legend_rows * 22.0 + panel_height(&time) + panel_height(&memory) + 34.0;
    write_style(out, height)?;
    writeln!(out, r#"<text class="title" x="24" y="36">MeMS beside other allocators</text>"#)?;
    writeln!(out, r#"<text class="note" x="24" y="58">{HOW_TO_READ}</text>"#)?;
    write_legend(out, figures, 84.0)?;
    let mut top = 84.0 + legend_rows * 22.0 + 14.0;
    for (title, lanes) in [("Time", &time), ("Peak memory", &memory)] {
        if !lanes.is_empty() {
            write_panel(out, figures, title, lanes, top)?;
            top += panel_height(lanes);
        }
    }
    let machine = &figures.head.machine;
    let note = format!(
        "{}, {} CPUs, {} profile, {}",
        machine.cpu_with_model(),
        machine.cpus,
        figures.head.profile,
        machine.date
    );
    writeln!(
        out,
        r#"<text class="note" x="24" y="{:.0}">{}</text>"#,
        height - 18.0,
        escape(&note)
    )?;
    writeln!(out, "</svg>")
}

fn write_style(out: &mut String, height: f64) -> fmt::Result {
    write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0}" "#
    )?;
    writeln!(
        out,
        r#"viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="Time and peak memory of MeMS and other allocators">
<style>
text {{ font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328; }}
.page {{ fill: #ffffff; }}
.title {{ font-size: 20px; font-weight: 600; }}
.panel {{ font-size: 15px; font-weight: 600; }}
.note, .tick {{ font-size: 12px; fill: #59636e; }}
.total {{ font-weight: 600; }}
.value {{ font-weight: 600; }}
.grid {{ stroke: #d8dee4; stroke-width: 1; }}
.one {{ stroke: #59636e; stroke-width: 1.5; }}
.floor {{ stroke: #59636e; stroke-width: 2; }}
.mark {{ stroke: #ffffff; stroke-width: 1; }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: #e6edf3; }}
  .page {{ fill: #0d1117; }}
  .note, .tick {{ fill: #9da7b3; }}
  .grid {{ stroke: #30363d; }}
  .one, .floor {{ stroke: #9da7b3; }}
  .mark {{ stroke: #0d1117; }}
}}
</style>
<rect class="page" width="{WIDTH}" height="{height:.0}" rx="8"/>"#
    )
}

/// Entrants of a legend's line.
const LEGEND_COLUMNS: usize = 5;

fn write_legend(out: &mut String, figures: &Figures, top: f64) -> fmt::Result {
    for (place, index) in drawn(figures).into_iter().enumerate() {
        let x = 32.0 + 166.0 * count(place % LEGEND_COLUMNS);
        let y = top + 22.0 * count(place / LEGEND_COLUMNS);
        write_mark(out, figures, index, x, y)?;
        let (name, role) = &figures.head.entrants[index];
        let class = if *role == EntrantRole::Subject { "total" } else { "label" };
        writeln!(
            out,
            r#"<text class="{class}" x="{:.0}" y="{:.0}">{}</text>"#,
            x + 14.0,
            y + 4.5,
            escape(shown_name(name))
        )?;
    }
    Ok(())
}

fn write_panel(
    out: &mut String,
    figures: &Figures,
    title: &str,
    lanes: &[Lane],
    top: f64,
) -> fmt::Result {
    let bottom = top + 34.0 + LANE * count(lanes.len());
    writeln!(out, r#"<text class="panel" x="24" y="{:.0}">{title}</text>"#, top + 18.0)?;
    for (ratio, label) in TICKS {
        let x = place_on_axis(ratio);
        let class = if label == "1" { "one" } else { "grid" };
        writeln!(
            out,
            r#"<line class="{class}" x1="{x:.1}" y1="{:.1}" x2="{x:.1}" y2="{bottom:.1}"/>"#,
            top + 30.0
        )?;
        writeln!(
            out,
            r#"<text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{label}×</text>"#,
            bottom + 17.0
        )?;
    }
    let (one, heads) = (place_on_axis(1.0), top + 22.0);
    writeln!(
        out,
        r#"<text class="tick" x="{one:.1}" y="{heads:.1}" text-anchor="middle">best peer</text>"#
    )?;
    if figures.subject().is_some() {
        let right = WIDTH - 20.0;
        writeln!(
            out,
            r#"<text class="tick" x="{right:.1}" y="{heads:.1}" text-anchor="end">MeMS</text>"#
        )?;
    }
    for (place, lane) in lanes.iter().enumerate() {
        write_lane(out, figures, lane, top + 34.0 + LANE * (count(place) + 0.5))?;
    }
    Ok(())
}

fn write_lane(out: &mut String, figures: &Figures, lane: &Lane, middle: f64) -> fmt::Result {
    let class = if lane.is_total { "total" } else { "label" };
    let label = escape(&lane.label);
    writeln!(
        out,
        r#"<text class="{class}" x="{:.0}" y="{:.1}" text-anchor="end">{label}</text>"#,
        AXIS.0 - 16.0,
        middle + 4.5
    )?;
    let subject = figures.subject();
    let (mut taken, mut numbered) = (Vec::new(), Vec::new());
    // MeMS is drawn last, on top, and takes the middle of its lane.
    if let Some(&(_, ratio)) = lane.ratios.iter().find(|(index, _)| Some(*index) == subject) {
        taken.push((place_on_axis(ratio), 0.0));
    }
    for &(index, ratio) in lane.ratios.iter().filter(|(index, _)| Some(*index) != subject) {
        let x = place_on_axis(ratio);
        let is_floor = figures.head.entrants[index].1 == EntrantRole::Shown;
        let level = if is_floor { 0.0 } else { free_level(&mut taken, x) };
        write_mark(out, figures, index, x, middle + level)?;
        // Numbers beside one another would not be legible; the first of a level stands for it.
        if ratio > RANGE.1 && !numbered.contains(&level) && !is_floor {
            numbered.push(level);
            let (x, y) = (x + 9.0, middle + level + 4.0);
            writeln!(out, r#"<text class="tick" x="{x:.1}" y="{y:.1}">{ratio:.0}×</text>"#)?;
        }
    }
    if let Some(&(index, ratio)) = lane.ratios.iter().find(|(index, _)| Some(*index) == subject) {
        write_mark(out, figures, index, place_on_axis(ratio), middle)?;
        writeln!(
            out,
            r#"<text class="value" x="{:.0}" y="{:.1}" text-anchor="end">{ratio:.2}×</text>"#,
            WIDTH - 20.0,
            middle + 4.5
        )?;
    }
    Ok(())
}

/// The level nearest to the middle on which nothing lies too near.
fn free_level(taken: &mut Vec<(f64, f64)>, x: f64) -> f64 {
    let is_free =
        |level: f64| taken.iter().all(|&(other, at)| at != level || (other - x).abs() >= APART);
    let level = [0.0, -LEVEL, LEVEL].into_iter().find(|&level| is_free(level)).unwrap_or(0.0);
    taken.push((x, level));
    level
}

fn write_mark(out: &mut String, figures: &Figures, index: usize, x: f64, y: f64) -> fmt::Result {
    match figures.head.entrants[index].1 {
        EntrantRole::Subject => write_shape(out, SUBJECT_LOOK.1, SUBJECT_LOOK.0, (x, y), 9.0),
        EntrantRole::Peer => {
            let peers = figures
                .head
                .entrants
                .iter()
                .take(index)
                .filter(|entrant| entrant.1 == EntrantRole::Peer);
            let (colour, shape) = LOOKS[peers.count() % LOOKS.len()];
            write_shape(out, shape, colour, (x, y), 5.5)
        }
        EntrantRole::Shown => {
            writeln!(
                out,
                r#"<line class="floor" x1="{x:.1}" y1="{:.1}" x2="{x:.1}" y2="{:.1}"/>"#,
                y - 9.0,
                y + 9.0
            )
        }
    }
}

/// The entrants that are drawn: MeMS, its peers, and the floor of the columns beside.
fn drawn(figures: &Figures) -> Vec<usize> {
    let is_drawn =
        |(name, role): &(String, EntrantRole)| *role != EntrantRole::Shown || name == FLOOR;
    let entrants = figures.head.entrants.iter().enumerate();
    entrants.filter(|(_, entrant)| is_drawn(entrant)).map(|(index, _)| index).collect()
}

/// The lanes of a panel: the means, and for memory the rows that need much.
fn lanes(figures: &Figures, metric: Metric) -> Vec<Lane> {
    let drawn = drawn(figures);
    let mut lanes = Vec::new();
    if metric == Metric::Rss {
        let large =
            |row: &&RowFigures| row.least_rss_mib(&figures.head) >= super::figures::LARGE_RSS_MIB;
        lanes.extend(figures.rows.iter().filter(large).map(|row| {
            let of =
                |&index: &usize| Some((index, row.cells[index].as_ref()?.ratio(metric)?.value));
            Lane {
                label: row.row.name.clone(),
                ratios: drawn.iter().filter_map(of).collect(),
                is_total: false,
            }
        }));
    }
    for summary in figures.summaries().into_iter().filter(|summary| summary.metric == metric) {
        let of = |&index: &usize| {
            let mean = figures.mean(index, metric, |row| summary.picks(row, &figures.head))?;
            Some((index, mean.value))
        };
        let label = summary.label.trim_start_matches("peak RSS, ").to_owned();
        let is_total = label.ends_with("rows");
        lanes.push(Lane { label, ratios: drawn.iter().filter_map(of).collect(), is_total });
    }
    lanes
}

fn place_on_axis(ratio: f64) -> f64 {
    let share = (ratio.clamp(RANGE.0, RANGE.1) / RANGE.0).ln() / (RANGE.1 / RANGE.0).ln();
    AXIS.0 + share * (AXIS.1 - AXIS.0)
}

fn shown_name(name: &str) -> &str {
    if name == SUBJECT { "MeMS" } else { name }
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A count as a coordinate.
pub(super) fn count(value: usize) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_is_logarithmic_and_clamped() {
        let (half, one, two) = (place_on_axis(0.5), place_on_axis(1.0), place_on_axis(2.0));
        assert!((one - half - (two - one)).abs() < 1e-9);
        assert_eq!(place_on_axis(100.0), AXIS.1);
        assert_eq!(place_on_axis(0.01), AXIS.0);
    }

    #[test]
    fn near_marks_take_different_levels() {
        let mut taken = vec![(100.0, 0.0)];
        let levels = [101.0, 102.0, 160.0].map(|x| free_level(&mut taken, x));
        assert_eq!(levels, [-LEVEL, LEVEL, 0.0]);
    }
}
