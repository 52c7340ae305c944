//! Size classes: which slot serves a small request, and the shape of the slabs that hold such slots.
//!
//! Rust asks for many sizes that are multiples of 8 with alignment 8 (the headers of `String` and `Vec` are 24 bytes),
//! so there is a class for each multiple of 8 up to 128; then 8 classes a doubling up to 1 KiB and 4 up to 32 KiB. The
//! class is read from a table: a formula would need a branch that mixed sizes mispredict.

/// The largest request that is served by a slot, in bytes.
pub(crate) const MAX_SMALL: usize = 32 << 10;
/// Classes.
pub(crate) const CLASS_COUNT: usize = 60;
/// What an array with a place for each class is made for: a power of two, so that an index is masked, not tested.
pub(crate) const CLASS_PLACES: usize = 64;
/// The unit in which owners of addresses are looked up; slabs are aligned to it and multiples of it.
pub(crate) const SLAB_GRANULE: usize = 64 << 10;

/// What a thread heap has of one class beside one another: the table holds classes as distances, so that the fast paths
/// need not multiply.
pub(crate) const CLASS_STRIDE: usize = 32;

/// A size class: its number, times [`CLASS_STRIDE`]. Always that of a class there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Class(u16);

/// The slot size of each class, in bytes.
const SIZES: [u32; CLASS_COUNT] = {
    let mut sizes = [0; CLASS_COUNT];
    let (mut class, mut size, mut step) = (0, 8_u32, 8_u32);
    while class < CLASS_COUNT {
        sizes[class] = size;
        if size >= 128 && size.is_power_of_two() {
            step = if size < 1024 { size / 8 } else { size / 4 };
        }
        size += step;
        class += 1;
    }
    sizes
};

/// The class of each request, by its size in units of 8 bytes.
static BY_SIZE: [Class; MAX_SMALL / 8 + 1] = {
    let mut classes = [Class(0); MAX_SMALL / 8 + 1];
    let (mut units, mut class) = (0, 0);
    while units < classes.len() {
        if units * 8 > SIZES[class] as usize {
            class += 1;
        }
        classes[units] = Class::numbered(class);
        units += 1;
    }
    classes
};

/// What a slab of a class looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// The size of a slot, in bytes.
    pub(crate) slot_bytes: usize,
    /// The size of the slab, in bytes, a power of two to which it is aligned.
    pub(crate) slab_bytes: usize,
    /// Slots of the slab.
    pub(crate) slots: usize,
    /// `ceil(2^64 / slot_bytes)`: see [`Slab::slot_index`](super::slab::Slab::slot_index).
    pub(crate) magic: u64,
}

static SHAPES: [Shape; CLASS_PLACES] = {
    let none = Shape { slot_bytes: 1, slab_bytes: SLAB_GRANULE, slots: 0, magic: 0 };
    let mut shapes = [none; CLASS_PLACES];
    let mut class = 0;
    while class < CLASS_COUNT {
        let slot_bytes = SIZES[class] as usize;
        // At least 8 slots a slab; pages of slots that were never handed out are not resident.
        let slab_bytes = if slot_bytes <= 8192 { SLAB_GRANULE } else { 4 * SLAB_GRANULE };
        let magic = u64::MAX / SIZES[class] as u64 + 1;
        shapes[class] = Shape { slot_bytes, slab_bytes, slots: slab_bytes / slot_bytes, magic };
        class += 1;
    }
    shapes
};

impl Class {
    /// The class that serves `size` bytes (at most `isize::MAX`, like every layout's size) aligned to the power of two
    /// `align`, if one does.
    #[inline]
    pub(crate) fn of(size: usize, align: usize) -> Option<Self> {
        debug_assert!(size <= isize::MAX.cast_unsigned(), "no layout is larger");
        if align <= 8 {
            return BY_SIZE.get(size.wrapping_add(7) >> 3).copied();
        }
        Self::of_aligned(size, align)
    }

    /// As [`Class::of`], for alignments that not every class has: a slot's address is a multiple of what its size and
    /// its slab's alignment have in common.
    #[inline]
    fn of_aligned(size: usize, align: usize) -> Option<Self> {
        if size > MAX_SMALL || align > MAX_SMALL {
            return None;
        }
        let class = Self::of(size.max(1).next_multiple_of(align), 8)?;
        if class.shape().slot_bytes.is_multiple_of(align) {
            return Some(class);
        }
        Self::of(size.max(align).next_power_of_two(), 8)
    }

    /// The class with this number.
    #[expect(clippy::cast_possible_truncation, reason = "60 classes of 32 bytes")]
    const fn numbered(index: usize) -> Self {
        assert!(index < CLASS_COUNT, "there is such a class");
        Self((index * CLASS_STRIDE) as u16)
    }

    /// Its number, below [`CLASS_PLACES`].
    #[inline]
    pub(crate) const fn index(self) -> usize {
        (self.0 as usize / CLASS_STRIDE) & (CLASS_PLACES - 1)
    }

    /// Its number times [`CLASS_STRIDE`].
    #[inline]
    pub(crate) const fn distance(self) -> usize {
        self.0 as usize
    }

    /// What its slabs look like.
    #[inline]
    pub(crate) const fn shape(self) -> &'static Shape {
        &SHAPES[self.index()]
    }

    /// All classes, in the order of their sizes.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..CLASS_COUNT).map(Self::numbered)
    }
}

const _: () = {
    assert!(SIZES[CLASS_COUNT - 1] as usize == MAX_SMALL, "the last class is the largest");
    let mut class = 0;
    while class < CLASS_COUNT {
        // With e = magic * size - 2^64 < size: offset * e < 2^64 makes the high half exact, and the low half of a
        // slot's start, e * index, stays below magic, which is what an interior offset adds at least.
        let Shape { slot_bytes, slab_bytes, slots, magic } = SHAPES[class];
        let e = magic.wrapping_mul(slot_bytes as u64);
        assert!(e < slot_bytes as u64, "magic is the least that will do");
        assert!((slots as u64 + 1) * e < magic, "a start is told from an interior offset");
        assert!(slab_bytes.is_power_of_two() && slots >= 8, "a slab holds a few slots");
        class += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_gets_the_smallest_class_that_serves_it() {
        for size in 0..=MAX_SMALL {
            let class = Class::of(size, 8).expect("a small size");
            assert!(class.shape().slot_bytes >= size);
            let smaller = Class::all().take_while(|other| *other != class).last();
            assert!(smaller.is_none_or(|smaller| smaller.shape().slot_bytes < size), "{size}");
        }
        assert_eq!(Class::of(MAX_SMALL + 1, 8), None);
        assert_eq!(Class::of(isize::MAX as usize, 8), None);
    }

    #[test]
    fn alignment_divides_the_slot() {
        for align in (0..20).map(|power| 1_usize << power) {
            for size in [1, 8, 24, 48, 96, 100, 129, 1000, 1025, 5000, 32_000, 32_768] {
                match Class::of(size, align) {
                    Some(class) => {
                        let shape = class.shape();
                        assert!(
                            shape.slot_bytes >= size
                                && shape.slot_bytes.is_multiple_of(align.min(8))
                        );
                        assert!(
                            align <= 8 || shape.slot_bytes.is_multiple_of(align),
                            "{size} {align}"
                        );
                    }
                    None => assert!(align > MAX_SMALL, "{size} {align}"),
                }
            }
        }
        assert_eq!(Class::of(24, 8).map(|class| class.shape().slot_bytes), Some(24));
        assert_eq!(Class::of(24, 16).map(|class| class.shape().slot_bytes), Some(32));
        assert_eq!(Class::of(96, 32).map(|class| class.shape().slot_bytes), Some(96));
    }
}
