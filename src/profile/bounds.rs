//! Where the stack on which the calling thread runs ends: read from `/proc/self/maps`, once a thread as a rule.
//!
//! libc could say it for threads that libc has made, but reads a file with its own buffers to answer for the first
//! thread, and so allocates. Here nothing is allocated, and a stack that a program has made for itself is found, too.

use core::ops::Range;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::base::addr;
use crate::base::os::{Os, System};

/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 2048;
/// The most pages that are asked for one by one: 1 MiB as a rule.
const MOST_PAGES: usize = 256;

/// The mapping that has an address, `None` where nobody can say.
pub(super) fn mapping_with(address: usize) -> Option<Range<usize>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open("/proc/self/maps", flags, Mode::empty()) else {
        return readable_from(address);
    };
    let mut lines = Lines::new();
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        let len = match rustix::io::read(&file, &mut buffer) {
            Ok(0) => return None,
            Ok(len) => len,
            Err(Errno::INTR) => continue,
            Err(_) => return None,
        };
        let found = buffer
            .iter()
            .take(len)
            .find_map(|byte| lines.take(*byte).filter(|range| range.contains(&address)));
        if found.is_some() {
            return found;
        }
    }
}

/// The pages from that of an address on that can be read, [`MOST_PAGES`] at the most: where no file can be opened, by
/// asking the kernel for a byte of each. None where it does not answer.
fn readable_from(address: usize) -> Option<Range<usize>> {
    let page_size = System.page_size();
    let start = address - address % page_size;
    let pages = (0..MOST_PAGES).map_while(|page| start.checked_add(page * page_size));
    let count = pages.take_while(|page| is_readable(*page)).count();
    (count > 0).then(|| start..start + count * page_size)
}

#[expect(unsafe_code, reason = "asks the kernel for a byte")]
fn is_readable(address: usize) -> bool {
    let mut byte = 0_u8;
    let to = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let from = libc::iovec { iov_base: addr::raw_pointer(address).cast(), iov_len: 1 };
    // SAFETY: getpid(2) has no preconditions.
    let own = unsafe { libc::getpid() };
    // SAFETY: the kernel writes to `byte`, and refuses to read what cannot be read.
    let read = unsafe { libc::process_vm_readv(own, &raw const to, 1, &raw const from, 1, 0) };
    read == 1
}

/// Where the stack of the calling `thread` ends that libc or the kernel has made for it, if it lies in this mapping and
/// `stack` on it: below what libc keeps of the thread, or what the kernel has handed to the program.
#[expect(unsafe_code, reason = "asks libc")]
pub(super) fn own_end(range: &Range<usize>, stack: usize, thread: usize) -> Option<usize> {
    // SAFETY: getauxval(3) has no preconditions.
    let random = unsafe { libc::getauxval(libc::AT_RANDOM) };
    let handed = usize::try_from(random).unwrap_or(0);
    let above = |end: &usize| range.contains(end) && *end > stack;
    [thread, handed].into_iter().filter(above).min()
}

/// Lines that begin with two numbers: `start-end rights ...`.
struct Lines {
    numbers: [usize; 2],
    /// Which number is being read, 2 behind them.
    at: usize,
}

impl Lines {
    const fn new() -> Self {
        Self { numbers: [0; 2], at: 0 }
    }

    /// Takes the next byte. The range of a line, behind its second number.
    fn take(&mut self, byte: u8) -> Option<Range<usize>> {
        match (byte, self.at) {
            (b'\n', _) => *self = Self::new(),
            (b'-', 0) => self.at = 1,
            (b' ', 1) => {
                self.at = 2;
                return Some(self.numbers[0]..self.numbers[1]);
            }
            (_, 0 | 1) => {
                let digit = char::from(byte).to_digit(16)? as usize;
                self.numbers[self.at] = self.numbers[self.at] << 4 | digit;
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::lock::this_thread;

    /// An address on the stack. Where a sanitizer looks on, locals may lie elsewhere.
    #[expect(unsafe_code, reason = "asks for a parameter that lies on the stack")]
    fn on_the_stack() -> usize {
        let mut attributes = core::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
        // SAFETY: it has no preconditions.
        let thread = unsafe { libc::pthread_self() };
        // SAFETY: the attributes are written.
        let error = unsafe { libc::pthread_getattr_np(thread, attributes.as_mut_ptr()) };
        assert_eq!(error, 0);
        let (mut start, mut bytes) = (core::ptr::null_mut(), 0);
        // SAFETY: the attributes were written, and the others are places for the answer.
        unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut bytes) };
        // SAFETY: they are not used any more.
        unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
        start.addr() + bytes - 1
    }

    #[test]
    fn the_stack_is_found_and_nothing_else() {
        let stack = mapping_with(on_the_stack()).expect("a stack");
        assert!(stack.contains(&on_the_stack()) && stack.start.is_multiple_of(4096));
        let end_of = |range| own_end(range, range.start, this_thread());
        assert!(end_of(&stack).is_some_and(|end| stack.contains(&end)));
        let other = std::thread::spawn(move || {
            let other = mapping_with(on_the_stack()).expect("a stack");
            let end_of = |range| own_end(range, range.start, this_thread());
            assert!(other.start != stack.start && end_of(&other).is_some());
            assert_eq!(end_of(&(stack.start..stack.start + 1)), None);
        });
        other.join().expect("it ends");
        let readable = readable_from(on_the_stack()).expect("pages");
        assert!(readable.contains(&on_the_stack()) && readable.start >= stack.start);
        assert_eq!((readable_from(1), readable_from(usize::MAX)), (None, None));
        assert_eq!(mapping_with(1), None);
        assert_eq!(mapping_with(usize::MAX), None);
    }
}
