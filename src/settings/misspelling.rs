//! Names that are almost one of the known ones.

/// The longest name that is looked at.
const LONGEST: usize = 32;
/// Letters by which a misspelt name differs at the most: one that is wrong, missing or too many each, or two that have
/// changed places.
const MOST_WRONG: usize = 2;

/// The known name that was probably meant: one that differs by a letter or two, or that goes on behind an underscore.
pub(super) fn meant(
    name: &[u8],
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let likeness = |known: &&str| {
        let goes_on =
            known.as_bytes().strip_prefix(name).is_some_and(|rest| rest.starts_with(b"_"));
        if goes_on { MOST_WRONG } else { distance(name, known.as_bytes()) }
    };
    let nearest = known.map(|known| (likeness(&known), known)).min_by_key(|(wrong, _)| *wrong);
    nearest.filter(|(wrong, _)| *wrong <= MOST_WRONG).map(|(_, known)| known)
}

/// How many letters have to be put in, taken out or changed to make one name of another (Levenshtein 1966); more than
/// [`MOST_WRONG`] where one is too long to be looked at.
fn distance(one: &[u8], other: &[u8]) -> usize {
    if one.len().max(other.len()) > LONGEST {
        return usize::MAX;
    }
    // `row[n]` is the distance of what was looked at of `one` from the first `n` letters of `other`.
    let mut row = [0; LONGEST + 1];
    (0..).zip(&mut row).for_each(|(length, place)| *place = length);
    for (number, letter) in (1..).zip(one) {
        let mut diagonal = core::mem::replace(&mut row[0], number);
        for (at, other_letter) in (1..).zip(other) {
            let changed = diagonal + usize::from(letter != other_letter);
            diagonal = row[at];
            row[at] = changed.min(row[at] + 1).min(row[at - 1] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 5] =
        ["MEMS_LIMIT", "MEMS_HARDEN", "MEMS_DECAY_MS", "MEMS_GUARD", "MEMS_STATS_AT_EXIT"];

    fn what_is_meant_by(name: &str) -> Option<&'static str> {
        meant(name.as_bytes(), KNOWN.into_iter())
    }

    #[test]
    fn distances() {
        for (one, other, wrong) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("kitten", "sitting", 3),
            ("ab", "ba", 2),
            ("limits", "limit", 1),
            ("hrden", "harden", 1),
        ] {
            assert_eq!(distance(one.as_bytes(), other.as_bytes()), wrong, "{one} {other}");
            assert_eq!(distance(other.as_bytes(), one.as_bytes()), wrong, "{other} {one}");
        }
        assert_eq!(distance(&[b'a'; LONGEST + 1], b"a"), usize::MAX);
        assert_eq!(distance(&[b'a'; LONGEST], &[b'b'; LONGEST]), LONGEST);
    }

    #[test]
    fn what_is_almost_a_name_is_meant_for_it() {
        assert_eq!(what_is_meant_by("MEMS_LIMITS"), Some("MEMS_LIMIT"));
        assert_eq!(what_is_meant_by("MEMS_HARDENED"), Some("MEMS_HARDEN"));
        assert_eq!(what_is_meant_by("MEMS_GAURD"), Some("MEMS_GUARD"));
        assert_eq!(what_is_meant_by("MEMS_DECAY"), Some("MEMS_DECAY_MS"));
        assert_eq!(what_is_meant_by("MEMS_STATS"), Some("MEMS_STATS_AT_EXIT"));
        assert_eq!(what_is_meant_by("MEMS_limit"), None);
        assert_eq!(what_is_meant_by("MEMS_SENSOR"), None);
        assert_eq!(what_is_meant_by("MEMS_"), None);
    }
}
