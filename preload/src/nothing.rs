//! Blocks of 0 bytes: addresses of their own that nobody can read or write.
//!
//! Owns: a range of addresses that is reserved and never committed, and one bit for each 16 bytes of it. A block is
//! handed out and taken back by one atomic operation on its bit, so there is no lock: this works in signal handlers and
//! across `fork`. The search goes round the range, so an address comes back as late as possible, and until then a
//! second free of it is recognised.
//!
//! What it costs: 64 MiB of addresses from the first such block on, and a byte for 8 blocks. When [`MOST_LIVE`] are
//! live, or the next [`MOST_WORDS`] have no place, or there are no addresses for the range, a block of 0 bytes is an
//! ordinary one of 16.
//!
//! Invariant: **I1** the bit of a place is set exactly while its address is handed out.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use mems::Misuse;
use mems::os::{Os, System};

/// Places for blocks.
const PLACES: usize = 1 << 22;
/// Blocks that there can be at a time: fewer than places, so that free ones are found soon.
const MOST_LIVE: usize = PLACES / 4 * 3;
/// Places of a word of bits.
const WORD_PLACES: usize = u64::BITS as usize;
const WORDS: usize = PLACES / WORD_PLACES;
/// Words that one search looks at: a microsecond or so.
const MOST_WORDS: usize = 1024;
/// Addresses from one block to the next.
const STEP: usize = 16;
/// Addresses of the range.
const RANGE: usize = PLACES * STEP;
/// The range begins at a multiple of this, the smallest page there is.
const RANGE_ALIGN: usize = 4096;

/// Where the range begins; 0 before the first block.
static BASE: AtomicUsize = AtomicUsize::new(0);
/// Blocks handed out.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// Where to look for a free place, not yet taken modulo [`PLACES`].
static NEXT: AtomicUsize = AtomicUsize::new(0);
static BITS: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

/// Where the range begins, reserved now if there is none.
fn base() -> Option<usize> {
    let base = BASE.load(Ordering::Acquire);
    if base != 0 {
        return Some(base);
    }
    let range = System.reserve(RANGE).ok()?;
    let start = range.expose_provenance().get();
    match BASE.compare_exchange(0, start, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Some(start),
        Err(other) => {
            // SAFETY: the range was just reserved, and nobody knows of it. Should it stay, it is addresses only.
            let _ = unsafe { System.unmap(range, RANGE) };
            Some(other)
        }
    }
}

/// The word and the bit of a place.
fn bit(place: usize) -> (&'static AtomicU64, u64) {
    (&BITS[place / WORD_PLACES % WORDS], 1 << (place % WORD_PLACES))
}

/// An address that is a multiple of `align`, a power of two. `None` where there is none to be had soon.
pub(crate) fn hand_out(align: usize) -> Option<NonNull<u8>> {
    if align > RANGE_ALIGN {
        return None;
    }
    let base = base()?;
    let place = if LIVE.fetch_add(1, Ordering::Relaxed) < MOST_LIVE { take(align) } else { None };
    if place.is_none() {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
    NonNull::new(core::ptr::without_provenance_mut(base + place? * STEP))
}

/// Takes the next free place whose address is a multiple of `align`.
fn take(align: usize) -> Option<usize> {
    let stride = align.div_ceil(STEP);
    // The places of a word that may serve, and how many words lie from one such word to the next.
    let (all, step) = if stride < WORD_PLACES {
        (u64::MAX / ((1 << stride) - 1), 1)
    } else {
        (1, stride / WORD_PLACES)
    };
    let next = NEXT.load(Ordering::Relaxed);
    let first = next / WORD_PLACES;
    let mut turn = first.next_multiple_of(step);
    let mut wanted = if turn == first { all & u64::MAX << (next % WORD_PLACES) } else { all };
    for _ in 0..MOST_WORDS {
        let word = &BITS[turn % WORDS];
        let mut free = wanted & !word.load(Ordering::Relaxed);
        while free != 0 {
            let index = free.trailing_zeros() as usize;
            let before = word.fetch_or(1 << index, Ordering::AcqRel);
            if before >> index & 1 == 0 {
                NEXT.fetch_max(turn * WORD_PLACES + index + 1, Ordering::Relaxed);
                return Some(turn % WORDS * WORD_PLACES + index);
            }
            free &= !before;
        }
        (wanted, turn) = (all, turn + step);
    }
    // Where nothing was free the next search does not look.
    NEXT.fetch_max(turn * WORD_PLACES, Ordering::Relaxed);
    None
}

/// Whether `address` is one of the range.
pub(crate) fn has(address: usize) -> bool {
    let base = BASE.load(Ordering::Acquire);
    base != 0 && address.wrapping_sub(base) < RANGE
}

/// The place of an address of the range, if a block may start there.
fn place_of(address: usize, size: Option<usize>) -> Result<usize, Misuse> {
    let offset = address.wrapping_sub(BASE.load(Ordering::Acquire));
    if !offset.is_multiple_of(STEP) {
        return Err(Misuse::misaligned(address, size, None));
    }
    match size {
        None | Some(0) => Ok(offset / STEP),
        Some(_) => Err(Misuse::wrong_size(address, size, 0)),
    }
}

/// Whether a block starts at an address of the range.
pub(crate) fn validate(address: usize) -> Result<(), Misuse> {
    let (word, bit) = bit(place_of(address, None)?);
    if word.load(Ordering::Acquire) & bit != 0 { Ok(()) } else { Err(not_live(address)) }
}

/// The address is one of the range, and nobody has it.
fn not_live(address: usize) -> Misuse {
    let place = address.wrapping_sub(BASE.load(Ordering::Acquire)) / STEP;
    if place < NEXT.load(Ordering::Relaxed) {
        Misuse::double_free(address, Some(0))
    } else {
        Misuse::unallocated(address, Some(0))
    }
}

/// Takes back the block at an address of the range, of `size` bytes if the caller knows that.
pub(crate) fn take_back(address: usize, size: Option<usize>) -> Result<(), Misuse> {
    let (word, bit) = bit(place_of(address, size)?);
    if word.fetch_and(!bit, Ordering::AcqRel) & bit == 0 {
        return Err(not_live(address));
    }
    LIVE.fetch_sub(1, Ordering::Relaxed);
    Ok(())
}
