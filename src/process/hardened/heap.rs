//! The hardened heap: it stands before the plain one and knows every block beside it.
//!
//! A block that is handed out is entered in the ledger with the size that was asked for, so sizes within one class are
//! told apart, too. What else happens is up to the settings: bytes behind it are marked (canary), the page behind it
//! made untouchable (guard), its bytes marked when it is freed and verified before they are used again (quarantine), or
//! cleared (zero on free).
//!
//! One lock guards all of it, taken before those of the heap. To the heap a block that waits in the quarantine is live.
//!
//! Invariant: **I1** every block of the heap that a user has, or that waits, is in the ledger.
#![allow(unsafe_code, reason = "marks bytes of the heap's blocks, and makes pages untouchable")]

use core::alloc::Layout;
use core::ptr::{self, NonNull};

use super::super::begin::{complain_of, refuse};
use super::super::plain::PROCESS_HEAP;
use super::ledger::{Known, Ledger};
use super::marks;
use super::quarantine::Quarantine;
use crate::base::addr;
use crate::base::commit;
use crate::base::law::{BrokenLaw, law};
use crate::base::os::{MAPPINGS, Os, Recovered, System};
use crate::base::round::{align_down, align_up};
use crate::heap::{Allocation, Misuse};
use crate::settings::Settings;
use crate::slabs::class::MAX_SMALL;

/// The least number of bytes that are marked behind a block.
const CANARY_BYTES: usize = 8;
/// The largest number: what a large block leaves unused is not to be touched for marks.
const MOST_CANARY_BYTES: usize = 256;

/// Blocks that have a guard at a time. Each is two mappings more, and all of them are a quarter of those that a process
/// may have: the rest is left to the program.
const MOST_GUARDS: usize = MAPPINGS / 4 / 2;

/// What the hardened heap knows.
#[derive(Debug)]
pub(in crate::process) struct Hardened {
    ledger: Ledger,
    quarantine: Quarantine,
    /// Blocks that have a guard.
    guards: usize,
    /// Calls so far.
    calls: usize,
}

impl Hardened {
    /// Nothing was handed out yet.
    pub(super) const fn new() -> Self {
        Self { ledger: Ledger::new(), quarantine: Quarantine::new(), guards: 0, calls: 0 }
    }

    /// Hands out a block.
    pub(in crate::process) fn allocate(
        &mut self,
        layout: Layout,
        settings: &Settings,
    ) -> Option<Allocation> {
        let (size, align) = (layout.size(), layout.align());
        self.tick(settings);
        self.ledger.reserve().ok()?;
        let is_guarded = settings.guard && size > MAX_SMALL && self.guards < MOST_GUARDS;
        let (known, is_zero) = if is_guarded {
            self.take_guarded(size, align, settings)?
        } else {
            self.take(size, align, settings)?
        };
        if settings.canary {
            // SAFETY: the bytes belong to the block and lie behind those that its user may use.
            unsafe { marks::write(known.start + size..known.end, marks::CANARY) };
        }
        self.ledger.enter(known);
        Some(Allocation { start: addr::pointer(known.start)?, is_zero })
    }

    /// A block of the heap, with room for marks.
    fn take(&mut self, size: usize, align: usize, settings: &Settings) -> Option<(Known, bool)> {
        let marked = if settings.canary { CANARY_BYTES } else { 0 };
        let taken = self.take_from_heap(size.checked_add(marked)?, align, settings)?;
        let start = taken.start.addr().get();
        let end =
            start + PROCESS_HEAP.usable_size(start)?.min(size.saturating_add(MOST_CANARY_BYTES));
        let known =
            Known { start, size, end, block: start, is_quarantined: false, is_guarded: false };
        Some((known, taken.is_zero))
    }

    /// A block of the heap that ends, but for its alignment, at a page that nobody can touch.
    fn take_guarded(
        &mut self,
        size: usize,
        align: usize,
        settings: &Settings,
    ) -> Option<(Known, bool)> {
        let page = System.page_size();
        let whole = align_up(size, page)?;
        let taken = self.take_from_heap(whole.checked_add(page)?, align.max(page), settings)?;
        let block = taken.start.addr().get();
        let guard = addr::pointer(block + whole)?;
        // SAFETY: the page is the last one of a block that nobody has yet.
        if let Err(refused) = unsafe { commit::decommit(&System, guard, page) } {
            // The kernel has no room for one more mapping. If the page is lost, the block cannot be used.
            if refused != Recovered::Untouched {
                return None;
            }
        } else {
            let (start, end) = (align_down(block + whole - size, align), block + whole);
            let known = Known { start, size, end, block, is_quarantined: false, is_guarded: true };
            self.guards += 1;
            return Some((known, taken.is_zero));
        }
        let end = block + whole + page;
        let known =
            Known { start: block, size, end, block, is_quarantined: false, is_guarded: false };
        Some((known, taken.is_zero))
    }

    /// A block of the heap. Where there is none, blocks that wait make room.
    fn take_from_heap(
        &mut self,
        size: usize,
        align: usize,
        settings: &Settings,
    ) -> Option<Allocation> {
        let layout = Layout::from_size_align(size, align).ok()?;
        let mut taken = PROCESS_HEAP.allocate(layout);
        while taken.is_none() && self.release_oldest(settings) {
            taken = PROCESS_HEAP.allocate(layout);
        }
        taken
    }

    /// Takes a block back.
    pub(in crate::process) fn release(
        &mut self,
        address: usize,
        layout: Option<Layout>,
        settings: &Settings,
    ) -> Result<(), Misuse> {
        self.tick(settings);
        let known = self.known(address, layout)?;
        if let Some(at) = changed_mark(&known, settings) {
            let size = layout.map(|layout| layout.size());
            return Err(Misuse::overrun(address, size, known.size, at));
        }
        let bytes = known.end - known.start;
        if bytes > settings.quarantine_bytes || self.quarantine.push(known.start, bytes).is_err() {
            self.give_to_heap(&known, settings);
            return Ok(());
        }
        // SAFETY: the block was freed, so no user may use it.
        unsafe { marks::write(known.start..known.end, marks::FREED) };
        self.ledger.enter(Known { is_quarantined: true, ..known });
        while self.quarantine.bytes() > settings.quarantine_bytes && self.release_oldest(settings) {
        }
        Ok(())
    }

    /// Moves the bytes of a block to one for another layout. `None` where there is no memory, and then nothing has
    /// changed. Done as one step, so that no free comes between.
    ///
    /// # Safety
    ///
    /// `start` is a live block of layout `old`, unless it is none at all, which is found.
    pub(in crate::process) unsafe fn reallocate(
        &mut self,
        start: *mut u8,
        old: Layout,
        new: Layout,
        settings: &Settings,
    ) -> Result<Option<NonNull<u8>>, Misuse> {
        self.validate(start.addr(), Some(old))?;
        let Some(moved) = self.allocate(new, settings) else { return Ok(None) };
        let kept = old.size().min(new.size());
        // SAFETY: both blocks are live, at least `kept` bytes long, and not the same.
        unsafe { ptr::copy_nonoverlapping(start, moved.start.as_ptr(), kept) };
        // Bytes behind it may have been written: it stays where it is then, and its user goes on with the other one.
        self.release(start.addr(), Some(old), settings).unwrap_or_else(|misuse| refuse(&misuse));
        Ok(Some(moved.start))
    }

    /// Gives the block that has waited longest back to the heap. `false` where none waits.
    fn release_oldest(&mut self, settings: &Settings) -> bool {
        let oldest = self.quarantine.oldest().and_then(|start| self.ledger.find(start));
        let Some(known) = oldest else { return false };
        self.quarantine.pop(known.end - known.start);
        if let Some(at) = changed_mark(&known, settings) {
            refuse(&Misuse::written_after_free(known.start, known.size, at));
        }
        self.give_to_heap(&known, settings);
        true
    }

    /// Gives a block back to the heap.
    fn give_to_heap(&mut self, known: &Known, settings: &Settings) {
        if settings.zero_on_free {
            // SAFETY: the block was freed, so no user may use it.
            unsafe { marks::write(known.start..known.end, 0) };
        }
        self.ledger.remove(known.start);
        if known.is_guarded {
            let Some(guard) = addr::pointer(known.end) else { return };
            // SAFETY: the page is part of a block that nobody has any more.
            if unsafe { commit::commit_for_blocks(&System, guard, System.page_size()) }.is_err() {
                // The block cannot be used again: addresses are lost, nothing else.
                return;
            }
            self.guards -= 1;
        }
        if let Err(misuse) = PROCESS_HEAP.release(known.block, None) {
            refuse(&misuse);
        }
    }

    /// What is known of the live block at `address`, if it was asked for with this layout's size.
    fn known(&self, address: usize, layout: Option<Layout>) -> Result<Known, Misuse> {
        let size = layout.map(|layout| layout.size());
        let Some(known) = self.ledger.find(address) else {
            PROCESS_HEAP.validate(address, layout)?;
            // The heap's block starts here, but not its user's bytes.
            return Err(Misuse::unallocated(address, size));
        };
        if known.is_quarantined {
            return Err(Misuse::double_free(address, size));
        }
        if size.is_some_and(|size| size != known.size) {
            return Err(Misuse::wrong_size(address, size, known.size));
        }
        Ok(known)
    }

    /// Whether a free would be accepted, as far as the address goes.
    pub(in crate::process) fn validate(
        &self,
        address: usize,
        layout: Option<Layout>,
    ) -> Result<(), Misuse> {
        self.known(address, layout).map(|_| ())
    }

    /// The bytes that the user of the block at `address` may use.
    pub(in crate::process) fn usable_size(&self, address: usize) -> Option<usize> {
        self.known(address, None).ok().map(|known| known.size)
    }

    /// Counts a call, and checks everything if it is time.
    fn tick(&mut self, settings: &Settings) {
        self.calls = self.calls.wrapping_add(1);
        if settings.check_every > 0
            && self.calls.is_multiple_of(settings.check_every)
            && let Err(broken) = self.check(settings)
        {
            complain_of(&broken, settings);
        }
    }

    /// Checks the heap's laws, and every mark there is.
    pub(in crate::process) fn check(&self, settings: &Settings) -> Result<(), BrokenLaw> {
        PROCESS_HEAP.check()?;
        for known in self.ledger.all() {
            let changed = changed_mark(known, settings);
            let what = if known.is_quarantined {
                "nobody writes to a block after its free"
            } else {
                "nobody writes behind a block"
            };
            law(changed.is_none(), what, changed.unwrap_or(known.start))?;
        }
        Ok(())
    }
}

/// The first byte of a block that ought to be marked and is not.
fn changed_mark(known: &Known, settings: &Settings) -> Option<usize> {
    let (run, mark) = if known.is_quarantined {
        (known.start..known.end, marks::FREED)
    } else if settings.canary {
        (known.start + known.size..known.end, marks::CANARY)
    } else {
        return None;
    };
    // SAFETY: the run belongs to the block, was marked when that was handed out or freed, and is no user's.
    unsafe { marks::first_changed(run, mark) }
}
