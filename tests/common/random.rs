//! A small generator with a fixed seed, for tests and benchmarks (`SplitMix64`; Steele, Lea and Flood 2014).

/// The state: any number will do.
#[derive(Clone, Debug)]
pub(crate) struct SplitMix64(pub(crate) u64);

impl SplitMix64 {
    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0. The bias is below `bound` / 2^64.
    #[expect(clippy::cast_possible_truncation, reason = "below `bound`")]
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Brings `count` random items to the front, in random order.
    pub(crate) fn choose<T>(&mut self, items: &mut [T], count: usize) {
        for index in 0..count {
            let other = index + self.below(items.len() - index);
            items.swap(index, other);
        }
    }
}
