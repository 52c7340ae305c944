//! [`MemsAlloc`]: the process heap as a global allocator, and as something to look into.
//!
//! Owns: the mapping of Rust's `Layout` requests onto the process heap. Needs no start-up and no shut-down: it works
//! from before `main` to behind the last destructor, on threads whose thread-local storage is gone, and across `fork`.
#![allow(unsafe_code, reason = "implements GlobalAlloc")]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use crate::base::fatal::{self, no_unwind};
use crate::base::law::BrokenLaw;
use crate::heap::{Found, HeapSpans, HeapStats, Misuse};
use crate::process::begin::begin;
use crate::process::free::{free, release};
use crate::process::malloc::{malloc, malloc_zeroed};
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
/// error with the words `ADDRESS NOT FOUND`, then `SIGABRT`. Of two calls for one block in the same instant the second
/// may be recognised a little later: see [`MisuseKind::FreesRaced`](crate::MisuseKind::FreesRaced).
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

    #[cfg(feature = "profile")]
    pub(super) const fn settings_built(&self) -> &Settings {
        &self.settings
    }

    /// The settings in force. If the heap has not been used before, they are fixed by this call.
    #[must_use]
    pub fn settings(&self) -> Settings {
        *begin(&self.settings)
    }

    /// Limits the bytes mapped for blocks and the heap's records (`stats().mapped`); `usize::MAX` lifts the limit.
    ///
    /// A request that would exceed the limit returns null, and `try_reserve` an error. Freed blocks can be handed out
    /// again. If more is mapped already, it stays, and the heap does not grow.
    pub fn set_limit(&self, bytes: usize) {
        begin(&self.settings);
        PROCESS_HEAP.set_limit(bytes);
    }

    /// Allocates `size` bytes at an address that is a multiple of `align`, a power of two.
    ///
    /// Returns `None` if memory has run out, or if no block can be that large. O(1) if the thread has cached a slot of
    /// that size, else O(log n).
    #[must_use]
    pub fn mems_malloc(&self, size: usize, align: usize) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(size, align).ok()?;
        NonNull::new(malloc(layout, &self.settings))
    }

    /// Frees a block of any size.
    ///
    /// # Errors
    ///
    /// [`Misuse`] if `pointer` is not the start of a live block. Nothing has changed then, and the pointer was not
    /// dereferenced.
    ///
    /// # Safety
    ///
    /// You must not use the block afterwards.
    pub unsafe fn mems_free(&self, pointer: *mut u8) -> Result<(), Misuse> {
        release(pointer.addr(), None)
    }

    /// Frees a block that was allocated with this layout; a block of another size class is refused.
    ///
    /// # Errors
    ///
    /// See [`MemsAlloc::mems_free`].
    ///
    /// # Safety
    ///
    /// See [`MemsAlloc::mems_free`].
    pub unsafe fn mems_free_sized(&self, pointer: *mut u8, layout: Layout) -> Result<(), Misuse> {
        release(pointer.addr(), Some(layout))
    }

    /// Returns the heap's sums, named as jemalloc names them. O(slots): it reads a byte for each.
    #[must_use]
    pub fn stats(&self) -> HeapStats {
        PROCESS_HEAP.stats()
    }

    /// Prints the sums and, for each span, the first few segments to standard output. O(log n).
    ///
    /// It allocates nothing, so it does not use `std`'s buffer: a line that you began with `print!` may come out after
    /// it.
    pub fn print_stats(&self) {
        report::print(|out| report::write_process_heap(out, report::FEW_SEGMENTS));
    }

    /// Prints what [`MemsAlloc::print_stats`] prints, with every segment of every span. O(n).
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

    /// The size of the block at `pointer` in bytes, or `None` if that is not the start of a live block. O(log n).
    #[must_use]
    pub fn usable_size(&self, pointer: *const u8) -> Option<usize> {
        question::usable_size(pointer.addr())
    }

    /// Checks whether [`MemsAlloc::mems_free_sized`] would free the block, without freeing it. O(log n).
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn validate(&self, pointer: *const u8, layout: Layout) -> Result<(), Misuse> {
        question::validate(pointer.addr(), Some(layout))
    }

    /// Checks every law of the heap's records. O(n); other threads wait meanwhile.
    ///
    /// # Errors
    ///
    /// The first law found broken, and where.
    pub fn check(&self) -> Result<(), BrokenLaw> {
        question::check()
    }

    /// Gives every whole page without a live block back to the system, and returns how many bytes that were. Pages of
    /// MeMS's own records that it does not need now go back, too, and are not counted.
    ///
    /// O(segments), with one system call for each hole that has such pages.
    pub fn trim(&self) -> usize {
        PROCESS_HEAP.trim()
    }

    /// Empties the calling thread's caches: free slots go back to their slabs, and empty slabs to the free list.
    ///
    /// Call it on a thread that is going to be idle for long.
    pub fn thread_flush(&self) {
        PROCESS_HEAP.flush();
    }

    /// Writes one line to standard error with the request and the heap's sums. It allocates nothing, so you can call it
    /// when memory has run out.
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

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        no_unwind(|| malloc_zeroed(layout, &self.settings))
    }

    #[inline]
    unsafe fn realloc(&self, start: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's contract is passed on.
        no_unwind(|| unsafe { realloc(start, layout, new_size) })
    }
}
