//! The moment in which settings come into force, and what they say of mistakes.

use crate::base::fatal;
use crate::base::law::BrokenLaw;
use crate::base::os::System;
use crate::heap::{Misuse, Policy};
use crate::settings::{self, OnMisuse, Settings};
use crate::slabs::depot::DEPOT;

use super::plain::PROCESS_HEAP;

/// The settings in force; those of the static in use, if the heap has not been used before.
pub(crate) fn begin(built: &Settings) -> &'static Settings {
    settings::fix(built, |settings| {
        if !settings.huge_pages {
            System.decline_huge_pages();
        }
        let Settings { decay_ms, retained_bytes, .. } = *settings;
        DEPOT.heap.set_policy(Policy { decay_ms, retained_bytes });
        PROCESS_HEAP.set_limit(settings.limit_bytes);
    })
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

/// Ends the process over a wrong address.
#[cold]
#[inline(never)]
pub(super) fn stop(misuse: &Misuse) -> ! {
    fatal::die(format_args!("{misuse}"))
}

/// Says which law is broken; comes back if settings want the program to go on.
#[cold]
pub(crate) fn complain_of(broken: &BrokenLaw, settings: &Settings) {
    match settings.on_misuse {
        OnMisuse::Abort => fatal::die(format_args!("HEAP DAMAGED: {broken}")),
        OnMisuse::Report => fatal::complain(format_args!("HEAP DAMAGED: {broken}")),
    }
}
