//! The report on two builds: what the second changed.

use core::fmt::{self, Write as _};

use super::figures::{Figures, Metric, RowFigures};
use super::markdown::{noise, number};
use crate::stats::Ratio;

/// Writes the report; the first entrant is the build before, the second the one after.
pub fn report(figures: &Figures, before: &str, after: &str) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(&mut text, figures, before, after);
    text
}

fn write_report(out: &mut String, figures: &Figures, before: &str, after: &str) -> fmt::Result {
    writeln!(out, "## Two builds of MeMS\n")?;
    writeln!(out, "- Before: `{before}`\n- After: `{after}`")?;
    writeln!(
        out,
        "- Machine: {}\n- Date: {}",
        figures.head.machine.describe(),
        figures.head.machine.date
    )?;
    writeln!(out, "- Others took of the processors' time: {}", figures.foreign_load())?;
    writeln!(out, "- Ratios are after / before: medians over rounds, ± is a 95% interval.\n")?;
    for ((row, contestant), reason) in &figures.faults {
        writeln!(out, "- **{contestant} fails in {row}**: {reason}")?;
    }
    writeln!(out, "| mean | time or memory, after / before |\n|---|---:|")?;
    for summary in figures.summaries() {
        if let Some(mean) = figures.mean(1, summary.metric, |row| summary.picks(row, &figures.head))
        {
            writeln!(out, "| {} | {:.3} {} |", summary.label, mean.value, noise(mean))?;
        }
    }
    for (metric, what, unit) in [(Metric::Time, "Time", "ns"), (Metric::Rss, "Peak memory", "MiB")]
    {
        writeln!(
            out,
            "\n### {what}\n\n| row | before, {unit} | after, {unit} | ratio | |\n|---|---:|---:|---:|---|"
        )?;
        for row in &figures.rows {
            write_row(out, row, metric)?;
        }
    }
    Ok(())
}

fn write_row(out: &mut String, row: &RowFigures, metric: Metric) -> fmt::Result {
    let [Some(before), Some(after)] = &row.cells[..] else {
        return writeln!(out, "| {} | - | - | - | |", row.row.name);
    };
    let Some(ratio) = after.ratio(metric) else { return Ok(()) };
    let (left, right) = match metric {
        Metric::Time => (before.time_ns, after.time_ns),
        Metric::Rss => (before.rss_mib, after.rss_mib),
    };
    let (name, verdict) = (&row.row.name, verdict(ratio));
    let (left, right) = (number(left), number(right));
    writeln!(out, "| {name} | {left} | {right} | {:.3} {} | {verdict} |", ratio.value, noise(ratio))
}

/// Better or worse, where the noise allows to tell.
fn verdict(ratio: Ratio) -> &'static str {
    if ratio.value * (1.0 + ratio.noise) < 1.0 {
        "better"
    } else if ratio.value * (1.0 - ratio.noise) > 1.0 {
        "worse"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_more_than_noise() {
        assert_eq!(verdict(Ratio { value: 0.9, noise: 0.05 }), "better");
        assert_eq!(verdict(Ratio { value: 1.1, noise: 0.05 }), "worse");
        assert_eq!(verdict(Ratio { value: 1.04, noise: 0.05 }), "");
    }
}
