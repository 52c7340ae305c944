//! Floor 6, where the slow ways begin: settings come into force here, and programs that want more checks than the heap
//! makes by itself find a front before it.
//!
//! Every first call of a thread, and every call that the fast paths of [`small::process`](crate::small::process) do not
//! serve, passes one test ([`settings::is_plain`]). Where it fails, the call comes here: because settings are not
//! fixed yet, or because they concern every call. Then no thread has a heap of its own, so all calls come this way.
//!
//! Files: [`hardened`] the front that knows every block beside the heap; [`ledger`] what it knows; [`quarantine`] freed
//! blocks that wait; [`marks`] bytes that nobody may change; [`mapped`] the memory all this lies in, outside of the heap.

mod hardened;
mod ledger;
mod mapped;
mod marks;
mod quarantine;

use core::ptr;

use hardened::Hardened;

use crate::base::fatal;
use crate::base::law::BrokenLaw;
use crate::base::lock::{Lock, LockGuard};
use crate::base::os::System;
use crate::heap::{Allocation, Misuse, Policy};
use crate::settings::{self, OnMisuse, Settings};
use crate::small::process::{PROCESS, stop};

/// The front with the checks. Its lock comes before all others.
static HARDENED: Lock<Hardened> = Lock::new(Hardened::new());

/// The settings in force; those of the static in use, if the heap has not been used before.
pub(crate) fn begin(built: &Settings) -> &'static Settings {
    settings::fix(built, |settings| {
        if !settings.huge_pages {
            System.decline_huge_pages();
        }
        let Settings { decay_ms, retained_bytes, .. } = *settings;
        PROCESS.heap.set_policy(Policy { decay_ms, retained_bytes });
        PROCESS.set_limit(settings.limit_bytes);
    })
}

/// The front with the checks and its settings, if those in force ask for one.
#[inline]
fn hardened() -> Option<(LockGuard<'static, Hardened>, &'static Settings)> {
    if settings::is_plain() {
        return None;
    }
    let settings = settings::in_force().filter(|settings| settings.is_hardened())?;
    Some((HARDENED.lock(), settings))
}

/// Hands out a block: its start, or null.
#[cold]
#[inline(never)]
pub(crate) fn malloc(size: usize, align: usize, built: &Settings) -> *mut u8 {
    allocate(size, align, built).map_or(ptr::null_mut(), |allocation| allocation.start.as_ptr())
}

/// Hands out a block, with what is known of its bytes.
pub(crate) fn allocate(size: usize, align: usize, built: &Settings) -> Option<Allocation> {
    begin(built);
    match hardened() {
        Some((mut front, settings)) => front.allocate(size, align, settings),
        None => PROCESS.allocate(size, align),
    }
}

/// Takes a block back, or says what is wrong with it.
pub(crate) fn release(address: usize, layout: Option<(usize, usize)>) -> Result<(), Misuse> {
    match hardened() {
        Some((mut front, settings)) => front.release(address, layout, settings),
        None => PROCESS.release(address, layout),
    }
}

/// As [`release`]; a misuse is reported as settings want it.
#[cold]
#[inline(never)]
pub(crate) fn free(address: usize, size: usize, align: usize) {
    if let Err(misuse) = release(address, Some((size, align))) {
        refuse(&misuse);
    }
}

/// Makes a block serve another size where it is; `false` where it cannot. With checks on blocks always move, so that
/// whoever uses the old address is found.
pub(crate) fn resize(address: usize, old: (usize, usize), new_size: usize) -> Result<bool, Misuse> {
    match hardened() {
        Some((front, _)) => front.validate(address, Some(old)).map(|()| false),
        None => PROCESS.resize(address, old, new_size),
    }
}

/// Whether a free would be accepted.
pub(crate) fn validate(address: usize, layout: Option<(usize, usize)>) -> Result<(), Misuse> {
    match hardened() {
        Some((front, _)) => front.validate(address, layout),
        None => PROCESS.validate(address, layout),
    }
}

/// The bytes of the block at `address` that its user may use.
pub(crate) fn usable_size(address: usize) -> Option<usize> {
    match hardened() {
        Some((front, _)) => front.usable_size(address),
        None => PROCESS.usable_size(address),
    }
}

/// Checks the heap's records, and the bytes that nobody may change.
pub(crate) fn check() -> Result<(), BrokenLaw> {
    match hardened() {
        Some((front, settings)) => front.check(settings),
        None => PROCESS.check(),
    }
}

/// Says what was wrong with a call; comes back if settings want the program to go on.
#[cold]
#[inline(never)]
pub(crate) fn refuse(misuse: &Misuse) {
    match begin(&Settings::DEFAULT).on_misuse {
        OnMisuse::Abort => stop(misuse),
        OnMisuse::Report => fatal::complain(format_args!("{misuse}")),
    }
}

/// Says which law is broken; comes back if settings want the program to go on.
#[cold]
pub(crate) fn complain_of(broken: &BrokenLaw, settings: &Settings) {
    match settings.on_misuse {
        OnMisuse::Abort => fatal::die(format_args!("HEAP DAMAGED: {broken}")),
        OnMisuse::Report => fatal::complain(format_args!("HEAP DAMAGED: {broken}")),
    }
}

/// Gives idle memory back, on behalf of a process that makes no calls. With the front its lock is held meanwhile, as by
/// every call, so that a fork waits.
#[cfg(feature = "std")]
pub(crate) fn scavenge() {
    let front = hardened();
    PROCESS.scavenge();
    drop(front);
}

/// Takes the front's lock, and that of the settings, for the time of a fork.
pub(crate) fn hold_for_fork() {
    settings::hold_for_fork();
    HARDENED.hold_for_fork();
}

/// Opens them again, in the parent and in the child.
pub(crate) fn release_after_fork() {
    HARDENED.release_after_fork();
    settings::release_after_fork();
}
