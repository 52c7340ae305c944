//! What is written of a profile agrees with the profile: sums, samples, threads, and the indices inside of forms;
//! also where names are odd, and where there is little or nothing to write.
#![allow(unsafe_code, reason = "a function with a name that Rust would not give it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;
mod pprof;

use core::fmt;
use core::hint::black_box;
use std::collections::{BTreeSet, HashSet};
use std::process::{Command, ExitCode};
use std::sync::mpsc;
use std::thread;

use helpers::Rng;
use helpers::child::output_of;
use helpers::trials::{Answer, Case, Trials, ensure, shown};
use mems::profile::Sites;
use mems::with_label;
use pprof::{ALLOCATED_BYTES, BLOCKS, BYTES, Profile};
use serde_json::Value;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

const MEAN: usize = 2 << 10;
const SEED: u64 = 0xf0f0;

type Blocks = Vec<Vec<u8>>;

fn text(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut text = String::new();
    write(&mut text).expect("memory");
    text
}

fn json(write: impl FnOnce(&mut String) -> fmt::Result) -> Value {
    serde_json::from_str(&text(write)).expect("JSON")
}

/// The page's data of a profile.
fn page(sites: &Sites, earlier: Option<&Sites>) -> Value {
    let snapshot = mems::snapshot().unwrap();
    let page = text(|out| snapshot.write_html_with(out, sites, earlier));
    let data = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap().1;
    let data: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    data["profile"].clone()
}

/// The sum of a number of each item.
fn sum(items: &Value, number: impl Fn(&Value) -> &Value) -> f64 {
    items.as_array().unwrap().iter().map(|item| number(item).as_f64().unwrap()).sum()
}

/// Live blocks and bytes of all sites.
fn totals(sites: &Sites) -> [f64; 2] {
    let mut sums = [0.0; 2];
    for site in sites.iter() {
        sums[0] += site.blocks().value();
        sums[1] += site.bytes().value();
    }
    sums
}

#[inline(never)]
fn small(random: &mut Rng) -> Vec<u8> {
    black_box(vec![1; 8 + random.below(500)])
}

#[inline(never)]
fn large(random: &mut Rng) -> Vec<u8> {
    black_box(vec![2; 40_000 + random.below(500_000)])
}

/// Blocks that come and go.
fn work(seed: u64) -> Blocks {
    let (mut random, mut kept) = (Rng::quiet(seed), Blocks::new());
    for round in 0..4000 {
        kept.push(small(&mut random));
        if round % 500 == 0 {
            kept.push(large(&mut random));
        }
        if random.once_in(3) {
            kept.swap_remove(random.below(kept.len()));
        }
    }
    kept
}

/// The label under which a thread of this name works.
fn work_of(name: &str) -> String {
    format!("work of {name}")
}

/// A look at threads of these names, that live while it is taken.
fn look_at(names: &[&str]) -> (Sites, Vec<Blocks>) {
    GLOBAL.profile().start_with_seed(MEAN, SEED);
    let (ready, wait) = mpsc::channel();
    let start = |(name, seed): (&&str, u64)| {
        let (ready, (end, ended)) = (ready.clone(), mpsc::channel::<()>());
        let name = (*name).to_owned();
        let builder = thread::Builder::new().name(name.clone());
        let life = move || {
            let kept = with_label(&*work_of(&name), || work(seed));
            ready.send(()).unwrap();
            let _ = ended.recv();
            kept
        };
        (end, builder.spawn(life).unwrap())
    };
    let threads: Vec<_> = names.iter().zip(1..).map(start).collect();
    threads.iter().for_each(|_| wait.recv().unwrap());
    let sites = GLOBAL.profile().sites().unwrap();
    let join = |(end, thread): (_, thread::JoinHandle<_>)| {
        drop(end);
        thread.join().unwrap()
    };
    (sites, threads.into_iter().map(join).collect())
}

/// An error unless a sum is as that of the sites, but for what rounding takes from that number of numbers.
fn agrees(what: &str, found: f64, wanted: f64, rounded: usize) -> Result<(), String> {
    let holds = (found - wanted).abs() <= 0.5 * rounded as f64 + 1e-6 * wanted;
    if holds { Ok(()) } else { Err(format!("{what}: {found}, not {wanted}")) }
}

fn sums_agree() -> Result<Answer, String> {
    let (sites, _kept) = look_at(&["one", "two"]);
    let [blocks, bytes] = totals(&sites);
    let (samples, count) = (sites.samples().len(), sites.iter().count());
    let older = sites.older();
    let profile = Profile::of(&sites);
    let values = profile.sample.len();
    agrees("pprof's bytes", profile.total(BYTES) as f64, bytes, values)?;
    agrees("pprof's blocks", profile.total(BLOCKS) as f64, blocks, values)?;
    let allocated: f64 = sites.iter().map(|s| s.allocated().1.max(s.bytes().value())).sum();
    agrees("pprof's allocated", profile.total(ALLOCATED_BYTES) as f64, allocated, values)?;
    let written = json(|out| sites.write_json(out));
    agrees("JSON's bytes", sum(&written["sites"], |site| &site["bytes"][0]), bytes, count)?;
    agrees("JSON's blocks", sum(&written["sites"], |site| &site["blocks"][0]), blocks, count)?;
    agrees("JSON's older", written["older"]["bytes"][0].as_f64().unwrap(), older.1.value(), 1)?;
    let threads = sum(&written["threads"], |thread| &thread["bytes"][0]);
    agrees("JSON's threads", threads, bytes + older.1.value(), count)?;
    let labels = sum(&written["labels"], |label| &label["bytes"][0]);
    agrees("JSON's labels", labels, bytes, count)?;
    let samples_written = written["samples"].as_array().unwrap();
    assert_eq!(samples_written.len(), samples, "JSON's samples");
    for (site, number) in sites.iter().zip(0..) {
        let of_site = samples_written.iter().filter(|sample| sample["site"] == number);
        let weighted =
            |sample: &Value| sample["weight"].as_f64().unwrap() * sample["bytes"].as_f64().unwrap();
        let (sum, wanted) = (of_site.clone().map(weighted).sum::<f64>(), site.bytes().value());
        // Weights have three digits behind the point, and are 1 at the least.
        let holds = (sum - wanted).abs() <= 6e-4 * wanted && of_site.count() == site.samples();
        assert!(holds, "samples of site {number}: {sum}, not {wanted}");
    }
    let collapsed = text(|out| sites.write_collapsed(out));
    let number = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap();
    let lines: f64 = collapsed.lines().map(number).sum();
    agrees("collapsed bytes", lines, bytes + older.1.value(), count + 1)?;
    let page = page(&sites, None);
    agrees("the page's sites", sum(&page["sites"], |site| &site[2]), bytes, count)?;
    agrees("the page's blocks", sum(&page["sites"], |site| &site[5]), blocks, count)?;
    let outermost = page["nodes"].as_array().unwrap().iter().filter(|node| node[0] == -1);
    let outermost = Value::Array(outermost.cloned().collect());
    agrees("the page's nodes", sum(&outermost, |node| &node[2]), bytes, count)?;
    assert_eq!(page["samples"].as_array().unwrap().len(), samples, "the page's samples");
    shown(format!("{samples} samples, {count} sites, {bytes:.0} bytes"), samples > 500)
}

/// The fields that the viewer of DHAT wants, each stack once, and sums.
fn dhat_is_whole() -> Result<Answer, String> {
    let (sites, _kept) = look_at(&["one"]);
    let [blocks, bytes] = totals(&sites);
    let written = json(|out| sites.write_dhat(out));
    let has = |value: &Value, fields: &[&str]| {
        let missing = fields.iter().find(|field| value.get(**field).is_none());
        assert!(missing.is_none(), "no {missing:?} in {value}");
    };
    let of_file = ["dhatFileVersion", "mode", "verb", "bklt", "bkacc", "tu", "Mtu", "cmd", "pid"];
    has(&written, &of_file);
    has(&written, &["te", "pps", "ftbl", "tg", "tuth"]);
    assert_eq!((&written["dhatFileVersion"], &written["bkacc"]), (&2.into(), &false.into()));
    let names = written["ftbl"].as_array().unwrap();
    assert_eq!(names[0], "[root]");
    let points = written["pps"].as_array().unwrap();
    let mut stacks = HashSet::new();
    for point in points {
        has(point, &["tb", "tbk", "fs", "tl", "mb", "mbk", "gb", "gbk", "eb", "ebk"]);
        assert!(point["tb"].as_f64() >= point["eb"].as_f64(), "{point}");
        let stack = point["fs"].as_array().unwrap();
        let is_name = |at: &Value| (1..names.len() as u64).contains(&at.as_u64().unwrap());
        assert!(!stack.is_empty() && stack.iter().all(is_name), "{point}");
        assert!(stacks.insert(stack), "the viewer refuses a stack that is there twice: {point}");
    }
    agrees("bytes", sum(&written["pps"], |point| &point["eb"]), bytes, points.len())?;
    agrees("blocks", sum(&written["pps"], |point| &point["ebk"]), blocks, points.len())?;
    let count = sites.iter().count();
    shown(format!("{} stacks of {count} sites", points.len()), points.len() > 2)
}

/// The build id that the system's tools find in this program; none without them.
fn build_id() -> Option<String> {
    Command::new("readelf").arg("--version").output().ok()?;
    let exe = std::env::current_exe().unwrap();
    let notes = output_of(Command::new("readelf").arg("-n").arg(exe)).stdout;
    Some(notes.split_once("Build ID: ")?.1.lines().next()?.trim().to_owned())
}

fn pprof_is_whole() -> Result<Answer, String> {
    let (sites, _kept) = look_at(&["one", "two"]);
    let profile = Profile::of(&sites);
    let texts = profile.string_table.len() as i64;
    assert_eq!(profile.text(0), "");
    let unique: BTreeSet<_> = profile.string_table.iter().collect();
    assert_eq!(unique.len(), profile.string_table.len(), "each text once");
    let type_names = profile.sample_type.iter().map(|one| profile.text(one.kind));
    let type_names: Vec<_> = type_names.collect();
    assert_eq!(type_names, ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]);
    assert_eq!(profile.text(profile.default_sample_type), "inuse_space");
    let period = profile.period_type.as_ref().unwrap();
    assert_eq!((profile.text(period.kind), profile.text(period.unit)), ("space", "bytes"));
    assert_eq!(profile.period, MEAN as i64);
    assert!(profile.time_nanos > 0 && profile.duration_nanos >= 0);
    assert!(profile.comment.iter().all(|text| (1..texts).contains(text)));
    for (number, mapping) in (1..).zip(&profile.mapping) {
        assert_eq!(mapping.id, number);
        assert!(mapping.memory_start < mapping.memory_limit && mapping.filename > 0);
    }
    for (number, function) in (1..).zip(&profile.function) {
        assert_eq!(function.id, number);
        let words = [function.name, function.system_name];
        assert!(words.iter().all(|word| (1..texts).contains(word)), "{function:?}");
        assert!((0..texts).contains(&function.filename));
    }
    for (number, location) in (1..).zip(&profile.location) {
        assert_eq!(location.id, number);
        let mapping = &profile.mapping[usize::try_from(location.mapping_id).unwrap() - 1];
        let code = mapping.memory_start..mapping.memory_limit;
        assert!(code.contains(&location.address), "{location:?} is not in {mapping:?}");
        let functions = 1..=profile.function.len() as u64;
        assert!(location.line.iter().all(|line| functions.contains(&line.function_id)));
    }
    let (mut threads, mut labels) = (BTreeSet::new(), BTreeSet::new());
    for sample in &profile.sample {
        assert_eq!(sample.value.len(), 4);
        let locations = 1..=profile.location.len() as u64;
        assert!(sample.location_id.iter().all(|id| locations.contains(id)), "{sample:?}");
        for label in &sample.label {
            match profile.text(label.key) {
                "thread" => threads.insert(profile.text(label.text)),
                "label" => labels.insert(profile.text(label.text)),
                other => panic!("a label {other}"),
            };
        }
    }
    assert!(threads.is_superset(&["one", "two"].into()), "{threads:?}");
    assert_eq!(labels, ["work of one", "work of two"].into());
    let own = std::env::current_exe().unwrap().display().to_string();
    let mapping = profile.mapping.iter().find(|one| profile.text(one.filename) == own);
    let found = profile.text(mapping.ok_or("not in the program")?.build_id);
    let wanted = build_id();
    let holds = wanted.as_ref().is_none_or(|wanted| wanted == found);
    shown(format!("threads {threads:?}, build id {found}, {wanted:?} by readelf"), holds)
}

// SAFETY: no other function has that name.
#[unsafe(export_name = "odd; \"name\" <b>&amp;\\ \u{e9} 12")]
#[inline(never)]
extern "C" fn odd(kept: &mut Blocks) {
    for _ in 0..200 {
        kept.push(black_box(vec![7; 1000]));
    }
}

/// Names with letters that mean something in a form.
fn odd_names_are_names() -> Result<Answer, String> {
    let thread = "\"\\<&>;\t\u{e9}\u{1}";
    let (sites, _kept) = look_at(&[thread]);
    let written = json(|out| sites.write_json(out));
    let names: Vec<_> = written["threads"].as_array().unwrap().iter().collect();
    assert!(names.iter().any(|one| one["name"] == thread), "{names:?}");
    let profile = Profile::of(&sites);
    assert!(profile.string_table.iter().any(|text| text == thread));
    let label = work_of(thread);
    assert!(profile.string_table.contains(&label));
    assert!(written["samples"].as_array().unwrap().iter().any(|sample| sample["label"] == label));
    GLOBAL.profile().start_with_seed(MEAN, SEED);
    let mut kept = Blocks::with_capacity(1000);
    odd(&mut kept);
    let sites = GLOBAL.profile().sites().unwrap();
    let name = "odd; \"name\" <b>&amp;\\ \u{e9} 12";
    assert!(Profile::of(&sites).string_table.iter().any(|text| text == name));
    let page = page(&sites, None);
    assert!(page["names"].as_array().unwrap().contains(&name.into()));
    let written = text(|out| sites.write_dhat(out));
    assert!(json(|out| sites.write_dhat(out))["ftbl"].to_string().contains("odd; "), "{written}");
    let collapsed = text(|out| sites.write_collapsed(out));
    let line = collapsed.lines().find(|line| line.contains("odd, ")).ok_or("no line")?;
    let function = line.split(';').next_back().unwrap().rsplit_once(' ').unwrap().0;
    assert!(line.contains(&name.replace(';', ",")), "{line}");
    let picture = text(|out| sites.write_flame_svg(out));
    let is_escaped = picture.contains("&lt;b&gt;&amp;amp;") && !picture.contains("<b>");
    assert_eq!(picture.matches("<g>").count(), picture.matches("</g>").count());
    let report = text(|out| sites.write_report(out));
    let is_named = report.contains(name);
    shown(format!("{function}: escaped {is_escaped}, named {is_named}"), is_escaped && is_named)
}

/// All forms of a look, and what the two with growth say; each has to be readable.
fn all_forms(before: &Sites, sites: &Sites) -> String {
    let growth = sites.growth_since(before).unwrap();
    json(|out| sites.write_json(out));
    json(|out| sites.write_dhat(out));
    page(sites, None);
    page(sites, Some(before));
    let pictures =
        [text(|out| sites.write_flame_svg(out)), text(|out| growth.write_flame_svg(out))];
    for picture in pictures {
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    }
    Profile::of(sites);
    let texts = [
        text(|out| sites.write_report(out)),
        text(|out| growth.write_report(out)),
        text(|out| sites.write_collapsed(out)),
    ];
    let texts = texts.concat();
    assert!(!texts.contains("NaN") && !texts.contains("inf "), "{texts}");
    texts
}

/// Before a profile has begun, and where it has not sampled anything.
fn nothing_is_written_well() -> Result<Answer, String> {
    let none = GLOBAL.profile().sites().unwrap();
    let texts = all_forms(&none, &none);
    GLOBAL.profile().start_with_seed(1 << 50, SEED);
    let empty = GLOBAL.profile().sites().unwrap();
    assert_eq!((empty.samples().len(), empty.iter().count()), (0, 0));
    let texts = texts + &all_forms(&empty, &empty);
    ensure(!texts.contains("leak suspect"), texts)
}

/// Blocks that are older than the profile are said to be so.
fn older_blocks_are_nobodys() -> Result<Answer, String> {
    GLOBAL.profile().stop();
    let kept = work(5);
    GLOBAL.profile().start_with_seed(MEAN, SEED);
    let sites = GLOBAL.profile().sites().unwrap();
    let (blocks, bytes) = sites.older();
    assert!(blocks.value() > 1000.0, "{blocks}");
    let all = all_forms(&sites, &sites);
    let line = format!("(older than the profile) {:.0}", bytes.value());
    assert!(all.contains(&line) && all.contains("older than the profile, and nobody's: "), "{all}");
    let is_older = |sample: &&Value| sample["site"].is_null();
    let written = json(|out| sites.write_json(out));
    let samples = written["samples"].as_array().unwrap().iter().filter(is_older).count();
    let page = page(&sites, None);
    let in_page = page["samples"].as_array().unwrap().iter().filter(|one| one[2] == -1).count();
    agrees("the page's older", page["older"][1].as_f64().unwrap(), bytes.value(), 1)?;
    let [_, known] = totals(&sites);
    let profile = Profile::of(&sites);
    agrees("pprof has them not", profile.total(BYTES) as f64, known, profile.sample.len())?;
    let live: usize = kept.iter().map(Vec::len).sum();
    let figures = format!("{bytes} bytes of {live}, {samples} samples, {in_page} in the page");
    shown(figures, samples > 100 && samples == in_page)
}

/// A profile that was begun anew between two looks: nothing has stayed, and nothing is a suspect.
fn another_profile_in_between() -> Result<Answer, String> {
    GLOBAL.profile().start_with_seed(MEAN, SEED);
    let mut kept = vec![work(1)];
    let before = GLOBAL.profile().sites().unwrap();
    GLOBAL.profile().start_with_seed(MEAN, SEED);
    kept.extend([work(1), work(2)]);
    let after = GLOBAL.profile().sites().unwrap();
    let growth = after.growth_since(&before).unwrap();
    let stayed: usize = growth.iter().map(|site| site.stayed()).sum();
    let suspects = growth.iter().filter(|site| site.is_leak_suspect()).count();
    let rates = growth.iter().filter_map(|site| site.allocated_per_second()).count();
    let texts = all_forms(&before, &after);
    let rows = page(&after, Some(&before))["sites"].as_array().unwrap().clone();
    let in_page = rows.iter().filter(|row| row[10] == 1).count();
    let figures = format!("{stayed} stayed, {suspects} and {in_page} suspects, {rates} rates");
    let holds = [stayed, suspects, in_page, rates] == [0; 4] && !texts.contains("leak suspect");
    shown(figures, holds)
}

fn main() -> ExitCode {
    let cases: [(&str, Case); 7] = [
        ("nothing_is_written_well", nothing_is_written_well),
        ("sums_agree", sums_agree),
        ("dhat_is_whole", dhat_is_whole),
        ("pprof_is_whole", pprof_is_whole),
        ("odd_names_are_names", odd_names_are_names),
        ("older_blocks_are_nobodys", older_blocks_are_nobodys),
        ("another_profile_in_between", another_profile_in_between),
    ];
    let mut trials = Trials::alone();
    trials.cases(cases);
    trials.finish()
}
