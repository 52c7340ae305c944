//! Spans, segments and sums as C structs, and the functions that fill them. Nothing is allocated: the caller brings
//! the array.
//!
//! Invariants: **I1** each struct has the fields of its namesake in `include/mems.h`, in that order; **I2** a record
//! is a copy, true at the moment of the call.
#![allow(unsafe_code, reason = "exports C symbols and fills arrays of the caller")]

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::slice;

use crate::heap::{virtual_address, virtual_pointer, with_heap};
use crate::physical_pointer;
use mems::{MemsSegment, MemsSpan, MemsStats};

/// `struct mems_span`: a node of the main chain.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SpanRecord {
    /// The span's first virtual address.
    pub start_virtual_address: *mut c_void,
    /// Where its first byte is in memory.
    pub physical_address: *mut c_void,
    /// Its length in units of the heap's page size.
    pub pages: usize,
    /// Its length in bytes.
    pub total: usize,
    /// Bytes of its PROCESS segments.
    pub used: usize,
    /// Bytes of its holes.
    pub wasted: usize,
    /// Segments of its sub chain.
    pub segment_count: usize,
}

/// `struct mems_segment`: a node of a sub chain.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SegmentRecord {
    /// Its size in bytes.
    pub size: usize,
    /// `MEMS_HOLE` (0) or `MEMS_PROCESS` (1).
    pub kind: c_int,
    /// Its first virtual address.
    pub virtual_address: *mut c_void,
    /// Where its first byte is in memory.
    pub physical_address: *mut c_void,
}

/// `struct mems_stats`: the sums of the heap.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct StatsRecord {
    /// The unit in which spans are made, in bytes.
    pub page_size: usize,
    /// Pages of all spans, in that unit, free ones included.
    pub pages_used: usize,
    /// Bytes of all spans.
    pub total: usize,
    /// Bytes of all PROCESS segments.
    pub used: usize,
    /// Bytes of all holes.
    pub space_unused: usize,
    /// Spans of the main chain.
    pub span_count: usize,
    /// Segments of all sub chains.
    pub segment_count: usize,
    /// PROCESS segments.
    pub block_count: usize,
    /// Holes.
    pub hole_count: usize,
    /// The largest hole, in bytes.
    pub largest_hole: usize,
    /// Bytes taken for the heap's own records, beside the spans.
    pub metadata: usize,
}

impl From<MemsSpan<'_>> for SpanRecord {
    fn from(span: MemsSpan<'_>) -> Self {
        Self {
            start_virtual_address: virtual_pointer(span.start),
            physical_address: physical_pointer(span.physical),
            pages: span.pages,
            total: span.size,
            used: span.used,
            wasted: span.free,
            segment_count: span.segment_count,
        }
    }
}

impl From<MemsSegment> for SegmentRecord {
    fn from(segment: MemsSegment) -> Self {
        Self {
            size: segment.size,
            kind: segment.kind as c_int,
            virtual_address: virtual_pointer(segment.start),
            physical_address: physical_pointer(segment.physical),
        }
    }
}

impl StatsRecord {
    fn new(stats: &MemsStats, page_size: usize) -> Self {
        Self {
            page_size,
            pages_used: stats.pages_used,
            total: stats.mapped,
            used: stats.allocated,
            space_unused: stats.free,
            span_count: stats.spans,
            segment_count: stats.segments,
            block_count: stats.blocks,
            hole_count: stats.holes,
            largest_hole: stats.largest_hole,
            metadata: stats.metadata,
        }
    }
}

/// The elements of an array of C that may be written; none where `out` is null.
///
/// # Safety
///
/// `out` is null, or an array of at least `capacity` elements that nobody else uses during `'a`.
pub(crate) unsafe fn places<'a, T>(out: *mut T, capacity: usize) -> &'a mut [MaybeUninit<T>] {
    if out.is_null() {
        return &mut [];
    }
    // SAFETY: the array is the caller's to lend, and `MaybeUninit` asks nothing of what it holds.
    unsafe { slice::from_raw_parts_mut(out.cast::<MaybeUninit<T>>(), capacity) }
}

/// Copies as many records as there are places.
fn fill<T>(out: &mut [MaybeUninit<T>], records: impl Iterator<Item = impl Into<T>>) {
    for (place, record) in out.iter_mut().zip(records) {
        place.write(record.into());
    }
}

/// Copies the spans from the `first`-th on, in chain order, into `out`, at most `capacity` of them. Returns how many
/// the chain has; a null `out` only counts. O(first + capacity).
///
/// # Safety
///
/// `out` is null or an array of at least `capacity` elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mems_spans(out: *mut SpanRecord, first: usize, capacity: usize) -> usize {
    // SAFETY: the contract is passed on.
    let out = unsafe { places(out, capacity) };
    with_heap(|heap| {
        fill(out, heap.spans().skip(first));
        heap.spans().len()
    })
}

/// Copies the segments of the span that starts at `span_start` from the `first`-th on, in address order, into `out`,
/// at most `capacity` of them. Returns how many the sub chain has, 0 where no span starts there; a null `out` only
/// counts. O(spans in front + first + capacity).
///
/// # Safety
///
/// `out` is null or an array of at least `capacity` elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mems_segments(
    span_start: *const c_void,
    out: *mut SegmentRecord,
    first: usize,
    capacity: usize,
) -> usize {
    // SAFETY: the contract is passed on.
    let out = unsafe { places(out, capacity) };
    let start = virtual_address(span_start);
    with_heap(|heap| {
        let Some(span) = heap.spans().find(|span| span.start == start) else { return 0 };
        fill(out, span.segments().skip(first));
        span.segment_count
    })
}

/// Copies the heap's sums into `out`; a null `out` is ignored. O(1).
///
/// # Safety
///
/// `out` is null or a place for one record.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mems_read_stats(out: *mut StatsRecord) {
    // SAFETY: the contract is passed on.
    let out = unsafe { places(out, 1) };
    with_heap(|heap| {
        let record = StatsRecord::new(&heap.stats(), heap.page_size());
        fill(out, core::iter::once(record));
    });
}
