//! Memory that is warm when a row begins.
//!
//! The memory of a virtual machine that is free for a second or two goes back to the host, and costs up to 9 us a page
//! of 4 KiB when it is touched again. That would be laid on the contestant that runs first after a pause.

#![allow(unsafe_code, reason = "asks for huge pages, which is how free memory goes back to a host")]

use core::ptr;

use crate::machine::meminfo_kib;

/// Touches `bytes` of memory, or half of what is available if that is less, and gives them back: who asks next gets
/// these.
pub fn warm_memory(bytes: usize) {
    let available = usize::try_from(meminfo_kib("MemAvailable") * 1_024).unwrap_or(usize::MAX);
    let len = bytes.min(available / 2);
    if len == 0 {
        return;
    }
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: without an address the kernel maps over nothing.
    let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return;
    }
    // A kernel without huge pages refuses, and then its free memory stays where it is.
    // SAFETY: the mapping was just made.
    unsafe { libc::madvise(start, len, libc::MADV_HUGEPAGE) };
    for offset in (0..len).step_by(4_096) {
        let byte = start.cast::<u8>().wrapping_add(offset);
        // SAFETY: the byte lies in the mapping, to which nothing else refers.
        unsafe { byte.write_volatile(1) };
    }
    // SAFETY: the mapping is this function's own.
    unsafe { libc::munmap(start, len) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_warmed_is_given_back() {
        let before = crate::measure::rss_kib();
        warm_memory(64 << 20);
        assert!(crate::measure::rss_kib() < before + (32 << 10));
    }
}
