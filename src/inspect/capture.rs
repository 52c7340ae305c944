//! How a snapshot is taken: a walk over the process heap that writes down what it meets.
//!
//! A few segments at a time are copied under the lock; everything is appended without it, since an array that grows
//! makes a system call. A slab may end between two looks: then its run is noted as [`SegmentState::Between`], for
//! nothing in it was live all the while. Its state bytes are believed only if it still is the same slab after they were
//! read.

use super::records::{
    ClassRecord, PackedSegment, SegmentState, SlabRecord, SnapshotSpan, SnapshotThread, ThreadState,
};
use super::snapshot::Snapshot;
use crate::base::os::{Os, OutOfMemory, System};
use crate::base::thread_name::{NAME_BYTES, thread_name};
use crate::process::plain::PROCESS_HEAP;
use crate::process::walk::owner_number;
use crate::slabs::class::Class;
use crate::slabs::depot::DEPOT;
use crate::slabs::slab::WORD_SLOTS;

/// How often a slab is looked at that changes meanwhile.
const SLAB_TRIES: usize = 8;

/// Looks at the process heap and writes down what it is made of: see [`Snapshot`]. O(segments + slots), 20 ms for 10^6
/// live blocks. Allocates nothing from the heap, and takes no lock for longer than 32 segments need.
///
/// # Errors
///
/// The system gives no memory for the snapshot.
pub fn snapshot() -> Result<Snapshot, OutOfMemory> {
    let mut snapshot = Snapshot::empty(System.page_size());
    snapshot.taken_by = PROCESS_HEAP.current_heap_number();
    for class in Class::all() {
        snapshot.classes.push(ClassRecord(class.shape().slot_bytes))?;
    }
    snapshot.stats = PROCESS_HEAP.stats();
    snapshot.walk_spans()?;
    snapshot.walk_segments()?;
    // Last, so that every owner met before is there.
    snapshot.list_threads()?;
    snapshot.count();
    Ok(snapshot)
}

impl Snapshot {
    fn walk_spans(&mut self) -> Result<(), OutOfMemory> {
        let mut spans = DEPOT.heap.spans();
        while let Some(span) = spans.next_node() {
            let span = SnapshotSpan { start: span.start, size: span.len, fresh: span.fresh };
            self.spans.push(span)?;
        }
        Ok(())
    }

    fn walk_segments(&mut self) -> Result<(), OutOfMemory> {
        let mut segments = DEPOT.heap.segments();
        let mut end = 0;
        while let Some((segment, extent)) = segments.next_with_extent() {
            // A slab that grew a moment ago reaches into what was noted as a hole behind it.
            let covered = end.max(segment.start) - segment.start;
            if covered >= segment.size || covered > 0 && !extent.is_hole() {
                continue;
            }
            let (start, mut size) = (segment.start + covered, segment.size - covered);
            let state = if extent.is_claimed() {
                SegmentState::Between
            } else if extent.is_clean_hole() {
                SegmentState::CleanHole
            } else if extent.is_hole() {
                SegmentState::Hole
            } else if !extent.is_kept() {
                SegmentState::Block
            } else {
                match self.note_slab(start)? {
                    Some(slab_bytes) => {
                        size = slab_bytes;
                        SegmentState::Slab
                    }
                    None => SegmentState::Between,
                }
            };
            self.segments.push(PackedSegment::new(start, size, state))?;
            end = start + size;
        }
        Ok(())
    }

    /// Notes the slab that starts at `start`, and its slots: its size in bytes, or none if there is none any more.
    fn note_slab(&mut self, start: usize) -> Result<Option<usize>, OutOfMemory> {
        let Some(slab) = DEPOT.map.find(start) else { return Ok(None) };
        let first_word = self.words.len();
        let (slots, words) = (slab.slots(), slab.slots().div_ceil(WORD_SLOTS));
        // The class of a slab of one slot may change while it is looked at.
        for _ in 0..SLAB_TRIES {
            let (class, size) = (slab.class(), slab.slab_bytes());
            self.words.truncate(first_word);
            for index in 0..words {
                self.words.push(slab.live_and_home(index).0)?;
            }
            for index in 0..words {
                let live = self.words.get(first_word + index).copied().unwrap_or(0);
                let bits = (slots - index * WORD_SLOTS).min(WORD_SLOTS);
                // What is neither handed out nor at home is in some cache.
                let elsewhere = !(live | slab.live_and_home(index).1);
                self.words.push(elsewhere & u64::MAX >> (WORD_SLOTS - bits))?;
            }
            let (owner, carved, given_back, sent) =
                (owner_number(slab), slab.carved(), slab.given_back(), slab.sent());
            if slab.start() == start && slab.class() == class && slab.slab_bytes() == size {
                #[expect(clippy::cast_possible_truncation, reason = "slots and bytes of one slab")]
                let [class, slots, carved, given_back, sent] =
                    [class.index(), slots, carved, given_back, sent].map(|n| n as u32);
                let record = SlabRecord {
                    start,
                    size,
                    owner,
                    class,
                    slots,
                    carved,
                    given_back,
                    sent,
                    first_word,
                };
                self.slabs.push(record)?;
                return Ok(Some(size));
            }
        }
        self.words.truncate(first_word);
        Ok(None)
    }

    fn list_threads(&mut self) -> Result<(), OutOfMemory> {
        for (number, thread_id, state) in PROCESS_HEAP.thread_heaps() {
            let name = match state {
                ThreadState::Running | ThreadState::Sleeping => thread_name(thread_id),
                ThreadState::Ended | ThreadState::Shared => [0; NAME_BYTES],
            };
            self.threads.push(SnapshotThread::new(number, state, thread_id, name))?;
        }
        // The heap that was made last comes first.
        self.threads.items_mut().reverse();
        Ok(())
    }
}
