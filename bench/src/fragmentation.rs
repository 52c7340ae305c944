//! Fragmentation over time: published patterns under a few contestants, as a picture of lines and a table.

use core::time::Duration;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::builder::output_directory;
use crate::cli::FragmentationArgs;
use crate::contestants::SUBJECT;
use crate::machine::Machine;
use crate::patterns::{self, Pattern};
use crate::race::{Entrant, output_of};
use crate::raw::parse_words;
use crate::report::lines::{Panel, picture};
use crate::session::{build_all, choose_contestants, command_line, profile_of};
use crate::stats::median;
use crate::worker::FRAGMENTATION;

/// A worker that takes longer is stopped.
const TIME_LIMIT: Duration = Duration::from_secs(300);
/// With fewer live KiB a ratio says little.
const LEAST_LIVE_KIB: f64 = 10_240.0;
/// What is compared unless asked otherwise.
const USUAL: [&str; 4] = [SUBJECT, "system", "mimalloc-v2", "jemalloc"];

/// What one worker noted: live and resident KiB.
#[derive(Debug, Clone, PartialEq)]
struct Course {
    live: Vec<f64>,
    rss: Vec<f64>,
}

/// Runs all patterns, writes the picture, prints the table.
pub fn run(arguments: &FragmentationArgs) -> Result<()> {
    let machine = Machine::this();
    let names = if arguments.alloc.is_empty() {
        USUAL.map(str::to_owned).to_vec()
    } else {
        arguments.alloc.clone()
    };
    let chosen = choose_contestants(&names, false)?;
    let (entrants, _) = build_all(&chosen, profile_of(false));
    let mut panels = Vec::new();
    let mut text = String::from(
        "| pattern | contestant | at the end | highest | mean | live at the end, MiB |\n\
         |---|---|---:|---:|---:|---:|\n",
    );
    for pattern in patterns::ALL {
        let mut lines = Vec::new();
        let courses = courses(&pattern, &entrants, arguments.rounds);
        for (entrant, courses) in entrants.iter().zip(&courses) {
            let Some(ratios) = ratios(courses) else { continue };
            let live =
                courses.first().and_then(|course| course.live.last().copied()).unwrap_or(0.0);
            text.push_str(&table_row(&pattern, &entrant.name, &ratios, live));
            lines.push((entrant.name.clone(), ratios));
        }
        panels.push(Panel { title: format!("{}: {}", pattern.name, pattern.title), lines });
    }
    let note = format!(
        "{}, {} CPUs, Linux {}, {}, medians of {} rounds",
        machine.cpu, machine.cpus, machine.kernel, machine.date, arguments.rounds
    );
    let path =
        arguments.report.clone().unwrap_or_else(|| output_directory().join("fragmentation.svg"));
    std::fs::write(&path, picture(&panels, &note))
        .with_context(|| format!("writing {}", path.display()))?;
    println!(
        "- Machine: {}\n- Date: {}\n- Command: `{}`\n",
        machine.describe(),
        machine.date,
        command_line()
    );
    print!("{text}");
    eprintln!("picture: {}", path.display());
    Ok(())
}

/// What each entrant noted, round by round.
fn courses(pattern: &Pattern, entrants: &[Entrant], rounds: u32) -> Vec<Vec<Course>> {
    let mut courses = vec![Vec::new(); entrants.len()];
    for round in 0..rounds as usize {
        for turn in 0..entrants.len() {
            let index = (turn + round) % entrants.len();
            eprintln!("{}, round {}: {}", pattern.name, round + 1, entrants[index].name);
            match course(pattern, &entrants[index]) {
                Ok(course) => courses[index].push(course),
                Err(error) => eprintln!("  {} failed: {error:#}", entrants[index].name),
            }
        }
    }
    courses
}

fn course(pattern: &Pattern, entrant: &Entrant) -> Result<Course> {
    let mut command = Command::new(&entrant.worker);
    command.args([FRAGMENTATION, pattern.name]);
    parse(&output_of(&mut command, TIME_LIMIT)?)
}

fn parse(line: &str) -> Result<Course> {
    let words = parse_words(line);
    let list = |key: &str| -> Result<Vec<f64>> {
        let text = words.get(key).with_context(|| format!("no {key} in {line:?}"))?;
        text.split(',').map(|number| number.parse().context("a number")).collect()
    };
    let course = Course { live: list("live")?, rss: list("rss")? };
    if course.live.len() != course.rss.len() {
        bail!("{} live and {} resident numbers", course.live.len(), course.rss.len());
    }
    Ok(course)
}

/// The median ratio at each sample.
fn ratios(courses: &[Course]) -> Option<Vec<Option<f64>>> {
    let first = courses.first()?;
    let at = |place: usize| {
        let ratio = |course: &Course| {
            let (live, rss) = (course.live.get(place)?, course.rss.get(place)?);
            (*live >= LEAST_LIVE_KIB).then(|| rss / live)
        };
        median(&courses.iter().filter_map(ratio).collect::<Vec<_>>())
    };
    Some((0..first.live.len()).map(at).collect())
}

fn table_row(pattern: &Pattern, name: &str, ratios: &[Option<f64>], live_kib: f64) -> String {
    let known: Vec<f64> = ratios.iter().flatten().copied().collect();
    let highest = known.iter().copied().fold(0.0, f64::max);
    let count = f64::from(u32::try_from(known.len().max(1)).unwrap_or(u32::MAX));
    let mean = known.iter().sum::<f64>() / count;
    let last = known.last().copied().unwrap_or(f64::NAN);
    let live = live_kib / 1_024.0;
    format!("| {} | {name} | {last:.2} | {highest:.2} | {mean:.2} | {live:.0} |\n", pattern.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_medians_where_enough_is_live() {
        let parsed = parse("alloc=x pattern=y live=100,20480,20480 rss=900,40960,20480 checksum=1");
        let course = parsed.unwrap();
        assert_eq!(ratios(&[course]), Some(vec![None, Some(2.0), Some(1.0)]));
        assert!(parse("live=1,2 rss=3").is_err() && parse("live=1").is_err());
        assert_eq!(ratios(&[]), None);
    }
}
