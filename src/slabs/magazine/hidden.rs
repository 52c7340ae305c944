//! What a magazine hides from malloc under its floor: [marked](super::super::marks) slots, and all of them where it is
//! armed.
#![allow(unsafe_code, reason = "takes a slot off the stack")]

use super::super::slot::{self, FreeSlot, HandedOut};
use super::super::sync::{Cell, Ordering};
use super::{ARMED, Place, Stack};

impl Stack<'_> {
    /// Lets malloc find what the magazine holds, where it was armed, but for marked slots.
    pub(in crate::slabs) fn disarm(self) {
        let hidden = if self.marked.get() == 0 {
            0
        } else {
            let held = self.places().get(..self.len()).unwrap_or_default();
            held.iter().rposition(is_marked).map_or(0, |newest| newest + 1)
        };
        self.magazine.floor.store(self.above(hidden).cast_mut(), Ordering::Relaxed);
    }

    /// Hides marked slots from malloc (I3). An armed magazine has all hidden.
    pub(in crate::slabs) fn hide(self) {
        if !self.is_armed() && (self.marked.get() > 0 || self.hides_some()) {
            self.disarm();
        }
    }

    fn is_armed(self) -> bool {
        self.magazine.floor.load(Ordering::Relaxed) == ARMED
    }

    fn hides_some(self) -> bool {
        self.magazine.floor.load(Ordering::Relaxed).cast_const() != self.above(0)
    }

    /// Marks the slot that is the `index`th to be handed out. The caller [hides](Stack::hide) it.
    pub(in crate::slabs) fn mark_one(self, index: usize) {
        let place = self.len().checked_sub(index + 1).and_then(|place| self.places().get(place));
        if let Some(state) = place.and_then(|place| place.get().state) {
            slot::set_marked(state, true);
            self.marked.update(|marked| marked + 1);
        }
    }

    /// Counts the newest slot as marked, which has just been put on top, and hides it.
    pub(in crate::slabs) fn count_newest_marked(self) {
        self.marked.update(|marked| marked + 1);
        self.hide();
    }

    /// Unmarks all slots it holds.
    pub(in crate::slabs) fn unmark_all(self) {
        if self.marked.replace(0) > 0 {
            let held = self.places().iter().take(self.len());
            held.filter_map(|place| place.get().state)
                .for_each(|state| slot::set_marked(state, false));
        }
        self.hide();
    }

    /// Takes the newest slot, be the magazine armed or not, and hands it out, unless it is to be sampled first.
    pub(in crate::slabs) fn hand_out(self) -> Option<HandedOut> {
        let handed_out = self.take_newest()?.hand_out_or_sample();
        if matches!(handed_out, HandedOut::Marked(_)) {
            self.marked.update(|marked| marked - 1);
            self.hide();
        }
        Some(handed_out)
    }

    /// Takes a slot to be sampled, if the newest is one and that alone has led here: the magazine is not armed.
    pub(in crate::slabs) fn hand_out_marked(self) -> Option<HandedOut> {
        if self.marked.get() > 0 && !self.is_armed() && self.len() > 0 {
            self.hand_out()
        } else {
            None
        }
    }

    fn take_newest(self) -> Option<FreeSlot> {
        if self.len() == 0 {
            return None;
        }
        // SAFETY: there is a slot, so `top` is above the bottom (I1).
        let newest = unsafe { self.magazine.top.get().sub(1) };
        self.magazine.top.set(newest);
        // SAFETY: the place is one of the array's (I1).
        let place = unsafe { &*newest }.get();
        // SAFETY: it was below `top`, so it held a slot (I2), and does not any more.
        Some(unsafe { place.take_out() })
    }

    /// Whether `marked` slots are marked, and none lies above the floor (I3).
    pub(in crate::slabs) fn are_marks_hidden(self) -> bool {
        let held = self.places().get(..self.len()).unwrap_or_default();
        let marked = held.iter().filter(|place| is_marked(place)).count();
        let newest = held.iter().rposition(is_marked).map_or(0, |newest| newest + 1);
        let floor = self.magazine.floor.load(Ordering::Relaxed).cast_const();
        marked == self.marked.get() as usize && floor >= self.above(newest)
    }
}

/// Whether the slot in this place is marked.
fn is_marked(place: &Cell<Place>) -> bool {
    place.get().state.is_some_and(|state| slot::is_marked(state.load(Ordering::Relaxed)))
}
