//! A leak is found in all that is written of a profile: a small server keeps one audit entry for ten logins, and each
//! form, read as its users read it, says that it is `login` that grows.
//!
//! `go tool pprof` and the viewer of DHAT open what is written for them; where they are missing, their cases count as
//! ignored.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;
mod pprof;

use core::cell::OnceCell;
use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use helpers::browser::{open, with_browser};
use helpers::folders::folder;
use helpers::scaled;
use helpers::server::{LEAKING, Server, serve};
use helpers::trials::{Answer, Case, Trials, shown};
use mems::profile::Sites;
use pprof::{BYTES, Profile};
use serde_json::Value;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// How long the server runs: long enough for a leak of 2 MiB in a debug build, and 11 MiB in a release build.
const TIME: Duration = Duration::from_secs(scaled(2, 8) as u64);
/// Of both, that is some hundred samples. What is live of the rest is 350 KiB: 170 samples, or 20.
const MEAN: usize = scaled(2 << 10, 16 << 10);
/// Without a leak there is little, and more of it is sampled: a hundred and more, of which chance could call one.
const MEAN_WITHOUT: usize = 2 << 10;
const SEED: u64 = 0x5e55;
/// The part of all growth that is the leak's, at the least. The rest is chance: two looks at what did not grow differ
/// by the root of their samples, 2% of the leak, and half of it is growth.
const LEAST_SHARE: f64 = 0.9;

thread_local! {
    /// Two looks at a server that leaks, which the cases share.
    static LOOKS: OnceCell<(Sites, Sites)> = const { OnceCell::new() };
}

/// Runs the server, and looks at it after a quarter of the time and at its end.
fn looks_at(leaks: bool) -> (Sites, Sites, Vec<Server>) {
    GLOBAL.profile().start_with_seed(if leaks { MEAN } else { MEAN_WITHOUT }, SEED);
    let mut before = None;
    let servers = serve(TIME, leaks, || before = Some(GLOBAL.profile().sites().unwrap()));
    let after = GLOBAL.profile().sites().unwrap();
    (before.expect("a look"), after, servers)
}

fn with_looks<T>(run: impl FnOnce(&Sites, &Sites) -> T) -> T {
    LOOKS.with(|looks| {
        let (before, after) = looks.get_or_init(|| {
            let (before, after, _) = looks_at(true);
            (before, after)
        });
        run(before, after)
    })
}

fn text(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut text = String::new();
    write(&mut text).expect("memory");
    text
}

/// Bytes by the function of the server that a stack has, or by no function.
type Sums = BTreeMap<String, f64>;

/// The innermost function of the server on a stack.
fn owner<'name>(innermost_first: impl Iterator<Item = &'name str>) -> String {
    let own = innermost_first.filter(|name| name.contains("::server::"));
    own.map(str::to_owned).next().unwrap_or_default()
}

fn growth(before: &Sums, mut after: Sums) -> Sums {
    for (name, bytes) in before {
        *after.entry(name.clone()).or_default() -= bytes;
    }
    after
}

/// The leak's part of all growth, if no other function has grown more.
fn share(growth: &Sums) -> Result<f64, String> {
    let risen: f64 = growth.values().filter(|bytes| **bytes > 0.0).sum();
    let top = growth.iter().max_by(|one, other| one.1.total_cmp(other.1));
    let (name, bytes) = top.ok_or("nothing grew")?;
    if name.ends_with(LEAKING) { Ok(bytes / risen) } else { Err(format!("{growth:?}")) }
}

/// Rows of the text that is written of growth: each function's bytes, and whether it is called a suspect.
fn rows(report: &str) -> Vec<(String, f64, bool)> {
    let table = report.lines().skip_while(|line| !line.contains("grown  95%")).skip(1);
    let mut rows = Vec::new();
    for line in table.take_while(|line| !line.is_empty()) {
        match line.strip_prefix("            ") {
            Some(more) => {
                let row: &mut (String, f64, bool) = rows.last_mut().expect("a row");
                row.2 |= more.starts_with("leak suspect");
            }
            None => {
                let name = line.rsplit("  ").next().unwrap_or_default();
                rows.push((name.to_owned(), bytes_of(line), false));
            }
        }
    }
    rows
}

/// What a text such as `+1.5 MiB` at the start of a line says.
fn bytes_of(line: &str) -> f64 {
    let mut words = line.split_whitespace();
    let number: f64 = words.next().unwrap().parse().unwrap();
    let unit = match words.next().unwrap() {
        "bytes" | "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        other => panic!("{other} in {line}"),
    };
    number * unit
}

fn in_collapsed(sites: &Sites) -> Sums {
    let mut sums = Sums::new();
    for line in text(|out| sites.write_collapsed(out)).lines() {
        let (stack, bytes) = line.rsplit_once(' ').expect("a number");
        *sums.entry(owner(stack.rsplit(';'))).or_default() += bytes.parse::<f64>().unwrap();
    }
    sums
}

fn in_pprof(sites: &Sites) -> Sums {
    let (profile, mut sums) = (Profile::of(sites), Sums::new());
    for sample in &profile.sample {
        *sums.entry(owner(profile.stack(sample))).or_default() += sample.value[BYTES] as f64;
    }
    sums
}

/// Growth by own function, and the names of suspects.
fn in_page(before: &Sites, after: &Sites) -> (Sums, Vec<String>) {
    let snapshot = mems::snapshot().unwrap();
    let page = text(|out| snapshot.write_html_with(out, after, Some(before)));
    let data = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap().1;
    let data: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    let profile = &data["profile"];
    let (mut sums, mut suspects) = (Sums::new(), Vec::new());
    for row in profile["sites"].as_array().unwrap() {
        let own = usize::try_from(row[1].as_u64().unwrap()).unwrap();
        let name = profile["names"][own].as_str().unwrap().to_owned();
        if row[10] == 1 {
            suspects.push(name.clone());
        }
        *sums.entry(name).or_default() += row[9].as_f64().unwrap();
    }
    (sums, suspects)
}

fn every_form_finds_the_leak() -> Result<Answer, String> {
    with_looks(|before, after| {
        let growth_text = after.growth_since(before).unwrap();
        let report = text(|out| growth_text.write_report(out));
        let rows = rows(&report);
        if rows.is_empty()
            || rows.iter().enumerate().any(|(index, row)| row.2 != (index == 0))
            || !rows[0].0.ends_with(LEAKING)
        {
            return Err(report);
        }
        let (in_page, suspects) = in_page(before, after);
        if suspects.is_empty() || !suspects.iter().all(|name| name.ends_with(LEAKING)) {
            return Err(format!("suspects of the page: {suspects:?}"));
        }
        let shares = [
            ("text", share(&rows.into_iter().map(|row| (row.0, row.1)).collect())?),
            ("pprof", share(&growth(&in_pprof(before), in_pprof(after)))?),
            ("page", share(&in_page)?),
            ("collapsed", share(&growth(&in_collapsed(before), in_collapsed(after)))?),
        ];
        let samples = |sites: &Sites| sites.samples().len();
        let figures = format!("samples {} and {}, {shares:.3?}", samples(before), samples(after));
        shown(figures, shares.iter().all(|share| share.1 >= LEAST_SHARE))
    })
}

/// The same server without a leak. For a suspicion, three of four samples of a call have to be there still at the
/// second look, and more have to have come than chance explains, which for a call of the server happens once in 40
/// looks. But a session or an entry of the cache lives for some milliseconds, so none is there still. Tables and what
/// belongs to a thread stay; they do not grow. So chance calls none in any number of runs.
fn without_a_leak_nothing_is_a_suspect() -> Result<Answer, String> {
    let (before, after, servers) = looks_at(false);
    assert_eq!(servers.iter().map(Server::leaked).sum::<usize>(), 0);
    let growth = after.growth_since(&before).unwrap();
    let report = text(|out| growth.write_report(out));
    let (_, suspects) = in_page(&before, &after);
    let figures = format!("samples {} and {}", before.samples().len(), after.samples().len());
    if report.contains("leak suspect") || !suspects.is_empty() {
        return Err(report);
    }
    shown(figures, before.samples().len() > 50)
}

/// `go tool pprof` reads it, and says what has grown. Its percentages are not used: they are of sums in which labels
/// count, and a thread that has ended has no name any more.
fn go_tool_pprof_reads_it() -> Result<Answer, String> {
    let has_go = Command::new("go").arg("version").output().is_ok();
    if !has_go {
        return Ok(Answer::Skipped("no go: apt-get install golang-go gets it".to_owned()));
    }
    let folder = folder("pprof");
    with_looks(|before, after| {
        for (name, sites) in [("before", before), ("after", after)] {
            let mut file = fs::File::create(folder.join(name)).unwrap();
            sites.write_pprof(&mut file).unwrap();
        }
    });
    let pprof = |arguments: &[&str]| {
        let mut go = Command::new("go");
        go.current_dir(&folder).env("PPROF_TMPDIR", &folder).env("HOME", &folder);
        helpers::child::output_of(go.args(["tool", "pprof"]).args(arguments)).success()
    };
    // Of each function: what it has itself, its part, the sum of parts, with what it called, its part, its name.
    let top = pprof(&["-top", "-cum", "-unit=B", "-nodecount=1000", "-base=before", "after"])?;
    let mut sums = Sums::new();
    for line in top.lines().filter(|line| line.contains("::server::") && !line.contains('{')) {
        let words: Vec<_> = line.split_whitespace().collect();
        let bytes = words.get(3).and_then(|bytes| bytes.trim_end_matches('B').parse().ok());
        sums.insert(owner(words.iter().copied()), bytes.ok_or(line)?);
    }
    // It calls all others.
    sums.retain(|name, _| !name.ends_with("::handle"));
    let share = share(&sums)?;
    let raw = pprof(&["-raw", "after"])?;
    let words = ["inuse_space/bytes[dflt]", "thread:[", "Mappings", LEAKING];
    let missing: Vec<_> = words.iter().filter(|word| !raw.contains(**word)).collect();
    let figures = format!("{sums:?}, share {share:.3}; -raw lacks {missing:?}");
    shown(figures, share >= LEAST_SHARE && missing.is_empty())
}

/// The viewer of DHAT opens it without an error, and shows the leak.
fn the_viewer_of_dhat_opens_it() -> Result<Answer, String> {
    let viewer = Path::new("/usr/libexec/valgrind");
    if !viewer.join("dh_view.js").is_file() {
        let why = "no viewer of DHAT: apt-get install valgrind gets it";
        return Ok(Answer::Skipped(why.to_owned()));
    }
    with_browser(|browser| {
        let folder = folder("dhat");
        for name in ["dh_view.js", "dh_view.css"] {
            fs::copy(viewer.join(name), folder.join(name)).unwrap();
        }
        let data = with_looks(|_, after| text(|out| after.write_dhat(out)));
        // What the viewer does with a file that it has read.
        let script = format!(
            "function show() {{ onLoad(); tryFunc(() => {{ gData = JSON.parse({}); buildTree(); \
             displayTree(0, 0, 0); }}); }}",
            Value::String(data.clone()).to_string().replace("</", "<\\/")
        );
        let page = format!(
            "<!DOCTYPE html><html><head><meta charset=\"UTF-8\">\
             <link rel=\"stylesheet\" href=\"dh_view.css\"><script src=\"dh_view.js\"></script>\
             <script>{script}</script></head><body onload=\"show()\"></body></html>"
        );
        let file = folder.join("view.html");
        fs::write(&file, page).unwrap();
        let opened = open(browser, &file, "1");
        // The page has its script, too, so what is shown is looked for behind that.
        let shown_text = opened.document.rsplit_once("</script>").unwrap_or_default().1;
        let nodes = shown_text.matches("Total:").count();
        let figures = format!("{} KiB, {nodes} nodes, {}", data.len() >> 10, opened.console);
        let is_fine = opened.console.is_empty() && !shown_text.contains("class=\"error\"");
        shown(figures, is_fine && nodes > 3 && shown_text.contains(LEAKING))
    })
}

fn main() -> ExitCode {
    let cases: [(&str, Case); 4] = [
        ("every_form_finds_the_leak", every_form_finds_the_leak),
        ("without_a_leak_nothing_is_a_suspect", without_a_leak_nothing_is_a_suspect),
        ("go_tool_pprof_reads_it", go_tool_pprof_reads_it),
        ("the_viewer_of_dhat_opens_it", the_viewer_of_dhat_opens_it),
    ];
    let mut trials = Trials::alone();
    trials.cases(cases);
    trials.finish()
}
