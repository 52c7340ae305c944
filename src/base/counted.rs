//! What threads do to each other, counted: for machines with more processors than one has at hand.
//!
//! Only in a crate that is built with `--cfg mems_counted`; elsewhere [`count`] is nothing.

/// What is counted.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(crate) enum Counted {
    /// A lock was taken.
    Lock,
    /// A lock was not to be had at a try.
    LockMissed,
    /// A cache line was written that other threads read and write, too: of a lock, of the state bytes of another
    /// thread's slab, of a slab's remote words and notice, of a heap's list.
    SharedLine,
}

#[cfg(mems_counted)]
static COUNTS: [core::sync::atomic::AtomicU64; 3] =
    [const { core::sync::atomic::AtomicU64::new(0) }; 3];

/// Counts one.
#[inline(always)]
pub(crate) fn count(what: Counted) {
    #[cfg(mems_counted)]
    COUNTS[what as usize].fetch_add(1, core::sync::atomic::Ordering::Relaxed);
    #[cfg(not(mems_counted))]
    let _ = what;
}

/// The names of the counts, and what they are up to now.
#[cfg(mems_counted)]
pub fn counts() -> [(&'static str, u64); 3] {
    let of = |what: Counted| COUNTS[what as usize].load(core::sync::atomic::Ordering::Relaxed);
    [
        ("locks", of(Counted::Lock)),
        ("locks_missed", of(Counted::LockMissed)),
        ("shared_lines", of(Counted::SharedLine)),
    ]
}
