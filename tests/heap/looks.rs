//! Looks that settings ask for: at exit, on signals, at peaks and where the limit refuses. Each case runs this program
//! in a role, in a folder of its own, and judges what lies there then.
#![allow(unsafe_code, reason = "signals and forks")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::ffi::c_int;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use helpers::Rng;
use helpers::child::{self, Outcome, output_of};
use helpers::folders::{command, folder, names};
use helpers::load::call_for;
use helpers::trials::{Answer, Trials, ensure};
use mems::Snapshot;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

const MIB: usize = 1 << 20;
/// Seconds until SIGALRM ends a child that hangs.
const PATIENCE_SECONDS: u32 = 60;
/// What a look writes.
const ENDINGS: [&str; 3] = [".html", ".mems", ".pb.gz"];

/// Keeps a block; who finds it in a profile finds this function.
#[inline(never)]
fn hoard(kept: &mut Vec<Vec<u8>>, bytes: usize) -> bool {
    let mut block = Vec::new();
    let has_room = block.try_reserve_exact(bytes).is_ok();
    kept.push(black_box(block));
    has_room
}

fn raise(signal: c_int) {
    let pid = i32::try_from(std::process::id()).expect("a number of the kernel's");
    // SAFETY: no preconditions.
    unsafe { libc::kill(pid, signal) };
}

/// Waits until this many lines were written.
fn wait_for_lines(count: usize) {
    let lines = || fs::read_to_string("log").map_or(0, |text| text.lines().count());
    while lines() < count {
        thread::sleep(Duration::from_millis(5));
    }
}

/// A hundred signals while threads allocate and fork. A last one tells that all looks over those before are written.
fn storm() {
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..2 {
            let ends = &ends;
            scope.spawn(move || {
                let mut rng = Rng::quiet(0x100c + number);
                while !ends.load(Ordering::Relaxed) {
                    call_for(&mut rng, Duration::from_millis(2));
                    // SAFETY: the child allocates, and ends.
                    let pid = unsafe { libc::fork() };
                    if pid == 0 {
                        drop(black_box(vec![0_u8; 100_000]));
                        child::exit_now(0);
                    }
                    // SAFETY: no place is handed over.
                    assert_eq!(unsafe { libc::waitpid(pid, core::ptr::null_mut(), 0) }, pid);
                }
            });
        }
        for _ in 0..100 {
            raise(libc::SIGUSR2);
            thread::sleep(Duration::from_millis(3));
        }
        ends.store(true, Ordering::Relaxed);
    });
    raise(libc::SIGUSR1);
    while !fs::read_to_string("log").is_ok_and(|text| text.contains("(USR1")) {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Fills the heap up to its limit, and goes on to ask.
fn ask_for_too_much() {
    let mut kept = Vec::with_capacity(100_000);
    while hoard(&mut kept, 100_000) {}
    for _ in 0..50_000 {
        assert!(!hoard(&mut Vec::with_capacity(1), 100 * MIB));
    }
    black_box(kept);
}

/// Fills the heap up to its limit as most programs do: the first refusal ends it.
fn end_at_limit() {
    let mut kept = Vec::with_capacity(100_000);
    loop {
        assert!(hoard(&mut kept, 100_000) || black_box(vec![1_u8; 100_000]).is_empty());
    }
}

/// Grows in steps, and waits for the look at each one. Then a little more is no peak.
fn grow() {
    let (mut kept, mut bytes, mut steps) = (Vec::with_capacity(100), 4 * MIB, 0);
    let mut sum = 0;
    while bytes <= 64 * MIB {
        hoard(&mut kept, bytes - sum);
        sum = bytes;
        bytes += bytes / 2;
        steps += 1;
        wait_for_lines(steps);
    }
    hoard(&mut kept, sum / 16);
    raise(libc::SIGUSR2);
    wait_for_lines(steps + 1);
    println!("{steps}");
}

/// A child of a fork writes its own looks, and not its parent's.
fn fork_and_look() {
    raise(libc::SIGUSR2);
    let mut rng = Rng::quiet(0xf0);
    let answer = child::forked(PATIENCE_SECONDS, || {
        call_for(&mut rng, Duration::from_millis(200));
        let before = names(Path::new("."));
        let own = |name: &str| format!("mems.{}.1{name}", std::process::id());
        if before.contains(&own(".html")) {
            return Err("it wrote its parent's look".to_owned());
        }
        raise(libc::SIGUSR2);
        // The line comes last.
        while !fs::read_to_string("log").is_ok_and(|log| log.contains(&own(".mems"))) {
            call_for(&mut rng, Duration::from_millis(5));
        }
        Ok(std::process::id().to_string())
    });
    wait_for_lines(2);
    println!("{}", answer.expect("the child looks"));
}

/// A handler of the program's own takes the place of MeMS's.
fn handle() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: c_int) {
        SEEN.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler touches an atomic.
    unsafe { libc::signal(libc::SIGUSR2, count as *const () as usize) };
    raise(libc::SIGUSR2);
    // The other one is still MeMS's, and its look would have this occasion, too.
    raise(libc::SIGUSR1);
    wait_for_lines(1);
    assert_eq!(SEEN.load(Ordering::Relaxed), 1);
}

fn part(name: &str) {
    child::watchdog(PATIENCE_SECONDS);
    child::no_core_files();
    match name {
        "hoard" => {
            let mut kept = Vec::new();
            (0..200).for_each(|_| assert!(hoard(&mut kept, 10_000)));
            let _ = Box::leak(Box::new(kept));
        }
        "storm" => storm(),
        "limit" => ask_for_too_much(),
        "end-at-limit" => end_at_limit(),
        "grow" => grow(),
        "fork" => fork_and_look(),
        "handle" => handle(),
        "signal-and-wait" => {
            raise(libc::SIGUSR1);
            wait_for_lines(1);
            raise(libc::SIGUSR1);
            wait_for_lines(2);
        }
        "signal-and-exit" => {
            raise(libc::SIGUSR1);
            let start = Instant::now();
            while names(Path::new(".")).is_empty() && start.elapsed().as_secs() < 5 {}
        }
        "nothing" => {}
        _ => panic!("no part {name}"),
    }
}

/// Runs a role in a folder, with these variables and a profile.
fn run(role: &str, folder: &Path, variables: &[(&str, &str)]) -> Outcome {
    let common = [("MEMS_PROFILE", "16K"), ("MEMS_LOG", "log")];
    output_of(command(role, folder, &common).envs(variables.iter().copied()))
}

/// The numbers of the looks of which all files are there, if there is nothing else.
fn looks(folder: &Path) -> Result<BTreeSet<usize>, String> {
    let (mut numbers, mut pids, mut files) = (BTreeSet::new(), BTreeSet::new(), 0);
    for name in names(folder).iter().filter(|name| *name != "log") {
        let ending = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending));
        let words = ending.and_then(|stem| stem.strip_prefix("mems.")?.split_once('.'));
        let (pid, number) = words.ok_or_else(|| format!("{:?}", names(folder)))?;
        pids.insert(pid.to_owned());
        numbers.insert(number.parse().map_err(|_| name.clone())?);
        files += 1;
    }
    let is_whole = files == numbers.len() * ENDINGS.len() && pids.len() <= 1;
    if is_whole { Ok(numbers) } else { Err(format!("{:?}", names(folder))) }
}

/// Whether the profiles for pprof have a function's name in them, each.
fn profiles_have(folder: &Path, function: &str) -> bool {
    let all = names(folder);
    let mut profiles = all.iter().filter(|name| name.ends_with(".pb.gz")).peekable();
    profiles.peek().is_some()
        && profiles.all(|name| {
            let mut bytes = Vec::new();
            let packed = fs::read(folder.join(name)).expect("a profile");
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).expect("gzip");
            bytes.windows(function.len()).any(|window| window == function.as_bytes())
        })
}

fn at_exit(trials: &mut Trials) {
    for ending in [".txt", ".pb.gz", ".json", ".html"] {
        trials.case(format!("profile_at_exit{}", ending.replace('.', "_")), move || {
            let folder = folder(ending);
            for pattern in [format!("prof{ending}"), format!("%p-x{ending}")] {
                let outcome = run("hoard", &folder, &[("MEMS_PROFILE_AT_EXIT", &pattern)]);
                let clean = outcome.status.success() && outcome.stderr.is_empty();
                ensure(clean, outcome)?;
            }
            let all = names(&folder);
            let has_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            let is_named = |name: &String| {
                let stem = name.strip_suffix(ending).unwrap_or_default();
                let number = stem.strip_prefix("prof.").or_else(|| stem.strip_suffix("-x"));
                number.is_some_and(has_number)
            };
            ensure(all.len() == 2 && all.iter().all(is_named), &all)?;
            for name in &all {
                let path = folder.join(name);
                let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                let has_name = match ending {
                    ".pb.gz" => profiles_have(&folder, "heap_looks::hoard"),
                    _ => text.contains("heap_looks::hoard"),
                };
                let mode = fs::metadata(&path).expect("a file").mode() & 0o777;
                ensure(has_name && mode == 0o600, (name, mode))?;
            }
            Ok(Answer::Passed(String::new()))
        });
    }
    trials.case("a_profile_in_no_known_form", || {
        let folder = folder("no-form");
        let outcome = run("hoard", &folder, &[("MEMS_PROFILE_AT_EXIT", "prof.svg")]);
        let says = outcome.stderr.contains("MEMS_PROFILE_AT_EXIT=prof.svg is not a path");
        ensure(says && outcome.stderr.lines().count() == 1 && names(&folder) == ["log"], outcome)
    });
}

fn on_signals(trials: &mut Trials) {
    for (name, variables) in
        [("storm", &[][..]), ("hardened", &[("MEMS_HARDEN", "1"), ("MEMS_CHECK", "0")])]
    {
        trials.case(format!("a_hundred_signals_{name}"), move || {
            let folder = folder(name);
            let variables = [&[("MEMS_SNAPSHOT_ON", "USR1,SIGUSR2")], variables].concat();
            let outcome = run("storm", &folder, &variables);
            ensure(outcome.status.success(), &outcome)?;
            let numbers = looks(&folder)?;
            let lines =
                outcome.stderr.lines().filter(|line| line.starts_with("mems: look ")).count();
            let has_no_holes = numbers.iter().copied().eq(1..=numbers.len());
            ensure(has_no_holes && (1..=101).contains(&lines) && lines == numbers.len(), &outcome)
        });
    }
}

fn paths_and_handlers(trials: &mut Trials) {
    trials.case("a_folder_that_is_not_there", || {
        let folder = folder("unwritable");
        let variables = [("MEMS_SNAPSHOT_ON", "USR1"), ("MEMS_SNAPSHOT_PATH", "missing/%n-%p")];
        let outcome = run("signal-and-wait", &folder, &variables);
        let is_told = |line: &str| {
            line.starts_with("mems: look 1 (USR1), missing/1-")
                && line.ends_with(": the file cannot be made (error 2)")
        };
        let lines = outcome.stderr.lines();
        let holds = lines.clone().count() == 2 && lines.clone().all(is_told);
        ensure(outcome.status.success() && holds, &outcome)
    });
    trials.case("paths_with_numbers", || {
        let folder = folder("numbers");
        let variables = [("MEMS_SNAPSHOT_ON", "USR1"), ("MEMS_SNAPSHOT_PATH", "%n-%p")];
        let outcome = run("signal-and-wait", &folder, &variables);
        let all = names(&folder);
        let files = all.iter().filter(|name| name.starts_with(['1', '2'])).count();
        ensure(outcome.status.success() && files == 6, (outcome, &all))?;
        let has_growth = |start: char| {
            let is_page = |name: &&String| name.starts_with(start) && name.ends_with(".html");
            let page = all.iter().find(is_page).map(|name| fs::read_to_string(folder.join(name)));
            page.and_then(Result::ok).is_some_and(|page| !page.contains("\"growth\":null"))
        };
        // Since the look before.
        ensure([has_growth('1'), has_growth('2')] == [false, true], "growth")
    });
    trials.case("a_handler_of_the_programs_own", || {
        let folder = folder("handler");
        let outcome = run("handle", &folder, &[("MEMS_SNAPSHOT_ON", "USR1,USR2")]);
        let line = "mems: look 1 (USR1): ";
        ensure(outcome.status.success() && outcome.stderr.starts_with(line), &outcome)
    });
    trials.case("a_signal_that_is_ignored_stays_so", || {
        let folder = folder("ignored");
        let mut command = command("nothing", &folder, &[("MEMS_SNAPSHOT_ON", "HUP")]);
        let ignore = || {
            // SAFETY: no handler is set.
            unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
            Ok(())
        };
        // SAFETY: the closure makes one system call.
        unsafe { command.pre_exec(ignore) };
        let outcome = output_of(&mut command);
        let line = "mems: the program has an action of its own for the signal HUP;";
        let is_told = outcome.stderr.starts_with(line) && outcome.stderr.lines().count() == 1;
        ensure(outcome.status.success() && is_told, &outcome)
    });
}

fn forks_and_exits(trials: &mut Trials) {
    trials.case("a_child_of_a_fork", || {
        let folder = folder("fork");
        let variables = [("MEMS_SNAPSHOT_ON", "USR2"), ("MEMS_DECAY_MS", "1")];
        let outcome = run("fork", &folder, &variables);
        ensure(outcome.status.success(), &outcome)?;
        let child = outcome.stdout.trim();
        let all = names(&folder);
        let own = all.iter().filter(|name| name.starts_with(&format!("mems.{child}.1."))).count();
        ensure(own == 3 && all.len() == 7, &all)
    });
    trials.case("an_exit_while_a_look_is_written", || {
        let folder = folder("exit");
        for _ in 0..8 {
            let outcome = output_of(&mut command(
                "signal-and-exit",
                &folder,
                &[("MEMS_SNAPSHOT_ON", "USR1"), ("MEMS_PROFILE", "1K")],
            ));
            ensure(outcome.status.success(), &outcome)?;
            for name in names(&folder) {
                let bytes = fs::read(folder.join(&name)).expect("a file");
                let is_whole = match name.rsplit('.').next() {
                    Some("mems") => Snapshot::from_bytes(&bytes).is_ok(),
                    Some("html") => bytes.ends_with(b"</html>\n"),
                    Some("gz") => profiles_have(&folder, "inuse_space"),
                    ending => ending == Some("part"),
                };
                ensure(is_whole, &name)?;
                fs::remove_file(folder.join(name)).expect("a file");
            }
        }
        Ok(Answer::Passed(String::new()))
    });
}

fn at_limits_and_peaks(trials: &mut Trials) {
    for (name, variables) in
        [("limit", &[][..]), ("limit_hardened", &[("MEMS_HARDEN", "1"), ("MEMS_CHECK", "0")])]
    {
        trials.case(format!("{name}_that_refuses_in_a_loop"), move || {
            let folder = folder(name);
            let settings = [("MEMS_SNAPSHOT_ON", "limit"), ("MEMS_LIMIT", "64M")];
            let start = Instant::now();
            let outcome = run("limit", &folder, &[&settings, variables].concat());
            let is_one =
                outcome.status.success() && outcome.stderr.starts_with("mems: look 1 (limit): ");
            ensure(is_one && outcome.stderr.lines().count() == 1, &outcome)?;
            ensure(start.elapsed() < Duration::from_secs(20), start.elapsed())?;
            ensure(looks(&folder)?.len() == 1, names(&folder))?;
            ensure(profiles_have(&folder, "heap_looks::hoard"), "no name")
        });
    }
    trials.case("a_limit_that_ends_the_program", || {
        let folder = folder("end-at-limit");
        let settings = [("MEMS_SNAPSHOT_ON", "limit"), ("MEMS_LIMIT", "64M")];
        let outcome = run("end-at-limit", &folder, &settings);
        let is_first = outcome.stderr.starts_with("mems: look 1 (limit): ");
        ensure(outcome.status.signal() == Some(libc::SIGABRT) && is_first, &outcome)?;
        ensure(looks(&folder)?.len() == 1, names(&folder))
    });
    trials.case("peaks", || {
        let folder = folder("peaks");
        let outcome = run("grow", &folder, &[("MEMS_SNAPSHOT_ON", "peak,USR2")]);
        ensure(outcome.status.success(), &outcome)?;
        let steps: usize = outcome.stdout.trim().parse().expect("a number");
        let peak = |line: &str| line.split_once("peak of ")?.1.split(' ').next()?.parse().ok();
        let peaks: Vec<usize> = outcome.stderr.lines().filter_map(peak).collect();
        let is_rising = peaks.windows(2).all(|two| two[1] >= two[0] + two[0] / 8);
        let is_last = outcome.stderr.lines().last().is_some_and(|line| line.contains("(USR2): "));
        ensure(peaks.len() == steps && is_rising && is_last && steps == 7, &outcome)?;
        ensure(looks(&folder)?.len() == steps + 1, names(&folder))
    });
}

fn main() -> ExitCode {
    if let Some(role) = child::role() {
        part(&role);
        return ExitCode::SUCCESS;
    }
    let mut trials = Trials::side_by_side();
    at_exit(&mut trials);
    on_signals(&mut trials);
    paths_and_handlers(&mut trials);
    forks_and_exits(&mut trials);
    at_limits_and_peaks(&mut trials);
    trials.finish()
}
