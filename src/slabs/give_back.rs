//! Pages of free slots that go back to the system while other slots of their slab are live.
//!
//! Those whose slots are all at home in the free words are given back by the owner, or by the thread that acts for a
//! heap without one. Those whose slots others have sent home go back without the owner, who may sleep: the
//! [`handover`](super::handover) says how. The slab itself waits for its owner, who keeps its magazines, too.
//!
//! On demand all of them go. Otherwise those that were free for a decay time: that were found so in two *rounds* which
//! are at least as far apart. A heap's round goes over its listed slabs, the depot's over the slab map and over the
//! heaps whose threads have ended. Rounds are made by threads that come by on a slow way, step by step: how large a
//! step is depends on the time since the last one, so that giving back takes a small part of the time.
//!
//! Lock: `looking`, which a thread has that looks at others' slabs, and a fork: so no such thread vanishes meanwhile.
#![allow(unsafe_code, reason = "maps over pages that nobody uses")]

use super::class::{Class, SLAB_GRANULE};
use super::depot::Depot;
use super::raced::stop_raced;
use super::rounds::{LOOKS, OthersRound, SLAB_LOOKS, Step};
use super::slab::Slab;
use super::slab::pages::{Pages, Which};
use super::sync::Ordering;
use super::thread_heap::ThreadHeap;
use crate::base::addr;
use crate::base::bits::runs;
use crate::base::commit;
use crate::base::os::{Recovered, System};
use crate::settings;

impl ThreadHeap {
    /// Makes a step of this heap's round, and of that over others' slabs, if they are due `now`, in milliseconds. The
    /// caller holds no lock but `shared`.
    pub(super) fn give_back_if_due(&'static self, now: u64) {
        if now >= self.round.next_at.get() {
            self.make_step(now);
        }
        if now >= self.depot().look_at.load(Ordering::Relaxed) {
            self.depot().look_at_others(now);
        }
    }

    /// Whether there is something to do for a heap whose thread has ended: to give back, or to vacate it.
    fn has_left_something(&self) -> bool {
        self.round.waits()
            || self.empty_bytes.get() > 0
            || !self.is_left()
            || self.notified.has_any()
    }

    #[cold]
    #[inline(never)]
    fn make_step(&'static self, now: u64) {
        let mut step = Step::after(now.saturating_sub(self.round.stepped_at.replace(now)));
        let is_over = self.step(&mut step);
        self.round.next_at.set(next_step(now, is_over));
    }

    /// Goes on with the round. Whether it is over.
    fn step(&'static self, step: &mut Step) -> bool {
        let round = &self.round;
        if !round.goes_on() {
            return true;
        }
        for class in Class::all_small().skip(round.classes.get()) {
            let mut next = round.slab.take().or(self.list(class).listed.get());
            while let Some(slab) = next {
                if !step.goes_on() {
                    round.slab.set(Some(slab));
                    if step.is_refused {
                        round.end();
                    }
                    return step.is_refused;
                }
                step.count_look(SLAB_LOOKS);
                // Asked first: a slab that loses all its free slots goes off the list.
                next = slab.next.get();
                if slab.looked_in.replace(round.number.get()) != round.number.get() {
                    self.give_back_free(slab, step);
                }
            }
            round.classes.update(|classes| classes + 1);
        }
        round.end();
        true
    }

    /// Gives all pages of free slots in own slabs back.
    pub(crate) fn give_back_all_free(&'static self, step: &mut Step) {
        for class in Class::all_small() {
            let mut next = self.list(class).listed.get();
            while let Some(slab) = next {
                next = slab.next.get();
                self.give_back_free(slab, step);
            }
        }
    }

    /// Gives the pages of an own slab back whose slots are all at home.
    fn give_back_free(&'static self, slab: &'static Slab, step: &mut Step) {
        let (due, waits) = slab.due(&slab.free_pages(), step.which);
        if waits {
            self.round.note_free();
        }
        self.depot().give_back(slab, &due, step, |first, count| self.lose(slab, first, count));
    }
}

/// When the next step is due.
fn next_step(now: u64, is_over: bool) -> u64 {
    now.saturating_add(if is_over { settings::decay_ms().max(1) } else { 1 })
}

impl Depot {
    /// Makes a step of the round over others' slabs, unless another thread does. The caller holds no lock but `shared`.
    #[cold]
    #[inline(never)]
    fn look_at_others(&'static self, now: u64) {
        let Some(mut round) = self.looking.try_lock() else { return };
        let mut step = Step::after(now.saturating_sub(round.stepped_at));
        round.stepped_at = now;
        let is_over = self.step(&mut round, &mut step, now) || step.is_refused;
        if is_over {
            (round.address, round.retired) = (0, None);
            round.waited = core::mem::take(&mut round.waits);
        }
        self.others_wait.store(round.waits || round.waited, Ordering::Relaxed);
        self.look_at.store(next_step(now, is_over), Ordering::Relaxed);
    }

    /// Goes on with the round. Whether it is over.
    fn step(&'static self, round: &mut OthersRound, step: &mut Step, now: u64) -> bool {
        if round.retired.is_none() {
            match self.look_at_map(round.address, step) {
                (Some(address), waits) => {
                    round.address = address;
                    round.waits |= waits;
                    return false;
                }
                (None, waits) => round.waits |= waits,
            }
        }
        let mut left = round.retired.unwrap_or_else(|| self.pool.lock().all_retired().count());
        while left > 0 && step.goes_on() {
            left -= 1;
            step.count_look(SLAB_LOOKS);
            let Some(heap) = self.take_oldest_retired(ThreadHeap::has_left_something) else {
                continue;
            };
            heap.drain();
            heap.end_empty_slabs(|slab| self.end_slab(slab));
            heap.step(step);
            round.waits |= heap.round.waits();
            let is_empty = !heap.is_left();
            if heap.was_empty.replace(is_empty) && is_empty {
                self.retire_or_vacate(heap);
            } else {
                round.waits |= is_empty;
                self.retire_heap(heap);
            }
        }
        round.retired = Some(left);
        if left == 0 {
            round.waits |= self.give_back_records(step);
            for heap in self.pool.lock().all_heaps() {
                heap.arm_if_it_waits();
                heap.note_sleep(now);
            }
        }
        left == 0
    }

    /// Gives pages of records back that wait. Whether there are others, for the next time.
    pub(crate) fn give_back_records(&self, step: &mut Step) -> bool {
        let (mut next, mut waits) = (self.pool.lock().records.newest_chunk(), false);
        while let Some(chunk) = next {
            if step.runs == 0 {
                return true;
            }
            next = chunk.before();
            // Held while the pages go: until then nobody uses them again.
            let _pool = self.pool.lock();
            let idle = chunk.idle();
            let seen = chunk.note_idle(idle);
            let due = if step.which == Which::All { idle } else { seen };
            waits |= idle & !due != 0;
            for (first, count) in runs(|index| (index == 0).then_some(due)) {
                let (start, len) = chunk.page_run(first, count);
                self.give_back_run(start, len, step, |start, len, is_there| match is_there {
                    true => chunk.mark_clean(start, len),
                    // Who is so late that he still reads there finds nothing.
                    false => chunk.lose(start, len),
                });
            }
        }
        waits
    }

    /// Gives the pages of all slabs back whose slots have all been sent home.
    pub(crate) fn give_back_all_sent(&'static self, step: &mut Step) {
        let mut next = Some(0);
        while let Some(address) = next.filter(|_| !step.is_refused) {
            // A fork waits for a part of it only.
            let _looking = self.looking.lock();
            let mut part = Step::new(step.which, LOOKS * SLAB_LOOKS, LOOKS);
            next = self.look_at_map(address, &mut part).0;
            step.given_back += part.given_back;
            step.is_refused |= part.is_refused;
        }
    }

    /// Looks at the slabs that the map has from an address on. Returns where to go on, and whether there are pages that
    /// wait. The caller has the lock.
    fn look_at_map(&'static self, from: usize, step: &mut Step) -> (Option<usize>, bool) {
        let (base, covered, _) = self.map.extent();
        let (mut address, mut wait) = (from.max(base), false);
        while address < base + covered {
            if !step.goes_on() {
                return (Some(address), wait);
            }
            step.count_look(1);
            let slab = self.map.find(address).filter(|slab| slab.start() == address);
            address += SLAB_GRANULE;
            if let Some(slab) = slab.filter(|slab| slab.notice.is_sent()) {
                step.count_look(SLAB_LOOKS);
                wait |= self.give_back_sent(slab, step);
            }
        }
        (None, wait)
    }

    /// Gives the pages of a slab back whose slots have all been sent home, by any thread. Whether there are others
    /// that wait. The caller has the lock.
    pub(super) fn give_back_sent(&'static self, slab: &'static Slab, step: &mut Step) -> bool {
        if !slab.notice.hold() {
            // The owner is there.
            return false;
        }
        // Each bit keeps the slab where it is, unless two frees of one block were accepted.
        let (due, waits) = slab.due(&slab.sent_pages(), step.which);
        let is_raced = slab.not_sent_on(&due).inspect(|address| stop_raced(*address)).is_some();
        if !is_raced {
            self.give_back(slab, &due, step, |first, count| slab.lose_sent(first, count));
            // The owner may have tested the block of a second free before that, and have freed it meanwhile.
            slab.not_sent_on(&due).into_iter().for_each(stop_raced);
        }
        slab.notice.release();
        waits
    }

    /// Gives pages of a slab back, until the system refuses. `lose` is told which slots have no memory any more.
    fn give_back(
        &self,
        slab: &'static Slab,
        pages: &Pages,
        step: &mut Step,
        mut lose: impl FnMut(usize, usize),
    ) {
        for (first, count) in pages.runs() {
            let (start, len) = slab.page_run(first, count);
            self.give_back_run(start, len, step, |start, len, is_there| {
                if is_there {
                    slab.mark_clean(start, len);
                } else {
                    let (first, count) = slab.slots_within(start, len);
                    lose(first, count);
                }
            });
        }
    }

    /// Gives a run of pages back that nobody uses while the caller does this, or as much of it as may go, unless the
    /// system has refused before. `gone` is told what went, and whether there are fresh pages.
    fn give_back_run(
        &self,
        start: usize,
        len: usize,
        step: &mut Step,
        mut gone: impl FnMut(usize, usize, bool),
    ) {
        let part = self.heap.part_to_give_back(start, len).filter(|_| !step.is_refused);
        let Some((start, len)) = part else { return };
        let Some(pages) = addr::pointer(start) else { return };
        step.runs = step.runs.saturating_sub(1);
        // SAFETY: the pages have free slots only, or records that wait, by the caller.
        match unsafe { commit::renew(&System, pages, len) } {
            Ok(()) => {
                step.given_back += len;
                gone(start, len, true);
            }
            Err(refused) => {
                step.is_refused = true;
                if refused != Recovered::Untouched {
                    gone(start, len, false);
                }
            }
        }
    }
}
