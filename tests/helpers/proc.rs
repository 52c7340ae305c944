//! What the kernel says about this process.

use std::fs;

/// A line of `/proc/self/status` such as `VmRSS`, in bytes.
pub(crate) fn status_bytes(key: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = status.lines().find(|line| line.starts_with(key)).expect("a known key");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok());
    kib.expect("a number of KiB") << 10
}

/// How many mappings there are.
pub(crate) fn mappings() -> usize {
    fs::read("/proc/self/maps").expect("a list").iter().filter(|byte| **byte == b'\n').count()
}

/// Resident bytes of the mappings that overlap one of the runs (start, length). A mapping that lies partly in a run
/// counts as a whole.
pub(crate) fn resident_bytes(runs: &[(usize, usize)]) -> usize {
    let maps = fs::read_to_string("/proc/self/smaps").expect("/proc/self/smaps");
    let (mut inside, mut sum) = (false, 0);
    for line in maps.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        let range = first.split_once('-').and_then(|(start, end)| {
            Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
        });
        if let Some((start, end)) = range {
            inside = runs.iter().any(|run| start < run.0 + run.1 && run.0 < end);
        } else if inside && let Some(kib) = line.strip_prefix("Rss:") {
            sum += kib.trim().trim_end_matches(" kB").parse::<usize>().expect("KiB") << 10;
        }
    }
    sum
}

/// Bytes of the pages within a run of mapped addresses that are resident (mincore(2), of anonymous memory).
#[allow(unsafe_code, reason = "mincore")]
pub(crate) fn resident_in(start: usize, len: usize) -> usize {
    const PAGE: usize = 4096;
    let first = start.next_multiple_of(PAGE);
    let pages = ((start + len) / PAGE * PAGE).saturating_sub(first) / PAGE;
    let mut states = vec![0_u8; pages];
    let address = core::ptr::without_provenance_mut(first);
    // SAFETY: mincore reads no memory; `states` has a byte for each page.
    let answer = unsafe { libc::mincore(address, pages * PAGE, states.as_mut_ptr()) };
    assert_eq!(answer, 0, "mincore of mapped addresses");
    states.iter().filter(|state| **state & 1 != 0).count() * PAGE
}
