//! When the heap is looked at because settings want it: a signal, a peak, a limit that refuses.
//!
//! What happens only sets a bit. The background thread asks for it a few times in 100 ms ([`Watch::poll`]) and hands it
//! to the function that looks, which stands in a floor above. Occasions that come meanwhile are merged into the next
//! look. Bits belong to a process: those that a fork's child inherits are its parent's, and nobody's there.
//!
//! A thread that the limit refuses waits until that was looked at, without any lock, and not for long: most programs
//! end then, and the look is what their users want to see.
#![allow(unsafe_code, reason = "installs signal handlers")]

use core::ffi::c_int;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};

use spin::Once;

use crate::base::clock;
use crate::base::fatal;
use crate::base::path::this_process;
#[cfg(feature = "profile")]
use crate::profile::Sites;
use crate::settings::{self, Occasions, Settings};
use crate::slabs::depot::DEPOT;

/// What was known of the profile at the last look, if there was one.
#[cfg(feature = "profile")]
pub(crate) type Earlier = Option<Sites>;
/// Nothing is.
#[cfg(not(feature = "profile"))]
pub(crate) type Earlier = ();

/// Looks at the heap: why, the number of the look, and what is known of the last one. Returns whether it has succeeded.
type Look = fn(&Settings, &Why, u32, &mut Earlier) -> bool;

/// What looks.
static LOOK: Once<Look> = Once::new();

/// The process to which the occasions belong, and these: bits.
static PENDING: AtomicU64 = AtomicU64::new(0);
/// The process that has a thread which asks for them, or will have it in a moment.
static WATCHED: AtomicI32 = AtomicI32::new(0);
/// From when on a refusal is an occasion again, in milliseconds.
static REFUSALS_FROM: AtomicU64 = AtomicU64::new(0);
/// Whether a look over a refusal is under way.
static IS_AT_REFUSAL: AtomicBool = AtomicBool::new(false);
/// Bytes in use at the last peak.
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The least peak, in bytes.
const LEAST_PEAK: usize = 1 << 20;
/// The time between looks over refusals, in milliseconds.
const REFUSAL_PAUSE: u64 = 60_000;
/// How long a thread that was refused waits for the look, in milliseconds.
const REFUSAL_WAIT: u64 = 3000;
/// The length of a nap meanwhile, in nanoseconds.
const NAP: i64 = 1_000_000;
/// What a slab may take more than the request for which it is made, in bytes.
const SLAB_BYTES: usize = 4 << 20;

/// Why the heap is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Why {
    occasions: Occasions,
    peak_bytes: usize,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.occasions)?;
        if self.occasions.has(Occasions::PEAK) {
            write!(f, " of {} bytes", self.peak_bytes)
        } else {
            Ok(())
        }
    }
}

/// Says what looks. Called once, when the image is loaded.
pub(crate) fn set_look(look: Look) {
    LOOK.call_once(|| look);
}

/// Settings come into force: signals are taken from now on, where the program has left them their default action.
pub(super) fn begin(settings: &Settings) {
    for (occasion, signal) in settings.snapshot_on.signals() {
        if !take(signal) {
            fatal::complain(format_args!(
                "the program has an action of its own for the signal {occasion}; it is no occasion to look"
            ));
        }
    }
}

/// Installs the handler of a signal that has its default action. Returns whether it had that.
fn take(signal: c_int) -> bool {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the action is asked for, and `before` is a place for it.
    let asked = unsafe { libc::sigaction(signal, ptr::null(), before.as_mut_ptr()) };
    // SAFETY: it is zero or what libc has written: all of its fields are numbers and pointers.
    let before = unsafe { before.assume_init() };
    if asked != 0 || before.sa_sigaction != libc::SIG_DFL {
        return false;
    }
    let mut action = before;
    action.sa_sigaction = note_signal as *const () as usize;
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: a set that is in place.
    unsafe { libc::sigemptyset(&raw mut action.sa_mask) };
    // SAFETY: the handler touches atomics only, and asks the system for the number of the process.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) == 0 }
}

extern "C" fn note_signal(signal: c_int) {
    note(Occasions::of_signal(signal));
}

/// The number of this process where occasions have it.
fn owner() -> u64 {
    u64::from(this_process().cast_unsigned()) << 32
}

/// Notes an occasion of this process.
fn note(occasion: Occasions) {
    let owner = owner();
    let add = |pending| Some(owner | u64::from(of(owner, pending).and(occasion).bits()));
    let _ = PENDING.fetch_update(Ordering::AcqRel, Ordering::Relaxed, add);
}

/// What is pending, if it is this process's.
fn of(owner: u64, pending: u64) -> Occasions {
    #[expect(clippy::cast_possible_truncation, reason = "there are 16 bits")]
    let bits = pending as u16;
    if pending >> 32 == owner >> 32 { Occasions::from_bits(bits) } else { Occasions::NONE }
}

/// The occasions that wait.
fn pending() -> Occasions {
    of(owner(), PENDING.load(Ordering::Acquire))
}

/// A request was refused. The caller has no lock. Waits for the look over it, if there is to be one.
#[cold]
#[inline(never)]
pub(super) fn note_refusal(requested: usize) {
    let wants = |settings: &Settings| settings.snapshot_on.has(Occasions::LIMIT);
    if !settings::in_force().is_some_and(wants)
        || WATCHED.load(Ordering::Acquire) != this_process()
        || DEPOT
            .heap
            .room_below_limit()
            .is_none_or(|room| room > requested.saturating_add(SLAB_BYTES))
    {
        return;
    }
    let now = clock::milliseconds();
    let from = REFUSALS_FROM.load(Ordering::Acquire);
    let until = if now >= from {
        note(Occasions::LIMIT);
        now + REFUSAL_WAIT
    } else {
        // A look that takes longer is waited for by nobody.
        from - REFUSAL_PAUSE + REFUSAL_WAIT
    };
    let is_due = || IS_AT_REFUSAL.load(Ordering::Acquire) || pending().has(Occasions::LIMIT);
    while is_due() && clock::milliseconds() < until {
        let _ = rustix::thread::nanosleep(&rustix::thread::Timespec { tv_sec: 0, tv_nsec: NAP });
    }
}

/// The settings in force, if they want looks.
fn settings_with_looks() -> Option<&'static Settings> {
    settings::in_force().filter(|settings| !settings.snapshot_on.is_none())
}

/// Says whether the thread is about to run that asks for occasions in this process, if settings want any.
pub(super) fn expect_watch(is_coming: bool) {
    if settings_with_looks().is_some() {
        WATCHED.store(if is_coming { this_process() } else { 0 }, Ordering::Release);
    }
}

/// What the background thread knows of the looks of its process.
#[derive(Debug)]
pub(super) struct Watch {
    settings: &'static Settings,
    /// How many there were.
    looks: u32,
    earlier: Earlier,
}

impl Watch {
    /// Begins to watch, if settings want that: numbers begin anew.
    pub(super) fn begin() -> Option<Self> {
        let settings = settings_with_looks()?;
        IS_AT_REFUSAL.store(false, Ordering::Relaxed);
        REFUSALS_FROM.store(0, Ordering::Relaxed);
        Some(Self { settings, looks: 0, earlier: Earlier::default() })
    }

    /// Looks if there is an occasion.
    pub(super) fn poll(&mut self) {
        let Some(look) = LOOK.get() else { return };
        let mut why = Why { occasions: self.take_pending(), peak_bytes: 0 };
        if self.settings.snapshot_on.has(Occasions::PEAK)
            && let Some(bytes) = new_peak()
        {
            why = Why { occasions: why.occasions.and(Occasions::PEAK), peak_bytes: bytes };
        }
        // What failed has no number, so that there are no holes.
        if !why.occasions.is_none() && look(self.settings, &why, self.looks + 1, &mut self.earlier)
        {
            self.looks += 1;
        }
        IS_AT_REFUSAL.store(false, Ordering::Release);
    }

    /// Takes the occasions that wait.
    fn take_pending(&self) -> Occasions {
        if pending().is_none() {
            return Occasions::NONE;
        }
        let now = clock::milliseconds();
        let is_early = now < REFUSALS_FROM.load(Ordering::Relaxed);
        // Said before the occasion is taken, so that who waits for it goes on waiting.
        IS_AT_REFUSAL.store(!is_early, Ordering::Release);
        let taken = of(owner(), PENDING.swap(0, Ordering::AcqRel));
        if !taken.has(Occasions::LIMIT) {
            return taken;
        }
        if is_early {
            return taken.without(Occasions::LIMIT);
        }
        REFUSALS_FROM.store(now + REFUSAL_PAUSE, Ordering::Release);
        taken
    }
}

/// The bytes in use, if they are a new peak.
fn new_peak() -> Option<usize> {
    let (bytes, last) = (DEPOT.heap.allocated_bytes(), PEAK.load(Ordering::Relaxed));
    let is_new = bytes >= LEAST_PEAK && bytes > last && bytes - last >= last / 8;
    is_new.then(|| {
        PEAK.store(bytes, Ordering::Relaxed);
        bytes
    })
}
