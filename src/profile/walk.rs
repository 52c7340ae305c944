//! The frames of the calling thread's stack: return addresses, the innermost first.
//!
//! Each frame is found by its [rule](super::rules) where there are unwind tables, else by the frame pointer. Every word
//! is read within the thread's stack, above the frame before, so a wrong rule or a register that is no frame pointer
//! ends the walk, and nothing else. No lock is taken, and nothing is allocated.
#![allow(unsafe_code, reason = "reads registers, and words of the calling thread's stack")]

use core::arch::asm;
use core::mem::MaybeUninit;
use core::ops::Range;

use super::bounds;
#[cfg(target_arch = "x86_64")]
use super::objects::Object;
#[cfg(target_arch = "x86_64")]
use super::rules::{AT_FRAME_POINTER, Base, Rule};
use crate::base::addr;
use crate::base::lock::this_thread;
use crate::slabs::sync::Cell;

/// The most frames that are noted.
pub(super) const MOST: usize = 64;

/// Where a walk has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StackEnd {
    /// Where the thread began.
    Bottom,
    /// After 64 frames; there are more.
    TooDeep,
    /// At a frame whose caller could not be found: code without unwind tables and without frame pointers.
    Lost,
}

/// The frames of a stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frames<const N: usize = MOST> {
    addresses: [usize; N],
    len: usize,
    pub(super) end: StackEnd,
}

impl<const N: usize> Frames<N> {
    pub(super) const fn new() -> Self {
        Self { addresses: [0; N], len: 0, end: StackEnd::Lost }
    }

    /// Those that were noted elsewhere.
    pub(super) fn of(addresses: &[usize]) -> Self {
        let mut frames = Self::new();
        // What has no room is left out.
        let _ = addresses.iter().all(|address| frames.push(*address));
        frames
    }

    /// The return addresses.
    pub(crate) fn addresses(&self) -> &[usize] {
        self.addresses.get(..self.len).unwrap_or_default()
    }

    /// Notes one more. Whether there was room.
    pub(super) fn push(&mut self, address: usize) -> bool {
        let place = self.addresses.get_mut(self.len);
        let has_room = place.is_some();
        place.into_iter().for_each(|place| *place = address);
        self.len += usize::from(has_room);
        has_room
    }
}

/// An address in the call to which a frame returns.
pub(crate) const fn call_of(frame: usize) -> usize {
    frame.saturating_sub(1)
}

/// What is known of a frame: the registers that lead to its caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    /// An address in the instruction that is being run: the call.
    at: usize,
    stack: usize,
    frame: usize,
}

impl Registers {
    /// Those of the calling function. They lead to its callers until it returns.
    #[inline(always)]
    pub(crate) fn here() -> Self {
        let (at, stack, frame): (usize, usize, usize);
        // SAFETY: reads registers.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!(
                "lea {at}, [rip]",
                "mov {stack}, rsp",
                "mov {frame}, rbp",
                at = out(reg) at,
                stack = out(reg) stack,
                frame = out(reg) frame,
                options(nomem, nostack, preserves_flags),
            );
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            asm!(
                "adr {at}, .",
                "mov {stack}, sp",
                "mov {frame}, x29",
                at = out(reg) at,
                stack = out(reg) stack,
                frame = out(reg) frame,
                options(nomem, nostack, preserves_flags),
            );
        }
        Self { at, stack, frame }
    }
}

/// Whether there is room for a walk: not on the alternate stack of a signal handler, which may be small. `seen` is
/// where a thread's own stack was found before.
pub(super) fn has_room(seen: &Cell<[usize; 3]>) -> bool {
    let [owner, start, end] = seen.get();
    let is_own = owner == this_thread() && (start..end).contains(&Registers::here().stack);
    is_own || !is_on_alternate_stack()
}

fn is_on_alternate_stack() -> bool {
    let mut stack = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: it is a place for the answer, and nothing is changed.
    let error = unsafe { libc::sigaltstack(core::ptr::null(), stack.as_mut_ptr()) };
    // SAFETY: it was zero, and all zero is one.
    let stack = unsafe { stack.assume_init() };
    error == 0 && stack.ss_flags & libc::SS_ONSTACK != 0
}

/// Notes the frames of the calling thread, from the caller on, `most` at the most. `seen` is where a thread's own stack
/// was found before: the thread, and the addresses.
#[inline(never)]
pub(super) fn walk(frames: &mut Frames, most: usize, seen: &Cell<[usize; 3]>) {
    walk_from(Registers::here(), frames, most, seen);
}

/// Notes the frames that called the one of these registers, which is still at work.
#[inline(never)]
pub(super) fn walk_from(
    mut now: Registers,
    frames: &mut Frames,
    most: usize,
    seen: &Cell<[usize; 3]>,
) {
    let Some(bounds) = bounds_of(now.stack, seen) else { return };
    let mut walker = Walker::new(bounds);
    frames.end = loop {
        let (caller, address) = match walker.caller_of(now) {
            Ok(caller) => caller,
            Err(end) => break end,
        };
        if frames.len == most || !frames.push(address) {
            break StackEnd::TooDeep;
        }
        now = caller;
    };
}

/// The part of the stack above the stack pointer. A thread's own stack stays as long as the thread, so it is looked up
/// once; one that a program has made, such as a coroutine's, may be another one by now. `seen` may be another thread's.
fn bounds_of(stack: usize, seen: &Cell<[usize; 3]>) -> Option<Range<usize>> {
    let (thread, [owner, start, end]) = (this_thread(), seen.get());
    if owner == thread && (start..end).contains(&stack) {
        return Some(stack..end);
    }
    let range = bounds::mapping_with(stack)?;
    let own_end = bounds::own_end(&range, stack, thread);
    own_end.into_iter().for_each(|end| seen.set([thread, range.start, end]));
    Some(stack..own_end.unwrap_or(range.end))
}

struct Walker {
    bounds: Range<usize>,
    #[cfg(target_arch = "x86_64")]
    object: Option<Object>,
}

impl Walker {
    const fn new(bounds: Range<usize>) -> Self {
        Self {
            bounds,
            #[cfg(target_arch = "x86_64")]
            object: None,
        }
    }

    /// A word of the stack that is not below `least`.
    fn word(&self, address: usize, least: usize) -> Option<usize> {
        let last = self.bounds.end.checked_sub(size_of::<usize>())?;
        if !address.is_multiple_of(size_of::<usize>())
            || address < least.max(self.bounds.start)
            || address > last
        {
            return None;
        }
        // SAFETY: it is an aligned word of the calling thread's stack, above the stack pointer, where the thread alone
        // writes.
        Some(unsafe { addr::raw_pointer(address).cast::<usize>().read_volatile() })
    }

    /// The caller's registers, and the return address.
    fn caller_of(&mut self, now: Registers) -> Result<(Registers, usize), StackEnd> {
        #[cfg(target_arch = "x86_64")]
        match self.rule_at(now.at) {
            Rule::Bottom => return Err(StackEnd::Bottom),
            Rule::Signal => return self.interrupted(now).ok_or(StackEnd::Lost),
            Rule::Frame { base, distance, saved } => {
                return self.caller_by(now, base, distance, saved).unwrap_or(Err(StackEnd::Lost));
            }
            Rule::Unknown => {}
        }
        self.caller_by_pointer(now)
    }

    /// The caller by the frame pointer: the word there is the caller's, and behind it lies the return address.
    fn caller_by_pointer(&self, now: Registers) -> Result<(Registers, usize), StackEnd> {
        const WORD: usize = size_of::<usize>();
        let frame = self.word(now.frame, now.stack).ok_or(StackEnd::Lost)?;
        let address = self.word(now.frame + WORD, now.stack).ok_or(StackEnd::Lost)?;
        returned(address, now.frame + 2 * WORD, frame)
    }
}

/// The registers of a caller to whose `address` a function returns; the thread has begun where that is 0.
fn returned(address: usize, stack: usize, frame: usize) -> Result<(Registers, usize), StackEnd> {
    match address.checked_sub(1) {
        Some(at) => Ok((Registers { at, stack, frame }, address)),
        None => Err(StackEnd::Bottom),
    }
}

#[cfg(target_arch = "x86_64")]
impl Walker {
    fn rule_at(&mut self, address: usize) -> Rule {
        if !self.object.is_some_and(|object| object.has(address)) {
            self.object = Object::with(address);
        }
        match self.object {
            // SAFETY: a frame of the function is on the stack, so its library stays.
            Some(object) => unsafe { Rule::at(address, &object) },
            None => Rule::Unknown,
        }
    }

    fn caller_by(
        &self,
        now: Registers,
        base: Base,
        distance: i32,
        saved: Option<i32>,
    ) -> Option<Result<(Registers, usize), StackEnd>> {
        let from = if base == Base::Stack { now.stack } else { now.frame };
        let mut end = from.checked_add_signed(distance as isize)?;
        if base == Base::AtFrame {
            end = self.word(end, now.stack)?;
        }
        if end <= now.stack {
            return None;
        }
        let address = self.word(end.checked_sub(8)?, now.stack)?;
        let frame = match saved {
            None => now.frame,
            Some(AT_FRAME_POINTER) => self.word(now.frame, now.stack)?,
            Some(saved) => self.word(end.checked_add_signed(saved as isize)?, now.stack)?,
        };
        Some(returned(address, end, frame))
    }

    /// What a signal has interrupted, whose handler was called by the frame that the kernel has put here: `ucontext_t`.
    fn interrupted(&mut self, now: Registers) -> Option<(Registers, usize)> {
        const RBP: usize = 120;
        const RSP: usize = 160;
        const RIP: usize = 168;
        let register = |at| self.word(now.stack + at, now.stack);
        let (frame, stack, at) = (register(RBP)?, register(RSP)?, register(RIP)?);
        if !self.bounds.contains(&stack) {
            // The handler runs on a stack of its own.
            self.bounds = stack..bounds::mapping_with(stack)?.end;
        }
        Some((Registers { at, stack, frame }, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[inline(never)]
    fn deep(depth: usize, then: &mut dyn FnMut()) {
        if depth == 0 {
            then();
        } else {
            deep(black_box(depth - 1), then);
        }
        black_box(depth);
    }

    fn walked(depth: usize) -> Frames {
        let (mut frames, seen) = (Frames::new(), Cell::new([0; 3]));
        deep(depth, &mut || walk(&mut frames, MOST, &seen));
        frames
    }

    #[test]
    fn a_walk_reaches_the_start_of_the_thread() {
        let [shallow, deeper] = [5, 25].map(walked);
        assert_eq!((shallow.end, deeper.end), (StackEnd::Bottom, StackEnd::Bottom));
        assert_eq!(deeper.addresses().len() - shallow.addresses().len(), 20);
        let bottom =
            |frames: &Frames| frames.addresses().iter().rev().take(5).copied().collect::<Vec<_>>();
        assert_eq!(bottom(&shallow), bottom(&deeper));
    }

    #[test]
    fn a_walk_ends_after_so_many_frames() {
        let frames = walked(100);
        assert_eq!((frames.end, frames.addresses().len()), (StackEnd::TooDeep, MOST));
    }
}
