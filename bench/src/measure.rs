//! The meter's instruments: clocks, faults, context switches and resident memory of this process (Linux).

#![allow(unsafe_code, reason = "clock_gettime and getrusage have no safe door without allocating")]

use core::mem::MaybeUninit;
use core::time::Duration;
use std::process::Child;

/// What the process used up to a moment, or between two moments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all threads, in nanoseconds.
    pub cpu_ns: u64,
    /// Time on the wall, in nanoseconds.
    pub wall_ns: u64,
    /// Page faults that needed no disk.
    pub minor_faults: u64,
    /// Page faults that did.
    pub major_faults: u64,
}

impl Usage {
    /// What has been used up to now.
    pub fn now() -> Self {
        let usage = resource_usage(libc::RUSAGE_SELF);
        Self {
            minor_faults: non_negative(usage.ru_minflt),
            major_faults: non_negative(usage.ru_majflt),
            cpu_ns: clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID),
            wall_ns: clock_ns(libc::CLOCK_MONOTONIC),
        }
    }

    /// What was used since `start`.
    #[must_use]
    pub const fn since(self, start: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns - start.cpu_ns,
            wall_ns: self.wall_ns - start.wall_ns,
            minor_faults: self.minor_faults - start.minor_faults,
            major_faults: self.major_faults - start.major_faults,
        }
    }

    /// The sum of two usages.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns + other.cpu_ns,
            wall_ns: self.wall_ns + other.wall_ns,
            minor_faults: self.minor_faults + other.minor_faults,
            major_faults: self.major_faults + other.major_faults,
        }
    }
}

/// Measures the timed parts of a row; set-up outside [`Meter::time`] is not counted.
#[derive(Debug, Default)]
pub struct Meter {
    usage: Usage,
    extras: Vec<(String, u64)>,
}

impl Meter {
    /// Runs `work` and adds what it used.
    pub fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Usage::now();
        let result = work();
        self.usage = self.usage.plus(Usage::now().since(start));
        result
    }

    /// Notes a further number under `key`, which must be a word.
    pub fn note(&mut self, key: &str, value: u64) {
        self.extras.push((key.to_owned(), value));
    }

    /// What the timed parts used.
    pub const fn usage(&self) -> Usage {
        self.usage
    }

    /// The numbers noted beside.
    pub fn extras(&self) -> &[(String, u64)] {
        &self.extras
    }
}

/// Context switches of the calling thread: voluntary ones (it waited), involuntary ones (it was displaced).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Switches {
    /// The thread gave the processor away.
    pub voluntary: u64,
    /// The kernel took it.
    pub involuntary: u64,
}

impl Switches {
    /// The calling thread's switches up to now.
    pub fn of_this_thread() -> Self {
        let usage = resource_usage(libc::RUSAGE_THREAD);
        Self { voluntary: non_negative(usage.ru_nvcsw), involuntary: non_negative(usage.ru_nivcsw) }
    }
}

/// CPU time of all children that have ended and been waited for, in nanoseconds.
pub fn children_cpu_ns() -> u64 {
    cpu_ns(&resource_usage(libc::RUSAGE_CHILDREN))
}

/// What a child used, once it has ended.
#[derive(Debug, Clone, Copy)]
pub struct ChildUsage {
    /// CPU time, of its own children too.
    pub cpu: Duration,
    /// Its peak resident memory.
    pub peak_rss_kib: u64,
    /// Its page faults.
    pub faults: u64,
    /// Its exit code; 128 and the signal where it was killed, as shells say.
    pub exit_code: i32,
}

/// Waits for a child and tells what it used; `Child::wait` would throw that away.
pub fn wait_for(child: Child) -> std::io::Result<ChildUsage> {
    let pid = libc::pid_t::try_from(child.id()).map_err(std::io::Error::other)?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both places are valid; the child is ours and, since `child` is never waited for, not yet reaped.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
    if waited != pid {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: an rusage is plain integers, so the zeroed bytes are valid whether or not the call filled them.
    let usage = unsafe { usage.assume_init() };
    let exit_code = if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        128 + libc::WTERMSIG(status)
    };
    Ok(ChildUsage {
        cpu: Duration::from_nanos(cpu_ns(&usage)),
        peak_rss_kib: non_negative(usage.ru_maxrss),
        faults: non_negative(usage.ru_minflt) + non_negative(usage.ru_majflt),
        exit_code,
    })
}

/// Peak resident memory of this process in KiB (`VmHWM`), 0 where the kernel does not tell.
pub fn peak_rss_kib() -> u64 {
    status_kib("VmHWM:")
}

/// Resident memory of this process now in KiB (`VmRSS`), 0 where the kernel does not tell.
pub fn rss_kib() -> u64 {
    status_kib("VmRSS:")
}

fn status_kib(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for one timespec, and the clocks asked for here always exist on Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    non_negative(time.tv_sec) * 1_000_000_000 + non_negative(time.tv_nsec)
}

fn resource_usage(who: libc::c_int) -> libc::rusage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is a valid place for one rusage.
    unsafe { libc::getrusage(who, usage.as_mut_ptr()) };
    // SAFETY: an rusage is plain integers, so the zeroed bytes are valid whether or not the call filled them.
    unsafe { usage.assume_init() }
}

fn cpu_ns(usage: &libc::rusage) -> u64 {
    let time_ns = |time: libc::timeval| {
        non_negative(time.tv_sec) * 1_000_000_000 + non_negative(time.tv_usec) * 1_000
    };
    time_ns(usage.ru_utime) + time_ns(usage.ru_stime)
}

fn non_negative(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_memory() {
        let mut meter = Meter::default();
        let sum = meter.time(|| (0..1_000_000_u64).map(core::hint::black_box).sum::<u64>());
        assert_eq!(sum, 499_999_500_000);
        assert!(meter.usage().cpu_ns > 0);
        assert!(meter.usage().wall_ns > 0);
        assert!(peak_rss_kib() >= rss_kib() && rss_kib() > 0);
    }
}
