//! Loads that several tests put on the process heap.

use core::time::Duration;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::Rng;
use super::piece::{MEMS, Piece};

/// Makes `bytes` of blocks of all sizes up to 1 MiB dirty, and frees them.
pub(crate) fn fill_and_free(rng: &mut Rng, bytes: usize) {
    let (mut pieces, mut sum) = (Vec::with_capacity(400_000), 0);
    while sum < bytes {
        let size = if rng.once_in(32) { rng.size(20) } else { rng.size(12) };
        pieces.push(Piece::full(size, 1).expect("there is memory"));
        sum += size;
    }
    pieces.into_iter().for_each(Piece::discard);
}

/// Calls of all small sizes, some of which miss their cache, for as long as that takes.
pub(crate) fn call_for(rng: &mut Rng, time: Duration) {
    let (start, mut kept) = (Instant::now(), Vec::with_capacity(1000));
    while start.elapsed() < time {
        for _ in 0..1000 {
            kept.push(Piece::new(rng.size(10), 8, rng.next()).expect("there is memory"));
        }
        kept.drain(..).for_each(Piece::free);
        thread::sleep(Duration::from_millis(1));
    }
}

/// Trims until all these threads have ended, with a pause in between. How often that was.
pub(crate) fn trim_beside(threads: Vec<JoinHandle<()>>, pause: Duration) -> Result<usize, String> {
    let mut trims = 0;
    while threads.iter().any(|thread| !thread.is_finished()) {
        MEMS.trim();
        trims += 1;
        thread::sleep(pause);
    }
    for thread in threads {
        thread.join().map_err(|_| "a thread has died".to_owned())?;
    }
    MEMS.check().map_err(|broken| broken.to_string())?;
    Ok(trims)
}

/// A thread that has done its work and sleeps, with what it made.
pub(crate) struct Sleeper<T> {
    wake: Sender<()>,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Sleeper<T> {
    /// Runs `work` on a thread, which sleeps then.
    pub(crate) fn after(work: impl FnOnce() -> T + Send + 'static) -> Result<Self, String> {
        let (say, hear) = channel();
        let (wake, sleep) = channel::<()>();
        let thread = thread::spawn(move || {
            let made = work();
            say.send(()).expect("somebody listens");
            // Until nobody holds the other end any more.
            sleep.recv().expect_err("it is never sent anything");
            made
        });
        hear.recv().map_err(|error| error.to_string())?;
        Ok(Self { wake, thread })
    }

    /// Lets the thread end. What it made.
    pub(crate) fn wake(self) -> Result<T, String> {
        drop(self.wake);
        self.thread.join().map_err(|_| "a thread has died".to_owned())
    }
}
