//! The moment from which on settings do not change.
//!
//! Invariants: **I1** once fixed, settings do not change; **I2** before they are fixed, [`is_plain`] is false.

use core::sync::atomic::{AtomicBool, Ordering};

use spin::Once;

use super::environment;
use super::record::{OnMisuse, Settings};
use crate::base::lock::Lock;

static IN_FORCE: Once<Settings> = Once::new();
/// Held while settings are fixed, so that no fork leaves them half fixed to the child. Before all other locks.
static FIXING: Lock<()> = Lock::new(());
static IS_PLAIN: AtomicBool = AtomicBool::new(false);

/// Whether settings are fixed and leave the fast paths alone.
#[inline]
pub(crate) fn is_plain() -> bool {
    IS_PLAIN.load(Ordering::Relaxed)
}

/// The settings in force. If there are none yet, those of the static in use, overridden by the environment, are from
/// now on; `put_in_force` is called once, with them.
pub(crate) fn fix(built: &Settings, put_in_force: impl FnOnce(&Settings)) -> &'static Settings {
    let settings = IN_FORCE.get().unwrap_or_else(|| {
        let _fixing = FIXING.lock();
        IN_FORCE.call_once(|| {
            let (settings, mistakes) = environment::override_by_environment(*built);
            let settings = settings.completed();
            put_in_force(&settings);
            mistakes.complain();
            settings
        })
    });
    if !is_plain() && !settings.is_hardened() && settings.on_misuse == OnMisuse::Abort {
        IS_PLAIN.store(true, Ordering::Relaxed);
    }
    settings
}

/// Whether the calling thread is fixing settings.
pub(crate) fn is_mine() -> bool {
    FIXING.is_mine()
}

/// Lets nobody fix settings for the time of a fork.
pub(crate) fn hold_for_fork(is_interrupted: bool) {
    FIXING.hold_for_fork(is_interrupted);
}

/// Ends [`hold_for_fork`], in the parent and in the child.
pub(crate) fn release_after_fork(is_child: bool) {
    FIXING.release_after_fork(is_child);
}

/// The settings in force, if the heap has been used.
pub(crate) fn in_force() -> Option<&'static Settings> {
    IN_FORCE.get()
}

/// Bytes of slots that the caches of one thread may have places for.
pub(crate) fn cache_bytes() -> usize {
    in_force().map_or(usize::MAX, |settings| settings.cache_bytes)
}

/// After how many milliseconds what is idle goes back.
pub(crate) fn decay_ms() -> u64 {
    in_force().unwrap_or(&Settings::DEFAULT).decay_ms as u64
}

/// Whether slots are handed out in random order.
pub(crate) fn random_slots() -> bool {
    in_force().is_some_and(|settings| settings.random_slots)
}
