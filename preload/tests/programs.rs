//! Programs that people use, with the library and without: what they print and how they end must be the same.
//!
//! What is not installed is printed and counted as skipped. The large suite is `suite.sh`.
#![allow(clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests use std")]

mod support;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use support::trials::{Answer, Trials};
use support::{PACKAGE, has, run, run_preloaded, scratch};

/// Name, what it needs, and a script. Each run begins in an empty folder of its own; `$PACKAGE` is this package's.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("ls", "ls", "ls -lR $PACKAGE/src $PACKAGE/tests"),
    ("sort", "sort", "seq 200000 | sort -R --random-source=/bin/sh | sort -n | uniq | tail -n 3"),
    (
        "text tools",
        "sed",
        "cat $PACKAGE/src/*.rs | sed 's/a/b/g' | tr a-z A-Z | sort | uniq -c | sort -k1,1n -k2 | \
         head",
    ),
    ("awk", "awk", "seq 50000 | awk '{ count[$1 % 977] += $1 } END { for (i = 0; i < 5; i++) print count[i] }'"),
    ("find and xargs", "find", "find $PACKAGE/src $PACKAGE/tests -type f -print0 | sort -z | xargs -0 -n 3 wc -c"),
    ("tar and gzip", "gzip", "tar -cf - -C $PACKAGE src | gzip -9 | gzip -d | tar -tf - | sort"),
    (
        "bash",
        "bash",
        "bash -c 'declare -A m; for i in {1..20000}; do m[$i]=$((i * i)); done; echo ${#m[@]} ${m[777]};
         for i in 1 2 3; do (echo $i; exec cat /dev/null) & done | sort; wait; x=$(printf %s {1..5000}); echo ${#x}'",
    ),
    (
        "git",
        "git",
        "git init -q . && cp -r $PACKAGE/src . && git add . &&
         git -c user.name=a -c user.email=a@b commit -q -m one --date=2000-01-01T00:00:00Z && \
         git log --format=%s%n%ad &&
         echo more >> src/lib.rs && git diff --stat && git gc -q && git fsck && git grep -c unsafe",
    ),
    (
        "perl",
        "perl",
        "perl -e 'my %h; $h{$_ % 1009} .= \"x$_\" for 1..100000; \
         print join(\",\", map { length $h{$_} } sort { $a <=> $b } keys %h), \"\\n\";
         my @a = map { { n => $_, s => \"s\" x ($_ % 50) } } 1..20000; print scalar(@a), \"\\n\"'",
    ),
    (
        "python3",
        "python3",
        "python3 -c 'import json, threading, re, hashlib
d = {i: [str(i)] * (i % 7) for i in range(30000)}
print(hashlib.sha1(json.dumps(d).encode()).hexdigest(), len(re.findall(\"1+\", json.dumps(d))))
out = []
ts = [threading.Thread(target=lambda n=n: out.append(sum(len(str(i)) for i in range(n)))) \
 for n in range(0, 20000, 1000)]
[t.start() for t in ts]; [t.join() for t in ts]
print(sorted(out))'",
    ),
    ("python3 -m json.tool", "python3", "echo '{\"a\": [1, 2, {\"b\": null}]}' | python3 -m json.tool"),
    (
        "python3 with subprocesses",
        "python3",
        "python3 -c 'import subprocess, ctypes, multiprocessing as m
print(subprocess.run([\"echo\", \"hi\"], capture_output=True).stdout)
print(ctypes.CDLL(None).strlen(b\"abc\"))
if __name__ == \"__main__\":
    with m.get_context(\"fork\").Pool(2) as p: print(p.map(abs, range(-5, 5)))'",
    ),
    (
        "cc",
        "cc",
        "cc -O2 -c -o misuse.o $PACKAGE/tests/c/misuse.c -w && cksum < misuse.o",
    ),
    ("c++", "c++", "c++ -std=c++17 -O1 $PACKAGE/tests/c/standard.cpp -pthread -o a && ./a"),
    (
        "sqlite3",
        "sqlite3",
        "sqlite3 a.db 'create table t(a integer primary key, b text);
         with recursive n(x) as (select 1 union all select x + 1 from n where x < 50000) \
         insert into t select x, hex(x * x) from n;
         create index i on t(b); select count(*), max(b), sum(length(b)) from t; \
         delete from t where a % 3 = 0; vacuum;
         select count(*) from t; pragma integrity_check'",
    ),
    (
        "cargo",
        "cargo",
        "cargo --version && cargo metadata --offline --no-deps --format-version 1 \
         --manifest-path $PACKAGE/Cargo.toml | cksum",
    ),
    (
        "rustc",
        "rustc",
        "echo 'fn main() { println!(\"{}\", (0..10).map(|i| i.to_string()).collect::<String>()); }' \
         > a.rs && rustc a.rs && ./a",
    ),
    (
        "openssl",
        "openssl",
        "seq 1000 | openssl sha256 && \
         seq 100000 | openssl enc -aes-128-cbc -K 00 -iv 00 2> /dev/null | cksum",
    ),
    (
        "php",
        "php",
        "php -r '$a = []; for ($i = 0; $i < 50000; $i++) $a[md5((string)($i % 977))] = str_repeat(\"x\", $i % 100);
         echo count($a), strlen(json_encode($a)), preg_match_all(\"/x+/\", implode(\" \", $a)), \"\\n\";
         echo iconv(\"UTF-8\", \"ASCII//TRANSLIT\", \"abc\"), strlen(gzcompress(implode($a))), \"\\n\";'",
    ),
    ("xz", "xz", "seq 200000 | xz -T2 | xz -d | cksum"),
];

/// Settings under which each program runs: none, and memory that goes back all the time, with a thread of MeMS's own.
const SETTINGS: [&[(&str, &str)]; 2] =
    [&[], &[("MEMS_BACKGROUND", "1"), ("MEMS_DECAY_MS", "1"), ("MEMS_RETAINED_BYTES", "0")]];

/// An empty folder.
fn folder(name: &str) -> PathBuf {
    let folder = scratch().join("programs").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// What a script runs with, the same each time.
fn command(name: &str, script: &str) -> Command {
    let mut command = Command::new("sh");
    // Both runs in a folder of the same name: some programs write it into what they make.
    command.args(["-c", script]).current_dir(folder(name)).env("PACKAGE", PACKAGE);
    command.env("PYTHONMALLOC", "malloc").env("LC_ALL", "C").env("PYTHONHASHSEED", "0");
    command.env("SOURCE_DATE_EPOCH", "0").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command
}

fn compare(name: &str, script: &str) -> Result<Answer, String> {
    let without = run(&mut command(name, script));
    if !without.status.success() {
        return Ok(Answer::Skipped(format!(
            "it fails without the library: {}",
            without.describe()
        )));
    }
    for settings in SETTINGS {
        let with = run_preloaded(command(name, script).envs(settings.iter().copied()));
        if with.status != without.status {
            return Err(format!("{settings:?}: {}", with.describe()));
        }
        if with.stdout != without.stdout {
            let mut lines = with.stdout.lines().zip(without.stdout.lines());
            let other = lines.find(|(one, other)| one != other);
            return Err(format!("{settings:?}: they differ: {other:?}"));
        }
        if with.stderr.contains("mems:") {
            return Err(format!("{settings:?}: {}", with.stderr));
        }
    }
    Ok(Answer::Passed(String::new()))
}

fn main() -> ExitCode {
    let mut trials = Trials::side_by_side();
    for (name, needed, script) in PROGRAMS {
        trials.case(*name, move || {
            if has(needed) {
                compare(name, script)
            } else {
                Ok(Answer::Skipped(format!("no {needed}")))
            }
        });
    }
    trials.finish()
}
