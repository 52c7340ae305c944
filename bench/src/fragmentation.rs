//! Memory over time: patterns of work, and idle time after it, under a few contestants: pictures of lines, and tables.

use core::ops::Range;
use core::time::Duration;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::builder::output_directory;
use crate::cli::FragmentationArgs;
use crate::contestants::SUBJECT;
use crate::machine::Machine;
use crate::patterns::{self, IDLE_SECONDS, Pattern, Shown};
use crate::race::{Entrant, output_of};
use crate::raw::parse_words;
use crate::report::lines::{Around, Panel, Scale, picture};
use crate::session::{build_all, choose_contestants, command_line, profile_of};
use crate::stats::median;
use crate::worker::FRAGMENTATION;

/// A worker that takes longer is stopped.
const TIME_LIMIT: Duration = Duration::from_secs(300);
/// With fewer live KiB a ratio says little.
const LEAST_LIVE_KIB: f64 = 10_240.0;
/// What is compared unless asked otherwise.
const USUAL: [&str; 5] = [SUBJECT, "system", "mimalloc", "jemalloc", "rusty_alloc"];

/// Ticks of the axis of resident memory.
const MIB_TICKS: [f64; 10] = [0.0, 50.0, 100.0, 150.0, 200.0, 250.0, 300.0, 400.0, 500.0, 600.0];

/// What one worker noted: live and resident KiB, and which of them in idle time.
#[derive(Debug, Clone, PartialEq)]
struct Course {
    live: Vec<f64>,
    rss: Vec<f64>,
    idle: Vec<Range<usize>>,
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
    let note = format!(
        "{}, {} CPUs, Linux {}, {}, medians of {} rounds",
        machine.cpu, machine.cpus, machine.kernel, machine.date, arguments.rounds
    );
    println!(
        "- Machine: {}\n- Date: {}\n- Command: `{}`\n",
        machine.describe(),
        machine.date,
        command_line()
    );
    let kinds = [
        (Shown::Ratio, arguments.report.as_deref(), "fragmentation.svg"),
        (Shown::Resident, arguments.server.as_deref(), "server.svg"),
    ];
    for (shown, path, name) in kinds {
        let mut panels = Vec::new();
        println!("{}", table_head(shown));
        for pattern in patterns::ALL.into_iter().filter(|pattern| pattern.shown == shown) {
            let courses = courses(&pattern, &entrants, arguments.rounds);
            panels.push(panel(&pattern, &entrants, &courses));
        }
        println!();
        let path = path.map_or_else(|| output_directory().join(name), Path::to_owned);
        std::fs::write(&path, picture(&panels, around(shown, &note)))
            .with_context(|| format!("writing {}", path.display()))?;
        eprintln!("picture: {}", path.display());
    }
    Ok(())
}

/// What stands around a picture.
fn around(shown: Shown, note: &str) -> Around<'_> {
    match shown {
        Shown::Ratio => Around {
            title: "Resident memory over live bytes",
            below: "Of 1 nothing is lost. From the beginning of each pattern to its end, and idle; lower is better.",
            note,
        },
        Shown::Resident => Around {
            title: "Resident memory of a server that fills, drops and idles",
            below: "Beside what it had at first. Ten times a second a timer fires: in all threads, then in one.",
            note,
        },
    }
}

/// The panel of a pattern; prints its rows of the table.
fn panel(pattern: &Pattern, entrants: &[Entrant], courses: &[Vec<Course>]) -> Panel {
    let first = courses.iter().flatten().next();
    let idle = first.map_or_else(Vec::new, |course| course.idle.clone());
    let mut lines = Vec::new();
    for (entrant, courses) in entrants.iter().zip(courses) {
        let Some(course) = courses.first() else { continue };
        let (numbers, row) = match pattern.shown {
            Shown::Ratio => {
                let numbers = medians(courses, ratio_at);
                let row = ratio_row(&numbers, &idle, &course.live);
                (numbers, row)
            }
            Shown::Resident => {
                let numbers = medians(courses, mib_at);
                let row = resident_row(&numbers, &idle);
                (numbers, row)
            }
        };
        println!("| {} | {} | {row}", pattern.name, entrant.name);
        lines.push((entrant.name.clone(), numbers));
    }
    let scale = match pattern.shown {
        Shown::Ratio => {
            Scale { low: 0.9, ticks: &[1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0], unit: "", digits: 2 }
        }
        Shown::Resident => Scale { low: 0.0, ticks: &MIB_TICKS, unit: " MiB", digits: 0 },
    };
    Panel { title: format!("{}: {}", pattern.name, pattern.title), lines, idle, scale }
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
    let idle = words.get("idle").map_or("", |text| text);
    let idle: Option<Vec<_>> = idle.split(',').map(range).collect();
    let idle = idle.with_context(|| format!("no idle time in {line:?}"))?;
    let course = Course { live: list("live")?, rss: list("rss")?, idle };
    if course.live.len() != course.rss.len() {
        bail!("{} live and {} resident numbers", course.live.len(), course.rss.len());
    }
    Ok(course)
}

/// A range of samples, as `FROM-TO`.
fn range(text: &str) -> Option<Range<usize>> {
    let (from, to) = text.split_once('-')?;
    Some(from.parse().ok()?..to.parse().ok()?)
}

/// The medians of a number at each sample.
fn medians(courses: &[Course], number: fn(&Course, usize) -> Option<f64>) -> Vec<Option<f64>> {
    let samples = courses.first().map_or(0, |course| course.live.len());
    let at = |place: usize| {
        median(&courses.iter().filter_map(|course| number(course, place)).collect::<Vec<_>>())
    };
    (0..samples).map(at).collect()
}

/// Resident over live bytes, where enough is live.
fn ratio_at(course: &Course, place: usize) -> Option<f64> {
    let (live, rss) = (course.live.get(place)?, course.rss.get(place)?);
    (*live >= LEAST_LIVE_KIB).then(|| rss / live)
}

/// Resident MiB.
fn mib_at(course: &Course, place: usize) -> Option<f64> {
    course.rss.get(place).map(|kib| kib / 1_024.0)
}

/// The head of a table.
fn table_head(shown: Shown) -> String {
    match shown {
        Shown::Ratio => format!(
            "| pattern | contestant | at the end | highest | mean | after {IDLE_SECONDS} s idle | \
             live at the end, MiB |\n\
             |---|---|---:|---:|---:|---:|---:|"
        ),
        Shown::Resident => format!(
            "| pattern | contestant | full, MiB | nine tenths freed | after {IDLE_SECONDS} s idle | half full | \
             all freed | after {IDLE_SECONDS} s idle |\n\
             |---|---|---:|---:|---:|---:|---:|---:|"
        ),
    }
}

/// The end of a row of ratios.
fn ratio_row(numbers: &[Option<f64>], idle: &[Range<usize>], live_kib: &[f64]) -> String {
    let work = idle.first().map_or(numbers.len(), |idle| idle.start);
    let known: Vec<f64> = numbers.iter().take(work).flatten().copied().collect();
    let highest = known.iter().copied().fold(0.0, f64::max);
    let count = f64::from(u32::try_from(known.len().max(1)).unwrap_or(u32::MAX));
    let mean = known.iter().sum::<f64>() / count;
    let last = known.last().copied().unwrap_or(f64::NAN);
    let idle = numbers.iter().flatten().next_back().copied().unwrap_or(f64::NAN);
    let live = live_kib.get(work.saturating_sub(1)).copied().unwrap_or(0.0) / 1_024.0;
    format!("{last:.2} | {highest:.2} | {mean:.2} | {idle:.2} | {live:.0} |")
}

/// The end of a row of resident memory: the most before each idle time, and what there is when that begins and ends.
fn resident_row(numbers: &[Option<f64>], idle: &[Range<usize>]) -> String {
    let mut row = String::new();
    let mut from = 0;
    for idle in idle {
        let most =
            numbers.iter().take(idle.start).skip(from).flatten().copied().fold(0.0, f64::max);
        let at = |place: usize| {
            numbers.get(place.saturating_sub(1)).copied().flatten().unwrap_or(f64::NAN)
        };
        let (dropped, idled) = (at(idle.start), at(idle.end));
        row.push_str(&format!("{most:.0} | {dropped:.0} | {idled:.0} | "));
        from = idle.end;
    }
    row.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_medians_where_enough_is_live() {
        let parsed =
            parse("pattern=y live=100,20480,20480 rss=900,40960,20480 idle=2-3 checksum=1");
        let course = parsed.unwrap();
        let ratios = medians(core::slice::from_ref(&course), ratio_at);
        assert_eq!(ratios, [None, Some(2.0), Some(1.0)]);
        assert_eq!(
            ratio_row(&ratios, &course.idle, &course.live),
            "2.00 | 2.00 | 2.00 | 1.00 | 20 |"
        );
        let mib = medians(core::slice::from_ref(&course), mib_at);
        assert_eq!(resident_row(&mib, &course.idle), "40 | 40 | 20 |");
        for broken in
            ["live=1,2 rss=3 idle=0-1", "live=1 idle=0-1", "live=1 rss=1", "live=1 rss=1 idle=1"]
        {
            assert!(parse(broken).is_err(), "{broken}");
        }
        assert!(medians(&[], ratio_at).is_empty());
    }
}
