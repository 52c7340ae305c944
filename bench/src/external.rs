//! A program of the user's under each preloadable allocator: time, peak memory, page faults.
//!
//! Peak memory is what `wait4` reports. The kernel never reports less than the parent had when it forked, so the
//! driver keeps itself small (a few MiB).

use core::time::Duration;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::cli::RunArgs;
use crate::machine::{ForeignLoad, Machine};
use crate::measure::{ChildUsage, wait_for};
use crate::stats::median;

/// An allocator to preload, or none.
#[derive(Debug)]
struct Preload {
    name: String,
    object: Option<PathBuf>,
}

/// What one run used.
#[derive(Debug, Clone, Copy)]
struct Sample {
    wall: Duration,
    usage: ChildUsage,
    foreign_cpus: f64,
}

/// Runs the program under each object, in rotating order, and prints medians.
pub fn run(arguments: &RunArgs) -> Result<()> {
    let preloads = preloads(&arguments.objects)?;
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); preloads.len()];
    let mut failures: Vec<Option<i32>> = vec![None; preloads.len()];
    for round in 0..arguments.rounds as usize {
        for turn in 0..preloads.len() {
            let index = (turn + round) % preloads.len();
            let sample = run_once(&preloads[index], &arguments.command)?;
            eprintln!(
                "round {}: {} {:.3} s",
                round + 1,
                preloads[index].name,
                sample.wall.as_secs_f64()
            );
            if sample.usage.exit_code != 0 {
                failures[index] = Some(sample.usage.exit_code);
            }
            samples[index].push(sample);
        }
    }
    print!("{}", table(&arguments.command.join(" "), &preloads, &samples, &failures));
    Ok(())
}

fn preloads(objects: &[String]) -> Result<Vec<Preload>> {
    let mut preloads = vec![Preload { name: "system".to_owned(), object: None }];
    for text in objects {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) => (Some(name.to_owned()), PathBuf::from(path)),
            None => (None, PathBuf::from(text)),
        };
        // The loader ignores what it cannot find, and would measure the system allocator under this name.
        let object = std::fs::canonicalize(&path)
            .with_context(|| format!("no object at {}", path.display()))?;
        let stem =
            object.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        preloads.push(Preload { name: name.unwrap_or(stem), object: Some(object) });
    }
    Ok(preloads)
}

fn run_once(preload: &Preload, command: &[String]) -> Result<Sample> {
    let [program, arguments @ ..] = command else { bail!("no program") };
    let mut child = Command::new(program);
    child.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    child.env_remove("LD_PRELOAD");
    if let Some(object) = &preload.object {
        child.env("LD_PRELOAD", object);
    }
    let load = ForeignLoad::watch();
    let start = Instant::now();
    let child = child.spawn().with_context(|| format!("starting {program}"))?;
    let usage = wait_for(child).with_context(|| format!("waiting for {program}"))?;
    Ok(Sample { wall: start.elapsed(), usage, foreign_cpus: load.foreign_cpus() })
}

fn table(
    command: &str,
    preloads: &[Preload],
    samples: &[Vec<Sample>],
    failures: &[Option<i32>],
) -> String {
    let machine = Machine::this();
    let loads: Vec<f64> = samples.iter().flatten().map(|sample| sample.foreign_cpus).collect();
    let mut text =
        format!("## `{command}`\n\n- Machine: {}\n- Date: {}\n", machine.describe(), machine.date);
    text.push_str(&format!(
        "- Foreign load: {:.2} CPUs in the median run\n\n",
        median(&loads).unwrap_or(0.0).max(0.0)
    ));
    text.push_str("| allocator | wall, s | to system | CPU, s | peak RSS, MiB | to system | page faults | |\n");
    text.push_str("|---|---:|---:|---:|---:|---:|---:|---|\n");
    let base = &samples[0];
    for ((preload, own), failure) in preloads.iter().zip(samples).zip(failures) {
        let of = |samples: &[Sample], value: &dyn Fn(&Sample) -> f64| {
            median(&samples.iter().map(value).collect::<Vec<_>>()).unwrap_or(f64::NAN)
        };
        let wall = |sample: &Sample| sample.wall.as_secs_f64();
        let rss = |sample: &Sample| {
            f64::from(u32::try_from(sample.usage.peak_rss_kib).unwrap_or(u32::MAX)) / 1_024.0
        };
        let faults =
            |sample: &Sample| f64::from(u32::try_from(sample.usage.faults).unwrap_or(u32::MAX));
        text.push_str(&format!(
            "| {} | {:.3} | {:.2} | {:.3} | {:.1} | {:.2} | {:.0} | {} |\n",
            preload.name,
            of(own, &wall),
            of(own, &wall) / of(base, &wall),
            of(own, &|sample| sample.usage.cpu.as_secs_f64()),
            of(own, &rss),
            of(own, &rss) / of(base, &rss),
            of(own, &faults),
            failure.map_or_else(String::new, |code| format!("exit code {code}"))
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_and_must_exist() {
        let own = std::env::current_exe().unwrap().display().to_string();
        let found = preloads(&[format!("me={own}"), own]).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].name.as_str(), found[1].name.as_str()), ("system", "me"));
        assert!(preloads(&["/no/such.so".to_owned()]).is_err());
    }

    #[test]
    fn a_program_is_measured_and_its_exit_code_kept() {
        let system = Preload { name: "system".into(), object: None };
        let command = ["sh", "-c", "exit 3"].map(str::to_owned);
        let sample = run_once(&system, &command).unwrap();
        assert_eq!(sample.usage.exit_code, 3);
        assert!(sample.usage.peak_rss_kib > 0);
        assert!(run_once(&system, &["/no/such/program".to_owned()]).is_err());
    }
}
