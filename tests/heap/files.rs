//! What MeMS writes at exit: files that nobody else can read, that are whole, and that no other process takes the place
//! of.
//!
//! The cases run this program in roles, in a folder of their own.
#![allow(unsafe_code, reason = "ignores a signal")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::ExitCode;

use helpers::child::{self, fork_and_exit, output_of};
use helpers::folders::{command, folder, names};
use helpers::trials::{Answer, Trials, ensure};
use mems::{MemsAlloc, Snapshot, WriteError};

#[global_allocator]
static GLOBAL: MemsAlloc = MemsAlloc::new();

/// Seconds until SIGALRM ends a child that hangs.
const PATIENCE_SECONDS: u32 = 60;

/// The part of a child.
fn part(name: &str) {
    child::watchdog(PATIENCE_SECONDS);
    // SAFETY: no preconditions.
    unsafe { libc::umask(0) };
    match name {
        "fork-and-exit" => fork_and_exit(),
        "exit-without-disk" => {
            // SAFETY: no handler is set.
            unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
            child::set_limit(libc::RLIMIT_FSIZE, 100);
        }
        _ => panic!("no part {name}"),
    }
}

/// Both files, and what they begin with.
const FILES: [(&str, &str); 2] =
    [("MEMS_HEAPMAP_AT_EXIT", "<!doctype html>"), ("MEMS_SNAPSHOT_AT_EXIT", "MeMSsnap")];

fn file_cases(trials: &mut Trials) {
    for (variable, beginning) in FILES {
        trials.case(format!("each_process_has_its_own_file_{variable}"), move || {
            let folder = folder(variable);
            for (pattern, name) in [("file", "file."), ("x%p.html", "x")] {
                let variables = [(variable, pattern)];
                let outcome = output_of(&mut command("fork-and-exit", &folder, &variables));
                let pids: Vec<_> = outcome.stdout.lines().collect();
                if pids.len() != 2 || !outcome.status.success() || !outcome.stderr.is_empty() {
                    return Err(format!("{outcome:?}"));
                }
                for pid in pids {
                    let end = if name == "x" { ".html" } else { "" };
                    let file = folder.join(format!("{name}{pid}{end}"));
                    let mode = fs::metadata(&file).map_or(0, |data| data.mode() & 0o777);
                    let bytes = fs::read(&file).unwrap_or_default();
                    if mode != 0o600 || !bytes.starts_with(beginning.as_bytes()) {
                        return Err(format!("{}: mode {mode:o}", file.display()));
                    }
                }
            }
            ensure(names(&folder).len() == 4, names(&folder))
        });
        trials.case(format!("an_unfinished_file_takes_no_others_place_{variable}"), move || {
            let folder = folder(&format!("{variable}-disk"));
            let variables = [(variable, "file")];
            let outcome = output_of(&mut command("exit-without-disk", &folder, &variables));
            let says_so =
                outcome.stderr == format!("mems: {variable}: the file cannot be written\n");
            ensure(says_so && names(&folder).is_empty(), (outcome, names(&folder)))
        });
    }
    trials.case("a_file_is_made_anew_and_never_through_a_link", || {
        let folder = folder("anew");
        let path =
            |name: &str| CString::new(folder.join(name).as_os_str().as_bytes()).expect("a path");
        fs::write(folder.join("mine"), "mine").expect("a file");
        fs::hard_link(folder.join("mine"), folder.join("hard")).expect("a link");
        symlink("mine", folder.join("soft")).expect("a link");
        symlink("nothing", folder.join("dangling")).expect("a link");
        for link in ["soft", "dangling"] {
            let refused = mems::write_snapshot_to(&path(link));
            assert_eq!(refused, Err(WriteError::Create(libc::ELOOP)), "{link}");
        }
        assert_eq!(mems::write_snapshot_to(&path("hard")), Ok(()));
        assert_eq!(fs::read_to_string(folder.join("mine")).expect("a file"), "mine");
        let written = fs::read(folder.join("hard")).expect("a file");
        assert!(Snapshot::from_bytes(&written).is_ok());
        assert_eq!(names(&folder), ["dangling", "hard", "mine", "soft"]);
        Ok(Answer::Passed(String::new()))
    });
    trials.case("what_is_no_file_is_written_to_and_stays", || {
        assert_eq!(mems::write_heap_picture_to(c"/dev/null"), Ok(()));
        assert_eq!(mems::write_snapshot_to(c"/dev/full"), Err(WriteError::Write));
        assert_eq!(mems::write_snapshot_to(c"/dev"), Err(WriteError::Create(libc::EISDIR)));
        assert!(Path::new("/dev/full").exists() && !Path::new("/dev/null").is_file());
        Ok(Answer::Passed(String::new()))
    });
}

fn main() -> ExitCode {
    if let Some(role) = child::role() {
        part(&role);
        return ExitCode::SUCCESS;
    }
    let mut trials = Trials::side_by_side();
    file_cases(&mut trials);
    trials.finish()
}
