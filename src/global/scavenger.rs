//! [`Scavenger`]: a thread that gives idle memory back for a process that makes no calls.
//!
//! The heap itself has no thread: each caller looks whether bytes are idle. The scavenger does nothing but look, too.

use core::fmt;
use core::time::Duration;
use std::io;
use std::process;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::process::trim::scavenge;

/// A thread that looks every now and then whether memory of the process heap is idle, and gives it back to the system.
///
/// MeMS gives pages back that nobody has needed for a while (`MEMS_DECAY_MS`) when it is called. A process that was
/// busy and then makes no call at all keeps what it had; a scavenger gives it back. It stops when the value is dropped.
///
/// ```
/// use core::time::Duration;
///
/// #[global_allocator]
/// static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();
///
/// # fn main() -> std::io::Result<()> {
/// let _scavenger = mems::Scavenger::start(Duration::from_secs(1))?;
/// // ... serve, and sleep as long as you like ...
/// # Ok(())
/// # }
/// ```
///
/// What other threads have in their caches, and free pages in their slabs, are theirs: a thread that will be idle for
/// long calls [`MemsAlloc::thread_flush`](crate::MemsAlloc::thread_flush) first, since a few cached slots can keep many
/// slabs. What others have freed of its blocks goes back without it. What the heap keeps for the next user
/// (`MEMS_RETAINED_BYTES`) stays as well.
///
/// `MEMS_BACKGROUND=1` starts such a thread in any program, without a line of code:
/// [`Builder::background`](crate::Builder::background).
///
/// # Fork
///
/// A fork may happen at any moment: whatever the scavenger was giving back is settled in the child. The child has no
/// such thread, and dropping its copy of the value does nothing; a child that lives long starts a scavenger of its own.
pub struct Scavenger {
    shared: Arc<Shared>,
    /// `None` once it was joined.
    thread: Option<JoinHandle<()>>,
    /// The process it runs in.
    process_id: u32,
}

/// Tells the thread to end.
#[derive(Default)]
struct Shared {
    is_stopped: Mutex<bool>,
    stopped: Condvar,
}

impl Scavenger {
    /// Starts the thread. It looks once in `interval` (a millisecond at least); a quarter of the decay time is often
    /// enough. A look takes a few microseconds where there is nothing to do.
    ///
    /// # Errors
    ///
    /// The system's error if no thread can be started.
    pub fn start(interval: Duration) -> io::Result<Self> {
        let interval = interval.max(Duration::from_millis(1));
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let builder = Builder::new().name("mems-scavenger".into());
        let thread = builder.spawn(move || run(&theirs, interval))?;
        Ok(Self { shared, thread: Some(thread), process_id: process::id() })
    }
}

/// Looks until it is told to end.
fn run(shared: &Shared, interval: Duration) {
    let mut is_stopped = shared.is_stopped.lock().unwrap_or_else(PoisonError::into_inner);
    while !*is_stopped {
        // A thread that drops the value meanwhile waits for the end of one look.
        drop(is_stopped);
        scavenge();
        is_stopped = shared.is_stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_stopped {
            let woken = shared.stopped.wait_timeout(is_stopped, interval);
            is_stopped = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Scavenger {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if process::id() != self.process_id {
            // The child of a fork: there is no such thread, and its lock may be held for ever.
            return;
        }
        *self.shared.is_stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.stopped.notify_one();
        // It does not panic, so there is nothing to learn from it.
        let _ = thread.join();
    }
}

impl fmt::Debug for Scavenger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scavenger").field("process_id", &self.process_id).finish_non_exhaustive()
    }
}
