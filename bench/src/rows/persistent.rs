//! A persistent red-black tree of which the last 16 versions stay alive (rpds, nodes in `Arc`).

use fastrand::Rng;
use rpds::RedBlackTreeMapSync;

use super::Done;
use crate::measure::Meter;

/// Versions alive at once.
const VERSION_COUNT: usize = 16;

/// Different keys; once they are all in, an update replaces the path to one.
const KEY_COUNT: u64 = 100_000;

/// `real-rpds`: one operation is one update that makes a new version.
pub(super) fn persistent(scale: u64, meter: &mut Meter) -> Done {
    let operations = 200_000 / scale;
    let keys = (KEY_COUNT / scale).max(16);
    let mut rng = Rng::with_seed(0x9D5);
    let checksum = meter.time(|| {
        let mut versions: Vec<RedBlackTreeMapSync<u64, u64>> =
            vec![RedBlackTreeMapSync::new_sync(); VERSION_COUNT];
        let mut newest = 0;
        for update in 0..operations {
            let key = rng.u64(0..keys);
            let next = if rng.u8(0..8) == 0 {
                versions[newest].remove(&key)
            } else {
                versions[newest].insert(key, update)
            };
            newest = (newest + 1) % VERSION_COUNT;
            versions[newest] = next;
        }
        versions.iter().fold(0_u64, |sum, version| {
            version
                .iter()
                .fold(sum, |sum, (key, value)| sum.wrapping_mul(31).wrapping_add(key ^ value))
        })
    });
    Done { operations, checksum }
}
