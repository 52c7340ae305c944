//! Settings as text: whatever the environment says is a value or an error, and the values are those that a plain
//! reading of the text gives.
#![no_main]

use std::ffi::CString;

use libfuzzer_sys::fuzz_target;
use mems::internal::set_variable;
use mems::{MemsAlloc, Occasions, OnMisuse, Settings};

/// The variables whose values are no paths: each path that is set stays mapped for ever.
const NAMES: [&str; 18] = [
    "MEMS_HARDEN",
    "MEMS_RETAINED_BYTES",
    "MEMS_DECAY_MS",
    "MEMS_BACKGROUND",
    "MEMS_CACHE_BYTES",
    "MEMS_LIMIT",
    "MEMS_RESERVE",
    "MEMS_MISUSE",
    "MEMS_NO_HUGE_PAGES",
    "MEMS_HUGE_PAGES",
    "MEMS_PROFILE",
    "MEMS_SNAPSHOT_ON",
    "MEMS_STATS_AT_EXIT",
    "MEMS_ZERO_ON_FREE",
    "MEMS_CHECK",
    "MEMS_GUARD",
    "MEMS_CANARY",
    "MEMS_QUARANTINE",
];

/// The occasions that a text names.
fn occasions(text: &str) -> Option<Occasions> {
    text.split(',').try_fold(Occasions::NONE, |found, word| {
        let occasion = match word {
            "HUP" | "SIGHUP" => Occasions::HUP,
            "USR1" | "SIGUSR1" => Occasions::USR1,
            "USR2" | "SIGUSR2" => Occasions::USR2,
            "URG" | "SIGURG" => Occasions::URG,
            "IO" | "SIGIO" => Occasions::IO,
            "PWR" | "SIGPWR" => Occasions::PWR,
            "peak" => Occasions::PEAK,
            "limit" => Occasions::LIMIT,
            _ => return None,
        };
        Some(found.and(occasion))
    })
}

/// A number of bytes, read in a wider type.
fn bytes(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']);
    let shift = match text.strip_prefix(digits)? {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return None,
    };
    usize::try_from(u128::try_from(number(digits)?).ok()? << shift).ok()
}

fn number(text: &str) -> Option<usize> {
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| all_digits)
}

fn flag(text: &str) -> Option<bool> {
    matches!(text, "0" | "1").then_some(text == "1")
}

/// What the settings should be after a variable was set; `None` if its value is invalid.
fn expected(mut settings: Settings, name: &str, text: &str) -> Option<Settings> {
    match name {
        "MEMS_HARDEN" if flag(text)? => {
            (settings.zero_on_free, settings.guard, settings.canary) = (true, true, true);
            settings.random_slots = true;
            (settings.quarantine_bytes, settings.check_every) = (1 << 20, 1 << 16);
        }
        "MEMS_HARDEN" => {}
        "MEMS_RETAINED_BYTES" => settings.retained_bytes = Some(bytes(text)?),
        "MEMS_DECAY_MS" => settings.decay_ms = number(text)?,
        "MEMS_BACKGROUND" => settings.background = flag(text)?,
        "MEMS_CACHE_BYTES" => settings.cache_bytes = bytes(text)?,
        "MEMS_LIMIT" => settings.limit_bytes = bytes(text)?,
        "MEMS_RESERVE" => settings.reserve_bytes = Some(bytes(text)?),
        "MEMS_MISUSE" if text == "abort" => settings.on_misuse = OnMisuse::Abort,
        "MEMS_MISUSE" if text == "report" => settings.on_misuse = OnMisuse::Report,
        "MEMS_NO_HUGE_PAGES" => settings.huge_pages = !flag(text)?,
        "MEMS_HUGE_PAGES" => settings.want_huge_pages = flag(text)?,
        "MEMS_PROFILE" if text.trim_start_matches('0') == "1" => settings.profile_bytes = 512 << 10,
        "MEMS_PROFILE" => settings.profile_bytes = bytes(text)?,
        "MEMS_SNAPSHOT_ON" => settings.snapshot_on = occasions(text)?,
        "MEMS_STATS_AT_EXIT" => settings.stats_at_exit = flag(text)?,
        "MEMS_ZERO_ON_FREE" => settings.zero_on_free = flag(text)?,
        "MEMS_CHECK" => settings.check_every = number(text)?,
        "MEMS_GUARD" => settings.guard = flag(text)?,
        "MEMS_CANARY" => settings.canary = flag(text)?,
        "MEMS_QUARANTINE" => settings.quarantine_bytes = bytes(text)?,
        _ => return None,
    }
    Some(settings)
}

fuzz_target!(|variables: Vec<(u8, Vec<u8>)>| {
    let mut settings = MemsAlloc::new().settings();
    for (index, text) in variables {
        let name = NAMES[usize::from(index) % NAMES.len()];
        let Ok(value) = CString::new(text.clone()) else { continue };
        let before = settings;
        let answer = set_variable(&mut settings, name, &value).expect("a variable of this name");
        let wanted = std::str::from_utf8(&text).ok().and_then(|text| expected(before, name, text));
        assert_eq!(answer.is_ok(), wanted.is_some(), "{name}={text:?}");
        assert_eq!(settings, wanted.unwrap_or(before), "{name}={text:?}");
        assert_eq!(set_variable(&mut settings, "MEMS_", &value), None);
    }
});
