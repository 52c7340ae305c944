//! The report as markdown: means, where the subject loses, then every row.

use core::fmt::{self, Write as _};

use super::figures::{Cell, Figures, Metric, RowFigures};
use crate::raw::EntrantRole;
use crate::rows::{Clock, Group};
use crate::stats::Ratio;

/// What a report is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The comparison.
    pub figures: &'a Figures,
    /// The same race, with the MeMS that asks for huge pages as the subject.
    pub huge: Option<&'a Figures>,
    /// A race of workers built with fat LTO.
    pub lto: Option<&'a Figures>,
}

impl<'a> From<&'a Figures> for Parts<'a> {
    fn from(figures: &'a Figures) -> Self {
        Self { figures, huge: None, lto: None }
    }
}

/// Writes the whole report.
pub fn report(parts: &Parts<'_>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(&mut text, parts);
    text
}

fn write_report(out: &mut String, parts: &Parts<'_>) -> fmt::Result {
    let figures = parts.figures;
    writeln!(out, "## Comparison\n")?;
    write_head(out, figures)?;
    write_trouble(out, figures)?;
    write_means(out, figures)?;
    write_losses(out, figures)?;
    if let Some(huge) = parts.huge {
        writeln!(
            out,
            "## With huge pages\n\nThe same race: MeMS with `MEMS_HUGE_PAGES=1`, and all peers count in every row.\n"
        )?;
        write_means(out, huge)?;
        write_losses(out, huge)?;
    }
    if let Some(lto) = parts.lto {
        writeln!(out, "## With fat LTO\n\nAll workers built with fat LTO and one codegen unit.\n")?;
        write_head(out, lto)?;
        write_trouble(out, lto)?;
        write_means(out, lto)?;
        write_losses(out, lto)?;
    }
    writeln!(out, "## Every row\n")?;
    writeln!(
        out,
        "### Time of one operation\n\nIn ns: medians, and in brackets the best round; CPU time, with several threads \
         wall time.\n"
    )?;
    let time = |cell: &Cell| format!("{} ({})", number(cell.time_ns), number(cell.best_time_ns));
    write_cells(out, figures, |_| true, time)?;
    writeln!(
        out,
        "### CPU time of one operation where several threads work\n\nIn ns, all threads together.\n"
    )?;
    write_cells(out, figures, |row| row.row.clock == Clock::Wall, |cell| number(cell.cpu_ns))?;
    writeln!(out, "### Peak resident memory\n\nIn MiB (VmHWM), medians.\n")?;
    write_cells(out, figures, |_| true, |cell| number(cell.rss_mib))?;
    writeln!(out, "### Page faults\n\nOf the timed part, medians.\n")?;
    write_cells(out, figures, |_| true, |cell| format!("{:.0}", cell.faults))?;
    write_fragment(out, figures)
}

fn write_head(out: &mut String, figures: &Figures) -> fmt::Result {
    let head = &figures.head;
    writeln!(out, "- Machine: {}", head.machine.describe())?;
    writeln!(out, "- Date: {}", head.machine.date)?;
    writeln!(out, "- Command: `{}`", head.command)?;
    let work = if head.scale == 1 {
        "full work".to_owned()
    } else {
        format!("1/{} of the work", head.scale)
    };
    writeln!(out, "- Workers: {} profile, {work}, up to {} rounds", head.profile, figures.rounds)?;
    writeln!(out, "- Others took of the processors' time: {}", figures.foreign_load())?;
    writeln!(
        out,
        "- Ratios are to the best peer of each row, chosen on one half of the rounds and compared on the other; \
         below 1 is better than every peer. ± is a 95% interval of the median.\n"
    )
}

fn write_trouble(out: &mut String, figures: &Figures) -> fmt::Result {
    for (contestant, reason) in &figures.missing {
        writeln!(out, "- Left out: **{contestant}** does not build: {reason}")?;
    }
    for ((row, contestant), reason) in &figures.faults {
        writeln!(out, "- **{contestant} fails in {row}**: {reason}")?;
    }
    if figures.missing.is_empty() && figures.faults.is_empty() { Ok(()) } else { writeln!(out) }
}

fn write_means(out: &mut String, figures: &Figures) -> fmt::Result {
    writeln!(out, "### Geometric means of the ratio to each row's best peer\n")?;
    write_header(out, figures, "")?;
    for summary in figures.summaries() {
        write!(out, "| {} |", summary.label)?;
        for (index, (_, role)) in figures.head.entrants.iter().enumerate() {
            let mean = figures.mean(index, summary.metric, |row| summary.picks(row, &figures.head));
            let text = match (mean, role) {
                (Some(mean), EntrantRole::Subject) => {
                    format!("**{:.2}** {}", mean.value, noise(mean))
                }
                (Some(mean), _) => format!("{:.2}", mean.value),
                (None, _) => "-".to_owned(),
            };
            write!(out, " {text} |")?;
        }
        writeln!(out)?;
    }
    let shown = |role| names_of(figures, role);
    writeln!(
        out,
        "\nPeers: {}. Shown beside, not counted: {}. Main rows: all groups but *further*. Large rows: those main rows \
         whose best peer needs 32 MiB or more.\n",
        shown(EntrantRole::Peer),
        shown(EntrantRole::Shown)
    )
}

fn names_of(figures: &Figures, wanted: EntrantRole) -> String {
    let names = figures
        .head
        .entrants
        .iter()
        .filter(|(_, role)| *role == wanted)
        .map(|(name, _)| name.as_str());
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn write_losses(out: &mut String, figures: &Figures) -> fmt::Result {
    let Some(subject) = figures.subject() else {
        return writeln!(out, "MeMS did not take part.\n");
    };
    for (metric, what, unit) in [(Metric::Time, "time", "ns"), (Metric::Rss, "peak memory", "MiB")]
    {
        let mut ranked: Vec<(&RowFigures, &Cell, Ratio)> = figures
            .rows
            .iter()
            .filter_map(|row| {
                let cell = row.cells[subject].as_ref()?;
                Some((row, cell, cell.ratio(metric)?))
            })
            .collect();
        ranked.sort_by(|left, right| right.2.value.total_cmp(&left.2.value));
        let lost = ranked.iter().filter(|(_, _, ratio)| ratio.value > 1.0).count();
        writeln!(out, "### Where MeMS loses in {what}: {lost} of {} rows\n", ranked.len())?;
        writeln!(out, "| row | MeMS, {unit} | best peer | ratio | |\n|---|---:|---|---:|---|")?;
        for (row, cell, ratio) in ranked.iter().take(lost) {
            let value = if metric == Metric::Time { cell.time_ns } else { cell.rss_mib };
            let best = row.best_names(metric, &figures.head);
            let (name, own) = (&row.row.name, number(value));
            let verdict = match ratio.noise {
                noise if noise.is_infinite() => "noise unknown",
                noise if ratio.value * (1.0 - noise) <= 1.0 => "within noise",
                _ => "",
            };
            writeln!(
                out,
                "| {name} | {own} | {best} | {:.2} {} | {verdict} |",
                ratio.value,
                noise(*ratio)
            )?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// A table of one number per row and contestant; each row's least number among peers and subject is bold.
fn write_cells(
    out: &mut String,
    figures: &Figures,
    wanted: impl Fn(&RowFigures) -> bool,
    show: impl Fn(&Cell) -> String,
) -> fmt::Result {
    write_header(out, figures, "row")?;
    for row in figures.rows.iter().filter(|row| wanted(row)) {
        write!(out, "| {} |", row.row.name)?;
        for cell in &row.cells {
            let text = cell.as_ref().map_or_else(|| "-".to_owned(), &show);
            write!(out, " {text} |")?;
        }
        writeln!(out)?;
    }
    writeln!(out)
}

fn write_header(out: &mut String, figures: &Figures, corner: &str) -> fmt::Result {
    write!(out, "| {corner} |")?;
    for (name, _) in &figures.head.entrants {
        write!(out, " {name} |")?;
    }
    writeln!(out, "\n|---|{}", "---:|".repeat(figures.head.entrants.len()))
}

/// RSS after each step of the fragment row.
fn write_fragment(out: &mut String, figures: &Figures) -> fmt::Result {
    const STEPS: [(&str, &str); 6] = [
        ("rss_fill_kib", "filled with small objects"),
        ("rss_thin_kib", "90% freed at random"),
        ("rss_refill_kib", "refilled to 30% with larger ones"),
        ("rss_freed_kib", "all freed"),
        ("rss_idle_kib", "after 2 s of idling"),
        ("rss_late_kib", "after 20,000 more pairs"),
    ];
    let Some(row) = figures.rows.iter().find(|row| row.row.group == Group::Fragment) else {
        return Ok(());
    };
    writeln!(
        out,
        "### Resident memory after each step of `fragment`\n\nIn MiB (VmRSS), medians.\n"
    )?;
    write_header(out, figures, "step")?;
    for (key, label) in STEPS {
        write!(out, "| {label} |")?;
        for cell in &row.cells {
            let kib = cell.as_ref().and_then(|cell| cell.extras.get(key));
            let text = kib.map_or_else(|| "-".to_owned(), |kib| number(kib / 1_024.0));
            write!(out, " {text} |")?;
        }
        writeln!(out)?;
    }
    writeln!(out)
}

/// Three significant digits, without an exponent.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// The noise of a ratio for show, `±?` where it is unknown.
pub(super) fn noise(ratio: Ratio) -> String {
    if ratio.noise.is_finite() {
        format!("±{:.0}%", (ratio.noise * 100.0).ceil())
    } else {
        "±?".to_owned()
    }
}
