//! What the tests of thread heaps share: a depot of their own, and malloc and free as a thread with a given heap does
//! them.
#![allow(unsafe_code, reason = "ends a depot")]
#![allow(clippy::expect_used, reason = "a test that finds something wrong ends")]

use super::class::Class;
use super::depot::Depot;
use super::slab::Slab;
use super::slab::claim::EndingSlot;
use super::slot::{LiveSlot, Refused, SAMPLED};
use super::thread_heap::ThreadHeap;

/// Does `action` with a depot that reserves `reservation` bytes of addresses, and ends the depot.
///
/// # Safety
///
/// Nothing that the action got from the depot is used afterwards.
pub(super) unsafe fn with_depot<R>(
    reservation: usize,
    action: impl FnOnce(&'static Depot) -> R,
) -> R {
    let depot: *mut Depot = Box::into_raw(Box::new(Depot::new(reservation)));
    // SAFETY: it stays until the action is over.
    let result = action(unsafe { &*depot });
    // SAFETY: by the caller's contract nobody uses it any more.
    let depot = unsafe { Box::from_raw(depot) };
    // SAFETY: as above.
    unsafe { depot.map.end() };
    result
}

/// Hands out a block to a thread with this heap: its start.
pub(super) fn allocate(heap: &'static ThreadHeap, class: Class) -> Option<usize> {
    heap.hand_out(class).or_else(|| heap.refill(class).map(|slot| slot.address(|_| ())))
}

/// The live slot of an own slab that starts at an address, found as a thread with this heap finds it.
pub(super) fn own_slot(heap: &'static ThreadHeap, address: usize) -> Option<LiveSlot> {
    heap.own_slot(heap.depot().map.find(address)?.class(), address)
}

/// Takes a block back on a thread with this heap. Whether there was one.
pub(super) fn free(heap: &'static ThreadHeap, address: usize) -> bool {
    let Some(slab) = heap.depot().map.find(address) else { return false };
    let class = slab.class();
    if slab.key() != heap.key(class) {
        return match slab.send(address, class) {
            Ok(slot) => {
                heap.take_in(slot);
                true
            }
            Err(Refused::NotLive(SAMPLED)) => free_sampled(heap, address),
            Err(_) => false,
        };
    }
    match own_slot(heap, address) {
        Some(slot) => {
            heap.take_in_own(class, slot.free());
            true
        }
        None => free_sampled(heap, address),
    }
}

/// Takes a block back that a profile knows. Whether there was one.
fn free_sampled(heap: &'static ThreadHeap, address: usize) -> bool {
    let slab = slab_of(heap, address);
    let ending = slab.end_sampled(address, slab.class());
    let sent = ending.ok().and_then(EndingSlot::send);
    sent.map(|slot| heap.take_in_sampled(slot, Some(true))).is_some()
}

/// The slab of a block.
pub(super) fn slab_of(heap: &ThreadHeap, block: usize) -> &'static Slab {
    heap.depot().map.find(block).expect("a slab")
}
