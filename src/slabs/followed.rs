//! What loom knows of the objects that it follows: kept beside them, by address, from their first use in a model on.
//!
//! Loom runs all threads of a model on one thread of the system, and switches between them only in an operation on one
//! of its own objects.
#![allow(unsafe_code, reason = "lends out what loom knows for as long as a model runs")]

use core::cell;
use std::any::Any;
use std::collections::HashMap;
use std::rc::Rc;

use loom::sync::Condvar;
use loom::thread::ThreadId;

std::thread_local! {
    /// What loom knows, by address, while a model runs.
    static KNOWN: cell::RefCell<Option<HashMap<usize, Box<dyn Any>>>> = const { cell::RefCell::new(None) };
}

/// Loom follows everything until this is dropped. All threads of the model have ended by then.
#[derive(Debug)]
pub(super) struct Followed(());

impl Followed {
    /// Begins to follow. What threads are to use at the same time has to be used once before there are any: loom takes
    /// the first use for the creation.
    pub(super) fn begin() -> Self {
        KNOWN.set(Some(HashMap::new()));
        Self(())
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        KNOWN.set(None);
    }
}

/// What loom knows of an atomic.
///
/// Loom finds out which orders to try by comparing an operation with the last one on the same atomic only. Where a
/// thread reads and then writes, as most of the slots' protocol does, the last one before the write is its own read,
/// and loom misses that another thread's read, just before, could also have come later. So each thread that reads has
/// a *mark* here, and every other thread that writes touches it. Loom never switches threads at a mark, only at the
/// operations themselves.
pub(super) struct Known<T> {
    atomic: T,
    marks: cell::RefCell<Vec<(ThreadId, Rc<Condvar>)>>,
}

impl<T> Known<T> {
    pub(super) fn new(atomic: T) -> Self {
        Self { atomic, marks: cell::RefCell::default() }
    }

    /// An operation that writes nothing.
    pub(super) fn read<R>(&self, operation: impl FnOnce(&T) -> R) -> R {
        let result = operation(&self.atomic);
        let reader = loom::thread::current().id();
        let mut marks = self.marks.borrow_mut();
        let position = marks.iter().position(|(other, _)| *other == reader);
        let position = position.unwrap_or_else(|| {
            marks.push((reader, Rc::default()));
            marks.len() - 1
        });
        let mark = Rc::clone(&marks[position].1);
        drop(marks);
        touch(&[mark]);
        result
    }

    /// An operation that may write.
    pub(super) fn write<R>(&self, operation: impl FnOnce(&T) -> R) -> R {
        let result = operation(&self.atomic);
        let writer = loom::thread::current().id();
        let marks = self.marks.borrow();
        let others: Vec<_> = marks
            .iter()
            .filter(|(reader, _)| *reader != writer)
            .map(|mark| Rc::clone(&mark.1))
            .collect();
        drop(marks);
        touch(&others);
        result
    }
}

/// Marks are condition variables because loom draws no conclusions from these on what a thread has seen.
fn touch(marks: &[Rc<Condvar>]) {
    loom::stop_exploring();
    marks.iter().for_each(|mark| {
        mark.notify_one();
    });
    loom::explore();
}

/// What loom knows of an object, which becomes known if it is not yet. None while no model runs.
pub(super) fn known<O, T: Any>(object: &O, make: impl FnOnce() -> T) -> Option<&'static T> {
    let address = core::ptr::from_ref(object).addr();
    KNOWN.with_borrow_mut(|known| {
        let object = known.as_mut()?.entry(address).or_insert_with(|| Box::new(make()));
        let object: *const T = object.downcast_ref::<T>()?;
        // SAFETY: it is boxed, and stays until no thread of the model is left.
        Some(unsafe { &*object })
    })
}
