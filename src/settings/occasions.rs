//! On what occasions the heap is looked at: signals, and moments that the heap knows itself.

use core::fmt;

/// Occasions on which MeMS looks at the heap and writes what it sees; see `Builder::snapshot_on`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Occasions(u16);

/// An occasion, its name in a setting, and its signal; 0 where it is none.
type Named = (Occasions, &'static str, i32);

/// All of them. Signals whose default action a user counts on, such as those that end, stop or dump a program, have no
/// place here, nor those that come often without being asked for.
const NAMED: [Named; 8] = [
    (Occasions::HUP, "HUP", libc::SIGHUP),
    (Occasions::USR1, "USR1", libc::SIGUSR1),
    (Occasions::USR2, "USR2", libc::SIGUSR2),
    (Occasions::URG, "URG", libc::SIGURG),
    (Occasions::IO, "IO", libc::SIGIO),
    (Occasions::PWR, "PWR", libc::SIGPWR),
    (Occasions::PEAK, "peak", 0),
    (Occasions::LIMIT, "limit", 0),
];

impl Occasions {
    /// No occasion.
    pub const NONE: Self = Self(0);
    /// The signal `SIGHUP`.
    pub const HUP: Self = Self(1);
    /// The signal `SIGUSR1`.
    pub const USR1: Self = Self(1 << 1);
    /// The signal `SIGUSR2`.
    pub const USR2: Self = Self(1 << 2);
    /// The signal `SIGURG`.
    pub const URG: Self = Self(1 << 3);
    /// The signal `SIGIO`.
    pub const IO: Self = Self(1 << 4);
    /// The signal `SIGPWR`.
    pub const PWR: Self = Self(1 << 5);
    /// More bytes are in use than ever before: at least 1 MiB, and 1/8 more than at the last such look.
    pub const PEAK: Self = Self(1 << 6);
    /// The heap's limit has refused a request; once a minute at the most.
    pub const LIMIT: Self = Self(1 << 7);

    /// These and others.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether all of `others` are among these.
    #[must_use]
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Those in a list with commas, if all have names.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        text.split(|byte| *byte == b',').try_fold(Self::NONE, |found, word| {
            let is_meant = |(_, name, signal): &&Named| {
                let short = if *signal > 0 { word.strip_prefix(b"SIG") } else { None };
                short.unwrap_or(word) == name.as_bytes()
            };
            NAMED.iter().find(is_meant).map(|(occasion, ..)| found.and(*occasion))
        })
    }
}

impl fmt::Display for Occasions {
    /// As they are written in a setting: `USR2,peak`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = NAMED.iter().filter(|(occasion, ..)| self.has(*occasion));
        named.enumerate().try_for_each(|(index, (_, name, _))| {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{name}")
        })
    }
}

impl fmt::Debug for Occasions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Occasions({self})")
    }
}

#[cfg(all(feature = "std", feature = "report"))]
impl Occasions {
    /// The signals among them.
    pub(crate) fn signals(self) -> impl Iterator<Item = (Self, i32)> {
        let signals =
            NAMED.iter().filter(move |(occasion, _, signal)| *signal > 0 && self.has(*occasion));
        signals.map(|(occasion, _, signal)| (*occasion, *signal))
    }

    /// The occasion that a signal is.
    pub(crate) fn of_signal(signal: i32) -> Self {
        let found = NAMED.iter().find(|named| named.2 == signal);
        found.map_or(Self::NONE, |named| named.0)
    }

    /// These but for others.
    pub(crate) const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// As a number.
    pub(crate) const fn bits(self) -> u16 {
        self.0
    }

    /// Those that have this number.
    pub(crate) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        for (text, occasions, written) in [
            ("USR2", Occasions::USR2, "USR2"),
            ("SIGHUP", Occasions::HUP, "HUP"),
            ("peak,USR1", Occasions::USR1.and(Occasions::PEAK), "USR1,peak"),
            ("limit,limit", Occasions::LIMIT, "limit"),
        ] {
            assert_eq!(Occasions::parse(text.as_bytes()), Some(occasions), "{text}");
            assert_eq!(occasions.to_string(), written);
        }
        for text in
            ["", ",", "USR2,", "USR3", "SIGpeak", "KILL", "TERM", "INT", "SEGV", "usr1", " USR1"]
        {
            assert_eq!(Occasions::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn each_occasion_has_a_bit_of_its_own() {
        let all = NAMED.iter().fold(Occasions::NONE, |all, (occasion, ..)| {
            assert!(!all.has(*occasion) && !occasion.is_none());
            all.and(*occasion)
        });
        assert!(all.has(Occasions::NONE) && all.has(Occasions::PWR.and(Occasions::LIMIT)));
        assert!(Occasions::NONE.is_none() && !Occasions::USR1.has(all));
    }
}
