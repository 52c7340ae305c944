//! Whether two races of the same kind agree within the noise that each of them states.

use super::figures::{Figures, Metric};

/// Two runs' ratios of one contestant in one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The row.
    pub row: String,
    /// The contestant.
    pub contestant: String,
    /// What was compared: `time` or `peak RSS`.
    pub metric: &'static str,
    /// The ratios of the first and the second run.
    pub ratios: [f64; 2],
    /// How far they may lie apart, as a share.
    pub allowed: f64,
}

/// How many ratios were compared, and those that differ by more than both runs' noise together.
pub fn compare(first: &Figures, second: &Figures) -> (usize, Vec<Difference>) {
    let mut compared = 0;
    let mut differences = Vec::new();
    for row in &first.rows {
        let Some(other) = second.rows.iter().find(|other| other.row.name == row.row.name) else {
            continue;
        };
        for (index, (name, _)) in first.head.entrants.iter().enumerate() {
            let Some(other_index) =
                second.head.entrants.iter().position(|(other, _)| other == name)
            else {
                continue;
            };
            let (Some(own), Some(their)) = (&row.cells[index], &other.cells[other_index]) else {
                continue;
            };
            for (metric, label) in [(Metric::Time, "time"), (Metric::Rss, "peak RSS")] {
                let (Some(left), Some(right)) = (own.ratio(metric), their.ratio(metric)) else {
                    continue;
                };
                compared += 1;
                let allowed = left.noise + right.noise;
                if (left.value / right.value).ln().abs() > allowed.ln_1p() {
                    differences.push(Difference {
                        row: row.row.name.clone(),
                        contestant: name.clone(),
                        metric: label,
                        ratios: [left.value, right.value],
                        allowed,
                    });
                }
            }
        }
    }
    (compared, differences)
}

/// The comparison as markdown.
pub fn report(first: &Figures, second: &Figures) -> String {
    let (compared, differences) = compare(first, second);
    let mut text = format!(
        "## Agreement\n\n{} of {compared} ratios agree within the noise that the two runs state.\n\n",
        compared - differences.len()
    );
    if !differences.is_empty() {
        text.push_str(
            "| row | contestant | | first | second | allowed |\n|---|---|---|---:|---:|---:|\n",
        );
    }
    for difference in differences {
        let Difference { row, contestant, metric, ratios: [left, right], allowed } = difference;
        let allowed = (allowed * 100.0).ceil();
        text.push_str(&format!(
            "| {row} | {contestant} | {metric} | {left:.2} | {right:.2} | ±{allowed:.0}% |\n"
        ));
    }
    text
}
