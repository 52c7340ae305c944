//! The background thread of programs whose settings want one: it gives idle memory back for all that make no calls, and
//! looks at the heap where settings want that.
//!
//! It is started by the first call of all, or when the image is loaded if calls came before: earlier libc may not be
//! ready for a thread. It blocks all signals, holds no lock while it sleeps, and never ends. A fork's child has none:
//! it starts one of its own by its first slow way after a decay time, so that a child which soon runs another program
//! starts none.
#![allow(
    unsafe_code,
    reason = "starts a thread of libc's: one of std's would need more than there is so early"
)]

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::thread;

#[cfg(feature = "report")]
use super::occasions::{self, Watch};
use super::trim::scavenge;
use crate::base::clock;
use crate::settings;

/// Whether libc is ready for a thread.
static IS_READY: AtomicBool = AtomicBool::new(false);
/// Whether this process has the thread, or will have it by `STARTS_AT`.
static IS_STARTED: AtomicBool = AtomicBool::new(false);
/// When the thread is started, in milliseconds; 0 for never.
static STARTS_AT: AtomicU64 = AtomicU64::new(0);

/// Bytes of its stack. A look at the heap with all its files takes 68 KiB of it, in a debug build 144.
const STACK_BYTES: usize = 256 << 10;
/// The shortest pause and the longest one, in milliseconds.
const LEAST_PAUSE: u64 = 10;
const MOST_PAUSE: u64 = 1000;
/// The longest pause where it asks for occasions to look, in milliseconds.
#[cfg(feature = "report")]
const WATCH_PAUSE: u64 = 40;

/// Starts the thread if settings want one and there is none. The caller has no lock.
pub(super) fn start_once() {
    if settings::in_force().is_some_and(|settings| settings.background)
        && IS_READY.load(Ordering::Acquire)
        && !IS_STARTED.swap(true, Ordering::Relaxed)
    {
        start();
    }
}

/// Starts the thread that the child of a fork waits for, if it is time to. The caller has no lock.
#[inline]
pub(super) fn start_if_due() {
    let starts_at = STARTS_AT.load(Ordering::Relaxed);
    if starts_at > 0
        && clock::milliseconds() >= starts_at
        && STARTS_AT.swap(0, Ordering::Relaxed) > 0
    {
        start();
    }
}

/// In the child of a fork: the thread was the parent's.
pub(super) fn start_later() {
    if IS_STARTED.load(Ordering::Relaxed) {
        let starts_at = clock::milliseconds().saturating_add(settings::decay_ms());
        STARTS_AT.store(starts_at.max(1), Ordering::Relaxed);
    }
}

/// Starts the thread. Where there can be none, the process goes on without.
#[cold]
fn start() {
    let mut signals = [MaybeUninit::<libc::sigset_t>::uninit(); 2];
    let [all, before] = signals.each_mut().map(MaybeUninit::as_mut_ptr);
    // SAFETY: `all` is a place for a set.
    unsafe { libc::sigfillset(all) };
    // SAFETY: `all` is a set by now, and `before` a place for one. The new thread inherits it.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all, before) };
    // Who is refused something before the thread runs waits for it.
    #[cfg(feature = "report")]
    occasions::expect_watch(true);
    let is_created = create();
    #[cfg(feature = "report")]
    if !is_created {
        occasions::expect_watch(false);
    }
    #[cfg(not(feature = "report"))]
    let _ = is_created;
    // SAFETY: `before` was written above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, ptr::null_mut()) };
}

/// Creates the thread, with a small stack. A program whose thread-locals do not fit there has one as large as all
/// others. Returns whether there is one.
fn create() -> bool {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: the attributes are written.
    if unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: they were initialised above. A size that libc refuses leaves it at libc's own.
    unsafe { libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK_BYTES) };
    let is_created = [attributes.as_ptr(), ptr::null()].into_iter().any(|attributes| {
        // SAFETY: the attributes are initialised, or libc's own. `run` takes no argument, and touches nothing that
        // ends.
        unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes, run, ptr::null_mut()) == 0 }
    });
    if is_created {
        // SAFETY: the thread was created.
        let thread = unsafe { thread.assume_init() };
        // SAFETY: nobody else knows the thread, which never ends.
        unsafe { libc::pthread_detach(thread) };
    }
    // SAFETY: the attributes are not used any more.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    is_created
}

/// What the thread does: it looks a few times in a decay time while there is something to wait for, and less often
/// while there is not.
extern "C" fn run(_: *mut c_void) -> *mut c_void {
    let often = (settings::decay_ms() / 4).clamp(LEAST_PAUSE, MOST_PAUSE);
    let mut pause = often;
    #[cfg(feature = "report")]
    let mut watch = Watch::begin();
    loop {
        pause = if scavenge() { often } else { (2 * pause).min(MOST_PAUSE) };
        #[cfg(feature = "report")]
        if let Some(watch) = &mut watch {
            wait_and_watch(pause, watch);
            continue;
        }
        thread::sleep(Duration::from_millis(pause));
    }
}

/// Pauses, and looks meanwhile where there is an occasion. `pause` is in milliseconds.
#[cfg(feature = "report")]
fn wait_and_watch(pause: u64, watch: &mut Watch) {
    let end = clock::milliseconds().saturating_add(pause);
    loop {
        watch.poll();
        let left = end.saturating_sub(clock::milliseconds());
        if left == 0 {
            return;
        }
        thread::sleep(Duration::from_millis(left.min(WATCH_PAUSE)));
    }
}

extern "C" fn ready() {
    IS_READY.store(true, Ordering::Release);
    start_once();
}

/// The loader calls what this section points to.
#[used]
// SAFETY: the section holds pointers to functions without parameters, which is what this is.
#[unsafe(link_section = ".init_array")]
static READY: extern "C" fn() = ready;
