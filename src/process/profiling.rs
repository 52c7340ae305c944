//! A profile begins and ends: the heaps of all threads hear of it.

use super::begin::begin;
use super::plain::PROCESS_HEAP;
use super::sampling;
use super::thread;
use crate::base::os::OutOfMemory;
use crate::heap::Block;
use crate::profile::Sites;
use crate::profile::profiler::PROFILER;
use crate::settings::Settings;
use crate::slabs::depot::DEPOT;
use crate::slabs::thread_heap::ThreadHeap;

/// Begins a profile. The heaps of threads that ended, the calling thread's, and the shared one hear of it now; those of
/// other threads with their next malloc, which is led to a slow way. O(map + slots), where a thread comes by for its
/// own.
pub(crate) fn start(built: &Settings, mean: usize, seed: u64) {
    begin(built);
    PROFILER.start(mean, seed);
    tell_heaps();
    let is_slab = |block: &Block| DEPOT.map.find(block.start).is_some();
    for block in DEPOT.heap.blocks().filter(|block| !is_slab(block)) {
        PROFILER.note_older_run(block.start, block.size);
    }
}

/// Ends the profile. What is noted stays until another one begins.
pub(crate) fn stop() {
    PROFILER.stop();
    tell_heaps();
}

/// Whether blocks are sampled.
pub(crate) fn is_on() -> bool {
    sampling::is_on()
}

/// Lets all heaps come by.
fn tell_heaps() {
    DEPOT.pool.lock().all_heaps().for_each(ThreadHeap::ask_to_come_by);
    if let Some(heap) = thread::current_or_new() {
        thread::inside(heap, sampling::draw_if_due);
    }
    if let Some(shared) = *PROCESS_HEAP.shared.lock() {
        sampling::draw_if_due(shared);
    }
    // What it takes is the calling thread's meanwhile.
    thread::inside(thread::current(), |_| sampling::draw_in_retired());
}

/// What the profile knows. O(slots).
pub(crate) fn sites() -> Result<Sites, OutOfMemory> {
    let mut sites = Sites::now()?;
    if sites.mean_bytes() > 0 {
        // Threads that have not come by since have not been handed out anything.
        let has_not_heard = |heap: &ThreadHeap| PROFILER.is_new_to(heap);
        for slab in DEPOT.map.all() {
            let owner = slab.owner().map(ThreadHeap::named);
            if owner.is_some_and(has_not_heard) {
                let blocks = slab.live_count();
                sites.add_older(blocks, blocks * slab.shape().slot_bytes);
            }
        }
    }
    Ok(sites)
}
