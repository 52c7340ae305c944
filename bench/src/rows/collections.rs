//! Small maps that come and go, and strings that grow side by side.

use core::hash::BuildHasherDefault;
use core::hint::black_box;
use std::collections::HashMap;
use std::hash::DefaultHasher;

use fastrand::Rng;

use super::Done;
use crate::block::broken;
use crate::measure::Meter;
use crate::random::log_uniform;

/// A map whose hashes are the same in every process.
type Map = HashMap<u64, u64, BuildHasherDefault<DefaultHasher>>;

/// Entries of a map at the most.
const MAP_ENTRIES: u64 = 64;

/// Strings that grow side by side.
const STRING_COUNT: usize = 500;

/// Bytes that are appended at the most.
const PIECE_BYTES: usize = 200;

/// `maps-16`: maps of up to 64 entries, whose tables are aligned to 16 bytes; one operation is one insert or remove.
pub(super) fn small_maps(scale: u64, meter: &mut Meter) -> Done {
    let wanted = 4_000_000 / scale;
    let mut rng = Rng::with_seed(0x3A9);
    let (operations, checksum) = meter.time(|| {
        let (mut operations, mut sum) = (0_u64, 0_u64);
        while operations < wanted {
            let entries = rng.u64(0..=MAP_ENTRIES);
            let mut map = Map::default();
            for key in 0..entries {
                map.insert(key, black_box(key ^ entries));
            }
            for key in (0..entries).step_by(2) {
                match map.remove(&key) {
                    Some(value) if value == key ^ entries => sum = sum.wrapping_add(value),
                    found => broken(format_args!("key {key} of {entries} has {found:?}")),
                }
            }
            operations += entries + entries.div_ceil(2);
            sum = sum.wrapping_add(map.len() as u64);
        }
        (operations, sum)
    });
    Done { operations, checksum }
}

/// A string of `strings`, and the length at which it may be dropped.
struct Growing {
    text: String,
    target_len: usize,
}

impl Growing {
    fn new(rng: &mut Rng) -> Self {
        let target_len = log_uniform(rng, 4_096.0, 131_072.0) as usize;
        Self { text: String::new(), target_len }
    }

    /// What it adds to the checksum; [`broken`] where growing lost something.
    fn check(&self) -> u64 {
        if self.text.bytes().any(|byte| byte != b'm') {
            broken(format_args!("a string of {} bytes has another one", self.text.len()));
        }
        self.text.len() as u64
    }
}

/// `strings`: 500 strings that are appended to at random, and dropped at lengths of their own; one operation is one
/// append.
pub(super) fn strings(scale: u64, meter: &mut Meter) -> Done {
    let operations = 3_000_000 / scale;
    let mut rng = Rng::with_seed(0x57A);
    let piece = "m".repeat(PIECE_BYTES);
    let checksum = meter.time(|| {
        let mut strings: Vec<Growing> = (0..STRING_COUNT).map(|_| Growing::new(&mut rng)).collect();
        let mut sum = 0_u64;
        for _ in 0..operations {
            let string = &mut strings[rng.usize(0..STRING_COUNT)];
            string.text.push_str(&piece[..rng.usize(1..=PIECE_BYTES)]);
            if string.text.len() >= string.target_len {
                sum = sum.wrapping_add(string.check());
                *string = Growing::new(&mut rng);
            }
        }
        strings.iter().fold(sum, |sum, string| sum.wrapping_add(string.check()))
    });
    Done { operations, checksum }
}
