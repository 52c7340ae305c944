//! The driver's command line; everything it does is in the library.

use std::process::ExitCode;

use clap::Parser as _;
use mems_bench::cli::{Cli, Mode};
use mems_bench::{c_half, compare, counts, external, fragmentation, instructions, session, tails};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.mode {
        None => session::run(&cli.race),
        Some(Mode::C(arguments)) => c_half::run(arguments),
        Some(Mode::Compare(arguments)) => compare::run(arguments),
        Some(Mode::Counts) => counts::run(),
        Some(Mode::Fragmentation(arguments)) => fragmentation::run(arguments),
        Some(Mode::Instructions(arguments)) => instructions::run(arguments),
        Some(Mode::Latency(arguments)) => tails::run(arguments),
        Some(Mode::Run(arguments)) => external::run(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mems-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
