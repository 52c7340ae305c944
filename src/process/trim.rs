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
use crate::base::os::{Os, System};
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
        purge_slabs() + DEPOT.heap.trim()
    }
}

/// Gives the whole pages of free slots in the calling thread's slabs back, and in those of threads that ended. Returns
/// their bytes. O(slots), with a system call for each run of such pages.
fn purge_slabs() -> usize {
    let mut given_back = thread::current_or_new().map_or(0, purge_heap);
    if let Some(shared) = *PROCESS_HEAP.shared.lock() {
        given_back += purge_heap(shared);
    }
    let mut retired = DEPOT.take_retired();
    while let Some(heap) = retired {
        retired = heap.next_retired.take();
        given_back += purge_heap(heap);
        DEPOT.retire_heap(heap);
    }
    given_back
}

fn purge_heap(heap: &'static ThreadHeap) -> usize {
    let mut given_back = 0;
    for class in Class::all() {
        let mut next = heap.list(class).listed.get();
        while let Some(slab) = next {
            // Asked first: a slab that loses all its free slots goes off the list.
            next = slab.next.get();
            if !slab.is_purged.load(Ordering::Relaxed) {
                given_back += purge_slab(heap, slab);
            }
        }
    }
    given_back
}

fn purge_slab(heap: &'static ThreadHeap, slab: &'static Slab) -> usize {
    let (slot_bytes, page_size) = (slab.shape().slot_bytes, System.page_size());
    let mut given_back = 0;
    for (first, count) in slab.free_runs() {
        let start = slab.slot_start(first);
        let Some((pages, len)) = whole_pages(start, start + count * slot_bytes, page_size) else {
            continue;
        };
        let Some(pages) = addr::pointer(pages) else { continue };
        // SAFETY: the pages have free slots only, which the caller alone may hand out.
        let is_mapped = (0..2).any(|_| unsafe { System.commit(pages, len) }.is_ok());
        if is_mapped {
            given_back += len;
        } else {
            // The old pages may be gone already.
            heap.lose(slab, first, count);
        }
    }
    slab.is_purged.store(true, Ordering::Relaxed);
    given_back
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
