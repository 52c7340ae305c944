//! A heap begins to draw [`marks`](super::marks) for a profile, or ends that: once for all slots it has, also those
//! that are handed out.

use super::class::Class;
use super::slab::Slab;
use super::slot::{LIVE, SAMPLED};
use super::thread_heap::ThreadHeap;

impl ThreadHeap {
    /// Marks every slot from now on, for a region of this number: the heap has none yet. Or ends that, with 0, until it
    /// hears of a profile. The caller is the heap's thread.
    pub(crate) fn mark_all_for(&self, region: u32) {
        self.marks.set_region(region);
        Class::all().for_each(|class| self.draw_anew(class));
    }

    /// Begins to draw marks with this mean distance in bytes for a profile of this number, or ends that if the mean is
    /// 0. Slots that are handed out already are drawn, too, so that each has a mark or none when it comes back: `note`
    /// is told of each live block whose slot is marked, the bytes of that, and whether it was marked for an earlier
    /// profile, and says whether it has noted the block. One whose slot is not marked any more goes to `forget`. Blocks
    /// that were marked and are `kept` stay as they are.
    ///
    /// The caller is the heap's thread, or acts for it. O(map + slots).
    pub(crate) fn begin_marks(
        &'static self,
        profile: u32,
        mean: usize,
        seed: u64,
        mut note: impl FnMut(usize, usize, bool) -> bool,
        mut forget: impl FnMut(usize),
        kept: impl Fn(usize) -> bool,
    ) {
        self.marks.begin(profile, mean, seed);
        Class::all().for_each(|class| self.draw_anew(class));
        if mean == 0 || !self.has_slabs() {
            return;
        }
        for slab in self.depot().map.all().filter(|slab| self.owns(slab)) {
            self.mark_live(slab, &mut note, &mut forget, &kept);
        }
    }

    fn mark_live(
        &self,
        slab: &'static Slab,
        note: &mut impl FnMut(usize, usize, bool) -> bool,
        forget: &mut impl FnMut(usize),
        kept: &impl Fn(usize) -> bool,
    ) {
        let slot_bytes = slab.shape().slot_bytes;
        for index in 0..slab.carved() {
            let state = slab.state_now(index);
            if state != LIVE && state != SAMPLED {
                continue;
            }
            let (start, was_sampled) = (slab.slot_start(index), state == SAMPLED);
            if was_sampled && kept(start) {
                continue;
            }
            let is_marked = self.marks.draw_one(slot_bytes) && note(start, slot_bytes, was_sampled);
            if is_marked == was_sampled {
                continue;
            }
            // Only its owner hands the slot out, so nobody else notes anything of it meanwhile.
            if !slab.change_sampled(index, is_marked) || was_sampled {
                forget(start);
            }
        }
    }
}
