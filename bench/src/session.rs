//! A session of the driver: choose, build, race, report.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::builder::{self, Profile};
use crate::cli::{RaceArgs, Selection};
use crate::contestants::{self, Contestant, FLOOR, Role, SUBJECT_HUGE};
use crate::machine::Machine;
use crate::race::{Entrant, FOREIGN_SHARE, Plan};
use crate::raw::{self, FORMAT, Head, Line, Writer};
use crate::report::figures::Figures;
use crate::report::markdown::{self, Parts};
use crate::report::{agreement, svg};
use crate::rows::{self, Row};

/// Rounds without `--rounds`.
const ROUNDS: usize = 9;

/// Rounds of `--quick`.
const QUICK_ROUNDS: usize = 3;

/// Divisor of the work with `--quick`.
const QUICK_SCALE: u64 = 4;

/// Compares with peers, or reports on an earlier comparison.
pub fn run(arguments: &RaceArgs) -> Result<()> {
    if arguments.list {
        print_list();
        return Ok(());
    }
    let (head, lines) = match &arguments.report {
        Some(path) => raw::read(path)?,
        None => race(&arguments.selection, &arguments.alloc)?,
    };
    let lto = match &arguments.with_lto {
        Some(path) => Some(raw::read(path)?),
        None if arguments.publish && arguments.report.is_none() => {
            let raw =
                arguments.selection.raw.as_deref().map(|path| path.with_extension("lto.jsonl"));
            let selection = Selection { lto: true, raw, ..arguments.selection.clone() };
            Some(race(&selection, &arguments.alloc)?)
        }
        None => None,
    };
    let huge = Figures::with_huge_pages(&head, &lines);
    let figures = Figures::of(head, &lines);
    let lto = lto.map(|(head, lines)| Figures::of(head, &lines));
    let parts = Parts { figures: &figures, huge: huge.as_ref(), lto: lto.as_ref() };
    let mut text = markdown::report(&parts);
    if let Some(path) = &arguments.against {
        let (head, lines) = raw::read(path)?;
        text.push_str(&agreement::report(&figures, &Figures::of(head, &lines)));
    }
    print!("{text}");
    if arguments.publish {
        return publish(&parts, &text);
    }
    write_beside(arguments.markdown.as_deref(), "report.md", &text)?;
    write_beside(arguments.svg.as_deref(), "report.svg", &svg::picture(&figures))
}

/// Whether nobody else kept the machine busy.
fn ensure_quiet(parts: &Parts<'_>) -> Result<()> {
    for figures in [Some(parts.figures), parts.lto].into_iter().flatten() {
        let (row, share) = &figures.busiest_row;
        if *share > FOREIGN_SHARE {
            bail!(
                "nothing is published: others took {:.0}% of the processors' time in {row}",
                100.0 * share
            );
        }
    }
    Ok(())
}

/// Writes what the repository says of the comparison, unless the machine was not quiet.
fn publish(parts: &Parts<'_>, text: &str) -> Result<()> {
    ensure_quiet(parts)?;
    let docs = builder::workspace().join("docs");
    let page = format!(
        "# The whole comparison\n\nThe method is in [bench/README.md](../bench/README.md).\n\n{text}"
    );
    write_beside(Some(&docs.join("bench.md")), "", &page)?;
    write_beside(Some(&docs.join("bench.svg")), "", &svg::picture(parts.figures))
}

fn race(selection: &Selection, names: &[String]) -> Result<(Head, Vec<Line>)> {
    let chosen = choose_contestants(names, selection.quick)?;
    let rows = choose_rows(selection)?;
    let (entrants, missing) = build_all(&chosen, profile_of(selection.lto));
    race_entrants(selection, rows, entrants, missing)
}

/// Runs a race of workers that are built, writing the raw file; shared with the comparison of two builds.
pub(crate) fn race_entrants(
    selection: &Selection,
    rows: Vec<Row>,
    entrants: Vec<Entrant>,
    missing: Vec<Line>,
) -> Result<(Head, Vec<Line>)> {
    if entrants.is_empty() {
        bail!("no contestant could be built");
    }
    let rounds = selection.rounds.and_then(|rounds| usize::try_from(rounds).ok());
    let plan = Plan {
        rows,
        entrants,
        rounds: rounds.unwrap_or(if selection.quick { QUICK_ROUNDS } else { ROUNDS }),
        scale: if selection.quick { QUICK_SCALE } else { 1 },
    };
    let head = Head {
        format: FORMAT,
        machine: Machine::this(),
        command: command_line(),
        scale: plan.scale,
        profile: profile_of(selection.lto).name().to_owned(),
        entrants: plan
            .entrants
            .iter()
            .map(|entrant| (entrant.name.clone(), entrant.role))
            .collect(),
    };
    let path = selection.raw.clone().unwrap_or_else(|| default_raw_path(&head));
    let mut raw = Writer::create(&path)?;
    raw.write(&Line::Head(head.clone()))?;
    for line in &missing {
        raw.write(line)?;
    }
    eprintln!("{} processes; raw results in {}", plan.process_count(), path.display());
    let mut lines = missing;
    let start = Instant::now();
    lines.extend(plan.run(&mut raw, |news| eprintln!("{news}"))?);
    eprintln!("the race took {:.0} s", start.elapsed().as_secs_f64());
    Ok((head, lines))
}

/// A raw file named by the minute, so that a long race is not overwritten by the next.
fn default_raw_path(head: &Head) -> PathBuf {
    let digits: String = head.machine.date.chars().filter(char::is_ascii_digit).collect();
    builder::output_directory().join(format!("raw-{digits}.jsonl"))
}

/// Builds each contestant's worker; those that fail are named.
pub(crate) fn build_all(chosen: &[Contestant], profile: Profile) -> (Vec<Entrant>, Vec<Line>) {
    let workspace = builder::workspace();
    let (mut entrants, mut missing) = (Vec::new(), Vec::new());
    for contestant in chosen {
        let name = contestant.name;
        eprintln!("building {name}: {}", contestant.what);
        match builder::build(&builder::Order {
            workspace: &workspace,
            feature: contestant.feature,
            label: name,
            profile,
            counted: false,
        }) {
            Ok(worker) => entrants.push(Entrant {
                name: name.to_owned(),
                role: contestant.role.into(),
                worker,
                environment: contestant
                    .environment
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            }),
            Err(error) => {
                eprintln!("  {name} is left out: {error:#}");
                missing.push(Line::Missing {
                    contestant: name.to_owned(),
                    reason: format!("{error:#}"),
                });
            }
        }
    }
    (entrants, missing)
}

/// The contestants called by name, or all that count.
pub(crate) fn choose_contestants(names: &[String], quick: bool) -> Result<Vec<Contestant>> {
    if names.is_empty() {
        let is_wanted = |contestant: &Contestant| {
            !quick
                || contestant.role != Role::Shown
                || [FLOOR, SUBJECT_HUGE].contains(&contestant.name)
        };
        return Ok(contestants::ALL.into_iter().filter(is_wanted).collect());
    }
    let find = |name: &String| {
        contestants::find(name)
            .with_context(|| format!("no contestant is called {name}; see --list"))
    };
    names.iter().map(find).collect()
}

/// The rows that `--only` and `--quick` leave.
pub(crate) fn choose_rows(selection: &Selection) -> Result<Vec<Row>> {
    let names = &selection.only;
    // A whole name means that row alone, although others may begin with it.
    let means = |name: &String, row: &Row| match rows::find(name) {
        Some(exact) => exact.name == row.name,
        None => row.group.name() == name || row.name.starts_with(name.as_str()),
    };
    let is_wanted = |row: &Row| {
        names.iter().any(|name| means(name, row))
            || names.is_empty() && (row.is_quick || !selection.quick)
    };
    let rows: Vec<Row> = rows::all().into_iter().filter(is_wanted).collect();
    if rows.is_empty() {
        bail!("no row matches {}; see --list", selection.only.join(","));
    }
    Ok(rows)
}

/// The profile that `--lto` selects.
pub(crate) const fn profile_of(lto: bool) -> Profile {
    if lto { Profile::FatLto } else { Profile::Release }
}

/// The command as one would repeat it.
pub(crate) fn command_line() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let all = ["cargo run --release -p mems-bench".to_owned(), arguments.join(" ")];
    if arguments.is_empty() { all[0].clone() } else { all.join(" -- ") }
}

fn write_beside(path: Option<&Path>, name: &str, text: &str) -> Result<()> {
    let path: PathBuf =
        path.map_or_else(|| builder::output_directory().join(name), Path::to_path_buf);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("creating {}", directory.display()))?;
    }
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

fn print_list() {
    println!("rows (name, group, one operation):");
    for row in rows::all() {
        let marks = [(row.is_quick, "quick"), (row.is_slow, "slow")];
        let marks: Vec<&str> =
            marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect();
        println!(
            "  {:<16} {:<9} {:<18} {}",
            row.name,
            row.group.name(),
            row.operation,
            marks.join(" ")
        );
    }
    println!("contestants:");
    for contestant in contestants::ALL {
        println!("  {:<16} {}", contestant.name, contestant.what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(only: &[&str], quick: bool) -> Selection {
        let only = only.iter().map(|name| (*name).to_owned()).collect();
        Selection { only, rounds: None, quick, lto: false, raw: None }
    }

    #[test]
    fn rows_are_chosen_by_name_group_or_beginning() {
        let count = |only: &[&str], quick| choose_rows(&selection(only, quick)).unwrap().len();
        assert_eq!(count(&["churn"], false), 1);
        assert_eq!(count(&["batch"], false), 15);
        assert_eq!(count(&["pair-64"], false), 1);
        assert_eq!(count(&["larson-"], true), 4);
        assert_eq!(count(&[], false), rows::all().len());
        assert!(count(&[], true) < rows::all().len());
        assert!(choose_rows(&selection(&["no-such-row"], false)).is_err());
    }

    #[test]
    fn what_was_measured_on_a_busy_machine_is_not_published() {
        let raw = builder::workspace().join("bench/tests/fixtures/raw.jsonl");
        let (head, mut lines) = raw::read(&raw).unwrap();
        let quiet = Figures::of(head.clone(), &lines);
        assert!(ensure_quiet(&(&quiet).into()).is_ok());
        for line in &mut lines {
            if let Line::Run(run) = line
                && run.row == "churn"
            {
                run.foreign_cpus = 0.3;
            }
        }
        let busy = Figures::of(head, &lines);
        let error = ensure_quiet(&(&busy).into()).unwrap_err().to_string();
        assert!(error.contains("15%") && error.contains("churn"), "{error}");
        let parts = Parts { figures: &quiet, huge: None, lto: Some(&busy) };
        assert!(ensure_quiet(&parts).is_err());
    }

    #[test]
    fn contestants_are_chosen_by_name() {
        assert_eq!(choose_contestants(&["mems".into()], false).unwrap().len(), 1);
        assert!(choose_contestants(&["nobody".into()], false).is_err());
        let quick = choose_contestants(&[], true).unwrap();
        assert!(quick.iter().filter(|contestant| contestant.role == Role::Shown).count() == 2);
    }
}
