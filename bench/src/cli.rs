//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Compares MeMS with the allocators people would pick instead: time and peak memory.
#[derive(Debug, Parser)]
#[command(name = "mems-bench", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of comparing with peers.
    #[command(subcommand)]
    pub mode: Option<Mode>,
    /// The comparison with peers.
    #[command(flatten)]
    pub race: RaceArgs,
}

/// The other modes.
#[derive(Debug, Subcommand)]
pub enum Mode {
    /// Programs in C under preloaded allocators (needs a C compiler; for snmalloc cmake and C++)
    C(CArgs),
    /// Locks taken and shared cache lines written with two threads and with sixteen
    Counts,
    /// Two builds of MeMS in one run: directories of checkouts, or revisions of this repository
    Compare(CompareArgs),
    /// Resident over live memory as published patterns go on: a picture and a table
    Fragmentation(FragmentationArgs),
    /// Instructions of each malloc and free on the hot paths (needs valgrind)
    Instructions(InstructionsArgs),
    /// Latency of single malloc and free calls, p50 to p99.99
    Latency(LatencyArgs),
    /// A program of your own under preloaded allocators
    Run(RunArgs),
}

/// What a race is made of.
#[derive(Debug, Clone, Args)]
pub struct Selection {
    /// Rows to run: names, groups or beginnings of names, separated by commas
    #[arg(long, value_name = "ROWS", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Rounds of each row [default: 9; 3 with --quick; rows over a second take at most 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: Option<u32>,
    /// Fewer rows, less work, three rounds: under two minutes once the workers are built
    #[arg(long)]
    pub quick: bool,
    /// Build the workers with fat LTO and one codegen unit
    #[arg(long)]
    pub lto: bool,
    /// Where the raw results go [default: raw-DATE.jsonl in target/bench]
    #[arg(long, value_name = "FILE")]
    pub raw: Option<PathBuf>,
}

/// The comparison with peers.
#[derive(Debug, Args)]
pub struct RaceArgs {
    /// Rows, rounds, profile.
    #[command(flatten)]
    pub selection: Selection,
    /// Contestants, separated by commas [default: all; with --quick MeMS, its peers and the floor]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub alloc: Vec<String>,
    /// Run nothing: report from a raw file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["only", "alloc", "rounds", "quick", "lto", "raw"])]
    pub report: Option<PathBuf>,
    /// With --report: show where a second raw file disagrees with the first
    #[arg(long, value_name = "FILE", requires = "report")]
    pub against: Option<PathBuf>,
    /// With --report: a raw file of workers built with fat LTO, for a further table
    #[arg(long, value_name = "FILE", requires = "report")]
    pub with_lto: Option<PathBuf>,
    /// Write docs/bench.md and docs/bench.svg, or fail if the machine was not quiet; without --report the race is run
    /// twice, the second time with fat LTO
    #[arg(long, conflicts_with_all = ["quick", "lto", "svg", "markdown"])]
    pub publish: bool,
    /// Where the picture goes [default: report.svg in target/bench]
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Where the tables go besides standard output [default: report.md in target/bench]
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Print the rows and contestants and end
    #[arg(long)]
    pub list: bool,
}

/// Two builds of MeMS.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The build before: a directory or a revision
    pub before: String,
    /// The build after: a directory or a revision
    pub after: String,
    /// Rows, rounds, profile.
    #[command(flatten)]
    pub selection: Selection,
}

/// The C half.
#[derive(Debug, Args)]
pub struct CArgs {
    /// Runs per row and allocator
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
}

/// Fragmentation.
#[derive(Debug, Args)]
pub struct FragmentationArgs {
    /// Where the picture of the published patterns goes [default: fragmentation.svg in target/bench]
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Where the picture of the server goes [default: server.svg in target/bench]
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Contestants, separated by commas [default: mems,system,mimalloc,jemalloc,rusty_alloc]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub alloc: Vec<String>,
    /// Processes per contestant and pattern; medians are shown
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
}

/// Instruction counts.
#[derive(Debug, Args)]
pub struct InstructionsArgs {
    /// Contestants, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub alloc: Vec<String>,
    /// Build the workers with fat LTO
    #[arg(long)]
    pub lto: bool,
}

/// Latency.
#[derive(Debug, Args)]
pub struct LatencyArgs {
    /// Contestants, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub alloc: Vec<String>,
    /// Processes per contestant; the table shows medians
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// Build the workers with fat LTO
    #[arg(long)]
    pub lto: bool,
}

/// An external program.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A shared object to preload, as NAME=PATH or PATH; may be given several times
    #[arg(long = "so", value_name = "[NAME=]PATH")]
    pub objects: Vec<String>,
    /// Runs per object
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["mems-bench"], arguments].concat())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lists_are_split_at_commas() {
        let cli =
            parse(&["--only", "pair,churn", "--alloc", "mems,system", "--rounds", "3"]).unwrap();
        assert_eq!(cli.race.selection.only, ["pair", "churn"]);
        assert_eq!(cli.race.alloc, ["mems", "system"]);
        assert_eq!(cli.race.selection.rounds, Some(3));
        assert!(cli.mode.is_none());
    }

    #[test]
    fn modes_take_their_arguments() {
        let cli = parse(&["compare", "main", ".", "--only", "churn"]).unwrap();
        assert!(
            matches!(cli.mode, Some(Mode::Compare(ref args)) if args.before == "main" && args.after == ".")
        );
        let cli = parse(&["run", "--so", "x=/x.so", "--", "ls", "-l"]).unwrap();
        assert!(
            matches!(cli.mode, Some(Mode::Run(ref args)) if args.command == ["ls", "-l"] && args.rounds == 5)
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for arguments in [
            &["--rounds", "0"][..],
            &["--against", "x"],
            &["run"],
            &["--report", "x", "--quick"],
            &["--publish", "--quick"],
        ] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }
}
