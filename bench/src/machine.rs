//! What the numbers were taken on, and how much of it others were using.

use core::time::Duration;
use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::measure::{Usage, children_cpu_ns};

/// The machine and the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Its family and its model, by which generations differ that have one name.
    #[serde(default)]
    pub cpu_family_and_model: String,
    /// Processors online.
    pub cpus: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The C library.
    pub libc: String,
    /// The Rust compiler.
    pub rustc: String,
    /// When the race began, UTC.
    pub date: String,
}

impl Machine {
    /// Describes this machine now; what cannot be found out is left empty.
    pub fn this() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        Self {
            cpu: field(&cpuinfo, "model name").unwrap_or_default(),
            cpu_family_and_model: family_and_model(&cpuinfo),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: meminfo_kib("MemTotal") / 1_024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            libc: first_line("ldd", &["--version"]),
            rustc: first_line("rustc", &["--version"]),
            date: first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        }
    }

    /// The processor with its family and model.
    pub fn cpu_with_model(&self) -> String {
        match self.cpu_family_and_model.as_str() {
            "" => self.cpu.clone(),
            model => format!("{} ({model})", self.cpu),
        }
    }

    /// One line for a report.
    pub fn describe(&self) -> String {
        format!(
            "{}, {} CPUs, {} GiB, Linux {}, {}, {}",
            self.cpu_with_model(),
            self.cpus,
            self.memory_mib.div_ceil(1_024),
            self.kernel,
            self.libc,
            self.rustc
        )
    }
}

/// What the processor calls its family and model, if it does (x86).
fn family_and_model(cpuinfo: &str) -> String {
    match (field(cpuinfo, "cpu family"), field(cpuinfo, "model\t")) {
        (Some(family), Some(model)) => format!("family {family}, model {model}"),
        _ => String::new(),
    }
}

/// Measures how many processors others keep busy while our own children run.
#[derive(Debug)]
pub struct ForeignLoad {
    busy_ns: u64,
    own_ns: u64,
    start: std::time::Instant,
}

impl ForeignLoad {
    /// Starts watching.
    pub fn watch() -> Self {
        Self { busy_ns: busy_ns(), own_ns: own_cpu_ns(), start: std::time::Instant::now() }
    }

    /// Processors busy with others' work since the start. The kernel counts in steps of 10 ms, so of short runs one is
    /// told too much and the other less than nothing: only the mean over many says something.
    pub fn foreign_cpus(&self) -> f64 {
        let elapsed = self.start.elapsed().as_secs_f64();
        let since =
            |now: u64, start: u64| Duration::from_nanos(now.saturating_sub(start)).as_secs_f64();
        let busy = since(busy_ns(), self.busy_ns);
        let cpus = (busy - since(own_cpu_ns(), self.own_ns)) / elapsed.max(1e-9);
        (cpus * 1_000.0).round() / 1_000.0
    }
}

/// CPU time of this process and of its children that have ended.
fn own_cpu_ns() -> u64 {
    children_cpu_ns() + Usage::now().cpu_ns
}

/// Time that all processors together were not idle, from the first line of `/proc/stat` (proc(5)).
fn busy_ns() -> u64 {
    /// `USER_HZ`, which is 100 on every architecture Rust runs on.
    const NS_PER_TICK: u64 = 10_000_000;
    let stat = read("/proc/stat");
    let ticks: Vec<u64> = stat
        .lines()
        .next()
        .map(|line| line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect())
        .unwrap_or_default();
    // user, nice, system, (idle, iowait,) irq, softirq, steal; guest time is part of user.
    let busy: u64 = ticks
        .iter()
        .take(8)
        .enumerate()
        .filter(|(place, _)| !matches!(place, 3 | 4))
        .map(|(_, t)| t)
        .sum();
    busy * NS_PER_TICK
}

/// A line of `/proc/meminfo`; 0 where the kernel does not tell.
pub fn meminfo_kib(key: &str) -> u64 {
    let line = field(&read("/proc/meminfo"), key);
    line.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn field(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_a_name_and_processors() {
        let machine = Machine::this();
        assert!(
            machine.cpus >= 1 && machine.memory_mib > 0 && machine.date.ends_with("UTC"),
            "{machine:?}"
        );
        assert!(ForeignLoad::watch().foreign_cpus().is_finite());
    }
}
