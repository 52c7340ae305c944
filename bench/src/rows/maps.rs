//! Ordered and hashed maps of strings, a million entries each.

use core::hash::BuildHasherDefault;
use std::collections::{BTreeMap, HashMap};
use std::hash::DefaultHasher;

use fastrand::Rng;

use super::Done;
use super::json::word;
use crate::measure::Meter;

/// Entries of each map.
const ENTRY_COUNT: u64 = 1_000_000;

/// `real-maps`: one operation is one entry inserted, found and dropped.
pub(super) fn maps(scale: u64, meter: &mut Meter) -> Done {
    let entries = ENTRY_COUNT / scale;
    let (ordered, hashed) = meter.time(|| (ordered(entries), hashed(entries)));
    Done { operations: 2 * entries, checksum: ordered.rotate_left(1) ^ hashed }
}

fn ordered(entries: u64) -> u64 {
    let mut rng = Rng::with_seed(0x3A9);
    let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in 0..entries {
        let values = (0..rng.usize(1..4)).map(|_| word(&mut rng)).collect();
        map.insert(key(entry), values);
    }
    // Replaced and removed entries leave holes between the others.
    for entry in (0..entries).step_by(3) {
        map.remove(&key(entry));
    }
    map.values().flatten().fold(map.len() as u64, |sum, value| sum.wrapping_add(value.len() as u64))
}

fn hashed(entries: u64) -> u64 {
    let mut rng = Rng::with_seed(0x3AA);
    let mut map: HashMap<String, String, BuildHasherDefault<DefaultHasher>> = HashMap::default();
    for entry in 0..entries {
        map.insert(key(entry), word(&mut rng));
    }
    (0..entries)
        .fold(0, |sum, entry| sum + map.get(&key(entry)).map_or(0, |value| value.len() as u64))
}

/// Keys that do not arrive in order: a fixed bijection of 64 bits, written in hexadecimal.
fn key(entry: u64) -> String {
    format!("{:x}", entry.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}
