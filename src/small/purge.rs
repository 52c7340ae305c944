//! Pages of free slots that go back to the OS while other slots of their slab are live.
//!
//! A slab is purged by its owner, or by whoever has taken the heap of a thread that ended, so nobody takes a slot
//! meanwhile. No lock is held during the system calls, but for the heap that threads without one of their own share: they
//! wait.
#![allow(unsafe_code, reason = "maps over pages that nobody uses")]

use core::sync::atomic::Ordering;

use super::class::Class;
use super::pool;
use super::process::PROCESS;
use super::slab::Slab;
use super::thread;
use super::thread_heap::ThreadHeap;
use crate::base::addr;
use crate::base::os::{Os, System};
use crate::base::round::whole_pages;

/// Gives the whole pages of free slots in the calling thread's slabs back, and in those of threads that ended. Returns
/// their bytes. O(slots), with a system call for each run of such pages.
pub(super) fn purge_slabs() -> usize {
    let mut given_back = thread::current_or_new().map_or(0, purge_heap);
    if let Some(shared) = *PROCESS.shared.lock() {
        given_back += purge_heap(shared);
    }
    let mut retired = pool::take_retired();
    while let Some(heap) = retired {
        retired = heap.next_retired.take();
        given_back += purge_heap(heap);
        pool::retire_heap(heap);
    }
    given_back
}

fn purge_heap(heap: &'static ThreadHeap) -> usize {
    let listed = |class: Class| {
        core::iter::successors(heap.list(class).listed.get(), |slab| slab.next.get())
    };
    let slabs =
        Class::all().flat_map(listed).filter(|slab| !slab.is_purged.load(Ordering::Relaxed));
    slabs.map(purge_slab).sum()
}

fn purge_slab(slab: &'static Slab) -> usize {
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
            slab.lose(first, count);
        }
    }
    slab.is_purged.store(true, Ordering::Relaxed);
    given_back
}
