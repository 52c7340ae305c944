//! The lock of MeMS: a spin lock that goes to sleep, and that knows its owner.
//!
//! Owns: waiting. A waiter tries [`SPINS`] times, then yields the processor [`YIELDS`] times, then sleeps
//! [`NAP_NANOSECONDS`] between tries: yielding alone would livelock where a waiter of a real-time class runs beside a
//! holder of a lower one. The lock is not fair: a fair one hands itself to threads that do not run.
//!
//! Invariants: **I1** `owner` is the holder's thread pointer while the lock is held and 0 otherwise, so a thread that
//! meets its own lock (a signal handler that allocates) is told so instead of hanging.
#![allow(unsafe_code, reason = "the thread pointer is read from libc")]

use core::fmt;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicUsize, Ordering};

use spin::mutex::{SpinMutex, SpinMutexGuard};

use super::fatal;

/// Tries before the first yield.
const SPINS: u32 = 64;
/// Yields before the first nap.
const YIELDS: u32 = 64;
/// The length of a nap.
const NAP_NANOSECONDS: i64 = 50_000;

/// A value that one thread at a time may use.
pub struct Lock<T> {
    owner: AtomicUsize,
    value: SpinMutex<T>,
}

/// The right to use the value until it is dropped.
pub struct LockGuard<'a, T> {
    owner: &'a AtomicUsize,
    value: SpinMutexGuard<'a, T>,
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
        Self { owner: AtomicUsize::new(0), value: SpinMutex::new(value) }
    }

    /// Waits until the lock is open and takes it.
    #[inline]
    pub fn lock(&self) -> LockGuard<'_, T> {
        let value = match self.value.try_lock() {
            Some(value) => value,
            None => self.lock_slow(),
        };
        self.owner.store(this_thread(), Ordering::Relaxed);
        LockGuard { owner: &self.owner, value }
    }

    /// Takes the lock if it is open at this moment.
    #[must_use]
    pub fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        let value = self.value.try_lock()?;
        self.owner.store(this_thread(), Ordering::Relaxed);
        Some(LockGuard { owner: &self.owner, value })
    }

    /// Whether the calling thread holds the lock.
    pub(crate) fn is_mine(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == this_thread()
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self) -> SpinMutexGuard<'_, T> {
        if self.is_mine() {
            fatal::die(format_args!(
                "a thread met its own lock (a signal handler that allocates while the thread allocates)"
            ));
        }
        let mut waits = 0_u32;
        loop {
            for _ in 0..SPINS {
                if let Some(value) = self.value.try_lock_weak() {
                    return value;
                }
                core::hint::spin_loop();
            }
            if waits < YIELDS {
                waits += 1;
                rustix::thread::sched_yield();
            } else {
                let nap = rustix::thread::Timespec { tv_sec: 0, tv_nsec: NAP_NANOSECONDS };
                let _ = rustix::thread::nanosleep(&nap);
            }
        }
    }
}

impl<T> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard").finish_non_exhaustive()
    }
}

impl<T> Deref for LockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for LockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for LockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.owner.store(0, Ordering::Relaxed);
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
}
