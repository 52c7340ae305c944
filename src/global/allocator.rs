//! [`MemsAlloc`]: the process heap as a global allocator, and as something to look into.
//!
//! Owns: the mapping of Rust's `Layout` requests onto the process heap. Needs no start-up and no shut-down: it works
//! from before `main` to behind the last destructor, on threads whose thread-local storage is gone, and across `fork`.
#![allow(unsafe_code, reason = "implements GlobalAlloc")]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use crate::base::fatal::{self, no_unwind};
use crate::base::law::BrokenLaw;
use crate::heap::{Found, HeapSpans, HeapStats, Misuse};
use crate::process::begin::begin;
use crate::process::free::{free, release};
use crate::process::malloc::{allocate, malloc};
use crate::process::plain::PROCESS_HEAP;
use crate::process::question;
use crate::process::realloc::realloc;
use crate::process::walk::{ProcessBlocks, ProcessSegments};
use crate::report;
use crate::settings::Settings;
use crate::slabs::depot::DEPOT;

/// The process heap, as a global allocator and as something to look into.
///
/// ```
/// #[global_allocator]
/// static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();
///
/// let words = vec!["one", "two", "three"];
/// let stats = GLOBAL.stats();
/// assert!(stats.allocated >= size_of_val(&words[..]));
/// assert!(GLOBAL.find(words.as_ptr().cast()).is_some());
/// GLOBAL.check().unwrap();
/// ```
///
/// Every value of this type is a handle to the same heap. A wrong `dealloc` or `realloc` (of an address that is not the
/// start of a live block, or with a layout of another size class) is recognised in every build: one line on standard
/// error with the words `ADDRESS NOT FOUND`, then `SIGABRT`.
///
/// [`MemsAlloc::builder`] makes a handle with other settings than the defaults. Those of the handle that is used first,
/// overridden by the `MEMS_*` variables of the environment, are the heap's from then on.
#[derive(Clone, Copy, Debug)]
pub struct MemsAlloc {
    settings: Settings,
}

impl Default for MemsAlloc {
    fn default() -> Self {
        Self::new()
    }
}

impl MemsAlloc {
    /// A handle to the process heap.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_settings(Settings::DEFAULT)
    }

    pub(super) const fn with_settings(settings: Settings) -> Self {
        Self { settings }
    }

    /// The settings in force. If the heap has not been used before, they are fixed by this call.
    #[must_use]
    pub fn settings(&self) -> Settings {
        *begin(&self.settings)
    }

    /// From now on no more than `bytes` are mapped for blocks and the heap's records (`stats().mapped`); `usize::MAX`
    /// for no limit. A request that would exceed it answers null, and `try_reserve` an error; blocks that are freed can
    /// be handed out again. What is mapped already stays: if that is more, the heap does not grow.
    pub fn set_limit(&self, bytes: usize) {
        begin(&self.settings);
        PROCESS_HEAP.set_limit(bytes);
    }

    /// Hands out `size` bytes at an address that is a multiple of `align`, a power of two. `None` where the system
    /// gives no more memory, or nothing can be that large. O(1) for what a slot holds and the thread has cached, else
    /// O(log n).
    #[must_use]
    pub fn mems_malloc(&self, size: usize, align: usize) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(size, align).ok()?;
        NonNull::new(malloc(layout, &self.settings))
    }

    /// Takes a block back, whatever its size.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where `pointer` is not the start of a live block; nothing has changed then. The pointer is not
    /// dereferenced.
    ///
    /// # Safety
    ///
    /// Nothing uses the block any more.
    pub unsafe fn mems_free(&self, pointer: *mut u8) -> Result<(), Misuse> {
        release(pointer.addr(), None)
    }

    /// Takes a block back that was asked for with this layout: a block of another size class is refused.
    ///
    /// # Errors
    ///
    /// As [`MemsAlloc::mems_free`].
    ///
    /// # Safety
    ///
    /// As [`MemsAlloc::mems_free`].
    pub unsafe fn mems_free_sized(&self, pointer: *mut u8, layout: Layout) -> Result<(), Misuse> {
        release(pointer.addr(), Some(layout))
    }

    /// The heap's sums, in jemalloc's words. O(slots), a byte each.
    #[must_use]
    pub fn stats(&self) -> HeapStats {
        PROCESS_HEAP.stats()
    }

    /// Prints the sums and the chain to standard output: of each span the first few segments. Allocates nothing,
    /// so what was printed through `std` without a line end before may come out behind it. O(log n).
    pub fn print_stats(&self) {
        report::print(|out| report::write_process_heap(out, report::FEW_SEGMENTS));
    }

    /// As [`MemsAlloc::print_stats`], with every segment of every span. O(n).
    pub fn print_chain(&self) {
        report::print(|out| report::write_process_heap(out, usize::MAX));
    }

    /// The spans, in address order; a slab counts as used as a whole. O(log n) a step.
    #[must_use]
    pub fn spans(&self) -> HeapSpans<'static> {
        DEPOT.heap.spans()
    }

    /// The segments of all spans, in address order. O(1) a step on average.
    #[must_use]
    pub fn segments(&self) -> ProcessSegments {
        PROCESS_HEAP.segments()
    }

    /// The live blocks of all threads, in address order. O(1) a step on average.
    #[must_use]
    pub fn blocks(&self) -> ProcessBlocks {
        PROCESS_HEAP.blocks()
    }

    /// The block or hole that has the byte at `pointer`, which is not dereferenced. O(log n).
    #[must_use]
    pub fn find(&self, pointer: *const u8) -> Option<Found> {
        PROCESS_HEAP.find(pointer.addr())
    }

    /// The bytes that the block at `pointer` has; `None` where it is not the start of a live block. O(log n).
    #[must_use]
    pub fn usable_size(&self, pointer: *const u8) -> Option<usize> {
        question::usable_size(pointer.addr())
    }

    /// Whether [`MemsAlloc::mems_free_sized`] would take a block back: nothing changes. O(log n).
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn validate(&self, pointer: *const u8, layout: Layout) -> Result<(), Misuse> {
        question::validate(pointer.addr(), Some(layout))
    }

    /// Checks every law of the heap's records. O(n), under the lock: other threads wait.
    ///
    /// # Errors
    ///
    /// The first law found broken, and where.
    pub fn check(&self) -> Result<(), BrokenLaw> {
        question::check()
    }

    /// Gives every whole page that no block lies on back to the system. Returns their bytes. O(segments), with one
    /// system call for each hole that has such pages.
    pub fn trim(&self) -> usize {
        PROCESS_HEAP.trim()
    }

    /// Sends the free slots that the calling thread has cached back to their slabs, and empty slabs back to the free
    /// list: for a thread that will be idle for long.
    pub fn thread_flush(&self) {
        PROCESS_HEAP.flush();
    }

    /// Writes one line to standard error: what was asked for, and the heap's sums. Allocates nothing, so it may be
    /// called where memory has run out.
    pub fn report_out_of_memory(&self, layout: Layout) {
        fatal::complain(format_args!(
            "out of memory: {} bytes aligned to {} asked for; {}",
            layout.size(),
            layout.align(),
            self.stats()
        ));
    }
}

// SAFETY: blocks are exclusive, aligned and large enough by the laws of the free list (L1, L3); they stay where they
// are until they are freed; nothing here unwinds.
unsafe impl GlobalAlloc for MemsAlloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        no_unwind(|| malloc(layout, &self.settings))
    }

    #[inline]
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        no_unwind(|| free(start.addr(), layout));
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        no_unwind(|| {
            let Some(block) = allocate(layout, &self.settings) else { return ptr::null_mut() };
            // SAFETY: the block was just handed out for this layout.
            let is_zero = unsafe { DEPOT.heap.clear(&block, layout.size()) };
            if is_zero { block.start.as_ptr() } else { ptr::null_mut() }
        })
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's contract is passed on.
        no_unwind(|| unsafe { realloc(start, layout, new_size) })
    }
}
