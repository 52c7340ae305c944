//! Atomics, cells and a lock that loom follows while a model runs. At all other times they are the plain ones.
//!
//! Each is laid out as the plain one is, so zero bytes are a value of it, and a `static` may have one. What loom knows
//! of it is kept beside ([`followed`](super::followed)). Whatever is written goes to both: so the plain ones tell what
//! a model began with, and how it ended.
#![allow(unsafe_code, reason = "says which of them zero bytes are a value of")]
#![allow(dead_code, reason = "the plain ones have more than is used, too")]

use core::cell;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{self, Ordering};

use super::followed::{Known, known};
use crate::base::array::Zeroable;
use crate::base::lock;

/// An atomic of one of the types that loom has, and the operation that loom is told of where it is stored to.
///
/// To loom a store has no place among the read-modify-write operations of other threads, so it finds that one of those
/// may still read what was there before, and be read after it: no processor does that. Where the two meet, as in state
/// bytes, a store is a swap to loom. That it may wait in a buffer meanwhile is what `slot_model` looks at.
macro_rules! atomic {
    ($name:ident, $value:ty, $store:ident) => {
        #[derive(Debug)]
        #[repr(transparent)]
        pub(crate) struct $name(atomic::$name);

        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

            fn known(&self) -> Option<&'static Known<loom::sync::atomic::$name>> {
                let make =
                    || Known::new(loom::sync::atomic::$name::new(self.0.load(Ordering::Relaxed)));
                known(self, make)
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.known().map_or_else(
                    || self.0.load(order),
                    |known| known.read(|atomic| atomic.load(order)),
                )
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                match self.known() {
                    Some(known) => known.write(|atomic| {
                        atomic.$store(value, order);
                        self.0.store(value, order);
                    }),
                    None => self.0.store(value, order),
                }
            }

            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                match self.known() {
                    Some(known) => known.write(|atomic| {
                        let old = atomic.swap(value, order);
                        self.0.store(value, Ordering::Relaxed);
                        old
                    }),
                    None => self.0.swap(value, order),
                }
            }
        }
    };
}

/// One of the two compare-exchanges of an atomic number.
macro_rules! exchange {
    ($exchange:ident, $value:ty) => {
        pub(crate) fn $exchange(
            &self,
            old: $value,
            new: $value,
            success: Ordering,
            failure: Ordering,
        ) -> Result<$value, $value> {
            match self.known() {
                Some(known) => known.write(|atomic| {
                    let was = atomic.$exchange(old, new, success, failure)?;
                    self.0.store(new, Ordering::Relaxed);
                    Ok(was)
                }),
                None => self.0.$exchange(old, new, success, failure),
            }
        }
    };
}

/// An atomic number.
macro_rules! atomic_number {
    ($name:ident, $value:ty, $store:ident) => {
        atomic!($name, $value, $store);

        impl $name {
            pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                match self.known() {
                    Some(known) => known.write(|atomic| {
                        let old = atomic.fetch_add(value, order);
                        self.0.store(old.wrapping_add(value), Ordering::Relaxed);
                        old
                    }),
                    None => self.0.fetch_add(value, order),
                }
            }

            pub(crate) fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                match self.known() {
                    Some(known) => known.write(|atomic| {
                        let old = atomic.fetch_or(value, order);
                        self.0.store(old | value, Ordering::Relaxed);
                        old
                    }),
                    None => self.0.fetch_or(value, order),
                }
            }

            pub(crate) fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                match self.known() {
                    Some(known) => known.write(|atomic| {
                        let old = atomic.fetch_and(value, order);
                        self.0.store(old & value, Ordering::Relaxed);
                        old
                    }),
                    None => self.0.fetch_and(value, order),
                }
            }

            exchange!(compare_exchange, $value);
            exchange!(compare_exchange_weak, $value);
        }
    };
}

atomic!(AtomicBool, bool, store);
atomic_number!(AtomicU8, u8, swap);
atomic_number!(AtomicU16, u16, store);
atomic_number!(AtomicU32, u32, store);
atomic_number!(AtomicU64, u64, store);
atomic_number!(AtomicUsize, usize, store);

// SAFETY: 0 is a number, and the number is all there is.
unsafe impl Zeroable for AtomicU8 {}
// SAFETY: as above.
unsafe impl Zeroable for AtomicU64 {}

/// An atomic pointer.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct AtomicPtr<T>(atomic::AtomicPtr<T>);

impl<T: 'static> AtomicPtr<T> {
    pub(crate) const fn new(value: *mut T) -> Self {
        Self(atomic::AtomicPtr::new(value))
    }

    fn known(&self) -> Option<&'static Known<loom::sync::atomic::AtomicPtr<T>>> {
        let make =
            || Known::new(loom::sync::atomic::AtomicPtr::new(self.0.load(Ordering::Relaxed)));
        known(self, make)
    }

    pub(crate) fn load(&self, order: Ordering) -> *mut T {
        self.known()
            .map_or_else(|| self.0.load(order), |known| known.read(|atomic| atomic.load(order)))
    }

    pub(crate) fn store(&self, value: *mut T, order: Ordering) {
        match self.known() {
            Some(known) => known.write(|atomic| {
                atomic.store(value, order);
                self.0.store(value, order);
            }),
            None => self.0.store(value, order),
        }
    }
}

/// A cell. Loom looks whether two threads use it at the same time.
#[repr(transparent)]
pub(crate) struct Cell<T>(cell::Cell<T>);

impl<T> fmt::Debug for Cell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cell")
    }
}

impl<T> Cell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(cell::Cell::new(value))
    }

    fn known(&self) -> Option<&'static loom::cell::UnsafeCell<()>> {
        known(self, || loom::cell::UnsafeCell::new(()))
    }

    fn note_read(&self) {
        if let Some(known) = self.known() {
            known.with(|_| ());
        }
    }

    fn note_write(&self) {
        if let Some(known) = self.known() {
            known.with_mut(|_| ());
        }
    }

    pub(crate) fn set(&self, value: T) {
        self.replace(value);
    }

    pub(crate) fn replace(&self, value: T) -> T {
        self.note_write();
        self.0.replace(value)
    }

    pub(crate) fn swap(&self, other: &Self) {
        self.note_write();
        other.note_write();
        self.0.swap(&other.0);
    }
}

impl<T: Copy> Cell<T> {
    pub(crate) fn get(&self) -> T {
        self.note_read();
        self.0.get()
    }

    pub(crate) fn update(&self, change: impl FnOnce(T) -> T) {
        self.set(change(self.get()));
    }
}

impl<T: Default> Cell<T> {
    pub(crate) fn take(&self) -> T {
        self.replace(T::default())
    }
}

/// The lock. Loom decides who of those that wait comes next.
#[derive(Debug)]
pub(crate) struct Lock<T>(lock::Lock<T>);

/// The right to use the value until it is dropped.
#[derive(Debug)]
pub(crate) struct LockGuard<'a, T> {
    plain: lock::LockGuard<'a, T>,
    // Dropped last: until then no other thread of the model gets as far as the plain lock.
    _known: Option<loom::sync::MutexGuard<'static, ()>>,
}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(lock::Lock::new(value))
    }

    pub(crate) fn lock(&self) -> LockGuard<'_, T> {
        let known = known(self, || loom::sync::Mutex::new(()));
        let known = known.and_then(|known| known.lock().ok());
        LockGuard { plain: self.0.lock(), _known: known }
    }

    pub(crate) fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        let known = match known(self, || loom::sync::Mutex::new(())) {
            Some(known) => Some(known.try_lock().ok()?),
            None => None,
        };
        Some(LockGuard { plain: self.0.try_lock()?, _known: known })
    }

    pub(crate) fn is_mine(&self) -> bool {
        self.0.is_mine()
    }

    pub(crate) fn hold_for_fork(&self, is_interrupted: bool) {
        self.0.hold_for_fork(is_interrupted);
    }

    pub(crate) fn release_after_fork(&self, is_child: bool) {
        self.0.release_after_fork(is_child);
    }
}

impl<T> Deref for LockGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.plain
    }
}

impl<T> DerefMut for LockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.plain
    }
}
