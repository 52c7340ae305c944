//! How a slot comes home that another thread freed: the remote words of its slab, and the owner's list of notified
//! slabs.
//!
//! A deliverer first enters the slots into a remote word, then looks whether the slab is notified; if it is not, it
//! notifies it and puts it on the owner's list. The owner takes the list as a whole and, slab by slab, first
//! clears the notice and only then collects the words. So an entry that comes too late to be collected finds the notice
//! cleared, and notifies again: no slot is forgotten. All five steps are sequentially consistent.
//!
//! The owner may change meanwhile (a dead thread's slabs are adopted). A notifier may then use the old owner's list;
//! a heap that drains that finds a slab that is not its own, and forwards it, notice and all.
//!
//! The protocol is a few functions over atomics, so that a model checker can run it: see `tests/loom_handover.rs`.

use super::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Enters the slots of `bits` into a remote word.
#[inline]
pub(crate) fn enter(word: &AtomicU64, bits: u64) {
    word.fetch_or(bits, Ordering::SeqCst);
}

/// Whether the caller is the one who has to put the slab on its owner's list.
#[inline]
pub(crate) fn notify(is_notified: &AtomicU32) -> bool {
    is_notified.load(Ordering::SeqCst) == 0 && is_notified.swap(1, Ordering::SeqCst) == 0
}

/// Puts a slab, named by a number that is not 0, on a list.
#[inline]
pub(crate) fn push(list: &AtomicUsize, slab: usize, next: &AtomicUsize) {
    let mut first = list.load(Ordering::Relaxed);
    loop {
        next.store(first, Ordering::Relaxed);
        match list.compare_exchange_weak(first, slab, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return,
            Err(other) => first = other,
        }
    }
}

/// Takes the whole list: the first slab, or 0.
#[inline]
pub(crate) fn take_all(list: &AtomicUsize) -> usize {
    if list.load(Ordering::Relaxed) == 0 { 0 } else { list.swap(0, Ordering::AcqRel) }
}

/// Clears the notice; the owner does so before it collects.
#[inline]
pub(crate) fn clear_notice(is_notified: &AtomicU32) {
    is_notified.swap(0, Ordering::SeqCst);
}

/// Takes the slots out of a remote word.
#[inline]
pub(crate) fn collect(word: &AtomicU64) -> u64 {
    if word.load(Ordering::SeqCst) == 0 { 0 } else { word.swap(0, Ordering::SeqCst) }
}
