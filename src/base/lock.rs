//! The lock of MeMS: a spin lock that goes to sleep, and that knows its owner.
//!
//! Owns: waiting. A waiter tries [`SPINS`] times, then yields the processor [`YIELDS`] times, then sleeps
//! [`NAP_NANOSECONDS`] between tries: yielding alone would livelock where a waiter of a real-time class runs beside a
//! holder of a lower one. The lock is not fair: a fair one hands itself to threads that do not run.
//!
//! Invariants: **I1** `owner` is the holder's thread pointer while the lock is held and 0 otherwise. It is taken before
//! the spin lock that holds the value and given back behind it, each in one instruction, so a thread that meets its own
//! lock (a signal handler that allocates) is told so wherever it was interrupted; **I2** while a thread forks it holds
//! the lock without a guard, so the guards it takes meanwhile are the only ones.
#![allow(
    unsafe_code,
    reason = "the thread pointer is read from libc, and guards outlive the spin lock's own"
)]

use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use spin::mutex::{SpinMutex, SpinMutexGuard};

use super::counted::{Counted, count};
use super::fatal;

/// Tries before the first yield.
const SPINS: u32 = 64;
/// Yields before the first nap.
const YIELDS: u32 = 64;
/// The length of a nap.
const NAP_NANOSECONDS: i64 = 50_000;

/// Naps in which a lock may open for a fork that interrupts the heap.
const PATIENT_NAPS: u32 = 20;

/// No thread forks.
const NO_FORK: u8 = 0;
/// The thread that forks holds the lock, without a guard.
const HELD: u8 = 1;
/// The thread that forks was interrupted while it held the lock.
const OWN: u8 = 2;
/// Another thread holds the lock.
const MISSED: u8 = 3;

/// A value that one thread at a time may use.
pub struct Lock<T> {
    owner: AtomicUsize,
    /// What a fork has made of it: see [`Lock::hold_for_fork`].
    fork: AtomicU8,
    value: SpinMutex<T>,
}

/// The right to use the value until it is dropped, on the thread that took it.
///
/// Threads may share it only if they may share the value:
///
/// ```compile_fail,E0277
/// use mems::internal::LockGuard;
///
/// fn share<T: Sync>() {}
/// share::<LockGuard<'static, core::cell::Cell<u8>>>();
/// ```
///
/// And no other thread may give the lock back:
///
/// ```compile_fail,E0277
/// use mems::internal::LockGuard;
///
/// fn send<T: Send>() {}
/// send::<LockGuard<'static, u8>>();
/// ```
pub struct LockGuard<'a, T> {
    lock: &'a Lock<T>,
    /// Whether an outer holder, the thread that forks, goes on holding the lock (I2).
    is_inner: bool,
    /// It is a `&mut T` that stays on its thread.
    not_send: PhantomData<*mut T>,
}

// SAFETY: a shared guard gives shared references to the value, and nothing else.
unsafe impl<T: Sync> Sync for LockGuard<'_, T> {}

impl<'a, T> LockGuard<'a, T> {
    /// The right that the calling thread has just taken, or has while it forks.
    const fn new(lock: &'a Lock<T>, is_inner: bool) -> Self {
        Self { lock, is_inner, not_send: PhantomData }
    }
}

/// A number that no other living thread has. No system call.
#[inline]
pub(crate) fn this_thread() -> usize {
    // SAFETY: pthread_self(3) has no preconditions; it reads the thread pointer.
    let thread = unsafe { libc::pthread_self() };
    #[expect(clippy::cast_possible_truncation, reason = "64-bit targets only")]
    let number = thread as usize;
    number
}

impl<T> Lock<T> {
    /// An open lock around `value`.
    pub const fn new(value: T) -> Self {
        let (owner, fork) = (AtomicUsize::new(0), AtomicU8::new(NO_FORK));
        Self { owner, fork, value: SpinMutex::new(value) }
    }

    /// Waits until the lock is open and takes it.
    #[inline]
    pub fn lock(&self) -> LockGuard<'_, T> {
        match self.try_lock() {
            Some(guard) => guard,
            None => self.lock_slow(),
        }
    }

    /// The same, for a caller who can do without where a signal handler has interrupted its thread while that holds
    /// the lock.
    #[cfg(feature = "profile")]
    pub(crate) fn lock_unless_mine(&self) -> Option<LockGuard<'_, T>> {
        (!self.is_in_use()).then(|| self.lock())
    }

    /// The same, for a caller who waits for no other thread if its thread `is_interrupted` while that holds one of some
    /// locks: else the handlers of two threads may wait for each other.
    #[cfg(feature = "profile")]
    pub(crate) fn lock_unless(
        &self,
        is_interrupted: impl FnOnce() -> bool,
    ) -> Option<LockGuard<'_, T>> {
        if self.is_in_use() {
            return None;
        }
        self.try_lock().or_else(|| (!is_interrupted()).then(|| self.lock()))
    }

    /// Whether the calling thread holds the lock, and not only for the time of a fork.
    #[cfg(feature = "profile")]
    pub(crate) fn is_in_use(&self) -> bool {
        self.is_mine() && self.fork.load(Ordering::Relaxed) != HELD
    }

    /// The same for a caller who may hold any other lock: none where this one does not open within a millisecond or so.
    #[cfg(feature = "profile")]
    pub(crate) fn lock_soon(&self) -> Option<LockGuard<'_, T>> {
        if self.is_mine() {
            return None;
        }
        wait_a_little(&self.owner);
        self.try_lock()
    }

    /// Takes the lock if it is open at this moment.
    #[must_use]
    #[inline]
    pub fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        let (free, own) = (0, this_thread());
        let taken = self.owner.compare_exchange(free, own, Ordering::Acquire, Ordering::Relaxed);
        count(if taken.is_ok() { Counted::Lock } else { Counted::LockMissed });
        count(Counted::SharedLine);
        taken.ok()?;
        // Open, since the one who holds it would be the owner (I1).
        SpinMutexGuard::leak(self.value.lock());
        Some(LockGuard::new(self, false))
    }

    /// Whether the calling thread holds the lock.
    pub(crate) fn is_mine(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == this_thread()
    }

    /// Takes the lock for the time of a fork. Until [`Lock::release_after_fork`] the calling thread may take it again
    /// (other fork handlers allocate).
    ///
    /// Where a signal handler forks while its thread `is_interrupted` in the middle of a call, a lock that the thread
    /// holds is left as it is, since the same thread goes on in the child; one that another thread holds is waited for
    /// a little while only, since that one may wait for this thread.
    #[inline(never)]
    pub(crate) fn hold_for_fork(&self, is_interrupted: bool) {
        let state = if !is_interrupted {
            let _guard = ManuallyDrop::new(self.lock());
            HELD
        } else if self.is_mine() {
            OWN
        } else {
            wait_a_little(&self.owner);
            if self.try_lock().map(ManuallyDrop::new).is_some() { HELD } else { MISSED }
        };
        self.fork.store(state, Ordering::Relaxed);
    }

    /// Ends [`Lock::hold_for_fork`], in the parent and in the child. A lock that was not to be had stays locked in the
    /// child, where its holder has vanished: who asks for it is told.
    pub(crate) fn release_after_fork(&self, is_child: bool) {
        match self.fork.swap(NO_FORK, Ordering::Relaxed) {
            HELD => drop(LockGuard::new(self, false)),
            MISSED if is_child => self.owner.store(this_thread(), Ordering::Relaxed),
            _ => {}
        }
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self) -> LockGuard<'_, T> {
        if self.is_mine() {
            if self.fork.load(Ordering::Relaxed) == HELD {
                return LockGuard::new(self, true);
            }
            met_own_lock();
        }
        let mut waits = 0_u32;
        loop {
            for _ in 0..SPINS {
                if self.owner.load(Ordering::Relaxed) == 0
                    && let Some(guard) = self.try_lock()
                {
                    return guard;
                }
                core::hint::spin_loop();
            }
            if waits < YIELDS {
                waits += 1;
                rustix::thread::sched_yield();
            } else {
                nap();
            }
        }
    }
}

/// Waits until a lock is open, for a millisecond or so at the most.
#[cold]
#[inline(never)]
fn wait_a_little(owner: &AtomicUsize) {
    for _ in 0..PATIENT_NAPS {
        if owner.load(Ordering::Relaxed) == 0 {
            break;
        }
        nap();
    }
}

#[cold]
#[inline(never)]
fn nap() {
    let nap = rustix::thread::Timespec { tv_sec: 0, tv_nsec: NAP_NANOSECONDS };
    let _ = rustix::thread::nanosleep(&nap);
}

#[cold]
fn met_own_lock() -> ! {
    fatal::die(format_args!(
        "a thread met its own lock (a signal handler that allocates while the thread allocates)"
    ))
}

impl<T> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard").field("is_inner", &self.is_inner).finish_non_exhaustive()
    }
}

impl<T> Deref for LockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the calling thread holds the lock as long as the guard lives, and no other guard is in use (I2).
        unsafe { &*self.lock.value.as_mut_ptr() }
    }
}

impl<T> DerefMut for LockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for `deref`.
        unsafe { &mut *self.lock.value.as_mut_ptr() }
    }
}

impl<T> Drop for LockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_inner {
            // SAFETY: the calling thread holds the lock, and this guard is the last that knows of it.
            unsafe { self.lock.value.force_unlock() };
            self.lock.owner.store(0, Ordering::Release);
        }
    }
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("locked", &self.value.is_locked()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn one_thread_at_a_time() {
        let lock = Lock::new(0_u64);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let mut value = lock.lock();
                        let seen = *value;
                        core::hint::black_box(&seen);
                        *value = seen + 1;
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), 80_000);
    }

    #[test]
    fn threads_share_what_a_guard_shows() {
        let lock = Lock::new(7);
        let guard = lock.lock();
        thread::scope(|scope| {
            (0..2).for_each(|_| drop(scope.spawn(|| assert_eq!(*guard, 7))));
        });
    }

    #[test]
    fn the_holder_is_known() {
        let lock = Lock::new(());
        assert!(!lock.is_mine());
        let guard = lock.lock();
        assert!(lock.is_mine());
        assert!(lock.try_lock().is_none());
        thread::scope(|scope| {
            scope.spawn(|| assert!(!lock.is_mine()));
        });
        drop(guard);
        assert!(!lock.is_mine());
        assert!(lock.try_lock().is_some());
    }

    #[test]
    fn the_thread_that_forks_may_enter_again() {
        let lock = Lock::new(1);
        lock.hold_for_fork(false);
        *lock.lock() += 1;
        assert!(lock.is_mine() && lock.try_lock().is_none());
        lock.release_after_fork(false);
        assert_eq!(lock.try_lock().map(|guard| *guard), Some(2));
    }

    #[test]
    fn a_fork_that_interrupts_its_own_thread_leaves_the_lock_to_it() {
        let lock = Lock::new(1);
        let mut guard = lock.lock();
        lock.hold_for_fork(true);
        lock.release_after_fork(true);
        *guard += 1;
        assert!(lock.is_mine());
        drop(guard);
        lock.hold_for_fork(true);
        *lock.lock() += 1;
        lock.release_after_fork(true);
        assert_eq!(lock.try_lock().map(|guard| *guard), Some(3));
    }

    #[test]
    fn a_fork_does_not_wait_for_one_who_may_wait_for_it() {
        let lock = Lock::new(1);
        thread::scope(|scope| {
            let guard = lock.lock();
            let forker = scope.spawn(|| {
                lock.hold_for_fork(true);
                lock.release_after_fork(false);
            });
            forker.join().expect("it ends while this thread holds the lock");
            drop(guard);
        });
        assert!(lock.try_lock().is_some(), "the parent goes on");
    }
}
