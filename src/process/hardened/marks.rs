//! Bytes that nobody may change: behind a block, and in a freed one.
//!
//! Owns: the marks' values, and the only reads and writes of block memory beside zeroing and realloc. What is marked is
//! never a byte that the block's user may use.
#![allow(unsafe_code, reason = "writes behind blocks and to freed ones")]

use core::ops::Range;
use core::slice;

use crate::base::addr;

/// Behind a live block.
pub(super) const CANARY: u8 = 0xC9;
/// In a freed block.
pub(super) const FREED: u8 = 0xDF;

/// Writes `mark` to all bytes of a run of the heap's memory.
///
/// # Safety
///
/// The run belongs to one block, and no user may use it.
pub(super) unsafe fn write(run: Range<usize>, mark: u8) {
    if let Some(start) = addr::pointer(run.start) {
        // SAFETY: by the caller's contract.
        unsafe { start.as_ptr().write_bytes(mark, run.len()) };
    }
}

/// The first byte of a run that is not as [`write()`] left it.
///
/// # Safety
///
/// As for [`write()`]; the run has been marked.
pub(super) unsafe fn first_changed(run: Range<usize>, mark: u8) -> Option<usize> {
    let start = addr::pointer(run.start).filter(|_| !run.is_empty())?;
    // SAFETY: by the caller's contract the run is readable and initialised. Who writes to it nevertheless breaks a rule
    // that this exists to find out about; the bytes are read once.
    let bytes = unsafe { slice::from_raw_parts(start.as_ptr(), run.len()) };
    // Word by word first: long runs are verified at the speed of memory.
    let word = [mark; 16];
    let (words, rest) = bytes.as_chunks::<16>();
    match words.iter().position(|found| *found != word) {
        Some(index) => {
            let offset = words[index].iter().position(|byte| *byte != mark).unwrap_or(0);
            Some(run.start + index * 16 + offset)
        }
        None => {
            let offset = rest.iter().position(|byte| *byte != mark)?;
            Some(run.start + words.len() * 16 + offset)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_changed_byte_is_found() {
        let mut bytes = [0_u8; 100];
        let start = bytes.as_mut_ptr().expose_provenance();
        let run = start + 1..start + 99;
        // SAFETY: the run lies within the array.
        unsafe { write(run.clone(), FREED) };
        assert_eq!((bytes[0], bytes[1], bytes[98], bytes[99]), (0, FREED, FREED, 0));
        // SAFETY: as above.
        assert_eq!(unsafe { first_changed(run.clone(), FREED) }, None);
        (1..99).for_each(|at| {
            bytes[at] = 0;
            // SAFETY: as above.
            assert_eq!(unsafe { first_changed(run.clone(), FREED) }, Some(start + at));
            bytes[at] = FREED;
        });
        // SAFETY: an empty run is not read.
        assert_eq!(unsafe { first_changed(start..start, FREED) }, None);
    }
}
