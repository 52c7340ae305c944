//! The race: one process per contestant, row and round; contestants back to back, their order rotating.

use core::time::Duration;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};

use crate::block::EXIT_BROKEN;
use crate::machine::ForeignLoad;
use crate::raw::{EntrantRole, Line, Run, Writer};
use crate::rows::{Clock, Row};
use crate::warm::warm_memory;

/// A worker that takes longer is stopped and counts as failed.
const TIME_LIMIT: Duration = Duration::from_secs(180);

/// Rounds of a row that takes more than a second.
const SLOW_ROUNDS: usize = 5;

/// Above this share of the processors' time taken by others, a row is run again.
pub const FOREIGN_SHARE: f64 = 0.05;

/// How often a row is run again at the most.
const TIMES_AGAIN: usize = 2;

/// A contestant whose worker has been built.
#[derive(Debug, Clone)]
pub struct Entrant {
    /// Its name in the tables.
    pub name: String,
    /// How it counts.
    pub role: EntrantRole,
    /// Its worker.
    pub worker: PathBuf,
    /// Environment variables for the worker.
    pub environment: Vec<(String, String)>,
}

/// What is run.
#[derive(Debug)]
pub struct Plan {
    /// The rows, in order.
    pub rows: Vec<Row>,
    /// The contestants, in the order of the tables.
    pub entrants: Vec<Entrant>,
    /// Rounds of rows that take less than a second.
    pub rounds: usize,
    /// Divisor of the rows' work.
    pub scale: u64,
}

impl Plan {
    /// Rounds of one row.
    fn rounds_of(&self, row: &Row) -> usize {
        if row.is_slow { self.rounds.min(SLOW_ROUNDS) } else { self.rounds }
    }

    /// Processes in the whole race.
    pub fn process_count(&self) -> usize {
        self.rows.iter().map(|row| self.rounds_of(row)).sum::<usize>() * self.entrants.len()
    }

    /// Runs the race, and then those rows again in which others kept the machine busy. Every line goes to `raw` and is
    /// returned too; `progress` is told after each row.
    pub fn run(&self, raw: &mut Writer, mut progress: impl FnMut(&str)) -> Result<Vec<Line>> {
        let start = Instant::now();
        let total = self.process_count();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let mut lines = Vec::with_capacity(total);
        for round in 0..self.rounds {
            let all = self.rows.iter().enumerate();
            for (place, row) in all.filter(|(_, row)| round < self.rounds_of(row)) {
                let news = self.run_row(row, round, place, raw, &mut lines)?;
                let left = time_left(start.elapsed(), lines.len(), total);
                let rounds = self.rounds_of(row);
                progress(&format!("{}/{rounds} {:<15}{left}{news}", round + 1, row.name));
            }
        }
        for row in &self.rows {
            for _ in 0..TIMES_AGAIN {
                let foreign_share = foreign_share(counted(&row.name, &lines), cpus);
                if foreign_share <= FOREIGN_SHARE {
                    break;
                }
                let line = Line::Again { row: row.name.clone(), foreign_share };
                progress(&format!("{} again: others took {:.0}%", row.name, 100.0 * foreign_share));
                raw.write(&line)?;
                lines.push(line);
                for round in 0..self.rounds_of(row) {
                    let news = self.run_row(row, round, 0, raw, &mut lines)?;
                    progress(&format!("{}/again {:<15}{news}", round + 1, row.name));
                }
            }
        }
        Ok(lines)
    }

    /// Runs one round of a row, and says what came out.
    fn run_row(
        &self,
        row: &Row,
        round: usize,
        place: usize,
        raw: &mut Writer,
        lines: &mut Vec<Line>,
    ) -> Result<String> {
        let mut news = String::new();
        for turn in 0..self.entrants.len() {
            let entrant = &self.entrants[(turn + round + place) % self.entrants.len()];
            let line = self.run_one(row, entrant, round);
            news.push_str(&headline(row, &entrant.name, &line));
            raw.write(&line)?;
            lines.push(line);
        }
        Ok(news)
    }

    fn run_one(&self, row: &Row, entrant: &Entrant, round: usize) -> Line {
        let mut command = Command::new(&entrant.worker);
        command.args([row.name.as_str(), &self.scale.to_string()]);
        command.envs(entrant.environment.iter().map(|(key, value)| (key, value)));
        warm_memory(row.most_bytes());
        let (load, start) = (ForeignLoad::watch(), Instant::now());
        match output_of(&mut command, TIME_LIMIT).and_then(|text| parse_run(&text)) {
            Ok(run) => Line::Run(Run {
                row: row.name.clone(),
                contestant: entrant.name.clone(),
                round,
                foreign_cpus: load.foreign_cpus(),
                elapsed_ns: u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
                ..run
            }),
            Err(error) => Line::Failure {
                row: row.name.clone(),
                contestant: entrant.name.clone(),
                round,
                reason: format!("{error:#}"),
            },
        }
    }
}

/// The runs of a row that count: those since it was last run again.
pub fn counted<'a>(row: &'a str, lines: &'a [Line]) -> impl Iterator<Item = &'a Run> {
    let again = |line: &Line| matches!(line, Line::Again { row: other, .. } if other == row);
    let start = lines.iter().rposition(again).map_or(0, |place| place + 1);
    lines[start..].iter().filter_map(move |line| match line {
        Line::Run(run) if run.row == row => Some(run),
        _ => None,
    })
}

/// The share of all processors' time that others took while these ran.
pub fn foreign_share<'a>(runs: impl Iterator<Item = &'a Run>, cpus: usize) -> f64 {
    let (mut foreign_s, mut all_s) = (0.0, 0.0);
    for run in runs {
        // Older files know the timed part alone.
        let elapsed_s = Duration::from_nanos(run.elapsed_ns.max(run.wall_ns)).as_secs_f64();
        foreign_s += run.foreign_cpus * elapsed_s;
        all_s += elapsed_s * f64::from(u32::try_from(cpus).unwrap_or(1));
    }
    // Less than nothing is the kernel's coarse clock.
    if all_s > 0.0 { (foreign_s / all_s).max(0.0) } else { 0.0 }
}

fn parse_run(text: &str) -> Result<Run> {
    text.lines()
        .find_map(Run::from_line)
        .ok_or_else(|| anyhow!("the worker printed no results: {text:?}"))
}

/// Time of one operation by the row's clock, in nanoseconds.
pub fn ns_per_operation(row: &Row, run: &Run) -> f64 {
    let time_ns = match row.clock {
        Clock::Cpu => run.cpu_ns,
        Clock::Wall => run.wall_ns,
    };
    Duration::from_nanos(time_ns).as_secs_f64() * 1e9 / operations_f64(run)
}

/// The run's operations as a divisor.
pub fn operations_f64(run: &Run) -> f64 {
    f64::from(u32::try_from(run.operations.max(1)).unwrap_or(u32::MAX))
}

fn headline(row: &Row, name: &str, line: &Line) -> String {
    match line {
        Line::Run(run) => format!(" | {name} {:.1}", ns_per_operation(row, run)),
        Line::Failure { reason, .. } => format!(" | {name} FAILED: {reason}"),
        Line::Head(_) | Line::Missing { .. } | Line::Again { .. } => String::new(),
    }
}

fn time_left(elapsed: Duration, done: usize, total: usize) -> String {
    let per_process = elapsed / u32::try_from(done.max(1)).unwrap_or(1);
    let left = per_process * u32::try_from(total - done).unwrap_or(0);
    format!(" {:>3}:{:02} left", left.as_secs() / 60, left.as_secs() % 60)
}

/// Runs a worker to its end and returns what it printed; its exit code and stderr become the error.
pub fn output_of(command: &mut Command, limit: Duration) -> Result<String> {
    let preloads = ["LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_CONF", "MIMALLOC_VERBOSE"];
    for variable in preloads {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = Path::new(command.get_program()).display().to_string();
    let mut child = command.spawn().map_err(|error| anyhow!("starting {program}: {error}"))?;
    let text = read_within(&mut child, limit)?;
    let mut complaint = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut complaint)?;
    }
    let status = child.wait()?;
    let complaint = complaint.trim().lines().next().unwrap_or_default().to_owned();
    match status.code() {
        Some(0) => Ok(text),
        Some(EXIT_BROKEN) => bail!("{complaint}"),
        _ => bail!("{status}: {complaint}"),
    }
}

/// Everything the child prints; it is killed when that takes too long.
fn read_within(child: &mut Child, limit: Duration) -> Result<String> {
    let Some(mut stdout) = child.stdout.take() else { bail!("the worker has no output") };
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let result = stdout.read_to_string(&mut text).map(|_| text);
        // The receiver is gone when the time was up; then nobody asks.
        let _ = sender.send(result);
    });
    let outcome = receiver.recv_timeout(limit);
    if outcome.is_err() {
        child.kill()?;
        child.wait()?;
    }
    // The child's end closed the pipe, so the reader ends too.
    let _ = reader.join();
    match outcome {
        Ok(text) => Ok(text?),
        Err(_) => bail!("no result within {} s", limit.as_secs()),
    }
}

/// Names of contestants whose operations or checksum in `row` differ from what most others have.
pub fn disagreeing<'a>(runs: impl Iterator<Item = &'a Run>) -> Vec<(&'a str, (u64, u64))> {
    let runs: Vec<&Run> = runs.collect();
    let mut votes: BTreeMap<(u64, u64), Vec<&str>> = BTreeMap::new();
    for run in &runs {
        let names = votes.entry((run.operations, run.checksum)).or_default();
        if !names.contains(&run.contestant.as_str()) {
            names.push(&run.contestant);
        }
    }
    let most = votes.values().map(Vec::len).max().unwrap_or(0);
    let winners = votes.values().filter(|names| names.len() == most).count();
    votes
        .into_iter()
        .filter(|(_, names)| names.len() < most || winners > 1)
        .flat_map(|(result, names)| names.into_iter().map(move |name| (name, result)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(contestant: &str, operations: u64, checksum: u64) -> Run {
        Run { contestant: contestant.into(), operations, checksum, ..Run::default() }
    }

    #[test]
    fn the_minority_disagrees() {
        let runs = [run("a", 1, 2), run("b", 1, 2), run("c", 1, 3), run("a", 1, 2)];
        assert_eq!(disagreeing(runs.iter()), [("c", (1, 3))]);
        assert!(disagreeing(runs[..2].iter()).is_empty());
    }

    #[test]
    fn without_a_majority_nobody_is_believed() {
        let runs = [run("a", 1, 2), run("b", 9, 2)];
        assert_eq!(disagreeing(runs.iter()).len(), 2);
    }

    #[test]
    fn what_came_before_a_row_was_run_again_does_not_count() {
        let of = |row: &str, foreign_cpus| {
            Line::Run(Run { row: row.into(), foreign_cpus, elapsed_ns: 1_000, ..Run::default() })
        };
        let again = Line::Again { row: "a".into(), foreign_share: 1.0 };
        let lines = [of("a", 2.0), of("b", 2.0), of("b", 0.0), again, of("a", 0.0)];
        assert_eq!(counted("a", &lines).count(), 1);
        let shares = ["a", "b", "c"].map(|row| foreign_share(counted(row, &lines), 2));
        assert_eq!(shares, [0.0, 0.5, 0.0]);
    }

    #[test]
    fn a_worker_that_hangs_is_stopped() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let error = output_of(&mut command, Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("no result within"), "{error}");
    }
}
