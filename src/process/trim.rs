//! Memory that goes back on request: caches, empty slabs, whole pages of free slots, holes.
//!
//! Pages of free slots go back while other slots of their slab are live. A slab is purged by its owner, or by the
//! thread that has taken the heap of one that ended, so nobody takes a slot meanwhile. No lock is held during the
//! system calls, but for the heap that threads without one of their own share: they wait.
#![allow(unsafe_code, reason = "maps over pages that nobody uses")]

use core::sync::atomic::Ordering;

#[cfg(feature = "std")]
use super::hardened::hardened;
use super::plain::{PROCESS_HEAP, ProcessHeap};
use super::thread;
use crate::base::addr;
#[cfg(feature = "std")]
use crate::base::clock;
use crate::base::commit;
use crate::base::os::{Os, Recovered, System};
use crate::base::round::whole_pages;
use crate::slabs::class::Class;
use crate::slabs::depot::DEPOT;
use crate::slabs::slab::Slab;
use crate::slabs::thread_heap::ThreadHeap;

impl ProcessHeap {
    /// Gives back what [`ProcessHeap::flush`] frees, all holes, and the free pages in slabs. Returns their bytes.
    pub(crate) fn trim(&self) -> usize {
        DEPOT.ask_for_flush();
        self.flush();
        if is_locked(DEPOT.heap.stats().mapped) {
            return 0;
        }
        // The largest runs first, as the system may refuse at some time.
        DEPOT.heap.trim() + purge_slabs()
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

/// Gives the whole pages of free slots in the calling thread's slabs back, and in those of threads that ended, until
/// the system refuses. Returns their bytes. O(slots), with a system call for each run of such pages.
fn purge_slabs() -> usize {
    let mut purge = Purge { given_back: 0, is_refused: false };
    if let Some(heap) = thread::current_or_new() {
        thread::inside(heap, |heap| purge.heap(heap));
    }
    if let Some(shared) = *PROCESS_HEAP.shared.lock() {
        purge.heap(shared);
    }
    // What it takes is the calling thread's meanwhile.
    thread::inside(thread::current(), |_| DEPOT.with_each_retired(|heap| purge.heap(heap)));
    purge.given_back
}

/// What has been done so far.
struct Purge {
    /// Bytes that went.
    given_back: usize,
    /// Whether the system takes no more.
    is_refused: bool,
}

impl Purge {
    fn heap(&mut self, heap: &'static ThreadHeap) {
        for class in Class::all() {
            let mut next = heap.list(class).listed.get();
            while let Some(slab) = next
                && !self.is_refused
            {
                // Asked first: a slab that loses all its free slots goes off the list.
                next = slab.next.get();
                if !slab.is_purged.load(Ordering::Relaxed) {
                    self.slab(heap, slab);
                }
            }
        }
    }

    fn slab(&mut self, heap: &'static ThreadHeap, slab: &'static Slab) {
        let (slot_bytes, page_size) = (slab.shape().slot_bytes, System.page_size());
        for (first, count) in slab.free_runs() {
            let start = slab.slot_start(first);
            let whole = whole_pages(start, start + count * slot_bytes, page_size);
            let part = whole.and_then(|(pages, len)| DEPOT.heap.part_to_give_back(pages, len));
            let Some((pages, len)) = part else { continue };
            let Some(pages) = addr::pointer(pages) else { continue };
            // SAFETY: the pages have free slots only, which the caller alone may hand out.
            match unsafe { commit::renew(&System, pages, len) } {
                Ok(()) => self.given_back += len,
                Err(refused) => {
                    self.is_refused = true;
                    if refused != Recovered::Untouched {
                        heap.lose(slab, first, count);
                    }
                    return;
                }
            }
        }
        slab.is_purged.store(true, Ordering::Relaxed);
    }
}

/// Ticks of the decay that a scavenger makes at a time; each gives back 64 MiB or a little more at the most.
#[cfg(feature = "std")]
const TICKS_AT_A_TIME: usize = 64;

/// Gives idle memory back, on behalf of a process that makes no calls. The slabs that threads left behind when they
/// ended go first. In a hardened program that heap's lock is held meanwhile, as by every call, so that a fork waits.
#[cfg(feature = "std")]
pub(crate) fn scavenge() {
    let _hardened = hardened();
    // A thread that has a heap is one that the child of a fork misses, and then it settles what was being given back.
    let _ = thread::current_or_new();
    DEPOT.tidy_retired();
    for _ in 0..TICKS_AT_A_TIME {
        if DEPOT.heap.tick_if_due(clock::milliseconds()) == 0 {
            break;
        }
    }
}
