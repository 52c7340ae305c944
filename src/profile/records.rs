//! What is noted of each sampled block, found by where it starts.
//!
//! The thread that holds the block, from before it is handed out until its free has claimed it, is the only one who
//! notes, changes or ends its record, so that one address has one record. Tables in mappings of their own, a lock each.

use crate::base::array::{Array, Zeroable};
use crate::base::lock::{Lock, LockGuard};
use crate::base::os::OutOfMemory;

/// Tables, so that threads seldom meet.
const SHARDS: usize = 16;
/// Places of a table at first.
const FIRST_PLACES: usize = 64;

/// A sampled block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// Where it starts. No block starts at 0.
    pub(super) address: usize,
    /// Bytes that were asked for, and that it has.
    pub(super) requested: usize,
    pub(super) block_bytes: usize,
    /// The probability with which it is in the profile.
    pub(super) chance: f64,
    /// When it was allocated, in milliseconds.
    pub(super) at: u64,
    /// The number of the profile.
    pub(super) profile: u32,
    /// The number of its stack, or what is known instead.
    pub(super) stack: u32,
    /// What the system calls the thread that asked for it; 0 if nobody knows.
    pub(super) thread: u32,
    /// The number of the label that the thread had; 0 for none.
    pub(super) label: u32,
    /// In which account of a region it is; 0 for none.
    pub(super) region: u32,
}

// SAFETY: numbers.
#[expect(unsafe_code, reason = "says that zero bytes are a place without a record")]
unsafe impl Zeroable for Record {}

/// A table: each record lies at the first free place from where its address points to; at most half full.
#[derive(Debug)]
struct Shard {
    places: Array<Record>,
    len: usize,
}

impl Shard {
    const fn new() -> Self {
        Self { places: Array::new(), len: 0 }
    }

    /// The place of an address, or the one where it belongs.
    fn find(&self, address: usize) -> Result<usize, usize> {
        let Some(mask) = self.places.len().checked_sub(1) else { return Err(0) };
        let mut place = place_of(address, mask);
        loop {
            match self.places.get(place).map_or(0, |record| record.address) {
                0 => return Err(place),
                found if found == address => return Ok(place),
                _ => place = (place + 1) & mask,
            }
        }
    }

    /// Notes a block, in place of whatever was noted of its address.
    fn insert(&mut self, record: Record) -> Result<&mut Record, OutOfMemory> {
        if 2 * (self.len + 1) > self.places.len() {
            self.grow()?;
        }
        let (place, is_new) = match self.find(record.address) {
            Ok(place) => (place, false),
            Err(place) => (place, true),
        };
        self.len += usize::from(is_new);
        let noted = &mut self.places.items_mut()[place];
        *noted = record;
        Ok(noted)
    }

    #[cold]
    fn grow(&mut self) -> Result<(), OutOfMemory> {
        let places = (2 * self.places.len()).max(FIRST_PLACES);
        let mut larger = Self { places: Array::zeroed(places)?, len: self.len };
        for record in self.iter() {
            if let Err(place) = larger.find(record.address) {
                larger.places.items_mut()[place] = *record;
            }
        }
        *self = larger;
        Ok(())
    }

    /// Takes what is noted of an address out.
    fn remove(&mut self, address: usize) -> Option<Record> {
        let mut hole = self.find(address).ok()?;
        let removed = self.places.get(hole).copied();
        let mask = self.places.len() - 1;
        let places = self.places.items_mut();
        let mut next = (hole + 1) & mask;
        // What lies behind moves up, if it belongs there.
        while places[next].address != 0 {
            let home = place_of(places[next].address, mask);
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                places[hole] = places[next];
                hole = next;
            }
            next = (next + 1) & mask;
        }
        places[hole].address = 0;
        self.len -= 1;
        removed
    }

    fn iter(&self) -> impl Iterator<Item = &Record> {
        self.places.iter().filter(|record| record.address != 0)
    }
}

/// The first place for an address.
const fn place_of(address: usize, mask: usize) -> usize {
    ((address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask
}

/// All records.
#[derive(Debug)]
pub(super) struct Records {
    shards: [Lock<Shard>; SHARDS],
    /// Whether the calling thread holds any lock of the profile: then only its signal handler can ask.
    is_interrupted: fn() -> bool,
}

impl Records {
    pub(super) const fn new(is_interrupted: fn() -> bool) -> Self {
        Self { shards: [const { Lock::new(Shard::new()) }; SHARDS], is_interrupted }
    }

    fn lock_of(&self, address: usize) -> Option<&Lock<Shard>> {
        let mixed = (address >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (usize::BITS - 4);
        self.shards.get(mixed)
    }

    /// The table for an address; none where a signal handler has interrupted its thread in the middle of that, or would
    /// have to wait while its thread holds another lock of the profile.
    fn shard(&self, address: usize) -> Option<LockGuard<'_, Shard>> {
        self.lock_of(address)?.lock_unless(self.is_interrupted)
    }

    /// Notes a block. Whether that was possible.
    pub(super) fn insert(&self, record: Record) -> bool {
        self.insert_and(record, |_| ())
    }

    /// Notes a block, and lets `noted` change that before anyone else does. Whether that was possible.
    pub(super) fn insert_and(&self, record: Record, noted: impl FnOnce(&mut Record)) -> bool {
        self.shard(record.address).is_some_and(|mut shard| shard.insert(record).map(noted).is_ok())
    }

    /// Ends what is noted of the block that starts at an address, and shows that to `seen` while nobody else changes
    /// it.
    pub(super) fn remove(&self, address: usize, seen: impl FnOnce(&Record)) -> Option<Record> {
        let mut shard = self.shard(address)?;
        let removed = shard.remove(address)?;
        seen(&removed);
        Some(removed)
    }

    /// What is noted of the block that starts at an address, if the lock for that is open soon.
    pub(super) fn find_soon(&self, address: usize) -> Option<Record> {
        let shard = self.lock_of(address)?.lock_soon()?;
        let place = shard.find(address).ok()?;
        shard.places.get(place).copied()
    }

    /// Changes what is noted of the block that starts at an address. Whether there is anything.
    pub(super) fn change(&self, address: usize, change: impl FnOnce(&mut Record)) -> bool {
        let Some(mut shard) = self.shard(address) else { return false };
        let Ok(place) = shard.find(address) else { return false };
        change(&mut shard.places.items_mut()[place]);
        true
    }

    /// Shows all records to `each`, table by table; those of one do not change meanwhile. O(records).
    pub(super) fn for_each(&self, mut each: impl FnMut(&Record)) {
        for shard in &self.shards {
            shard.lock().iter().for_each(&mut each);
        }
    }

    /// Changes all records, table by table. O(records).
    pub(super) fn change_all(&self, mut change: impl FnMut(&mut Record)) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let noted = shard.places.items_mut().iter_mut().filter(|record| record.address != 0);
            noted.for_each(&mut change);
        }
    }

    /// Ends the records that are not `kept`. O(records).
    pub(super) fn retain(&self, kept: impl Fn(&Record) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let mut index = 0;
            while let Some(record) = shard.places.get(index).copied() {
                if record.address == 0 || kept(&record) {
                    index += 1;
                } else {
                    // Another one may have moved to this place.
                    shard.remove(record.address);
                }
            }
        }
    }

    /// Takes all locks for the time of a fork, or gives them back: see [`Lock::hold_for_fork`].
    pub(super) fn hold_for_fork(&self, is_interrupted: bool) {
        self.shards.iter().for_each(|shard| shard.hold_for_fork(is_interrupted));
    }

    /// Ends [`Records::hold_for_fork`].
    pub(super) fn release_after_fork(&self, is_child: bool) {
        self.shards.iter().for_each(|shard| shard.release_after_fork(is_child));
    }

    /// Whether the calling thread holds one of the locks.
    pub(super) fn is_mine(&self) -> bool {
        self.shards.iter().any(Lock::is_mine)
    }

    /// The same, if not only for the time of a fork.
    pub(super) fn is_in_use(&self) -> bool {
        self.shards.iter().any(Lock::is_in_use)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn record(address: usize, requested: usize) -> Record {
        Record {
            address,
            requested,
            block_bytes: 0,
            chance: 1.0,
            at: 0,
            profile: 1,
            stack: 0,
            thread: 0,
            label: 0,
            region: 0,
        }
    }

    #[test]
    fn records_are_those_of_a_map() {
        let (records, mut model) = (Records::new(|| false), HashMap::new());
        let mut random = fastrand::Rng::with_seed(5);
        for step in 0..200_000 {
            let address = 8 * random.usize(1..3000);
            match random.u8(0..4) {
                0 | 1 => {
                    assert!(records.insert(record(address, step)));
                    model.insert(address, step);
                }
                2 => {
                    let removed = records.remove(address, |_| ()).map(|record| record.requested);
                    assert_eq!(removed, model.remove(&address));
                }
                _ => {
                    let is_there = records.change(address, |record| record.requested = step);
                    assert_eq!(is_there, model.contains_key(&address));
                    model.entry(address).and_modify(|requested| *requested = step);
                }
            }
        }
        records.retain(|record| record.requested % 2 == 0);
        model.retain(|_, requested| *requested % 2 == 0);
        let mut count = 0;
        records.for_each(|record| {
            count += 1;
            assert_eq!(model.get(&record.address), Some(&record.requested));
        });
        assert_eq!(count, model.len());
    }
}
