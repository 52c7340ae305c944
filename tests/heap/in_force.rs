//! What settings are in force, and what is said of those that cannot be.

use super::helpers::trials::{Trials, ensure};
use super::{run, says};

/// What is in force.
pub(crate) fn what_is_in_force(trials: &mut Trials) {
    trials.case("built_in", || {
        says("show", &[], &["decay_ms: 77", "retained_bytes: Some(5242880)", "on_misuse: Abort"])
    });
    trials.case("the_environment_overrides", || {
        let variables = [
            ("MEMS_DECAY_MS", "5"),
            ("MEMS_RETAINED_BYTES", "1G"),
            ("MEMS_BACKGROUND", "1"),
            ("MEMS_CACHE_BYTES", "64K"),
            ("MEMS_LIMIT", "512M"),
            ("MEMS_RESERVE", "2G"),
            ("MEMS_MISUSE", "report"),
            ("MEMS_LOG", "/dev/null"),
        ];
        let words = [
            "decay_ms: 5,",
            "retained_bytes: Some(1073741824)",
            "background: true",
            "cache_bytes: 65536",
            "limit_bytes: 536870912",
            "reserve_bytes: Some(2147483648)",
            "on_misuse: Report",
            "log: Some(\"/dev/null\")",
        ];
        says("show", &variables, &words)
    });
    trials.case("files_at_exit", || {
        let variables =
            ["MEMS_SNAPSHOT_AT_EXIT", "MEMS_HEAPMAP_AT_EXIT"].map(|name| (name, "/dev/null"));
        if cfg!(feature = "report") {
            let words =
                ["snapshot_at_exit: Some(\"/dev/null\")", "heapmap_at_exit: Some(\"/dev/null\")"];
            says("show", &variables, &words)
        } else {
            let outcome = run("show", &variables);
            let lines = outcome.stderr.matches("not possible without MeMS's feature `report`");
            ensure(lines.count() == 2 && outcome.stdout.contains("snapshot_at_exit: None"), outcome)
        }
    });
    trials.case("looks", || {
        let variables = [
            ("MEMS_PROFILE_AT_EXIT", "no.such.folder/p.txt"),
            ("MEMS_SNAPSHOT_ON", "SIGPWR,limit,peak"),
            ("MEMS_SNAPSHOT_PATH", "%n"),
        ];
        let outcome = run("show", &variables);
        let says = |words: &str| outcome.stdout.contains(words) || outcome.stderr.contains(words);
        let has_all = if !cfg!(feature = "report") {
            says("MEMS_SNAPSHOT_ON=SIGPWR,limit,peak is not possible without")
                && says("MEMS_SNAPSHOT_PATH=%n is not possible without")
                && says("snapshot_on: Occasions(),")
        } else {
            says("snapshot_on: Occasions(PWR,peak,limit),")
                && says("snapshot_path: Some(\"%n\")")
                && says("background: true")
        };
        let has_profile = if cfg!(all(feature = "report", feature = "profile")) {
            says("profile_at_exit: Some(\"no.such.folder/p.txt\")")
                && says("profile_bytes: 524288")
                && says("mems: MEMS_PROFILE_AT_EXIT: the file cannot be made (error 2)")
        } else {
            says("MEMS_PROFILE_AT_EXIT=no.such.folder/p.txt is not possible without")
                && says("profile_at_exit: None")
        };
        ensure(outcome.status.success() && has_all && has_profile, &outcome)
    });
    trials.case("harden_with_an_exception", || {
        let words = ["guard: false", "canary: true", "zero_on_free: true", "random_slots: true"];
        says("show", &[("MEMS_HARDEN", "1"), ("MEMS_GUARD", "0")], &words)
    });
}

/// What is not taken, and what is said of it.
pub(crate) fn what_is_ignored(trials: &mut Trials) {
    trials.case("invalid_values", || {
        let variables = [
            ("MEMS_DECAY_MS", "soon"),
            ("MEMS_LIMIT", "-1"),
            ("MEMS_CANARY", "yes"),
            ("MEMS_HEAPMAP_AT_EXIT", ""),
            ("MEMS_PROFILE_AT_EXIT", "prof.pb"),
            ("MEMS_SNAPSHOT_ON", "USR2,KILL"),
        ];
        let outcome = run("show", &variables);
        let lines = outcome.stderr.lines().count();
        let names_all = variables.iter().all(|(name, _)| outcome.stderr.contains(name));
        let is_default = outcome.stdout.contains("decay_ms: 77");
        ensure(outcome.status.success() && lines == 6 && names_all && is_default, &outcome)
    });
    trials.case("misspelt_names", || {
        let variables = [
            ("MEMS_LIMITS", "1G"),
            ("MEMS_HARDENED", "1"),
            ("MEMS_STATS", "1"),
            ("MEMS_SENSOR_COUNT", "3"),
        ];
        let outcome = run("show", &variables);
        let lines: Vec<_> = outcome.stderr.lines().collect();
        let says = |name: &str, meant: &str| {
            let line = format!("mems: {name} is no setting, but {meant} is; it is ignored");
            lines.contains(&line.as_str())
        };
        let says_all = says("MEMS_LIMITS", "MEMS_LIMIT")
            && says("MEMS_HARDENED", "MEMS_HARDEN")
            && says("MEMS_STATS", "MEMS_STATS_AT_EXIT");
        ensure(outcome.status.success() && says_all && lines.len() == 3, &outcome)
    });
    trials.case("stats_at_exit", || {
        let outcome = run("show", &[("MEMS_STATS_AT_EXIT", "1")]);
        let line = outcome.stderr.trim_end();
        let is_line = line.starts_with("mems: at exit: allocated ") && !line.contains('\n');
        ensure(outcome.status.success() && is_line, &outcome)
    });
}
