//! Threads with heaps of one depot that hand each other blocks, end, and start anew. At the end nothing is left.
#![allow(unsafe_code, reason = "writes into blocks, and ends a depot")]
#![allow(clippy::expect_used, reason = "a test that finds something wrong ends")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use super::class::Class;
use super::depot::Depot;
use super::test_heaps::{allocate, free, with_depot};
use super::thread_heap::ThreadHeap;
use crate::base::addr;

/// How long it goes on.
const TIME: Duration = Duration::from_secs(2);
/// Threads at a time.
const THREADS: usize = 4;
/// Blocks that wait for the thread that frees them.
const WAITING: usize = 256;
const SIZES: [usize; 7] = [16, 100, 1000, 5000, 32_000, 40_000, 300_000];

/// A live block.
struct Block {
    start: usize,
    bytes: usize,
    mark: u8,
}

impl Block {
    fn allocate(heap: &'static ThreadHeap, random: &mut Rng) -> Option<Self> {
        let size = SIZES[random.usize(..SIZES.len())];
        let class = Class::of_any(size, 8)?;
        let start = allocate(heap, class)?;
        let block = Self { start, bytes: size.min(200), mark: random.u8(..) };
        let memory = addr::raw_pointer(start);
        // SAFETY: the block is ours and has at least as many bytes.
        unsafe { memory.write_bytes(block.mark, block.bytes) };
        Some(block)
    }

    fn free(self, heap: &'static ThreadHeap) {
        let memory = addr::raw_pointer(self.start).cast_const();
        // SAFETY: the block is ours, and these bytes were written.
        let bytes = unsafe { core::slice::from_raw_parts(memory, self.bytes) };
        assert!(bytes.iter().all(|byte| *byte == self.mark), "nobody else wrote there");
        assert!(free(heap, self.start), "it is live");
    }
}

/// What one thread does in its life.
fn live(depot: &'static Depot, shared: &Mutex<Vec<Block>>, random: &mut Rng) {
    let heap = depot.acquire_heap().expect("memory");
    let mut own = Vec::new();
    for _ in 0..random.usize(..2000) {
        match random.usize(..20) {
            0..9 => own.extend(Block::allocate(heap, random)),
            9..14 if !own.is_empty() => {
                own.swap_remove(random.usize(..own.len())).free(heap);
            }
            14..18 => {
                let other = {
                    let mut shared = shared.lock().expect("no thread panics");
                    shared.extend(own.pop());
                    (shared.len() > WAITING / 2).then(|| {
                        let index = random.usize(..shared.len());
                        shared.swap_remove(index)
                    })
                };
                other.into_iter().for_each(|block| block.free(heap));
            }
            18 => drop(heap.drain()),
            _ if random.usize(..20) == 0 => heap.flush(),
            _ if random.usize(..20) == 0 => drop(heap.flush_and_end_slabs()),
            _ if random.usize(..20) == 0 => depot.ask_for_flush(),
            _ if random.usize(..20) == 0 => depot.tidy_retired(),
            _ => {}
        }
    }
    own.into_iter().for_each(|block| block.free(heap));
    heap.flush();
    depot.retire_heap(heap);
}

/// Lets the threads live for a while, and looks at what is left.
fn soak(depot: &'static Depot) {
    let (shared, is_over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let (shared, is_over) = (&shared, &is_over);
            scope.spawn(move || {
                let mut random = Rng::with_seed(seed as u64);
                while !is_over.load(Ordering::Relaxed) {
                    live(depot, shared, &mut random);
                }
            });
        }
        thread::sleep(TIME);
        is_over.store(true, Ordering::Relaxed);
    });
    let heap = depot.acquire_heap().expect("memory");
    shared.into_inner().expect("no thread panics").into_iter().for_each(|block| block.free(heap));
    heap.flush();
    depot.retire_heap(heap);
    let heaps: Vec<_> = depot.pool.lock().all_heaps().collect();
    assert!(heaps.len() <= THREADS, "heaps of ended threads serve again");
    // What one heap forwards another takes in the second time.
    depot.tidy_retired();
    depot.tidy_retired();
    heaps.iter().for_each(|heap| heap.check().expect("the laws hold"));
    depot.heap.check().expect("the laws hold");
    assert!(depot.map.all().next().is_none(), "all slabs have ended");
}

#[test]
fn threads_that_free_each_others_blocks_leave_nothing() {
    // SAFETY: all threads have ended then.
    unsafe { with_depot(1 << 32, soak) };
}
