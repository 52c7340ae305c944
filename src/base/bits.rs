//! Bits that are numbered across words.

/// Bits of a word.
const WORD_BITS: usize = u64::BITS as usize;

/// The bits of word `index` that are numbered from `first` to `end`, those of all words counted together.
pub(crate) fn ones_within(first: usize, end: usize, index: usize) -> u64 {
    let below = |bit: usize| match bit.saturating_sub(index * WORD_BITS) {
        bits if bits < WORD_BITS => (1 << bits) - 1,
        _ => u64::MAX,
    };
    below(end) & !below(first)
}

/// The runs of bits that are set: the number of the first one, and how many there are. `word` tells the words.
pub(crate) fn runs(word: impl Fn(usize) -> Option<u64>) -> impl Iterator<Item = (usize, usize)> {
    // The first bit from `from` on that is set, or is not; where there is none, the first one behind all.
    let next = move |from: usize, is_set: bool| {
        let (mut index, mut skipped) = (from / WORD_BITS, from % WORD_BITS);
        while let Some(bits) = word(index) {
            let wanted = (if is_set { bits } else { !bits }) >> skipped;
            if wanted != 0 {
                return index * WORD_BITS + skipped + wanted.trailing_zeros() as usize;
            }
            (index, skipped) = (index + 1, 0);
        }
        index * WORD_BITS
    };
    let mut behind = 0;
    core::iter::from_fn(move || {
        let first = next(behind, true);
        behind = next(first, false);
        (first < behind).then_some((first, behind - first))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs_of(words: &[u64]) -> Vec<(usize, usize)> {
        runs(|index| words.get(index).copied()).collect()
    }

    #[test]
    fn runs_go_on_from_word_to_word() {
        assert_eq!(runs_of(&[]), []);
        assert_eq!(runs_of(&[0, 0]), []);
        assert_eq!(runs_of(&[u64::MAX, u64::MAX]), [(0, 128)]);
        assert_eq!(runs_of(&[1 << 63, 1, 0b110]), [(63, 2), (129, 2)]);
        assert_eq!(runs_of(&[0b1011, 0, 1 << 63]), [(0, 2), (3, 1), (191, 1)]);
    }
}
