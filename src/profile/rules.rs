//! How the caller of a function is found at an address in it: by a rule from the unwind tables, once computed kept.
//!
//! The tables are read where they lie, by `gimli`, without allocating. Rules are kept in one table for all threads,
//! without a lock: a rule is one word, and beside it lies that word mixed with the address, so that half of each of two
//! is recognised.
#![allow(unsafe_code, reason = "reads unwind tables")]

use core::sync::atomic::{AtomicU64, Ordering};

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, NativeEndian, Operation, Pointer,
    Register, RegisterRule, UnwindContext, UnwindContextStorage, UnwindExpression, UnwindSection,
    UnwindTableRow, X86_64,
};

use super::objects::Object;

/// Where a function's caller is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// The frame ends at a distance from the stack pointer or the frame pointer; the return address lies below that
    /// end, and the caller's frame pointer, if it was saved, at this distance from the end.
    Frame {
        /// What the distance is counted from.
        base: Base,
        /// The distance in bytes.
        distance: i32,
        /// Where the caller's frame pointer was saved.
        saved: Option<i32>,
    },
    /// The kernel has put a signal's frame here, with all registers.
    Signal,
    /// Nobody called it: here the thread began.
    Bottom,
    /// The tables say nothing of it, or something that is not understood here.
    Unknown,
}

/// What the end of a frame is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// The stack pointer.
    Stack,
    /// The frame pointer.
    Frame,
    /// The word at a distance from the frame pointer, where a function has aligned its stack: that word is the end.
    AtFrame,
}

/// A distance that stands for a frame pointer that was not saved.
const NOT_SAVED: i32 = i32::MIN;
/// One that stands for the frame pointer itself: there a function that has aligned its stack has saved the caller's.
pub(super) const AT_FRAME_POINTER: i32 = i32::MIN + 1;
/// Bits of the distance of a frame's end.
const DISTANCE_BITS: u32 = 28;

impl Rule {
    /// The rule in one word.
    const fn packed(self) -> u64 {
        let (kind, distance, saved) = match self {
            Self::Frame { base, distance, saved } => {
                let saved = match saved {
                    Some(saved) => saved,
                    None => NOT_SAVED,
                };
                (1 + base as u64, distance, saved)
            }
            Self::Signal => (4, 0, 0),
            Self::Bottom => (5, 0, 0),
            Self::Unknown => (6, 0, 0),
        };
        let distance = distance.cast_unsigned() as u64 & ((1 << DISTANCE_BITS) - 1);
        kind << 60 | distance << 32 | saved.cast_unsigned() as u64
    }

    /// The rule that a word is.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    const fn unpacked(word: u64) -> Option<Self> {
        let shift = i32::BITS - DISTANCE_BITS;
        let distance = (((word >> 32) as u32) << shift).cast_signed() >> shift;
        let saved = match (word as u32).cast_signed() {
            NOT_SAVED => None,
            saved => Some(saved),
        };
        let base = match word >> 60 {
            1 => Base::Stack,
            2 => Base::Frame,
            3 => Base::AtFrame,
            4 => return Some(Self::Signal),
            5 => return Some(Self::Bottom),
            6 => return Some(Self::Unknown),
            _ => return None,
        };
        Some(Self::Frame { base, distance, saved })
    }

    /// The rule at an address in a function of this library or program, computed if nobody has asked before.
    ///
    /// # Safety
    ///
    /// The function is being run.
    pub(super) unsafe fn at(address: usize, object: &Object) -> Self {
        let key = (address as u64) ^ object.number();
        let place = &KEPT[(key.wrapping_mul(0xd6e8_feb8_6659_fd93) >> (64 - KEPT_BITS)) as usize];
        let word = place[1].load(Ordering::Relaxed);
        if place[0].load(Ordering::Relaxed) == key ^ word
            && let Some(rule) = Self::unpacked(word)
        {
            return rule;
        }
        // SAFETY: by the caller's contract.
        let rule = unsafe { compute(address, object) }.unwrap_or(Self::Unknown);
        let word = rule.packed();
        place[0].store(key ^ word, Ordering::Relaxed);
        place[1].store(word, Ordering::Relaxed);
        rule
    }
}

const KEPT_BITS: u32 = 13;
/// Rules that were computed: each with the address and the library's number, mixed with it. No memory before the first.
static KEPT: [[AtomicU64; 2]; 1 << KEPT_BITS] =
    [const { [const { AtomicU64::new(0) }; 2] }; 1 << KEPT_BITS];

/// Room for as many registers as functions save, on the stack.
struct OnStack;

impl UnwindContextStorage<usize> for OnStack {
    type Rules = [(Register, RegisterRule<usize>); 24];
    type Stack = [UnwindTableRow<usize, Self>; 4];
}

type Bytes<'a> = EndianSlice<'a, NativeEndian>;

/// Reads the rule out of the tables.
///
/// # Safety
///
/// As for [`Rule::at`].
#[cold]
#[inline(never)]
unsafe fn compute(address: usize, object: &Object) -> Option<Rule> {
    // SAFETY: by the caller's contract it stays loaded.
    let (bytes, at) = unsafe { object.table() };
    let bases = BaseAddresses::default().set_eh_frame_hdr(at);
    let table = EhFrameHdr::new(bytes, NativeEndian).parse(&bases, 8).ok()?;
    let Pointer::Direct(frames_at) = table.eh_frame_ptr() else { return None };
    let frames_from = usize::try_from(frames_at.checked_sub(at)?).ok()?;
    let frames = EhFrame::new(bytes.get(frames_from..)?, NativeEndian);
    let bases = bases.set_eh_frame(frames_at);
    let (address, sorted) = (address as u64, table.table()?);
    let offset = sorted.pointer_to_offset(sorted.lookup(address, &bases).ok()?).ok()?;
    let function = frames.fde_from_offset(&bases, offset, EhFrame::cie_from_offset).ok()?;
    if !function.contains(address) {
        return None;
    }
    if function.is_signal_trampoline() {
        return Some(Rule::Signal);
    }
    let mut context = UnwindContext::<usize, OnStack>::new_in();
    let row = function.unwind_info_for_address(&frames, &bases, &mut context, address).ok()?;
    match row.register(X86_64::RA) {
        Some(RegisterRule::Undefined) => return Some(Rule::Bottom),
        Some(RegisterRule::Offset(-8)) => {}
        _ => return None,
    }
    let (base, distance) = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } if *register == X86_64::RSP => {
            (Base::Stack, *offset)
        }
        CfaRule::RegisterAndOffset { register, offset } if *register == X86_64::RBP => {
            (Base::Frame, *offset)
        }
        CfaRule::Expression(expression) => {
            (Base::AtFrame, at_frame_pointer(expression, &frames, function.cie().encoding())?)
        }
        CfaRule::RegisterAndOffset { .. } => return None,
    };
    let saved = match row.register(X86_64::RBP) {
        None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => None,
        Some(RegisterRule::Offset(offset)) => Some(i32::try_from(offset).ok()?),
        Some(RegisterRule::Expression(_)) if base == Base::AtFrame => Some(AT_FRAME_POINTER),
        _ => return None,
    };
    let distance =
        i32::try_from(distance).ok().filter(|far| far.unsigned_abs() < 1 << (DISTANCE_BITS - 1))?;
    Some(Rule::Frame { base, distance, saved })
}

/// The distance of an expression that is the word at a distance from the frame pointer.
fn at_frame_pointer(
    expression: &UnwindExpression<usize>,
    frames: &EhFrame<Bytes<'_>>,
    encoding: gimli::Encoding,
) -> Option<i64> {
    let mut operations = expression.get(frames).ok()?.operations(encoding);
    let Operation::RegisterOffset { register: X86_64::RBP, offset, .. } =
        operations.next().ok()??
    else {
        return None;
    };
    let is_read = matches!(operations.next().ok()?, Some(Operation::Deref { .. }));
    (is_read && operations.next().ok()?.is_none()).then_some(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_fits_a_word() {
        let mut rules = vec![Rule::Signal, Rule::Bottom, Rule::Unknown];
        for base in [Base::Stack, Base::Frame, Base::AtFrame] {
            for saved in [None, Some(-16), Some(0), Some(AT_FRAME_POINTER), Some(i32::MAX)] {
                for distance in [-8, 0, 16, (1 << 27) - 1, -(1 << 27)] {
                    rules.push(Rule::Frame { base, distance, saved });
                }
            }
        }
        for rule in rules {
            assert_eq!(Rule::unpacked(rule.packed()), Some(rule));
        }
        assert_eq!(Rule::unpacked(0), None, "memory that nobody has written");
    }
}
