//! Memory that goes back on request: caches, empty slabs, whole pages of free slots, holes.
//!
//! No lock is held during the system calls that give pages in slabs back, but for the heap that threads without one of
//! their own share, and the lock that keeps a fork away.

#[cfg(feature = "std")]
use super::hardened::hardened;
use super::plain::{PROCESS_HEAP, ProcessHeap};
use super::thread;
use crate::slabs::depot::DEPOT;
use crate::slabs::rounds::Step;

impl ProcessHeap {
    /// Gives back what [`ProcessHeap::flush`] frees, all holes, and the free pages in slabs. Returns their bytes.
    pub(crate) fn trim(&self) -> usize {
        DEPOT.ask_for_flush();
        self.flush();
        if is_locked(DEPOT.heap.stats().mapped) {
            return 0;
        }
        // The largest runs first, as the system may refuse at some time.
        DEPOT.heap.trim() + give_back_in_slabs()
    }
}

/// Whether the program has locked its memory (mlockall(2)), `mapped` bytes of which are the heap's: fresh pages would
/// not be locked, and each run of them a mapping of its own. Nobody knows where there is no /proc.
fn is_locked(mapped: usize) -> bool {
    let mut buffer = [0; 4096];
    let Ok(file) = rustix::fs::open(
        "/proc/self/status",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    ) else {
        return false;
    };
    let Ok(len) = rustix::io::read(&file, &mut buffer) else { return false };
    let lines = buffer.get(..len).unwrap_or_default().split(|byte| *byte == b'\n');
    let locked = lines.filter_map(|line| line.strip_prefix(b"VmLck:")).next();
    let digits = locked.into_iter().flatten().filter(|byte| byte.is_ascii_digit());
    let kib = digits.fold(0_usize, |kib, digit| kib * 10 + usize::from(digit - b'0'));
    kib << 10 >= mapped / 2 && kib > 0
}

/// Gives the whole pages of free slots back: in the calling thread's slabs, in those of threads that ended, and where
/// others have sent them home to a thread that has not taken them in; until the system refuses. Returns their bytes,
/// without those of records that wait, which go back as well. O(slots), with a system call for each run of such pages.
fn give_back_in_slabs() -> usize {
    let mut step = Step::all();
    if let Some(heap) = thread::current_or_new() {
        thread::inside(heap, |heap| heap.give_back_all_free(&mut step));
    }
    if let Some(shared) = *PROCESS_HEAP.shared.lock() {
        shared.give_back_all_free(&mut step);
    }
    // What it takes is the calling thread's meanwhile.
    thread::inside(thread::current(), |_| {
        DEPOT.with_each_retired(|heap| heap.give_back_all_free(&mut step));
        DEPOT.give_back_all_sent(&mut step);
    });
    // Those of heaps that were vacated are among them.
    DEPOT.give_back_records(&mut Step::all());
    step.given_back
}

/// Ticks of the decay that a scavenger makes at a time; each gives back 64 MiB or a little more at the most.
#[cfg(feature = "std")]
const TICKS_AT_A_TIME: usize = 64;

/// Gives idle memory back, on behalf of a process that makes no calls. In a hardened program that heap's lock is held
/// meanwhile, as by every call, so that a fork waits. Returns whether there is something that may go back later.
#[cfg(feature = "std")]
pub(crate) fn scavenge() -> bool {
    let _hardened = hardened();
    // A thread that has a heap is one that the child of a fork misses, and then it settles what was being given back.
    let _ = thread::current_or_new();
    let mut wait = true;
    for _ in 0..TICKS_AT_A_TIME {
        let (given_back, something_waits) = PROCESS_HEAP.keep_house();
        wait = something_waits;
        if given_back == 0 {
            break;
        }
    }
    wait
}
