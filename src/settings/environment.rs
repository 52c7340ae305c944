//! Settings from environment variables, read without allocating, perhaps before `main`.
//!
//! Owns: the names. Programs that run with more rights than their caller (AT_SECURE: set-user-ID and the like) ignore
//! them. An invalid value costs one line on standard error, and what was set before stays; a name that is almost one of
//! these costs a line, too.
#![allow(unsafe_code, reason = "reads the environment of the process")]

use core::ffi::{CStr, c_char};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::misspelling;
use super::profile_form::ProfileForm;
use super::record::Settings;
use super::value;
use crate::base::fatal;
use crate::base::guarded;
use crate::base::os::System;

/// Changes settings by a variable's value, or says what kind of value was expected.
type Apply = fn(&mut Settings, &CStr) -> Result<(), &'static str>;

const VARIABLE_COUNT: usize = 23;
/// All variables. `MEMS_HARDEN` comes first, so that the others make exceptions from it.
const VARIABLES: [(&str, Apply); VARIABLE_COUNT] = [
    ("MEMS_HARDEN", |settings, text| {
        if value::flag(text.to_bytes())? {
            *settings = settings.hardened();
        }
        Ok(())
    }),
    ("MEMS_RETAINED_BYTES", |settings, text| {
        settings.retained_bytes = Some(value::bytes(text.to_bytes())?);
        Ok(())
    }),
    ("MEMS_DECAY_MS", |settings, text| set(&mut settings.decay_ms, value::number, text)),
    ("MEMS_BACKGROUND", |settings, text| set(&mut settings.background, value::flag, text)),
    ("MEMS_CACHE_BYTES", |settings, text| set(&mut settings.cache_bytes, value::bytes, text)),
    ("MEMS_LIMIT", |settings, text| set(&mut settings.limit_bytes, value::bytes, text)),
    ("MEMS_RESERVE", |settings, text| {
        settings.reserve_bytes = Some(value::bytes(text.to_bytes())?);
        Ok(())
    }),
    ("MEMS_MISUSE", |settings, text| set(&mut settings.on_misuse, value::on_misuse, text)),
    ("MEMS_NO_HUGE_PAGES", |settings, text| {
        settings.huge_pages = !value::flag(text.to_bytes())?;
        Ok(())
    }),
    ("MEMS_HUGE_PAGES", |settings, text| set(&mut settings.want_huge_pages, value::flag, text)),
    ("MEMS_LOG", |settings, text| {
        settings.log = Some(kept_path(text)?);
        Ok(())
    }),
    ("MEMS_PROFILE", |settings, text| {
        if !cfg!(feature = "profile") {
            return Err("possible without MeMS's feature `profile`");
        }
        set(&mut settings.profile_bytes, value::profile, text)
    }),
    ("MEMS_STATS_AT_EXIT", |settings, text| set(&mut settings.stats_at_exit, value::flag, text)),
    ("MEMS_HEAPMAP_AT_EXIT", |settings, text| {
        settings.heapmap_at_exit = Some(path_of_report(text)?);
        Ok(())
    }),
    ("MEMS_SNAPSHOT_AT_EXIT", |settings, text| {
        settings.snapshot_at_exit = Some(path_of_report(text)?);
        Ok(())
    }),
    ("MEMS_PROFILE_AT_EXIT", |settings, text| {
        if !cfg!(all(feature = "report", feature = "profile")) {
            return Err("possible without MeMS's features `report` and `profile`");
        }
        ProfileForm::of(text.to_bytes()).ok_or(ProfileForm::EXPECTED)?;
        settings.profile_at_exit = Some(kept_path(text).map_err(|_| ProfileForm::EXPECTED)?);
        Ok(())
    }),
    ("MEMS_SNAPSHOT_ON", |settings, text| {
        if !cfg!(all(feature = "std", feature = "report")) {
            return Err("possible without MeMS's features `std` and `report`");
        }
        set(&mut settings.snapshot_on, value::occasions, text)
    }),
    ("MEMS_SNAPSHOT_PATH", |settings, text| {
        settings.snapshot_path = Some(path_of_report(text)?);
        Ok(())
    }),
    ("MEMS_ZERO_ON_FREE", |settings, text| set(&mut settings.zero_on_free, value::flag, text)),
    ("MEMS_CHECK", |settings, text| set(&mut settings.check_every, value::number, text)),
    ("MEMS_GUARD", |settings, text| set(&mut settings.guard, value::flag, text)),
    ("MEMS_CANARY", |settings, text| set(&mut settings.canary, value::flag, text)),
    ("MEMS_QUARANTINE", |settings, text| set(&mut settings.quarantine_bytes, value::bytes, text)),
];

/// Sets one setting to the value that a text has.
fn set<T>(
    setting: &mut T,
    parse: fn(&[u8]) -> Result<T, &'static str>,
    text: &CStr,
) -> Result<(), &'static str> {
    *setting = parse(text.to_bytes())?;
    Ok(())
}

/// Settings as the environment wants them, and which of its values it cannot have.
pub(super) fn override_by_environment(mut settings: Settings) -> (Settings, Mistakes) {
    let mut mistakes = Mistakes([None; VARIABLE_COUNT]);
    if !is_secure() {
        for ((name, apply), mistake) in VARIABLES.iter().zip(&mut mistakes.0) {
            if let Some(text) = find(name) {
                *mistake = apply(&mut settings, text).err();
            }
        }
    }
    (settings, mistakes)
}

/// For each variable what was expected, if that is not what it has.
#[must_use]
pub(super) struct Mistakes([Option<&'static str>; VARIABLE_COUNT]);

impl Mistakes {
    /// Says what is wrong, a line each.
    pub(super) fn complain(&self) {
        for ((name, _), mistake) in VARIABLES.iter().zip(&self.0) {
            if let Some(expected) = mistake
                && let Some(text) = find(name)
            {
                let text = text.to_bytes().escape_ascii();
                fatal::complain(format_args!("{name}={text} is not {expected}; it is ignored"));
            }
        }
        if !is_secure() {
            complain_of_names();
        }
    }
}

/// Says which variables have names that are almost those of settings. Others may be anybody's.
fn complain_of_names() {
    let known = || VARIABLES.iter().map(|(name, _)| *name);
    for entry in entries().map(CStr::to_bytes).filter(|entry| entry.starts_with(b"MEMS_")) {
        let name = entry.split(|byte| *byte == b'=').next().unwrap_or_default();
        if known().all(|known| known.as_bytes() != name)
            && let Some(meant) = misspelling::meant(name, known())
        {
            let name = name.escape_ascii();
            fatal::complain(format_args!("{name} is no setting, but {meant} is; it is ignored"));
        }
    }
}

/// Sets what the variable `name` stands for to the value that `text` has, or says what kind of value was expected.
/// `None` if there is no such variable.
pub fn set_variable(
    settings: &mut Settings,
    name: &str,
    text: &CStr,
) -> Option<Result<(), &'static str>> {
    let (_, apply) = VARIABLES.iter().find(|(other, _)| *other == name)?;
    Some(apply(settings, text))
}

/// Whether the program runs with more rights than the user who started it.
fn is_secure() -> bool {
    // SAFETY: getauxval(3) has no preconditions.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// The variables of the process, as `NAME=VALUE`. They may be used until the program changes its environment, so not
/// beyond this file.
fn entries() -> impl Iterator<Item = &'static CStr> {
    unsafe extern "C" {
        static environ: AtomicPtr<*const c_char>;
    }
    // SAFETY: libc's variable is a pointer, null if read too early.
    let environment = unsafe { &environ };
    let mut place = environment.load(Ordering::Relaxed).cast_const();
    core::iter::from_fn(move || {
        if place.is_null() {
            return None;
        }
        // SAFETY: the array ends with a null pointer, which has not been met yet. (A program that changes the
        // environment while another thread allocates for the first time of all breaks the contract of setenv(3).)
        let entry = unsafe { place.read() };
        if entry.is_null() {
            return None;
        }
        // SAFETY: the entry was not the last one.
        place = unsafe { place.add(1) };
        // SAFETY: entries are strings that end with a zero byte.
        Some(unsafe { CStr::from_ptr(entry) })
    })
}

/// The value of a variable.
fn find(name: &str) -> Option<&'static CStr> {
    entries().find_map(|entry| {
        let rest = entry.to_bytes_with_nul().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        CStr::from_bytes_with_nul(rest).ok()
    })
}

/// A copy of a path that a report is to have, where reports are built in.
fn path_of_report(text: &CStr) -> Result<&'static CStr, &'static str> {
    if !cfg!(feature = "report") {
        return Err("possible without MeMS's feature `report`");
    }
    kept_path(text)
}

/// A copy of a path that stays for ever, in pages of its own.
fn kept_path(text: &CStr) -> Result<&'static CStr, &'static str> {
    let bytes = text.to_bytes_with_nul();
    if bytes.len() < 2 || bytes.len() > fatal::LOG_PATH_BYTES {
        return Err("a path of 1 to 1023 bytes");
    }
    let copy =
        guarded::map(&System, bytes.len()).map_err(|_| "a path for which there is memory")?;
    // SAFETY: the mapping is fresh, nobody else's, and at least as long as the text.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), copy.as_ptr(), bytes.len()) };
    // SAFETY: a string that ends with a zero byte was just written there, and is never changed or unmapped.
    Ok(unsafe { CStr::from_ptr(copy.as_ptr().cast()) })
}
