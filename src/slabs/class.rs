//! Size classes: which slot serves a small request, and the shape of the slabs that hold such slots.
//!
//! Rust asks for many sizes that are multiples of 8 with alignment 8 (the headers of `String` and `Vec` are 24 bytes),
//! so there is a class for each multiple of 8 up to 128; then 8 classes a doubling up to 1 KiB and 4 up to 32 KiB. The
//! class is read from a table: a formula would need a branch that mixed sizes mispredict. All alignments share it,
//! since a size rounded up to its alignment falls on a class that is a multiple of that.
//!
//! Large requests, up to [`MAX_LARGE`], have classes too, whole granules and at most 4 a doubling: such a slab is one
//! slot. What is not used of it is never touched, so it costs addresses, not memory.

use core::alloc::Layout;

/// Every slot is aligned to this.
pub(crate) const EVERY_SLOT_ALIGN: usize = 8;
/// The largest request that is served by one of several slots of a slab, in bytes.
pub(crate) const MAX_SMALL: usize = 32 << 10;
/// The largest request that is served by a slab of one slot.
pub(crate) const MAX_LARGE: usize = 4 << 20;
/// No slab has more bytes.
const MAX_SLAB_BYTES: usize = MAX_LARGE;
/// No slab of more slots than one has more bytes.
pub(crate) const MAX_SMALL_SLAB_BYTES: usize = 1 << 20;
/// Classes of small requests.
const SMALL_COUNT: usize = 60;
/// Classes of large requests for each doubling of the size, and below the first [`LARGE_STEPS`] granules.
const LARGE_STEPS: usize = 4;
/// Kinds of waiting descriptors: one for each small class, and one for all large ones.
pub(super) const DESCRIPTOR_KINDS: usize = SMALL_COUNT + 1;
/// Classes.
const CLASS_COUNT: usize =
    SMALL_COUNT + LARGE_STEPS * (1 + (MAX_LARGE / LARGE_GRANULE / LARGE_STEPS).ilog2() as usize);
/// What an array with a place for each class is made for: a power of two, so that an index is masked, not tested.
pub(crate) const CLASS_PLACES: usize = 128;
/// The unit in which owners of addresses are looked up; slabs are aligned to it and multiples of it.
pub(crate) const SLAB_GRANULE: usize = 16 << 10;
/// Large slots are multiples of this and aligned to it, as are slabs of slots that have large alignments.
const LARGE_GRANULE: usize = 64 << 10;
/// How many times larger the slabs of a class are once a heap has [`FEW_SLABS`] of it.
const GROWTH: usize = 4;
/// A heap's first slabs of a class are small. Many threads with a little of everything need little memory, few with
/// much of one class few slabs.
pub(crate) const FEW_SLABS: usize = 4;

/// What a thread heap has of one class beside one another: the table holds classes as distances, so that the fast paths
/// need not multiply.
pub(crate) const CLASS_STRIDE: usize = 32;

/// The distance behind that of the last small class.
const SMALL_END: usize = SMALL_COUNT * CLASS_STRIDE;

/// A size class: its number, times [`CLASS_STRIDE`]. Always that of a class there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Class(u16);

/// The slot size of each class, in bytes.
const SIZES: [usize; CLASS_COUNT] = {
    let mut sizes = [0; CLASS_COUNT];
    let (mut class, mut size, mut step) = (0, 8_usize, 8);
    while class < CLASS_COUNT {
        sizes[class] = size;
        if class + 1 == SMALL_COUNT {
            (size, step) = (0, LARGE_GRANULE);
        } else if class > SMALL_COUNT && size.is_power_of_two() && size >= 4 * step {
            step = size / 4;
        } else if class < SMALL_COUNT && size >= 128 && size.is_power_of_two() {
            step = if size < 1024 { size / 8 } else { size / 4 };
        }
        size += step;
        class += 1;
    }
    sizes
};

/// The class of each small request, by the unit of 8 bytes that has its last byte.
static SMALL: [Class; MAX_SMALL / EVERY_SLOT_ALIGN] = by_last_byte(EVERY_SLOT_ALIGN, 0);

/// The class of each large request, by the granule that has its last byte.
static LARGE: [Class; MAX_LARGE / LARGE_GRANULE] = by_last_byte(LARGE_GRANULE, SMALL_COUNT);

/// For each unit of `unit_bytes` the first class from `class` on that reaches to its end.
const fn by_last_byte<const UNITS: usize>(unit_bytes: usize, mut class: usize) -> [Class; UNITS] {
    let mut classes = [Class(0); UNITS];
    let mut unit = 0;
    while unit < UNITS {
        if (unit + 1) * unit_bytes > SIZES[class] {
            class += 1;
        }
        classes[unit] = Class::numbered(class);
        unit += 1;
    }
    classes
}

/// What slots of a class look like, and how many a slab has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// The size of a slot, in bytes.
    pub(crate) slot_bytes: usize,
    /// Slots of the first slabs of a heap, and of further ones.
    pub(crate) slots: [u32; 2],
    /// The alignment of a slab.
    pub(crate) slab_align: usize,
    /// `ceil(2^64 / slot_bytes)`, or 1 where there is one slot: see [`slot_index`].
    pub(crate) magic: u64,
}

impl Shape {
    /// The bytes of a slab with `slots` slots.
    #[inline]
    pub(crate) const fn slab_bytes(&self, slots: usize) -> usize {
        (slots * self.slot_bytes).next_multiple_of(SLAB_GRANULE)
    }
}

/// The number of the slot that starts `offset` bytes into a slab, if one does there. From [`MAX_SLAB_BYTES`] on the
/// answer is none, or more than any slab has slots.
///
/// One factor answers both questions: of `offset * ceil(2^64 / size)` the upper half is `offset / size`, and the lower
/// half is less than the factor exactly if nothing remains. The factor is at least what it stands for, so no product is
/// too small.
#[inline]
pub(crate) fn slot_index(offset: usize, magic: u64) -> Option<usize> {
    let product = u128::from(magic) * offset as u128;
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    let (index, rest) = ((product >> u64::BITS) as usize, product as u64);
    (rest < magic).then_some(index)
}

#[expect(clippy::cast_possible_truncation, reason = "at most 8 Ki slots")]
static SHAPES: [Shape; CLASS_PLACES] = {
    let none = Shape { slot_bytes: 1, slots: [0; 2], slab_align: SLAB_GRANULE, magic: 0 };
    let mut shapes = [none; CLASS_PLACES];
    let mut class = 0;
    while class < CLASS_COUNT {
        let slot_bytes = SIZES[class];
        // A handful of slots a slab; pages of slots that were never handed out are not resident.
        let first = match slot_bytes {
            0..=1024 => SLAB_GRANULE,
            1025..=8192 => GROWTH * SLAB_GRANULE,
            8193..=MAX_SMALL => GROWTH * GROWTH * SLAB_GRANULE,
            _ => slot_bytes,
        };
        let is_large = slot_bytes > MAX_SMALL;
        let further = if is_large { first } else { GROWTH * first };
        let slots = [(first / slot_bytes) as u32, (further / slot_bytes) as u32];
        let slab_align = if slot_bytes > SLAB_GRANULE { LARGE_GRANULE } else { SLAB_GRANULE };
        // Of one slot the start is the only offset whose product is less than 1.
        let magic = if is_large { 1 } else { u64::MAX / slot_bytes as u64 + 1 };
        shapes[class] = Shape { slot_bytes, slots, slab_align, magic };
        class += 1;
    }
    shapes
};

impl Class {
    /// The class that serves a layout, if one does.
    #[inline]
    pub(crate) fn of_layout(layout: Layout) -> Option<Self> {
        Self::of_any(layout.size(), layout.align())
    }

    /// The class of small or large requests that serves `size` bytes aligned to the power of two `align`, if one does.
    /// 0 bytes are served as one is.
    #[inline]
    pub(crate) fn of_any(size: usize, align: usize) -> Option<Self> {
        let size = size.max(1);
        Self::of(size, align).or_else(|| Self::of_large(size, align))
    }

    /// The large class that serves `size` bytes, if one does; none for 0. A small size with an alignment that no small
    /// class has is served as the smallest large one.
    #[inline]
    pub(crate) fn of_large(size: usize, align: usize) -> Option<Self> {
        if align > LARGE_GRANULE {
            return None;
        }
        LARGE.get(size.wrapping_sub(1) / LARGE_GRANULE).copied()
    }

    /// Whether its slabs have one slot.
    #[inline]
    pub(crate) const fn is_large(self) -> bool {
        self.index() >= SMALL_COUNT
    }

    /// Which waiting descriptors serve a slab of this class: those of all large classes are alike.
    pub(crate) const fn descriptor_index(self) -> usize {
        if self.is_large() { SMALL_COUNT } else { self.index() }
    }

    /// The small class that serves `size` bytes aligned to the power of two `align`, if one does. None for 0 bytes.
    ///
    /// A slot's address is a multiple of its size where the slab is aligned to that. The size is rounded up to the
    /// alignment; as classes are as far apart as a power of two, and multiples of that, the least one that serves this
    /// is a multiple of the alignment, too.
    #[inline]
    pub(crate) fn of(size: usize, align: usize) -> Option<Self> {
        // The last byte of `size` rounded up. For 0 that is none there is.
        let last = size.wrapping_sub(1) | align.wrapping_sub(1);
        SMALL.get(last / EVERY_SLOT_ALIGN).copied()
    }

    /// The small class of which [`Class::distance`] is this, if there is one. A number between two distances is none.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "60 classes of 32 bytes")]
    pub(super) fn small_at_distance(distance: usize) -> Option<Self> {
        debug_assert!(distance >= SMALL_END || distance.is_multiple_of(CLASS_STRIDE));
        (distance < SMALL_END).then_some(Self(distance as u16))
    }

    /// The class with this number.
    #[expect(clippy::cast_possible_truncation, reason = "at most 128 classes of 32 bytes")]
    #[inline]
    const fn numbered(index: usize) -> Self {
        assert!(index < CLASS_COUNT, "there is such a class");
        Self((index * CLASS_STRIDE) as u16)
    }

    /// The class of which [`Class::distance`] is this.
    #[inline]
    pub(crate) const fn at_distance(distance: u16) -> Self {
        debug_assert!((distance as usize) < CLASS_COUNT * CLASS_STRIDE, "of a class there is");
        Self(distance)
    }

    /// Its number, below [`CLASS_PLACES`].
    #[inline]
    pub(crate) const fn index(self) -> usize {
        (self.0 as usize / CLASS_STRIDE) & (CLASS_PLACES - 1)
    }

    /// Its number times [`CLASS_STRIDE`].
    #[inline]
    pub(crate) const fn distance(self) -> u16 {
        self.0
    }

    /// What its slabs look like.
    #[inline]
    pub(crate) const fn shape(self) -> &'static Shape {
        &SHAPES[self.index()]
    }

    /// The classes of several slots a slab, in the order of their sizes.
    pub(crate) fn all_small() -> impl DoubleEndedIterator<Item = Self> {
        (0..SMALL_COUNT).map(Self::numbered)
    }

    /// The classes of one slot a slab, in the order of their sizes.
    pub(crate) fn all_large() -> impl Iterator<Item = Self> {
        (SMALL_COUNT..CLASS_COUNT).map(Self::numbered)
    }

    /// All classes, in the order of their sizes.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..CLASS_COUNT).map(Self::numbered)
    }
}

const _: () = {
    assert!(SIZES[SMALL_COUNT - 1] == MAX_SMALL, "the last small class is the largest");
    assert!(SIZES[CLASS_COUNT - 1] == MAX_LARGE, "so is the last large one");
    assert!(CLASS_COUNT <= CLASS_PLACES, "each class has its place");
    let mut class = 0;
    while class < CLASS_COUNT {
        let Shape { slot_bytes, slots: [few, slots], magic, .. } = SHAPES[class];
        let slab_bytes = SHAPES[class].slab_bytes(slots as usize);
        assert!(slab_bytes <= MAX_SLAB_BYTES, "no offset is larger");
        assert!(slots == 1 || slab_bytes <= MAX_SMALL_SLAB_BYTES, "its pages have bits");
        if class < SMALL_COUNT {
            // With e = magic * size - 2^64 < size, offset i * size + r has the product i * 2^64 + i * e + r * magic. So
            // the rest of a start is i * e, which stays below magic, and of others at least magic; and with r < size
            // it stays below 2^64, so that the upper half is i.
            let e = magic.wrapping_mul(slot_bytes as u64);
            let most = (MAX_SLAB_BYTES / slot_bytes) as u64;
            assert!(e < slot_bytes as u64, "magic is the least that will do");
            assert!((most + 1) * e < magic, "a start is told from others");
            assert!(most >= slots as u64, "what lies further has a larger index");
            assert!(few >= 8 && slots >= few, "a few slots");
            // The byte behind the last slot's is asked for at the most.
            assert!((slab_bytes - 1) / slot_bytes <= slots as usize, "no room for a slot is left");
        } else {
            assert!(magic == 1 && slots == 1, "only the product of offset 0 is below 1");
        }
        class += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_gets_the_smallest_class_that_serves_it() {
        assert_eq!((Class::of(0, 8), Class::of_any(0, 8)), (None, Class::of(1, 8)));
        for size in 1..=MAX_SMALL {
            let class = Class::of(size, 8).expect("a small size");
            assert!(class.shape().slot_bytes >= size);
            let smaller = Class::all().take_while(|other| *other != class).last();
            assert!(smaller.is_none_or(|smaller| smaller.shape().slot_bytes < size), "{size}");
        }
        assert_eq!(Class::of(MAX_SMALL + 1, 8), None);
        for size in (MAX_SMALL + 1..=MAX_LARGE).step_by(61).chain([MAX_LARGE]) {
            let class = Class::of_any(size, 4096).expect("a large size");
            assert!(class.is_large() && class.shape().slot_bytes >= size, "{size}");
            let smaller = Class::all().take_while(|other| *other != class).last();
            assert!(smaller.is_none_or(|smaller| smaller.shape().slot_bytes < size), "{size}");
        }
        assert_eq!(Class::of_any(MAX_LARGE + 1, 8), None);
        assert_eq!(Class::of_any(8, 2 * LARGE_GRANULE), None);
        for size in [isize::MAX as usize, usize::MAX] {
            assert_eq!((Class::of(size, 8), Class::of_any(size, 8)), (None, None));
        }
    }

    #[test]
    fn of_the_classes_that_an_alignment_divides_the_smallest_serves() {
        for align in (0..=15).map(|power| 1_usize << power) {
            let mut classes = Class::all().filter(|class| {
                let Shape { slot_bytes, slab_align, .. } = *class.shape();
                slot_bytes.is_multiple_of(align) && slab_align.is_multiple_of(align)
            });
            let mut class = classes.next().expect("a class");
            for size in 1..=MAX_SMALL {
                if class.shape().slot_bytes < size {
                    class = classes.next().expect("a class");
                }
                assert_eq!(Class::of(size, align), Some(class), "{size} {align}");
                assert_eq!(Class::of_any(size, align), Some(class), "{size} {align}");
            }
        }
        for align in [2 * MAX_SMALL, 1 << 40, 1 << 63] {
            assert_eq!([1, MAX_SMALL].map(|size| Class::of(size, align)), [None, None]);
        }
        assert_eq!(Class::of(24, 8).map(|class| class.shape().slot_bytes), Some(24));
        assert_eq!(Class::of(24, 16).map(|class| class.shape().slot_bytes), Some(32));
        assert_eq!(Class::of(96, 32).map(|class| class.shape().slot_bytes), Some(96));
    }
}
