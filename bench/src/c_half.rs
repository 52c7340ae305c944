//! The C half: small programs in C under preloaded allocators.
//!
//! MeMS and snmalloc are built here, snmalloc from the sources that its crate brings; mimalloc and jemalloc are those
//! of the distribution. What is missing is named and left out.

use core::fmt::Write as _;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::builder::{self, cargo};
use crate::cli::CArgs;
use crate::machine::{ForeignLoad, Machine};
use crate::race::{FOREIGN_SHARE, output_of};
use crate::raw::parse_words;
use crate::stats::{Rounds, geometric_mean, median, ratio_to_best};

/// A program takes no longer.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// The rows: name, program, argument.
const ROWS: [(&str, &str, &str); 5] = [
    ("c-batch-25", "batches", "25"),
    ("c-batch-100", "batches", "100"),
    ("c-batch-400", "batches", "400"),
    ("c-batch-1600", "batches", "1600"),
    ("c-foreign-4", "foreign", "4"),
];

/// Objects of Debian's packages, below `/usr/lib/TRIPLET`.
const PACKAGED: [(&str, &str, &str); 2] = [
    ("mimalloc", "libmimalloc.so.2", "libmimalloc2.0"),
    ("jemalloc", "libjemalloc.so.2", "libjemalloc2"),
];

/// An allocator, and the object that has it; MeMS comes first.
#[derive(Debug)]
struct Preload {
    name: &'static str,
    object: Option<PathBuf>,
}

/// Builds what is needed, runs all, prints the table.
pub fn run(arguments: &CArgs) -> Result<()> {
    let programs = compile()?;
    let (preloads, missing) = preloads();
    if preloads.iter().all(|preload| preload.name != "mems") {
        bail!("MeMS's own object does not build: {}", missing.join("; "));
    }
    let mut times = vec![vec![Rounds::new(); preloads.len()]; ROWS.len()];
    let load = ForeignLoad::watch();
    for round in 0..arguments.rounds as usize {
        for (row, of_row) in ROWS.iter().zip(&mut times) {
            let mut news = String::new();
            for turn in 0..preloads.len() {
                let index = (turn + round) % preloads.len();
                let (preload, program) = (&preloads[index], programs.join(row.1));
                let time = run_once(preload, &program, row.2);
                let text = time
                    .as_ref()
                    .map_or_else(|error| format!("{error:#}"), |ns| format!("{ns:.1}"));
                let _ = write!(news, " | {} {text}", preload.name);
                of_row[index].push(time.ok());
            }
            eprintln!("{}/{} {:<13}{news}", round + 1, arguments.rounds, row.0);
        }
    }
    let machine = Machine::this();
    let share = load.foreign_cpus().max(0.0) / f64::from(u32::try_from(machine.cpus).unwrap_or(1));
    print!("{}", table(&machine, share, arguments.rounds, &preloads, &missing, &times));
    Ok(())
}

/// Compiles the programs, and says where they are.
fn compile() -> Result<PathBuf> {
    let sources = builder::workspace().join("bench/c");
    let programs = builder::output_directory().join("c");
    std::fs::create_dir_all(&programs)
        .with_context(|| format!("creating {}", programs.display()))?;
    for name in ["batches", "foreign"] {
        let mut compiler = c_compiler();
        compiler.args([
            "-O2",
            "-std=c11",
            "-D_GNU_SOURCE",
            "-fno-builtin-malloc",
            "-fno-builtin-free",
            "-pthread",
            "-o",
        ]);
        compiler.arg(programs.join(name)).arg(sources.join(format!("{name}.c")));
        succeed(&mut compiler)?;
    }
    Ok(programs)
}

/// All allocators that are there, and in words those that are not.
fn preloads() -> (Vec<Preload>, Vec<String>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    let mut add = |name, object: Result<PathBuf>| match object {
        Ok(object) => found.push(Preload { name, object: Some(object) }),
        Err(error) => missing.push(format!("{name}: {error:#}")),
    };
    eprintln!("building mems");
    add("mems", build_mems());
    for (name, object, package) in PACKAGED {
        let path = Path::new("/usr/lib")
            .join(format!("{}-linux-gnu", std::env::consts::ARCH))
            .join(object);
        let is_there = path.is_file();
        add(
            name,
            is_there
                .then_some(path)
                .with_context(|| format!("no {object}; the package is {package}")),
        );
    }
    eprintln!("building snmalloc");
    add("snmalloc", build_snmalloc());
    found.insert(1.min(found.len()), Preload { name: "system", object: None });
    (found, missing)
}

fn build_mems() -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--quiet", "--release", "--package", "mems-preload"]);
    succeed(cargo.current_dir(builder::workspace()))?;
    let target = builder::output_directory();
    let object = target.parent().map(|target| target.join("release/libmems_preload.so"));
    object.filter(|path| path.is_file()).context("cargo left no libmems_preload.so")
}

/// Builds the shared object of snmalloc from the sources in its crate.
fn build_snmalloc() -> Result<PathBuf> {
    let output = cargo()
        .args(["metadata", "--format-version=1", "--features", "mems-bench/snmalloc"])
        .current_dir(builder::workspace())
        .output()
        .context("starting cargo")?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).context("reading cargo's metadata")?;
    let packages = metadata["packages"].as_array().context("cargo named no packages")?;
    let manifest = packages
        .iter()
        .find(|package| package["name"] == "snmalloc-sys")
        .and_then(|package| package["manifest_path"].as_str())
        .context("there is no crate snmalloc-sys")?;
    let sources =
        Path::new(manifest).parent().context("a manifest has a directory")?.join("upstream");
    let into = builder::output_directory().join("snmalloc");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(sources).arg("-B").arg(&into);
    configure.args(["-DCMAKE_BUILD_TYPE=Release", "-DSNMALLOC_BUILD_TESTING=OFF"]);
    succeed(&mut configure)?;
    let mut build = Command::new("cmake");
    succeed(build.arg("--build").arg(&into).args(["--target", "snmallocshim", "--parallel", "2"]))?;
    let object = into.join("libsnmallocshim.so");
    if object.is_file() { Ok(object) } else { bail!("cmake left no {}", object.display()) }
}

fn c_compiler() -> Command {
    Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
}

/// Runs a tool; what it says becomes the error.
fn succeed(command: &mut Command) -> Result<()> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.output().with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let line =
            said.lines().find(|line| line.contains("rror")).or_else(|| said.lines().next_back());
        bail!("{program} fails: {}", line.unwrap_or("without a word").trim());
    }
    Ok(())
}

/// Nanoseconds an operation.
fn run_once(preload: &Preload, program: &Path, argument: &str) -> Result<f64> {
    // The loader takes the variable from what `env` starts, not from this process.
    let mut command = Command::new("env");
    if let Some(object) = &preload.object {
        command.arg(format!("LD_PRELOAD={}", object.display()));
    }
    let text = output_of(command.arg(program).arg(argument), TIME_LIMIT)?;
    let words = parse_words(&text);
    let number = |key: &str| words.get(key).and_then(|text| text.parse::<f64>().ok());
    let (time, operations) = number("time_ns").zip(number("operations")).context("no results")?;
    Ok(time / operations)
}

fn table(
    machine: &Machine,
    foreign_share: f64,
    rounds: u32,
    preloads: &[Preload],
    missing: &[String],
    times: &[Vec<Rounds>],
) -> String {
    let mut text = format!(
        "## Programs in C\n\n- Machine: {}\n- Date: {}\n- Rounds: {rounds}\n\
         - Others took of the processors' time: {:.1}%{}\n",
        machine.describe(),
        machine.date,
        100.0 * foreign_share,
        if foreign_share > FOREIGN_SHARE { "; wait for a quieter machine" } else { "" }
    );
    for line in missing {
        let _ = writeln!(text, "- Left out: {line}");
    }
    text.push_str(
        "\nNanoseconds a malloc and a free: medians, and in brackets the best round.\n\n| row |",
    );
    for preload in preloads {
        let _ = write!(text, " {} |", preload.name);
    }
    let _ = writeln!(text, " mems / best peer |\n|---|{}", "---:|".repeat(preloads.len() + 1));
    let mut ratios = Vec::new();
    for ((name, ..), of_row) in ROWS.iter().zip(times) {
        let _ = write!(text, "| {name} |");
        for rounds in of_row {
            let values: Vec<f64> = rounds.iter().flatten().copied().collect();
            let best = values.iter().copied().fold(f64::INFINITY, f64::min);
            let _ = match median(&values) {
                Some(median) => write!(text, " {median:.1} ({best:.1}) |"),
                None => write!(text, " fails |"),
            };
        }
        let ratio = ratio_to_best(&of_row[0], &of_row[1..]);
        ratios.extend(ratio.map(|ratio| (*name, ratio.value)));
        let _ = writeln!(
            text,
            " {} |",
            ratio.map_or_else(|| "-".to_owned(), |it| format!("{:.2}", it.value))
        );
    }
    let batches: Vec<f64> = ratios
        .iter()
        .filter(|(name, _)| name.starts_with("c-batch"))
        .map(|(_, ratio)| *ratio)
        .collect();
    if let Some(mean) = geometric_mean(&batches) {
        let _ =
            writeln!(text, "\nGeometric mean of the batches: {mean:.2} of each row's best peer.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_compile_and_run() {
        if c_compiler().arg("--version").output().is_err() {
            println!("skipped: no C compiler");
            return;
        }
        let programs = compile().unwrap();
        let system = Preload { name: "system", object: None };
        for (name, program, argument) in ROWS {
            let time = run_once(&system, &programs.join(program), argument);
            assert!(time.as_ref().is_ok_and(|ns| *ns > 0.0), "{name}: {time:?}");
        }
        assert!(run_once(&system, &programs.join("batches"), "0").is_err());
    }

    #[test]
    fn the_table_compares_with_the_best_peer() {
        let preload = |name| Preload { name, object: None };
        let preloads = [preload("mems"), preload("system"), preload("other")];
        let row = [1.5, 2.0, 1.0].map(|ns| vec![Some(ns); 3]).to_vec();
        let text =
            table(&Machine::default(), 0.0, 3, &preloads, &["x: gone".into()], &vec![row; 5]);
        assert!(
            text.contains("| c-batch-25 | 1.5 (1.5) | 2.0 (2.0) | 1.0 (1.0) | 1.50 |"),
            "{text}"
        );
        assert!(
            text.contains("- Left out: x: gone") && text.contains("batches: 1.50 of"),
            "{text}"
        );
    }
}
