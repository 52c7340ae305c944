//! A picture of lines: memory as patterns go on and idle, a panel per pattern, a line per contestant.

use core::fmt::{self, Write as _};
use core::ops::Range;

use super::svg::{count, escape};
use crate::contestants::SUBJECT;
use crate::patterns::IDLE_SECONDS;

/// One panel.
#[derive(Debug)]
pub struct Panel {
    /// Its headline.
    pub title: String,
    /// Contestants and their numbers, evenly spread over the time of the pattern; none where there is none.
    pub lines: Vec<(String, Vec<Option<f64>>)>,
    /// Which of the numbers are of idle time.
    pub idle: Vec<Range<usize>>,
    /// The axis of numbers.
    pub scale: Scale,
}

/// An axis of numbers.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Where it begins. Numbers above its last tick are drawn at the edge.
    pub low: f64,
    /// Numbers that are written beside it, the least first.
    pub ticks: &'static [f64],
    /// What is written behind a number.
    pub unit: &'static str,
    /// Digits behind the point of the last number of a line.
    pub digits: usize,
}

/// What stands around the panels.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The headline.
    pub title: &'a str,
    /// The line below: how to read it.
    pub below: &'a str,
    /// The last line.
    pub note: &'a str,
}

/// Width of the picture.
const WIDTH: f64 = 880.0;
/// Where the axis of time begins and ends.
const AXIS: (f64, f64) = (64.0, 760.0);
/// Height of a panel's plot, and of what is around it.
const PLOT: f64 = 190.0;
/// See [`PLOT`].
const AROUND: f64 = 82.0;
/// How contestants look: Okabe and Ito's palette, and dashes, by their order.
const LOOKS: [(&str, &str); 5] = [
    ("#d55e00", ""),
    ("#8c8c8c", "7 3"),
    ("#0072b2", "2 3"),
    ("#009e73", "9 3 2 3"),
    ("#cc79a7", "4 4"),
];

/// Draws the picture.
pub fn picture(panels: &[Panel], around: Around<'_>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_picture(&mut text, panels, around);
    text
}

fn write_picture(out: &mut String, panels: &[Panel], around: Around<'_>) -> fmt::Result {
    let [title, below, note] = [around.title, around.below, around.note].map(escape);
    let height = 76.0 + (PLOT + AROUND) * count(panels.len()) + 30.0;
    write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0}" "#
    )?;
    write!(out, r#"viewBox="0 0 {WIDTH} {height:.0}" role="img" "#)?;
    writeln!(
        out,
        r#"aria-label="{title}, of MeMS and other allocators">
<style>
text {{ font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328; }}
.page {{ fill: #ffffff; }}
.title {{ font-size: 20px; font-weight: 600; }}
.panel {{ font-size: 15px; font-weight: 600; }}
.note, .tick {{ font-size: 12px; fill: #59636e; }}
.grid {{ stroke: #d8dee4; stroke-width: 1; }}
.idle {{ fill: #8c8c8c; opacity: 0.12; }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: #e6edf3; }}
  .page {{ fill: #0d1117; }}
  .note, .tick {{ fill: #9da7b3; }}
  .grid {{ stroke: #30363d; }}
}}
</style>
<rect class="page" width="{WIDTH}" height="{height:.0}" rx="8"/>
<text class="title" x="24" y="36">{title}</text>
<text class="note" x="24" y="58">{below}</text>"#
    )?;
    for (place, panel) in panels.iter().enumerate() {
        write_panel(out, panel, 76.0 + (PLOT + AROUND) * count(place))?;
    }
    let bottom = height - 16.0;
    writeln!(out, r#"<text class="note" x="24" y="{bottom:.0}">{note}</text>"#)?;
    writeln!(out, "</svg>")
}

fn write_panel(out: &mut String, panel: &Panel, top: f64) -> fmt::Result {
    writeln!(
        out,
        r#"<text class="panel" x="24" y="{:.0}">{}</text>"#,
        top + 20.0,
        escape(&panel.title)
    )?;
    let all = panel.lines.iter().flat_map(|(_, ratios)| ratios.iter().flatten());
    let Scale { low, ticks, unit, digits } = panel.scale;
    let edge = ticks.last().copied().unwrap_or(1.5);
    let most = all.fold(1.5, |most: f64, ratio| most.max(*ratio)).min(edge);
    let plot_top = top + 34.0;
    let height_of =
        |ratio: f64| plot_top + PLOT * (1.0 - (ratio.clamp(low, most) - low) / (most - low));
    write_idle(out, panel, plot_top)?;
    for tick in ticks.iter().copied().filter(|tick| *tick <= most) {
        let y = height_of(tick);
        let (from, to) = AXIS;
        write!(out, r#"<line class="grid" x1="{from}" y1="{y:.1}" x2="{to}" y2="{y:.1}"/>"#)?;
        writeln!(
            out,
            r#"<text class="tick" x="{:.0}" y="{:.1}" text-anchor="end">{tick}{unit}</text>"#,
            from - 8.0,
            y + 4.0
        )?;
    }
    // MeMS last, on top.
    for (index, (name, ratios)) in panel.lines.iter().enumerate().rev() {
        let (colour, dashes) = LOOKS[index % LOOKS.len()];
        let wide = if name == SUBJECT { 2.6 } else { 1.8 };
        let stroke =
            format!(r#"stroke="{colour}" stroke-width="{wide}" stroke-dasharray="{dashes}""#);
        let step = (AXIS.1 - AXIS.0) / count(ratios.len().saturating_sub(1).max(1));
        let points: Vec<String> = ratios
            .iter()
            .enumerate()
            .filter_map(|(place, ratio)| Some((AXIS.0 + step * count(place), height_of((*ratio)?))))
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        writeln!(out, r#"<polyline fill="none" {stroke} points="{}"/>"#, points.join(" "))?;
        let last = ratios.iter().flatten().next_back().copied().unwrap_or(f64::NAN);
        let (x, y) = (64.0 + 158.0 * count(index), plot_top + PLOT + 24.0);
        write!(
            out,
            r#"<line x1="{x:.0}" y1="{y:.0}" x2="{:.0}" y2="{y:.0}" {stroke}/>"#,
            x + 24.0
        )?;
        writeln!(
            out,
            r#"<text x="{:.0}" y="{:.0}">{} {last:.digits$}{unit}</text>"#,
            x + 30.0,
            y + 4.5,
            escape(if name == SUBJECT { "MeMS" } else { name })
        )?;
    }
    Ok(())
}

/// Shades idle time.
fn write_idle(out: &mut String, panel: &Panel, plot_top: f64) -> fmt::Result {
    let samples = panel.lines.iter().map(|(_, numbers)| numbers.len()).max().unwrap_or(0);
    let step = (AXIS.1 - AXIS.0) / count(samples.saturating_sub(1).max(1));
    for idle in &panel.idle {
        // From the last sample before it on.
        let x = AXIS.0 + step * count(idle.start.saturating_sub(1));
        let width = AXIS.0 + step * count(idle.end.saturating_sub(1)) - x;
        writeln!(
            out,
            r#"<rect class="idle" x="{x:.1}" y="{plot_top:.0}" width="{width:.1}" height="{PLOT}"/>"#
        )?;
        writeln!(
            out,
            r#"<text class="tick" x="{:.1}" y="{:.0}" text-anchor="middle">{IDLE_SECONDS} s idle</text>"#,
            x + width / 2.0,
            plot_top - 4.0
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contestant_has_a_line_and_names_are_escaped() {
        let lines = vec![
            (SUBJECT.to_owned(), vec![None, Some(1.1), Some(1.2)]),
            ("a<b".to_owned(), vec![Some(9.0), Some(2.0)]),
        ];
        let panel = Panel {
            title: "x & y".into(),
            lines,
            idle: Vec::from([1..3, 4..5]),
            scale: Scale { low: 0.9, ticks: &[1.0, 2.0, 4.0], unit: "", digits: 2 },
        };
        let around = Around { title: "Title", below: "below", note: "note" };
        let text = picture(&[panel], around);
        assert_eq!(text.matches("<polyline").count(), 2);
        assert!(text.contains("MeMS 1.20") && text.contains("a&lt;b 2.00"), "{text}");
        assert_eq!(text.matches("5 s idle").count(), 2);
        assert!(text.contains("x &amp; y") && text.ends_with("</svg>\n"));
    }
}
