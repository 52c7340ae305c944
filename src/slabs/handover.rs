//! How a slot comes home that another thread freed: the remote words of its slab, and the owner's list of notified
//! slabs.
//!
//! A deliverer first enters the slots into a remote word, then looks whether the slab is notified; if it is not, it
//! notifies it and puts it on the owner's list. The owner takes the list as a whole and, slab by slab, first
//! clears the notice and only then collects the words. So an entry that comes too late to be collected finds the notice
//! cleared, and notifies again: no slot is forgotten. All five steps are sequentially consistent.
//!
//! Pages on which there are only slots that were sent home may go back while the owner sleeps. Who gives them back
//! *holds* the remote words meanwhile, as the owner does while he collects: he who finds them held leaves the slab
//! notified, and looks again the next time. So nobody takes a slot whose page is on its way.
//!
//! The owner may change meanwhile (a dead thread's slabs are adopted). A notifier may then use the old owner's list;
//! a heap that drains that finds a slab that is not its own, and forwards it, notice and all.
//!
//! Invariant: **I1** the words of lists and notices hold 0 or the number of a [`SlabName`].
#![allow(unsafe_code, reason = "reads names back")]

use super::names::SlabName;
use super::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::base::counted::{Counted, count};

/// Enters the slots of `bits` into a remote word. Those that were there already: they were freed twice.
#[inline]
pub(super) fn enter(word: &AtomicU64, bits: u64) -> u64 {
    count(Counted::SharedLine);
    word.fetch_or(bits, Ordering::SeqCst) & bits
}

/// Takes the slots out of a remote word, if there are any. `take` puts them where they go, before they are out: so a
/// thread that vanishes in a fork has none of them in its hands alone.
#[inline]
pub(super) fn collect(word: &AtomicU64, take: impl FnOnce(u64)) {
    let bits = word.load(Ordering::SeqCst);
    if bits != 0 {
        take(bits);
        count(Counted::SharedLine);
        word.fetch_and(!bits, Ordering::SeqCst);
    }
}

/// Whether a slab is notified, which slab is behind it on the list, and whether somebody holds its remote words.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Notice {
    is_sent: AtomicU32,
    is_held: AtomicU32,
    next: AtomicUsize,
}

impl Notice {
    /// Not notified, and not held.
    pub(super) const fn new() -> Self {
        let (is_sent, is_held) = (AtomicU32::new(0), AtomicU32::new(0));
        Self { is_sent, is_held, next: AtomicUsize::new(0) }
    }

    /// Holds the remote words, so that nobody else takes slots out or gives their pages back. `false` if somebody does.
    #[inline]
    pub(super) fn hold(&self) -> bool {
        count(Counted::SharedLine);
        self.is_held.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Holds them no more.
    #[inline]
    pub(super) fn release(&self) {
        self.is_held.store(0, Ordering::Release);
    }

    /// Notifies the slab. Whether the caller is the one who has to put it on its owner's list.
    #[inline]
    pub(super) fn send(&self) -> bool {
        if self.is_sent.load(Ordering::SeqCst) != 0 {
            return false;
        }
        count(Counted::SharedLine);
        self.is_sent.swap(1, Ordering::SeqCst) == 0
    }

    /// Whether the slab is notified, asked so that a notice that comes later sees what the caller wrote before.
    pub(super) fn is_sent_by_now(&self) -> bool {
        count(Counted::SharedLine);
        self.is_sent.fetch_or(0, Ordering::SeqCst) != 0
    }

    /// Clears the notice; the owner does so before it collects.
    #[inline]
    pub(super) fn clear(&self) {
        count(Counted::SharedLine);
        self.is_sent.swap(0, Ordering::SeqCst);
    }

    /// Forgets that the slab is notified or held, if it is, after a fork in which threads vanished.
    pub(super) fn forget(&self) {
        if self.is_sent() {
            self.clear();
        }
        if self.is_held.load(Ordering::Relaxed) != 0 {
            self.release();
        }
    }

    /// Whether the slab is notified.
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent.load(Ordering::Relaxed) != 0
    }

    /// The slab behind this one on a list that was taken. Asked before anything is done with this one: once its notice
    /// is cleared, or it is forwarded, it may be on another list.
    #[inline]
    pub(super) fn next(&self) -> Option<SlabName> {
        // SAFETY: the word holds 0 or a name's number (I1).
        unsafe { SlabName::from_number(self.next.load(Ordering::Relaxed)) }
    }
}

/// A heap's list of slabs with news: the one word of a heap that others write, on a cache line of its own.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct NoticeList(AtomicUsize);

impl NoticeList {
    /// Without slabs.
    pub(super) const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Puts a slab on the list, with its notice.
    #[inline]
    pub(super) fn push(&self, slab: SlabName, notice: &Notice) {
        let mut first = self.0.load(Ordering::Relaxed);
        loop {
            notice.next.store(first, Ordering::Relaxed);
            count(Counted::SharedLine);
            let number = slab.number();
            match self.0.compare_exchange_weak(first, number, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => first = other,
            }
        }
    }

    /// Whether there is any slab on it.
    #[inline]
    pub(super) fn has_any(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Takes the whole list: the first slab.
    #[inline]
    pub(super) fn take_all(&self) -> Option<SlabName> {
        let first = if self.has_any() {
            count(Counted::SharedLine);
            self.0.swap(0, Ordering::AcqRel)
        } else {
            0
        };
        // SAFETY: the word holds 0 or a name's number (I1).
        unsafe { SlabName::from_number(first) }
    }

    /// Forgets what is on it, if there is anything, after a fork in which threads vanished.
    pub(super) fn forget(&self) {
        if self.has_any() {
            self.0.store(0, Ordering::Relaxed);
        }
    }
}
