//! What loom knows of the objects that it follows: kept beside them, by address, from their first use in a model on.
//!
//! Loom runs all threads of a model on one thread of the system, and switches between them only in an operation on one
//! of its own objects.
#![allow(unsafe_code, reason = "lends out what loom knows for as long as a model runs")]

use core::cell;
use core::sync::atomic::Ordering;
use std::any::Any;
use std::collections::HashMap;
use std::panic;
use std::rc::Rc;

use loom::sync::Condvar;
use loom::sync::atomic::AtomicBool;
use loom::thread::ThreadId;

std::thread_local! {
    /// The thread that may vanish, and whether it is to.
    static MAY_VANISH: cell::RefCell<Option<(ThreadId, Rc<AtomicBool>)>> =
        const { cell::RefCell::new(None) };
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

/// Lets a thread vanish, as all but one do in the child of a fork: whatever it would do next it does not do.
#[derive(Debug)]
pub(super) struct Vanishing(Rc<AtomicBool>);

impl Vanishing {
    /// Of a thread that is there still.
    pub(super) fn new() -> Self {
        Self(Rc::new(AtomicBool::new(false)))
    }

    /// Does what the calling thread does, until that vanishes.
    pub(super) fn act(self, action: impl FnOnce()) {
        MAY_VANISH.set(Some((loom::thread::current().id(), self.0)));
        let result = panic::catch_unwind(panic::AssertUnwindSafe(action));
        MAY_VANISH.set(None);
        if let Err(why) = result
            && !why.is::<Vanished>()
        {
            panic::resume_unwind(why);
        }
    }

    /// The same thread's, for the one that forks.
    pub(super) fn handle(&self) -> Self {
        Self(Rc::clone(&self.0))
    }

    /// Lets it vanish at its next operation.
    pub(super) fn vanish(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// SAFETY: loom runs all threads of a model on one of the system's.
unsafe impl Send for Vanishing {}

/// What unwinds a thread that vanishes.
struct Vanished;

/// Ends the calling thread here if it is to vanish.
fn vanish_if_told() {
    let flag = MAY_VANISH.with_borrow(|vanishing| {
        let (thread, flag) = vanishing.as_ref()?;
        (*thread == loom::thread::current().id()).then(|| Rc::clone(flag))
    });
    if flag.is_some_and(|flag| flag.load(Ordering::SeqCst)) && !std::thread::panicking() {
        panic::resume_unwind(Box::new(Vanished));
    }
}

/// What loom knows of an object, which becomes known if it is not yet. None while no model runs.
pub(super) fn known<O, T: Any>(object: &O, make: impl FnOnce() -> T) -> Option<&'static T> {
    if KNOWN.with_borrow(Option::is_some) {
        vanish_if_told();
    }
    let address = core::ptr::from_ref(object).addr();
    KNOWN.with_borrow_mut(|known| {
        let object = known.as_mut()?.entry(address).or_insert_with(|| Box::new(make()));
        let object: *const T = object.downcast_ref::<T>()?;
        // SAFETY: it is boxed, and stays until no thread of the model is left.
        Some(unsafe { &*object })
    })
}
