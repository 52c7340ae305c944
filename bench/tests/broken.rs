//! An allocator that breaks a block, returns overlapping memory or loses bytes must not get into a table.
//!
//! The broken worker is an ordinary contestant here, raced against the sound worker on the system allocator.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use mems_bench::faulty::{FAULT, Fault};
use mems_bench::machine::Machine;
use mems_bench::race::{Entrant, Plan};
use mems_bench::raw::{self, EntrantRole, FORMAT, Head, Line, Writer};
use mems_bench::report::{figures::Figures, markdown};
use mems_bench::rows;

/// Rows that meet every fault, small enough for a debug build.
const ROWS: [&str; 4] = ["batch-64-rand", "churn", "vecgrow", "zeroed"];

fn entrant(name: &str, role: EntrantRole, worker: &str, fault: Fault) -> Entrant {
    let environment = vec![(FAULT.to_owned(), fault.name().to_owned())];
    Entrant { name: name.to_owned(), role, worker: PathBuf::from(worker), environment }
}

/// Races a sound and a possibly broken contestant and returns the figures, by way of a raw file.
fn race(fault: Fault, rows: &[&str]) -> Result<Figures> {
    let plan = Plan {
        rows: rows.iter().filter_map(|name| rows::find(name)).collect(),
        entrants: vec![
            entrant("sound", EntrantRole::Peer, env!("CARGO_BIN_EXE_worker"), Fault::None),
            entrant("suspect", EntrantRole::Subject, env!("CARGO_BIN_EXE_broken-worker"), fault),
        ],
        rounds: 2,
        scale: 1_000,
    };
    let head = Head {
        format: FORMAT,
        machine: Machine::this(),
        command: "test".to_owned(),
        scale: plan.scale,
        profile: "debug".to_owned(),
        entrants: plan
            .entrants
            .iter()
            .map(|entrant| (entrant.name.clone(), entrant.role))
            .collect(),
    };
    let directory =
        std::env::temp_dir().join(format!("mems-bench-{}-{}", std::process::id(), fault.name()));
    let path = directory.join("raw.jsonl");
    let mut writer = Writer::create(&path)?;
    writer.write(&Line::Head(head))?;
    plan.run(&mut writer, |_| ())?;
    let (head, lines) = raw::read(&path)?;
    std::fs::remove_dir_all(&directory)?;
    Ok(Figures::of(head, &lines))
}

/// The rows in which the suspect was caught.
fn caught(figures: &Figures) -> Vec<&str> {
    assert!(figures.faults.keys().all(|(_, name)| name == "suspect"), "{:?}", figures.faults);
    for row in &figures.rows {
        let is_caught = figures.faults.keys().any(|(name, _)| *name == row.row.name);
        assert_eq!(
            row.cells[1].is_none(),
            is_caught,
            "a caught contestant has no figures in {}",
            row.row.name
        );
        assert!(
            row.cells[0].is_some(),
            "the sound contestant keeps its figures in {}",
            row.row.name
        );
    }
    figures.faults.keys().map(|(row, _)| row.as_str()).collect()
}

#[test]
fn without_a_fault_nothing_is_caught() {
    let figures = race(Fault::None, &ROWS).unwrap();
    assert!(figures.faults.is_empty(), "{:?}", figures.faults);
    assert_eq!(figures.rows.len(), ROWS.len());
}

#[test]
fn overlapping_memory_is_caught() {
    let figures = race(Fault::Overlap, &["batch-64-rand"]).unwrap();
    assert_eq!(caught(&figures), ["batch-64-rand"]);
    assert!(
        markdown::report(&(&figures).into())
            .contains("**suspect fails in batch-64-rand**: broken: byte")
    );
}

#[test]
fn an_overwritten_block_is_caught() {
    assert_eq!(caught(&race(Fault::Corrupt, &["batch-64-rand"]).unwrap()), ["batch-64-rand"]);
}

#[test]
fn a_block_that_grows_with_too_few_bytes_is_caught() {
    assert_eq!(caught(&race(Fault::Miscount, &["vecgrow"]).unwrap()), ["vecgrow"]);
}

#[test]
fn memory_that_is_not_zero_is_caught() {
    assert_eq!(caught(&race(Fault::Dirty, &["zeroed"]).unwrap()), ["zeroed"]);
}

/// A contestant whose worker counts or computes something else is caught by the comparison with the others.
#[test]
fn a_result_unlike_the_others_is_caught() {
    let figures = race(Fault::None, &["churn"]).unwrap();
    let run = |contestant: &str, operations: u64| {
        Line::Run(raw::Run {
            row: "churn".to_owned(),
            contestant: contestant.to_owned(),
            operations,
            checksum: 1,
            cpu_ns: 100,
            wall_ns: 100,
            peak_rss_kib: 1,
            ..raw::Run::default()
        })
    };
    let mut head = figures.head;
    head.entrants.push(("third".to_owned(), EntrantRole::Peer));
    let figures = Figures::of(head, &[run("sound", 10), run("third", 10), run("suspect", 11)]);
    assert_eq!(caught(&figures), ["churn"]);
    assert!(markdown::report(&(&figures).into()).contains("counted 11 operations"));
}

#[test]
fn a_worker_names_its_allocator_and_refuses_nonsense() {
    let worker = || Command::new(env!("CARGO_BIN_EXE_worker"));
    let output = worker().args(["pair-64", "1000"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("alloc=system row=pair-64 operations=10000 checksum="), "{text}");
    assert_eq!(worker().arg("no-such-row").output().unwrap().status.code(), Some(2));
}
