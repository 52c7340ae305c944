//! The figures of a report: medians, ratios to the best peer, group means.
//!
//! * I1: a contestant that failed, broke a block or disagreed with the others in a row has no figures there.
//! * I2: cells stand in the order of the head's entrants.

use std::collections::{BTreeMap, BTreeSet};

use crate::contestants::{self, SUBJECT, SUBJECT_HUGE};
use crate::race::{counted, disagreeing, foreign_share, ns_per_operation, operations_f64};
use crate::raw::{EntrantRole, Head, Line, Run};
use crate::rows::{self, Group, Row};
use crate::stats::{Ratio, Rounds, best_of_halves, mean_of_ratios, median, ratio_to_best};

/// Rows whose best peer needs at least this much memory enter the mean of peak RSS: below it, a process's own
/// code and stack are much of what is measured.
pub const LARGE_RSS_MIB: f64 = 32.0;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Time of one operation.
    Time,
    /// Peak resident memory.
    Rss,
}

/// One contestant in one row.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    /// Median time of one operation by the row's clock.
    pub time_ns: f64,
    /// The same in the best round.
    pub best_time_ns: f64,
    /// Median CPU time of one operation.
    pub cpu_ns: f64,
    /// Median peak RSS.
    pub rss_mib: f64,
    /// Median page faults of the timed part.
    pub faults: f64,
    /// Time as a ratio to the best peer.
    pub time: Option<Ratio>,
    /// Peak RSS as a ratio to the best peer.
    pub rss: Option<Ratio>,
    /// Medians of what the row noted beside.
    pub extras: BTreeMap<String, f64>,
}

impl Cell {
    /// The ratio to the best peer.
    pub const fn ratio(&self, metric: Metric) -> Option<Ratio> {
        match metric {
            Metric::Time => self.time,
            Metric::Rss => self.rss,
        }
    }
}

/// One row of the report.
#[derive(Debug)]
pub struct RowFigures {
    /// The row.
    pub row: Row,
    /// One cell per entrant.
    pub cells: Vec<Option<Cell>>,
    /// Best peers by time, one per half of the rounds, as indices of entrants.
    pub best_time: Option<[usize; 2]>,
    /// Best peers by peak RSS.
    pub best_rss: Option<[usize; 2]>,
}

impl RowFigures {
    /// Whether it is one of the rows that means are made of.
    pub fn is_main(&self) -> bool {
        self.row.group != Group::Further
    }

    /// The best peers' names, one or two.
    pub fn best_names(&self, metric: Metric, head: &Head) -> String {
        let best = match metric {
            Metric::Time => self.best_time,
            Metric::Rss => self.best_rss,
        };
        let Some([first, second]) = best else { return "-".to_owned() };
        let name = |index: usize| head.entrants[index].0.as_str();
        if first == second {
            name(first).to_owned()
        } else {
            format!("{} / {}", name(first), name(second))
        }
    }

    /// The least median peak RSS among peers in MiB.
    pub fn least_rss_mib(&self, head: &Head) -> f64 {
        let peers = self
            .cells
            .iter()
            .zip(&head.entrants)
            .filter(|(_, entrant)| entrant.1 == EntrantRole::Peer);
        peers
            .filter_map(|(cell, _)| cell.as_ref())
            .map(|cell| cell.rss_mib)
            .fold(f64::INFINITY, f64::min)
    }
}

/// Everything a report says.
#[derive(Debug)]
pub struct Figures {
    /// Where, when and how.
    pub head: Head,
    /// The rows that were run, in the order of the tables.
    pub rows: Vec<RowFigures>,
    /// Contestants that did not build, with the reason.
    pub missing: Vec<(String, String)>,
    /// What went wrong first, by row and contestant.
    pub faults: BTreeMap<(String, String), String>,
    /// The share of the processors' time that others took.
    pub foreign_share: f64,
    /// The row in which that was most, and how much.
    pub busiest_row: (String, f64),
    /// Most rounds of any row.
    pub rounds: usize,
}

impl Figures {
    /// Computes the figures of a raw file. In rows where that decides, peers that ask for huge pages do not count.
    pub fn of(head: Head, lines: &[Line]) -> Self {
        let decides = |group| matches!(group, Group::Big | Group::Fragment);
        let wants = |name: &str| contestants::find(name).is_some_and(|it| it.wants_huge_pages);
        Self::with_yardstick(head, lines, &|name, group| !decides(group) || !wants(name))
    }

    /// The figures of MeMS with huge pages beside all peers, if it took part.
    pub fn with_huge_pages(head: &Head, lines: &[Line]) -> Option<Self> {
        let mut head = head.clone();
        head.entrants.iter().position(|(name, _)| name == SUBJECT_HUGE)?;
        for (name, role) in &mut head.entrants {
            match name.as_str() {
                SUBJECT => *role = EntrantRole::Shown,
                SUBJECT_HUGE => *role = EntrantRole::Subject,
                _ => {}
            }
        }
        Some(Self::with_yardstick(head, lines, &|_, _| true))
    }

    /// Computes the figures where a peer counts in a group of rows if `counts` says so.
    fn with_yardstick(head: Head, lines: &[Line], counts: &dyn Fn(&str, Group) -> bool) -> Self {
        let mut missing = Vec::new();
        let mut faults = BTreeMap::new();
        let mut runs: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
        for line in lines {
            match line {
                Line::Head(_) | Line::Run(_) | Line::Again { .. } => {}
                Line::Missing { contestant, reason } => {
                    missing.push((contestant.clone(), reason.clone()));
                }
                Line::Failure { row, contestant, reason, .. } => {
                    faults
                        .entry((row.clone(), contestant.clone()))
                        .or_insert_with(|| reason.clone());
                }
            }
        }
        let all = rows::all();
        for row in &all {
            let of_row: Vec<&Run> = counted(&row.name, lines).collect();
            if !of_row.is_empty() {
                runs.insert(&row.name, of_row);
            }
        }
        for (&row, runs) in &runs {
            for (name, (operations, checksum)) in disagreeing(runs.iter().copied()) {
                let reason = format!(
                    "counted {operations} operations, checksum {checksum:#x}, unlike the others"
                );
                faults.entry((row.to_owned(), name.to_owned())).or_insert(reason);
            }
        }
        let cpus = head.machine.cpus;
        let share = |runs: &Vec<&Run>| foreign_share(runs.iter().copied(), cpus);
        let shares = runs.iter().map(|(row, runs)| ((*row).to_owned(), share(runs)));
        let busiest_row = shares.max_by(|left, right| left.1.total_cmp(&right.1));
        let foreign_share = foreign_share(runs.values().flatten().copied(), cpus);
        let rounds = runs.values().flatten().map(|run| run.round + 1).max().unwrap_or(0);
        let rows = all
            .iter()
            .filter_map(|row| {
                let is_sound =
                    |run: &&&Run| !faults.contains_key(&(row.name.clone(), run.contestant.clone()));
                let sound: Vec<&Run> =
                    runs.get(row.name.as_str())?.iter().filter(is_sound).copied().collect();
                Some(row_figures(row.clone(), &head, &sound, counts))
            })
            .collect();
        let busiest_row = busiest_row.unwrap_or_default();
        Self { head, rows, missing, faults, foreign_share, busiest_row, rounds }
    }

    /// What others took of the processors' time, in words.
    pub fn foreign_load(&self) -> String {
        let (row, most) = &self.busiest_row;
        let percent = |share: f64| 100.0 * share;
        format!(
            "{:.1}%, at most {:.1}% in a row ({row})",
            percent(self.foreign_share),
            percent(*most)
        )
    }

    /// The subject's index among the entrants.
    pub fn subject(&self) -> Option<usize> {
        self.head.entrants.iter().position(|(_, role)| *role == EntrantRole::Subject)
    }

    /// The geometric mean of a contestant's ratios over the rows that `wanted` picks.
    pub fn mean(
        &self,
        entrant: usize,
        metric: Metric,
        wanted: impl Fn(&RowFigures) -> bool,
    ) -> Option<Ratio> {
        let chosen = self.rows.iter().filter(|figures| wanted(figures));
        let ratios: Vec<Ratio> =
            chosen.filter_map(|figures| figures.cells[entrant].as_ref()?.ratio(metric)).collect();
        mean_of_ratios(&ratios)
    }

    /// The lines of the table of means: label, metric and rows of each that has rows.
    pub fn summaries(&self) -> Vec<Summary> {
        let mut summaries: Vec<Summary> = Group::ALL
            .into_iter()
            .filter(|group| *group != Group::Further)
            .map(|group| Summary {
                label: group.name(),
                metric: Metric::Time,
                choice: Choice::Group(group),
            })
            .collect();
        summaries.push(Summary { label: "main rows", metric: Metric::Time, choice: Choice::Main });
        summaries.push(Summary {
            label: Group::Further.name(),
            metric: Metric::Time,
            choice: Choice::Group(Group::Further),
        });
        summaries.push(Summary {
            label: "peak RSS, large rows",
            metric: Metric::Rss,
            choice: Choice::Large,
        });
        summaries.push(Summary {
            label: "peak RSS, main rows",
            metric: Metric::Rss,
            choice: Choice::Main,
        });
        summaries.push(Summary {
            label: "peak RSS, further",
            metric: Metric::Rss,
            choice: Choice::Group(Group::Further),
        });
        summaries.retain(|summary| self.rows.iter().any(|row| summary.picks(row, &self.head)));
        summaries
    }
}

/// Which rows a mean is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Group(Group),
    /// Those of which the means are made.
    Main,
    /// Main rows that need much memory.
    Large,
}

/// One line of the table of means.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    /// What it is called.
    pub label: &'static str,
    /// What is compared.
    pub metric: Metric,
    choice: Choice,
}

impl Summary {
    /// Whether a row enters this mean.
    pub fn picks(&self, figures: &RowFigures, head: &Head) -> bool {
        match self.choice {
            Choice::Group(group) => figures.row.group == group,
            Choice::Main => figures.is_main(),
            Choice::Large => figures.is_main() && figures.least_rss_mib(head) >= LARGE_RSS_MIB,
        }
    }
}

fn row_figures(
    row: Row,
    head: &Head,
    runs: &[&Run],
    counts: &dyn Fn(&str, Group) -> bool,
) -> RowFigures {
    let rounds = runs.iter().map(|run| run.round + 1).max().unwrap_or(0);
    let of_entrants = |value: &dyn Fn(&Run) -> f64| -> Vec<Rounds> {
        let of_entrant = |(name, _): &(String, EntrantRole)| {
            let mut values = vec![None; rounds];
            for run in runs.iter().filter(|run| run.contestant == *name) {
                values[run.round] = Some(value(run));
            }
            values
        };
        head.entrants.iter().map(of_entrant).collect()
    };
    let time = of_entrants(&|run| ns_per_operation(&row, run));
    let rss = of_entrants(&|run| kib_to_mib(run.peak_rss_kib));
    // Only peers set the yardstick; the others' places stay, empty, so that indices agree.
    let peers_only = |all: &[Rounds]| -> Vec<Rounds> {
        let of_peer = |(values, entrant): (&Rounds, &(String, EntrantRole))| {
            let is_yardstick = entrant.1 == EntrantRole::Peer && counts(&entrant.0, row.group);
            if is_yardstick { values.clone() } else { Vec::new() }
        };
        all.iter().zip(&head.entrants).map(of_peer).collect()
    };
    let (time_peers, rss_peers) = (peers_only(&time), peers_only(&rss));
    let cells = head
        .entrants
        .iter()
        .enumerate()
        .map(|(index, (name, _))| {
            let own: Vec<&Run> =
                runs.iter().filter(|run| run.contestant == *name).copied().collect();
            let of_own = |value: &dyn Fn(&Run) -> f64| {
                median(&own.iter().map(|run| value(run)).collect::<Vec<_>>())
            };
            Some(Cell {
                time_ns: of_own(&|run| ns_per_operation(&row, run))?,
                best_time_ns: own
                    .iter()
                    .map(|run| ns_per_operation(&row, run))
                    .fold(f64::INFINITY, f64::min),
                cpu_ns: of_own(&|run| as_f64(run.cpu_ns) / operations_f64(run))?,
                rss_mib: of_own(&|run| kib_to_mib(run.peak_rss_kib))?,
                faults: of_own(&|run| as_f64(run.minor_faults + run.major_faults))?,
                time: ratio_to_best(&time[index], &time_peers),
                rss: ratio_to_best(&rss[index], &rss_peers),
                extras: extras_of(&own),
            })
        })
        .collect();
    RowFigures {
        best_time: best_of_halves(&time_peers),
        best_rss: best_of_halves(&rss_peers),
        row,
        cells,
    }
}

fn extras_of(runs: &[&Run]) -> BTreeMap<String, f64> {
    let keys: BTreeSet<&String> = runs.iter().flat_map(|run| run.extras.keys()).collect();
    let of_key = |key: &String| {
        let values: Vec<f64> =
            runs.iter().filter_map(|run| run.extras.get(key)).map(|&value| as_f64(value)).collect();
        Some((key.clone(), median(&values)?))
    };
    keys.into_iter().filter_map(of_key).collect()
}

fn kib_to_mib(kib: u64) -> f64 {
    as_f64(kib) / 1_024.0
}

/// A number of a raw file for arithmetic; all are below 2^53.
#[expect(clippy::cast_precision_loss, reason = "times, faults and KiB stay below 2^53")]
const fn as_f64(value: u64) -> f64 {
    value as f64
}
