//! Reports from a fixture: a raw file of four contestants, of which one crashes in one row and one is missing.
//!
//! `fixtures/report.md` is what the tables must look like. To accept a change of their form, run
//! `mems-bench --report bench/tests/fixtures/raw.jsonl --markdown bench/tests/fixtures/report.md` and review it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use mems_bench::raw;
use mems_bench::report::agreement;
use mems_bench::report::figures::{Figures, Metric};
use mems_bench::report::{markdown, svg};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn figures() -> Result<Figures> {
    let (head, lines) = raw::read(&fixture("raw.jsonl"))?;
    Ok(Figures::of(head, &lines))
}

#[test]
fn the_tables_are_as_reviewed() {
    let expected = std::fs::read_to_string(fixture("report.md")).unwrap();
    assert_eq!(markdown::report(&(&figures().unwrap()).into()), expected);
}

#[test]
fn ratios_are_to_the_best_peer_of_the_row() {
    let figures = figures().unwrap();
    let churn = figures.rows.iter().find(|row| row.row.name == "churn").unwrap();
    assert_eq!(churn.best_names(Metric::Time, &figures.head), "jemalloc");
    assert_eq!(churn.best_names(Metric::Rss, &figures.head), "system");
    let ratio = churn.cells[0].as_ref().unwrap().time.unwrap();
    assert!((1.18..1.24).contains(&ratio.value) && ratio.noise < 0.06, "{ratio:?}");
}

/// Where huge pages decide, peers that have them count beside the MeMS that has them, and nowhere else.
#[test]
fn huge_pages_are_compared_with_huge_pages() {
    let named = |name: &str| match name {
        "jemalloc" => "mimalloc-v2".to_owned(),
        "floor" => "mems-huge".to_owned(),
        other => other.to_owned(),
    };
    let (mut head, mut lines) = raw::read(&fixture("raw.jsonl")).unwrap();
    head.entrants.iter_mut().for_each(|(name, _)| *name = named(name));
    for line in &mut lines {
        if let raw::Line::Run(run) = line {
            run.contestant = named(&run.contestant);
        }
    }
    let huge = Figures::with_huge_pages(&head, &lines).unwrap();
    let plain = Figures::of(head, &lines);
    let best = |figures: &Figures, name: &str| {
        let row = figures.rows.iter().find(|row| row.row.name == name).unwrap();
        row.best_names(Metric::Time, &figures.head)
    };
    assert_eq!([best(&plain, "churn"), best(&plain, "pair-64")], ["system", "mimalloc-v2"]);
    assert_eq!([best(&huge, "churn"), best(&huge, "pair-64")], ["mimalloc-v2"; 2]);
    assert_eq!((plain.subject(), huge.subject()), (Some(0), Some(3)));
    let (head, lines) = raw::read(&fixture("raw.jsonl")).unwrap();
    assert!(Figures::with_huge_pages(&head, &lines).is_none(), "it did not take part");
}

#[test]
fn a_contestant_that_crashed_has_no_figures_in_that_row() {
    let figures = figures().unwrap();
    let larson = figures.rows.iter().find(|row| row.row.name == "larson-2").unwrap();
    assert!(larson.cells[3].is_none() && larson.cells[..3].iter().all(Option::is_some));
    assert_eq!(figures.missing.len(), 1);
}

#[test]
fn a_run_agrees_with_itself_and_not_with_a_slower_one() {
    let (head, mut lines) = raw::read(&fixture("raw.jsonl")).unwrap();
    let first = figures().unwrap();
    assert!(agreement::compare(&first, &figures().unwrap()).1.is_empty());
    for line in &mut lines {
        if let raw::Line::Run(run) = line
            && run.contestant == "mems"
            && run.row == "churn"
        {
            run.cpu_ns *= 2;
        }
    }
    let (compared, differences) = agreement::compare(&first, &Figures::of(head, &lines));
    assert_eq!(compared, 2 * (4 * 4 - 1));
    let names: Vec<_> =
        differences.iter().map(|found| (found.row.as_str(), found.metric)).collect();
    assert_eq!(names, [("churn", "time")]);
}

#[test]
fn the_picture_shows_every_contestant() {
    let picture = svg::picture(&figures().unwrap());
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    for word in [
        "MeMS",
        "system",
        "jemalloc",
        "floor",
        "main rows",
        "fragment",
        "prefers-color-scheme: dark",
    ] {
        assert!(picture.contains(word), "{word}");
    }
    assert!(!picture.contains("NaN") && !picture.contains("inf"));
}
