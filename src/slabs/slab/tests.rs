//! Every law of a slab can be broken, and is found broken.
#![allow(unsafe_code, reason = "names a heap that there is not, and lays out arrays")]

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use crate::slabs::class::Class;
use crate::slabs::names::HeapName;
use crate::slabs::slab::Slab;
use crate::slabs::slab::arrays::{Arrays, LINE};
use crate::slabs::slot::LIVE;
use crate::slabs::sync::Ordering;

impl Slab {
    /// Changes what only the owner's laws hold it to.
    pub(crate) fn break_key(&self) {
        self.key.store(self.key() + 1, Ordering::Relaxed);
    }

    /// Leaves the sums as an owner does that vanishes while it changes them.
    pub(crate) fn break_sums(&self) {
        self.free_count.update(|count| count / 2);
        self.hint.update(|hint| hint + 1);
        self.carved.store(0, Ordering::Relaxed);
        self.is_listed.set(true);
    }
}

/// A descriptor without a slab, whose arrays stay.
pub(in crate::slabs) fn descriptor(class: Class, slots: usize) -> Slab {
    let lines = Arrays::bytes(class.shape(), slots).div_ceil(LINE);
    let memory = Box::leak(vec![Line([0; LINE]); lines].into_boxed_slice());
    // SAFETY: the memory is zero, aligned, long enough, and nobody else's for ever.
    let arrays = unsafe { Arrays::at(NonNull::from(memory).cast(), class.shape(), slots) };
    Slab::new(class, arrays, None)
}

#[derive(Clone)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "memory")] [u8; LINE]);

/// A slab of 16 slots on nobody's memory, of which the first half was taken.
fn slab() -> &'static Slab {
    let class = Class::of(1000, 8).expect("a class");
    let slab: &Slab = Box::leak(Box::new(descriptor(class, class.shape().slots[0] as usize)));
    // SAFETY: nobody looks for the heap that lies there.
    let owner = unsafe { HeapName::at(NonZeroUsize::MIN) };
    slab.begin(1 << 50, class, owner);
    slab.take(slab.slots() / 2, drop);
    slab
}

#[test]
fn every_law_of_a_slab_can_be_broken() {
    let broken = |break_it: &dyn Fn(&Slab)| {
        let slab = slab();
        assert_eq!(slab.check(), Ok(()));
        break_it(slab);
        slab.check().expect_err("a broken law").law
    };
    assert_eq!(broken(&|slab| slab.hint.set(1)), "no word below the hint has a bit");
    assert_eq!(
        broken(&|slab| slab.free_count.update(|count| count + 1)),
        "the free slots are counted (I2)"
    );
    assert_eq!(broken(&|slab| slab.put(0, 1 << 20)), "only slots are free");
    assert_eq!(
        broken(&|slab| slab.states()[slab.slots() - 1].store(LIVE, Ordering::Relaxed)),
        "a slot is live or free (I1)"
    );
    assert_eq!(broken(&|slab| slab.carved.store(0, Ordering::Relaxed)), "what was taken is carved");
}
