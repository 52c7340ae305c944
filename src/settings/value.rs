//! Values of settings as text. An `Err` says what was expected.

use super::occasions::Occasions;
use super::record::{OnMisuse, PROFILE_MEAN};

/// A number of bytes, with `K`, `M` or `G` behind it for KiB, MiB or GiB.
pub(super) fn bytes(text: &[u8]) -> Result<usize, &'static str> {
    let expected = "a number of bytes, such as 4096, 64K, 8M or 1G";
    let (digits, shift) = match text {
        [digits @ .., b'k' | b'K'] => (digits, 10),
        [digits @ .., b'm' | b'M'] => (digits, 20),
        [digits @ .., b'g' | b'G'] => (digits, 30),
        digits => (digits, 0),
    };
    decimal(digits).and_then(|number| number.checked_mul(1 << shift)).ok_or(expected)
}

/// A mean distance of samples in bytes: 1 for the one that serves in production, 0 for no samples.
pub(super) fn profile(text: &[u8]) -> Result<usize, &'static str> {
    match bytes(text) {
        Ok(1) => Ok(PROFILE_MEAN),
        Ok(mean) => Ok(mean),
        Err(_) => Err("0, 1, or a mean distance of samples in bytes, such as 512K"),
    }
}

/// A plain number.
pub(super) fn number(text: &[u8]) -> Result<usize, &'static str> {
    decimal(text).ok_or("a number")
}

/// On or off.
pub(super) fn flag(text: &[u8]) -> Result<bool, &'static str> {
    match text {
        b"1" => Ok(true),
        b"0" => Ok(false),
        _ => Err("0 or 1"),
    }
}

/// What to do on misuse.
pub(super) fn on_misuse(text: &[u8]) -> Result<OnMisuse, &'static str> {
    match text {
        b"abort" => Ok(OnMisuse::Abort),
        b"report" => Ok(OnMisuse::Report),
        _ => Err("abort or report"),
    }
}

/// When to look.
pub(super) fn occasions(text: &[u8]) -> Result<Occasions, &'static str> {
    Occasions::parse(text).ok_or(
        "a list with commas of the signals HUP, USR1, USR2, URG, IO and PWR, peak, and limit",
    )
}

fn decimal(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_usize, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| usize::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_limits() {
        for (text, expected) in
            [("0", 0), ("4096", 4096), ("64K", 64 << 10), ("8m", 8 << 20), ("1G", 1 << 30)]
        {
            assert_eq!(bytes(text.as_bytes()), Ok(expected), "{text}");
        }
        for text in
            ["", "K", "-1", "1T", "1.5M", " 1", "18446744073709551616", "18446744073709551615K"]
        {
            assert!(bytes(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(number(b"18446744073709551615"), Ok(usize::MAX));
        assert!(number(b"1K").is_err() && number(b"").is_err());
    }

    #[test]
    fn words_are_taken_literally() {
        assert_eq!((flag(b"1"), flag(b"0")), (Ok(true), Ok(false)));
        assert!(flag(b"").is_err() && flag(b"yes").is_err());
        assert_eq!(on_misuse(b"report"), Ok(OnMisuse::Report));
        assert_eq!(on_misuse(b"abort"), Ok(OnMisuse::Abort));
        assert!(on_misuse(b"Abort").is_err());
    }
}
