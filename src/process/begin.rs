//! The moment in which settings come into force, and what they say of mistakes.

use crate::base::fatal;
use crate::base::law::BrokenLaw;
use crate::base::os::System;
use crate::heap::{Misuse, Policy};
use crate::settings::{self, OnMisuse, Settings};
use crate::slabs::depot::DEPOT;

use super::image;
#[cfg(all(feature = "std", feature = "report"))]
use super::occasions;
use super::plain::PROCESS_HEAP;
use super::sampling;
use super::trace;

/// The least that is reserved, whatever the machine has.
const LEAST_RESERVED: usize = 64 << 30;
/// The most: 1/8 of the addresses that a process has.
const MOST_RESERVED: usize = 16 << 40;

/// The settings in force; those of the static in use, if the heap has not been used before.
pub(crate) fn begin(built: &Settings) -> &'static Settings {
    if settings::in_force().is_none() {
        // Asked before there is a lock: the loader may have to be asked, which has its own.
        image::is_library();
    }
    settings::fix(built, |settings| {
        if !settings.huge_pages {
            System.decline_huge_pages();
        } else if settings.want_huge_pages {
            System.want_huge_pages();
        }
        settings.log.into_iter().for_each(fatal::set_log);
        let Settings { decay_ms, retained_bytes, reserve_bytes, .. } = *settings;
        DEPOT.heap.set_reservation(reserve_bytes.unwrap_or_else(usable_bytes));
        DEPOT.heap.set_policy(Policy { decay_ms, retained_bytes });
        PROCESS_HEAP.set_limit(settings.limit_bytes);
        sampling::begin(settings.profile_bytes);
        #[cfg(all(feature = "std", feature = "report"))]
        occasions::begin(settings);
    })
}

/// Bytes of addresses that this machine could use, and room beside: four times its memory and swap space. In a library
/// half of that, since there may be others that have a heap.
fn usable_bytes() -> usize {
    let info = rustix::system::sysinfo();
    let units = u128::from(info.totalram) + u128::from(info.totalswap);
    let bytes = usize::try_from(units * u128::from(info.mem_unit)).unwrap_or(MOST_RESERVED);
    let whole = bytes.saturating_mul(4).clamp(LEAST_RESERVED, MOST_RESERVED);
    if image::is_library() { whole / 2 } else { whole }
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
    let start = misuse.block.map_or(misuse.address, |(start, _)| start);
    trace::die(format_args!("{misuse}"), Some(start))
}

/// Says which law is broken; comes back if settings want the program to go on.
#[cold]
pub(crate) fn complain_of(broken: &BrokenLaw, settings: &Settings) {
    match settings.on_misuse {
        OnMisuse::Abort => trace::die(format_args!("HEAP DAMAGED: {broken}"), None),
        OnMisuse::Report => fatal::complain(format_args!("HEAP DAMAGED: {broken}")),
    }
}
