//! What a program may ask the heap: a block's size, the sums, memory back for the system.

use core::ffi::{c_int, c_void};
use core::fmt::{self, Write};

use mems::internal::FdText;
use mems::{HeapStats, MisuseCall};

use crate::engine::{self, HEAP};

/// The bytes of a block that may be used; 0 for null.
#[unsafe(no_mangle)]
extern "C" fn malloc_usable_size(pointer: *mut c_void) -> usize {
    if pointer.is_null() {
        return 0;
    }
    engine::usable_size(pointer.addr(), MisuseCall::UsableSize).unwrap_or(0)
}

/// Gives every whole free page back to the system; `keep` is not heeded. 1 if there was any.
#[unsafe(no_mangle)]
extern "C" fn malloc_trim(_keep: usize) -> c_int {
    c_int::from(HEAP.trim() > 0)
}

/// Says that a setting was accepted, and lets it go: they are glibc's, and MeMS needs none of them.
#[unsafe(no_mangle)]
extern "C" fn mallopt(_parameter: c_int, _value: c_int) -> c_int {
    1
}

/// The sums, as far as glibc's names suit them.
#[unsafe(no_mangle)]
extern "C" fn mallinfo2() -> libc::mallinfo2 {
    sums()
}

fn sums() -> libc::mallinfo2 {
    let stats = HEAP.stats();
    libc::mallinfo2 {
        arena: stats.mapped,
        ordblks: stats.holes,
        smblks: 0,
        hblks: 0,
        hblkhd: 0,
        usmblks: 0,
        fsmblks: stats.cached,
        uordblks: stats.allocated,
        fordblks: stats.mapped.saturating_sub(stats.allocated + stats.metadata),
        keepcost: 0,
    }
}

/// As `mallinfo2`; what does not fit an `int` is the largest one.
#[unsafe(no_mangle)]
extern "C" fn mallinfo() -> libc::mallinfo {
    let sums = sums();
    let int = |sum: usize| c_int::try_from(sum).unwrap_or(c_int::MAX);
    libc::mallinfo {
        arena: int(sums.arena),
        ordblks: int(sums.ordblks),
        smblks: 0,
        hblks: 0,
        hblkhd: 0,
        usmblks: 0,
        fsmblks: int(sums.fsmblks),
        uordblks: int(sums.uordblks),
        fordblks: int(sums.fordblks),
        keepcost: 0,
    }
}

/// Prints the sums as one line on standard error.
#[unsafe(no_mangle)]
extern "C" fn malloc_stats() {
    let stats = HEAP.stats();
    // SAFETY: nothing here closes descriptor 2; where the program has closed it, a failed write is ignored.
    let mut out = FdText::new(unsafe { rustix::stdio::stderr() });
    let _ = writeln!(out, "mems: {stats}");
    let _ = out.flush();
}

/// Text for a stream of C.
struct Stream(*mut libc::FILE);

impl Write for Stream {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the stream is an open one by the contract of `malloc_info`, and the text has this many bytes.
        let written = unsafe { libc::fwrite(text.as_ptr().cast(), 1, text.len(), self.0) };
        if written == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

fn write_xml(out: &mut Stream, stats: &HeapStats) -> fmt::Result {
    writeln!(out, "<malloc version=\"mems-1\">")?;
    let sums = [
        ("allocated", stats.allocated),
        ("active", stats.active),
        ("resident", stats.resident),
        ("mapped", stats.mapped),
        ("reserved", stats.reserved),
        ("metadata", stats.metadata),
        ("cached", stats.cached),
        ("free_running", stats.free_running),
        ("free_sleeping", stats.free_sleeping),
        ("free_ended", stats.free_ended),
        ("dirty", stats.dirty),
        ("clean", stats.clean),
    ];
    for (name, bytes) in sums {
        writeln!(out, "<{name} bytes=\"{bytes}\"/>")?;
    }
    writeln!(out, "<blocks count=\"{}\"/>", stats.blocks)?;
    writeln!(out, "<holes count=\"{}\"/>", stats.holes)?;
    writeln!(out, "</malloc>")
}

/// Writes the sums as XML to a stream. 0, or -1 for an error; `options` must be 0: else `EINVAL` is returned.
///
/// # Safety
///
/// `stream` is an open stream.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_info(options: c_int, stream: *mut libc::FILE) -> c_int {
    if options != 0 {
        return libc::EINVAL;
    }
    let stats = HEAP.stats();
    if write_xml(&mut Stream(stream), &stats).is_ok() { 0 } else { -1 }
}
