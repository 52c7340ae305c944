//! What the calls tell the `profile`: nothing but on slow ways, and nothing where the feature is off.
//!
//! A block is noted before its state says so, and its record ends before its state says that: in between the slot is
//! held by the thread that hands it out or frees it.

#[cfg(not(feature = "profile"))]
pub(super) use off::*;
#[cfg(feature = "profile")]
pub(super) use on::*;

#[cfg(feature = "profile")]
mod on {
    use crate::base::random::Random;
    use crate::profile::profiler::{Ended, Extent, PROFILER};
    use crate::slabs::class::Class;
    use crate::slabs::depot::DEPOT;
    use crate::slabs::slot::SAMPLED;
    use crate::slabs::thread_heap::ThreadHeap;

    /// Begins a profile with the first call of all, if settings want one: of this mean distance in bytes, or 0.
    pub(in crate::process) fn begin(mean: usize) {
        if mean > 0 {
            PROFILER.start(mean, Random::seeded().next());
        }
    }

    /// Whether blocks are sampled.
    #[inline]
    pub(in crate::process) fn is_on() -> bool {
        PROFILER.mean() > 0
    }

    /// Whether blocks may be noted: some are sampled, or were, or were counted by a region.
    #[inline]
    pub(in crate::process) fn has_records() -> bool {
        PROFILER.has_records()
    }

    /// Lets a heap hear of a profile that has begun or ended. Its thread is inside of it.
    #[inline]
    pub(in crate::process) fn draw_if_due(heap: &'static ThreadHeap) {
        if PROFILER.is_new_to(heap) {
            PROFILER.begin(heap);
        }
    }

    /// Retires a heap whose thread, or region, ends.
    pub(in crate::process) fn retire(heap: &'static ThreadHeap) {
        draw_if_due(heap);
        DEPOT.retire_heap(heap);
        // Who begins a profile looks at all retired heaps once, which may have been before this one was.
        if PROFILER.is_new_to(heap) {
            draw_in_retired();
        }
    }

    /// Lets the heaps of threads that ended hear of a profile.
    pub(in crate::process) fn draw_in_retired() {
        DEPOT.with_each_retired(draw_if_due);
    }

    /// Notes a block that is about to be handed out in a slot of this class.
    pub(in crate::process) fn sample_slot(
        heap: &ThreadHeap,
        address: usize,
        class: Class,
        requested: usize,
    ) {
        PROFILER.sample(heap, Extent::of_slot(address, class), requested);
    }

    /// Notes a block of the free list that is about to be handed out.
    pub(in crate::process) fn sample_run(heap: &ThreadHeap, address: usize, requested: usize) {
        PROFILER.sample(heap, Extent::of_run(address, requested), requested);
    }

    /// Ends what is noted of a sampled block that the thread of a heap frees. Whether the next one in its slot is
    /// sampled, if that is known.
    pub(in crate::process) fn end(heap: &ThreadHeap, address: usize) -> Option<bool> {
        PROFILER.end(heap, address)
    }

    /// Ends what is noted of a block of the free list.
    pub(in crate::process) fn end_run(heap: &ThreadHeap, address: usize) -> Option<Ended> {
        PROFILER.end_run(heap, address)
    }

    /// Notes that again, if its free was refused.
    pub(in crate::process) fn settle_run(ended: Option<Ended>, is_freed: bool) {
        match ended {
            Some(ended) if is_freed => ended.tell(),
            Some(ended) => PROFILER.put_back(ended),
            None => {}
        }
    }

    /// Notes that a sampled block serves another size in the same slot.
    pub(in crate::process) fn resize_slot(address: usize, class: Class, requested: usize) {
        PROFILER.resize(Extent::of_slot(address, class), requested);
    }

    /// Notes that a block of the free list has another size where it is.
    pub(in crate::process) fn resize_run(address: usize, requested: usize) {
        PROFILER.resize(Extent::of_run(address, requested), requested);
    }

    /// Decides whether a block is sampled that got the second class in place of the first one where it is.
    pub(in crate::process) fn reclass(
        heap: &ThreadHeap,
        address: usize,
        classes: [Class; 2],
        requested: usize,
        was_sampled: bool,
    ) -> bool {
        let extents = classes.map(|class| Extent::of_slot(address, class));
        PROFILER.reclass(heap, extents, requested, was_sampled)
    }

    /// Notes that the bytes of a sampled block have moved from one address to another.
    pub(in crate::process) fn follow(from: usize, to: usize) {
        PROFILER.follow(from, to);
    }

    /// Takes the lock that goes before all others, for the time of a fork.
    pub(in crate::process) fn hold_loader_for_fork() {
        PROFILER.hold_loader_for_fork();
    }

    /// Gives it back.
    pub(in crate::process) fn release_loader_after_fork(is_child: bool) {
        PROFILER.release_loader_after_fork(is_child);
    }

    /// Takes the locks for the time of a fork.
    pub(in crate::process) fn hold_for_fork(is_interrupted: bool) {
        PROFILER.hold_for_fork(is_interrupted);
    }

    /// Gives them back.
    pub(in crate::process) fn release_after_fork(is_child: bool) {
        PROFILER.release_after_fork(is_child);
    }

    /// Whether the calling thread holds one of them.
    pub(in crate::process) fn is_mine() -> bool {
        PROFILER.is_mine()
    }

    /// In the child of a fork: ends the records of blocks that vanished threads were about to hand out.
    pub(in crate::process) fn keep_live() {
        PROFILER.keep_live(|address| match DEPOT.map.find_slot(address) {
            Some((slab, index)) => slab.state_now(index) == SAMPLED,
            None => DEPOT.heap.validate_address(address, None).is_ok(),
        });
    }
}

#[cfg(not(feature = "profile"))]
mod off {
    use crate::slabs::class::Class;
    use crate::slabs::thread_heap::ThreadHeap;

    pub(in crate::process) const fn begin(_: usize) {}

    pub(in crate::process) const fn is_on() -> bool {
        false
    }

    pub(in crate::process) const fn has_records() -> bool {
        false
    }

    pub(in crate::process) const fn draw_if_due(_: &'static ThreadHeap) {}

    #[cfg(feature = "std")]
    pub(in crate::process) fn retire(heap: &'static ThreadHeap) {
        crate::slabs::depot::DEPOT.retire_heap(heap);
    }

    pub(in crate::process) const fn sample_slot(_: &ThreadHeap, _: usize, _: Class, _: usize) {}

    pub(in crate::process) const fn sample_run(_: &ThreadHeap, _: usize, _: usize) {}

    pub(in crate::process) const fn end(_: &ThreadHeap, _: usize) -> Option<bool> {
        Some(false)
    }

    pub(in crate::process) const fn end_run(_: &ThreadHeap, _: usize) -> Option<()> {
        None
    }

    pub(in crate::process) const fn settle_run(_: Option<()>, _: bool) {}

    pub(in crate::process) const fn resize_slot(_: usize, _: Class, _: usize) {}

    pub(in crate::process) const fn resize_run(_: usize, _: usize) {}

    pub(in crate::process) const fn reclass(
        _: &ThreadHeap,
        _: usize,
        _: [Class; 2],
        _: usize,
        was_sampled: bool,
    ) -> bool {
        was_sampled
    }

    pub(in crate::process) const fn follow(_: usize, _: usize) {}

    pub(in crate::process) const fn hold_loader_for_fork() {}

    pub(in crate::process) const fn release_loader_after_fork(_: bool) {}

    pub(in crate::process) const fn hold_for_fork(_: bool) {}

    pub(in crate::process) const fn release_after_fork(_: bool) {}

    pub(in crate::process) const fn is_mine() -> bool {
        false
    }

    pub(in crate::process) const fn keep_live() {}
}
