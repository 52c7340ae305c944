//! What a region counts: all that is handed out, the most that is live, and what threads do that start meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(unsafe_code, reason = "threads and signals of libc")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::hint::black_box;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use core::{mem, ptr};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Instant;

use helpers::piece::{MEMS, Piece};
use helpers::{Rng, child, scaled};
use mems::{Remains, region, region_with_threads};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

fn measured<T>(run: impl FnOnce() -> T) -> (T, Remains) {
    region(run).expect("there is memory")
}

/// Blocks handed out, their bytes, and the most that was live.
fn sums(left: &Remains) -> [usize; 3] {
    [left.allocations(), left.allocated_bytes(), left.peak_bytes()]
}

fn usable(piece: &Piece) -> usize {
    MEMS.usable_size(ptr::without_provenance(piece.address())).expect("a live block")
}

#[test]
fn what_is_freed_again_is_counted() {
    let ((), left) = measured(|| (0..1000).for_each(|_| drop(black_box(vec![1_u8; 1500]))));
    assert!(left.is_nothing(), "{left}");
    assert_eq!(sums(&left), [1000, 1000 * 1536, 1536]);
    let (kept, left) = measured(|| (vec![0_u8; 5 << 20], Box::new(7_u64)));
    assert_eq!(sums(&left), [2, (5 << 20) + 8, (5 << 20) + 8]);
    drop(kept);
    assert_eq!(sums(&measured(|| ()).1), [0; 3]);
}

/// What should be counted.
#[derive(Debug, Default)]
struct Model {
    allocations: usize,
    allocated: usize,
    live: usize,
    peak: usize,
}

impl Model {
    fn add(&mut self, bytes: usize) {
        self.allocations += 1;
        self.allocated += bytes;
        self.live += bytes;
        self.peak = self.peak.max(self.live);
    }

    fn resize(&mut self, before: (usize, usize), after: (usize, usize)) {
        if before.0 == after.0 {
            self.allocated += after.1.saturating_sub(before.1);
            self.live = self.live - before.1 + after.1;
            self.peak = self.peak.max(self.live);
        } else {
            self.add(after.1);
            self.live -= before.1;
        }
    }

    const fn sums(&self) -> [usize; 3] {
        [self.allocations, self.allocated, self.peak]
    }
}

fn work(rng: &mut Rng, steps: usize, live: &mut Vec<Piece>, model: &mut Model) {
    for _ in 0..steps {
        match rng.below(5) {
            0 | 1 => {
                let size = rng.size(23);
                let piece = if rng.once_in(2) {
                    Piece::new(size, 8, 1)
                } else {
                    Piece::zeroed(size, 1 << rng.below(13), 1)
                };
                let piece = piece.expect("memory");
                model.add(usable(&piece));
                live.push(piece);
            }
            2 if !live.is_empty() => {
                let index = rng.below(live.len());
                let before = (live[index].address(), usable(&live[index]));
                assert!(live[index].resize(rng.size(23)), "memory");
                model.resize(before, (live[index].address(), usable(&live[index])));
            }
            _ if !live.is_empty() => {
                let piece = live.swap_remove(rng.below(live.len()));
                model.live -= usable(&piece);
                piece.free();
            }
            _ => {}
        }
    }
}

/// A region with another one in it, and what they should have counted.
fn check_against_model(seed: u64) {
    let (mut rng, mut model, mut inner_model) =
        (Rng::quiet(seed), Model::default(), Model::default());
    let (mut live, mut own) = (Vec::with_capacity(4096), Vec::with_capacity(4096));
    let (inner, left) = measured(|| {
        work(&mut rng, 300, &mut live, &mut model);
        let ((), inner) = measured(|| work(&mut rng, 300, &mut own, &mut inner_model));
        model.peak = model.peak.max(model.live + inner_model.peak);
        model.allocations += inner_model.allocations;
        model.allocated += inner_model.allocated;
        // What the inner one has left is freed here.
        own.drain(..).for_each(Piece::free);
        work(&mut rng, 300, &mut live, &mut model);
        inner
    });
    assert_eq!(sums(&inner), inner_model.sums(), "seed {seed}, the inner one");
    assert_eq!(sums(&left), model.sums(), "seed {seed}");
    assert_eq!(left.bytes(), model.live, "seed {seed}: {left}");
    live.drain(..).for_each(Piece::free);
}

#[test]
fn sums_are_those_of_a_model() {
    (0..scaled(10, 30) as u64).for_each(check_against_model);
    assert_eq!(MEMS.check(), Ok(()));
}

/// A profile begins and ends, and changes nothing; and it has the blocks of a region as what they are.
#[test]
fn profiles_come_and_go_meanwhile() {
    let shall_stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !shall_stop.load(Ordering::Relaxed) {
                MEMS.profile().start(64 << 10);
                thread::sleep(Duration::from_micros(300));
                MEMS.profile().stop();
            }
        });
        (100..100 + scaled(10, 30) as u64).for_each(check_against_model);
        shall_stop.store(true, Ordering::Relaxed);
    });
    MEMS.profile().start(1 << 30);
    let size = size_for(9);
    let (pieces, left) = measured(|| {
        let pieces: Vec<_> = (0..10).map(|_| Piece::new(size, 8, 1).unwrap()).collect();
        pieces
    });
    assert_eq!(left.allocations(), 11);
    let known = || {
        let sites = MEMS.profile().sites().expect("memory");
        let ours = sites.samples().filter(|sample| sample.requested_bytes() == size);
        ours.map(|sample| sample.weight()).collect::<Vec<_>>()
    };
    assert_eq!(known(), [1.0; 10]);
    pieces.into_iter().for_each(Piece::free);
    assert_eq!(known(), []);
    MEMS.profile().stop();
    assert_eq!(MEMS.check(), Ok(()));
}

#[test]
fn frees_of_other_threads_count_at_once() {
    // No channel: one that blocks for the first time allocates.
    let (passed, shall_stop) = (Mutex::new(None::<Piece>), AtomicBool::new(false));
    let is_there = || passed.lock().unwrap().is_some();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !shall_stop.load(Ordering::Relaxed) {
                let mut passed = passed.lock().unwrap();
                if let Some(piece) = passed.take() {
                    piece.free();
                }
                drop(passed);
                thread::yield_now();
            }
        });
        for size in [100, 30_000, 200_000, 6_000_000] {
            let ((), left) = measured(|| {
                for _ in 0..20 {
                    *passed.lock().unwrap() = Piece::new(size, 8, 1);
                    while is_there() {
                        thread::yield_now();
                    }
                }
            });
            let bytes = left.allocated_bytes() / 20;
            assert_eq!((left.allocations(), left.peak_bytes()), (20, bytes), "of {size}");
            assert!(bytes >= size && left.is_nothing(), "{left}");
        }
        shall_stop.store(true, Ordering::Relaxed);
    });
}

/// Bytes that are only asked for here, by numbers of threads.
const fn size_for(number: usize) -> usize {
    5000 + 1024 * number
}

/// Leaves blocks behind, in a thread that a thread has started.
fn leave(number: usize, count: usize) {
    let leave =
        move || (0..count).for_each(|_| black_box(vec![0_u8; size_for(number)].leak()).fill(1));
    thread::spawn(move || {
        leave();
        thread::spawn(leave).join().unwrap();
    })
    .join()
    .unwrap();
}

fn left_of(left: &Remains, number: usize) -> usize {
    let is_meant = |slot: usize| slot >= size_for(number) && slot < size_for(number) + 1024;
    left.classes().filter(|(slot, _)| is_meant(*slot)).map(|(_, sum)| sum.blocks).sum()
}

#[test]
fn threads_are_told_by_who_has_started_them() {
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for number in 0..4 {
            let barrier = &barrier;
            scope.spawn(move || {
                for round in 1..scaled(10, 50) {
                    barrier.wait();
                    let run = || leave(number, round);
                    let ((), left) =
                        if number == 0 { region(run) } else { region_with_threads(run) }.unwrap();
                    let counts = (0..4).map(|other| left_of(&left, other));
                    let expected =
                        |other| if other == number && number > 0 { 2 * round } else { 0 };
                    assert!(counts.eq((0..4).map(expected)), "{number}, {round}: {left}");
                    assert!(number == 0 || left.allocations() >= 2 * round);
                    assert!(left.peak_bytes() >= expected(number) * size_for(number));
                }
            });
        }
    });
    assert_eq!(MEMS.check(), Ok(()));
}

#[test]
fn regions_that_follow_threads_nest() {
    let ((inner, middle), outer) = region_with_threads(|| {
        leave(1, 1);
        let (inner, middle) = measured(|| {
            leave(1, 2);
            let ((), inner) = region_with_threads(|| leave(1, 4)).unwrap();
            leave(1, 8);
            inner
        });
        leave(1, 16);
        (inner, middle)
    })
    .unwrap();
    assert_eq!([&inner, &middle, &outer].map(|left| left_of(left, 1)), [8, 0, 62]);
    assert!(outer.peak_bytes() >= 62 * size_for(1) && middle.peak_bytes() < 4 * size_for(1));
}

/// What a thread leaves in a region of its own is left by it.
#[test]
fn a_followed_thread_has_regions() {
    let pieces = |count| (0..count).map(|_| Piece::new(size_for(5), 8, 1).unwrap()).collect();
    let (kept, left) = region_with_threads(|| {
        let life = move || {
            let first: Vec<_> = pieces(2);
            let (second, inner) = measured(|| pieces(3));
            assert_eq!((left_of(&inner, 5), inner.allocations()), (3, 4), "{inner}");
            let (third, inner) =
                region_with_threads(|| thread::spawn(move || pieces(4)).join()).unwrap();
            assert_eq!(left_of(&inner, 5), 4, "{inner}");
            first.into_iter().for_each(Piece::free);
            let third: Vec<_> = third.unwrap();
            second.into_iter().chain(third).collect::<Vec<_>>()
        };
        thread::spawn(life).join().unwrap()
    })
    .unwrap();
    assert_eq!(left_of(&left, 5), 7, "{left}");
    assert!(left.peak_bytes() >= 9 * size_for(5) && left.allocations() >= 9);
    kept.into_iter().for_each(Piece::free);
    assert_eq!(MEMS.check(), Ok(()));
}

#[test]
fn a_thread_that_goes_on_counts_no_more() {
    let (send, receive) = mpsc::channel::<usize>();
    let (done, is_done) = mpsc::channel();
    let (thread, left) = region_with_threads(|| {
        let thread = thread::spawn(move || {
            for count in receive {
                leave(2, count);
                let own = (0..count).map(|_| Piece::new(size_for(3), 8, 1).unwrap());
                done.send(own.collect::<Vec<_>>()).unwrap();
            }
        });
        send.send(3).unwrap();
        is_done.recv().unwrap().into_iter().for_each(Piece::free);
        thread
    })
    .unwrap();
    assert_eq!([left_of(&left, 2), left_of(&left, 3)], [6, 0], "{left}");
    let ((), left) = region_with_threads(|| {
        send.send(5).unwrap();
        // The region is this thread's, not that of the one that was started before.
        is_done.recv().unwrap().into_iter().for_each(Piece::free);
    })
    .unwrap();
    assert_eq!([left_of(&left, 2), left_of(&left, 3)], [0, 0], "{left}");
    drop(send);
    thread.join().unwrap();
    assert_eq!(MEMS.check(), Ok(()));
}

#[test]
fn a_child_goes_on_in_its_region() {
    let ((), left) = measured(|| {
        let kept = Piece::new(100, 8, 1).unwrap();
        let said = child::forked(20, || {
            let more = Piece::new(5000, 8, 1).ok_or("no memory")?;
            more.free();
            let ((), inner) = region(|| Piece::new(700, 8, 1).unwrap().free())
                .map_err(|error| error.to_string())?;
            let is_right = inner.allocations() == 1 && inner.is_nothing();
            if is_right && MEMS.check().is_ok() {
                Ok(String::new())
            } else {
                Err(inner.to_string())
            }
        });
        assert_eq!(said, Ok(String::new()));
        kept.free();
    });
    assert!(left.is_nothing(), "{left}");
}

/// A followed thread goes on behind the inner one of two regions, and the outer one counts for it.
fn behind_an_inner_region(life: impl FnOnce(&Barrier) -> Vec<Piece> + Send + 'static) -> Remains {
    let barrier = Arc::new(Barrier::new(2));
    let ((kept, inner), outer) = region_with_threads(|| {
        let (thread, inner) = region_with_threads(|| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || life(&barrier))
        })
        .unwrap();
        barrier.wait();
        (thread.join().unwrap(), inner)
    })
    .unwrap();
    assert_eq!(left_of(&inner, 5), 0, "{inner}");
    kept.into_iter().for_each(Piece::free);
    assert_eq!(MEMS.check(), Ok(()));
    outer
}

#[test]
fn what_a_region_leaves_is_the_outer_ones_where_the_one_between_has_ended() {
    let left = behind_an_inner_region(|barrier| {
        drop(black_box(vec![1_u8; 10]));
        barrier.wait();
        let pieces = || (0..3).map(|_| Piece::new(size_for(5), 8, 1).unwrap()).collect();
        let (pieces, left) = measured(pieces);
        assert_eq!(left_of(&left, 5), 3);
        pieces
    });
    assert_eq!(left_of(&left, 5), 3, "{left}");
}

#[test]
fn a_huge_block_behind_an_inner_region_is_the_outer_ones() {
    let left = behind_an_inner_region(|barrier| {
        let mut kept = Vec::with_capacity(1);
        barrier.wait();
        kept.push(Piece::new(5 << 20, 8, 1).unwrap());
        kept
    });
    assert_eq!(left.larger().blocks, 1, "{left}");
}

extern "C" fn leave_huge(_: *mut libc::c_void) -> *mut libc::c_void {
    Piece::new(5 << 20, 8, 1).map_or(ptr::null_mut(), |piece| {
        ptr::with_exposed_provenance_mut(mem::ManuallyDrop::new(piece).address())
    })
}

/// A thread of another language, for which nobody has allocated before.
#[test]
fn a_followed_thread_may_begin_with_a_huge_block() {
    let ((), left) = region_with_threads(|| {
        // SAFETY: zero is a place for a thread's name.
        let mut thread: libc::pthread_t = unsafe { mem::zeroed() };
        // SAFETY: the function takes no argument, and the place is valid.
        let error = unsafe {
            libc::pthread_create(&raw mut thread, ptr::null(), leave_huge, ptr::null_mut())
        };
        assert_eq!(error, 0);
        // SAFETY: the thread was just created, and is joined once.
        let error = unsafe { libc::pthread_join(thread, ptr::null_mut()) };
        assert_eq!(error, 0);
    })
    .unwrap();
    assert_eq!(left.larger().blocks, 1, "{left}");
    assert!(left.peak_bytes() >= 5 << 20 && left.allocations() == 1, "{left}");
}

/// What an inner region has left is a profile's as what it is: not as older blocks as well.
#[test]
fn a_profile_has_what_an_inner_region_leaves_once() {
    if child::role().is_some() {
        MEMS.profile().start(1 << 30);
        let known = || MEMS.profile().sites().unwrap();
        let ((before, with, samples), _) = measured(|| {
            let before = known().older().0.value();
            let pieces = || (0..100).map(|_| Piece::new(size_for(9), 8, 1).unwrap()).collect();
            let (pieces, left): (Vec<_>, _) = measured(pieces);
            assert_eq!(left.allocations(), 101);
            let with = known();
            let ours = with.samples().filter(|sample| sample.requested_bytes() == size_for(9));
            let samples = ours.count();
            pieces.into_iter().for_each(Piece::free);
            (before, with.older().0.value(), samples)
        });
        assert_eq!(samples, 100);
        assert!(with - before < 50.0, "{before}, {with}");
        // What a region is handed out is no news of a profile that has ended.
        MEMS.profile().stop();
        let allocated = || known().iter().map(|site| site.allocated().0).sum::<f64>();
        let before = allocated();
        measured(|| (0..1000).for_each(|_| drop(black_box(vec![1_u8; 1500]))));
        assert_eq!(allocated(), before);
        return;
    }
    let again = &mut child::this_test("a_profile_has_what_an_inner_region_leaves_once");
    assert!(child::output_of(again).success().is_ok(), "see its message");
}

/// A thousand took some ten seconds once, and each more than the one before.
#[test]
fn many_regions_that_follow_threads_may_be_in_one() {
    let started = Instant::now();
    let ((), left) = region_with_threads(|| {
        (0..1000).for_each(|_| assert!(region_with_threads(|| ()).unwrap().1.is_nothing()));
    })
    .unwrap();
    assert!(left.is_nothing(), "{left}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}
