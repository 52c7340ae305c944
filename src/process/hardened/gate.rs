//! The one hardened heap of the process, behind its lock.

use super::heap::Hardened;
use crate::base::lock::{Lock, LockGuard};
use crate::settings::{self, Settings};

/// Its lock comes before all others but that of the settings.
static HARDENED: Lock<Hardened> = Lock::new(Hardened::new());

/// The hardened heap and its settings, if those in force ask for one.
#[inline]
pub(in crate::process) fn hardened() -> Option<(LockGuard<'static, Hardened>, &'static Settings)> {
    if settings::is_plain() {
        return None;
    }
    let settings = settings::in_force().filter(|settings| settings.is_hardened())?;
    Some((HARDENED.lock(), settings))
}

/// Whether the calling thread holds its lock.
pub(in crate::process) fn is_mine() -> bool {
    HARDENED.is_mine()
}

/// Takes its lock for the time of a fork.
pub(in crate::process) fn hold_for_fork(is_interrupted: bool) {
    HARDENED.hold_for_fork(is_interrupted);
}

/// Opens it again, in the parent and in the child.
pub(in crate::process) fn release_after_fork(is_child: bool) {
    HARDENED.release_after_fork(is_child);
}
