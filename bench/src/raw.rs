//! The raw file: one JSON object a line, first the head, then what happened, in order. Reports need nothing else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::contestants::Role;
use crate::machine::Machine;

/// The version of the format; a reader refuses others.
pub const FORMAT: u32 = 1;

/// One line of a raw file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Line {
    /// The first line.
    Head(Head),
    /// A contestant that did not build.
    Missing {
        /// Its name.
        contestant: String,
        /// Why.
        reason: String,
    },
    /// A worker's results.
    Run(Run),
    /// The machine was not quiet in a row, which is run again: what came before does not count.
    Again {
        /// The row.
        row: String,
        /// The share of the processors' time that others took.
        foreign_share: f64,
    },
    /// A worker that failed or caught its allocator at a mistake.
    Failure {
        /// The row it ran.
        row: String,
        /// The contestant.
        contestant: String,
        /// The round, from 0.
        round: usize,
        /// What it said.
        reason: String,
    },
}

/// Where, when and how a race was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// [`FORMAT`].
    pub format: u32,
    /// The machine.
    pub machine: Machine,
    /// The command as it was given.
    pub command: String,
    /// The divisor of every row's work; 1 is full.
    pub scale: u64,
    /// The cargo profile of the workers.
    pub profile: String,
    /// The contestants in the order of the tables.
    pub entrants: Vec<(String, EntrantRole)>,
}

/// A contestant's role as written in raw files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntrantRole {
    /// See [`Role::Subject`].
    Subject,
    /// See [`Role::Peer`].
    Peer,
    /// See [`Role::Shown`].
    Shown,
}

impl From<Role> for EntrantRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Subject => Self::Subject,
            Role::Peer => Self::Peer,
            Role::Shown => Self::Shown,
        }
    }
}

/// One process: one row under one contestant in one round.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The row.
    pub row: String,
    /// The contestant.
    pub contestant: String,
    /// The round, from 0.
    pub round: usize,
    /// Operations done.
    pub operations: u64,
    /// A fold over what was read back.
    pub checksum: u64,
    /// CPU time of the timed part, all threads.
    pub cpu_ns: u64,
    /// Wall time of the timed part.
    pub wall_ns: u64,
    /// Page faults without disk in the timed part.
    pub minor_faults: u64,
    /// Page faults with disk in the timed part.
    pub major_faults: u64,
    /// VmHWM of the process at its end.
    pub peak_rss_kib: u64,
    /// Processors kept busy by others meanwhile.
    pub foreign_cpus: f64,
    /// How long the process ran, from its start to its end.
    #[serde(default)]
    pub elapsed_ns: u64,
    /// What the row noted beside.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extras: BTreeMap<String, u64>,
}

/// A raw file that is being written; every line is flushed, so that a broken-off race can be reported.
#[derive(Debug)]
pub struct Writer {
    file: File,
}

impl Writer {
    /// Creates the file and its directory.
    pub fn create(path: &Path) -> Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("creating {}", directory.display()))?;
        }
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self { file })
    }

    /// Appends one line.
    pub fn write(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        self.file.write_all(text.as_bytes()).context("writing the raw file")
    }
}

/// Reads a whole raw file: its head and the lines after it.
pub fn read(path: &Path) -> Result<(Head, Vec<Line>)> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut lines = Vec::new();
    for (place, text) in BufReader::new(file).lines().enumerate() {
        let text = text.with_context(|| format!("reading {}", path.display()))?;
        let line = serde_json::from_str(&text)
            .with_context(|| format!("{}:{}", path.display(), place + 1))?;
        lines.push(line);
    }
    if lines.is_empty() {
        bail!("{} is empty", path.display());
    }
    let Line::Head(head) = lines.remove(0) else {
        bail!("{} does not begin with a head", path.display())
    };
    if head.format != FORMAT {
        bail!("{} has format {}, this reads {FORMAT}", path.display(), head.format);
    }
    Ok((head, lines))
}

/// Parses a worker's line of `key=value` words.
pub fn parse_words(line: &str) -> BTreeMap<&str, &str> {
    line.split_whitespace().filter_map(|word| word.split_once('=')).collect()
}

impl Run {
    /// The run that a worker's line describes; `None` when a number is missing.
    pub fn from_line(line: &str) -> Option<Self> {
        let words = parse_words(line);
        let mut numbers: BTreeMap<String, u64> = words
            .iter()
            .filter_map(|(key, text)| Some(((*key).to_owned(), text.parse().ok()?)))
            .collect();
        let mut take = |key: &str| numbers.remove(key);
        let run = Self {
            row: (*words.get("row")?).to_owned(),
            contestant: (*words.get("alloc")?).to_owned(),
            operations: take("operations")?,
            checksum: take("checksum")?,
            cpu_ns: take("cpu_ns")?,
            wall_ns: take("wall_ns")?,
            minor_faults: take("minor_faults")?,
            major_faults: take("major_faults")?,
            peak_rss_kib: take("peak_rss_kib")?,
            ..Self::default()
        };
        Some(Self { extras: numbers, ..run })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_line_becomes_a_run() {
        let line = "alloc=x row=churn operations=2 checksum=3 cpu_ns=4 wall_ns=5 minor_faults=6 major_faults=7 \
                    peak_rss_kib=8 rss_fill_kib=9";
        let run = Run::from_line(line).unwrap();
        assert_eq!(
            (run.row.as_str(), run.contestant.as_str(), run.peak_rss_kib),
            ("churn", "x", 8)
        );
        assert_eq!(run.extras["rss_fill_kib"], 9);
        assert_eq!(Run::from_line("row=churn alloc=x operations=2"), None);
    }

    #[test]
    fn lines_survive_the_file() {
        let line = Line::Run(Run {
            row: "churn".into(),
            checksum: u64::MAX,
            foreign_cpus: 0.25,
            ..Run::default()
        });
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
    }
}
