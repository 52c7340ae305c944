//! Numbers of items by the hashes of these, in a mapping of its own.
#![cfg_attr(not(feature = "profile"), allow(dead_code, reason = "only a profile has such items"))]

use super::array::{Array, Zeroable};
use super::os::OutOfMemory;

/// Items at the most: the largest numbers are left for what is none.
const MOST: u32 = u32::MAX - 2;
/// Places of the first mapping.
const FIRST_PLACES: usize = 256;

/// A place: the hash of an item, and one more than its number; 0 for none.
#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u64,
    number: u32,
}

// SAFETY: numbers.
#[expect(unsafe_code, reason = "says that zero bytes are a place without an item")]
unsafe impl Zeroable for Place {}

/// The numbers of items, from 0 on, each at the first free place from where its hash points to; at most half full.
#[derive(Debug)]
pub(crate) struct Index {
    places: Array<Place>,
    len: u32,
}

impl Index {
    pub(crate) const fn new() -> Self {
        Self { places: Array::new(), len: 0 }
    }

    /// Makes room for one more item.
    pub(crate) fn reserve(&mut self) -> Result<(), OutOfMemory> {
        let len = self.len as usize;
        if self.len >= MOST {
            return Err(OutOfMemory);
        }
        if 2 * (len + 1) <= self.places.len() {
            return Ok(());
        }
        let larger = Array::zeroed((2 * self.places.len()).max(FIRST_PLACES))?;
        let before = core::mem::replace(&mut self.places, larger);
        for place in before.iter().filter(|place| place.number > 0) {
            if let Err(free) = self.find(place.hash, |_| false) {
                self.places.items_mut()[free] = *place;
            }
        }
        Ok(())
    }

    /// The number of the item with this hash that is meant, or the place for it. There is [room](Index::reserve).
    pub(crate) fn find(&self, hash: u64, is_meant: impl Fn(u32) -> bool) -> Result<u32, usize> {
        let mask = self.places.len() - 1;
        let mut at = (hash >> 32) as usize & mask;
        while let Some((place, number)) =
            self.places.get(at).and_then(|place| Some((place, place.number.checked_sub(1)?)))
        {
            if place.hash == hash && is_meant(number) {
                return Ok(number);
            }
            at = (at + 1) & mask;
        }
        Err(at)
    }

    /// The number that the next item has.
    pub(crate) const fn next(&self) -> u32 {
        self.len
    }

    /// Enters the next item, at the place that was found for it.
    pub(crate) fn enter(&mut self, place: usize, hash: u64) {
        self.len += 1;
        self.places.items_mut()[place] = Place { hash, number: self.len };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_one_hash_are_told_apart() {
        let (mut index, mut items) = (Index::new(), Vec::new());
        for item in (0..2000_u64).chain(0..2000) {
            index.reserve().expect("memory");
            let hash = (item / 3) << 32;
            match index.find(hash, |number| items[number as usize] == item) {
                Ok(number) => assert_eq!(u64::from(number), item),
                Err(place) => {
                    assert_eq!(u64::from(index.next()), item);
                    index.enter(place, hash);
                    items.push(item);
                }
            }
        }
        assert_eq!((items.len(), index.next()), (2000, 2000));
    }
}
