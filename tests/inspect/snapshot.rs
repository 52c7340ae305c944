//! Snapshots: exact at rest (this program has the process heap to itself), within their bound while others churn.
#![allow(unsafe_code, reason = "frees blocks by hand, and forks")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::ffi::CString;
use std::process::ExitCode;
use std::sync::Barrier;
use std::time::Instant;

use helpers::piece::{MEMS, Piece};
use helpers::trials::{Answer, Trials};
use helpers::{Rng, child, scaled};
use mems::inspect::{Place, PlaceState, ThreadState};
use mems::{Found, HeapStats, Snapshot, snapshot};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

const THREADS: usize = 8;

/// Everything that can be counted in more than one way gives one sum.
fn assert_exact(picture: &Snapshot, stats: HeapStats) {
    assert_eq!(picture.stats(), stats);
    let walked = MEMS.blocks().fold((0, 0), |(n, sum), block| (n + 1, sum + block.size));
    assert_eq!(walked, (stats.blocks, stats.allocated), "the walk");
    let places = picture.blocks().fold((0, 0), |(n, sum), block| (n + 1, sum + block.size));
    assert_eq!(places, (stats.blocks, stats.allocated), "the snapshot's walk");
    assert!(
        MEMS.blocks().map(|b| (b.start, b.size)).eq(picture.blocks().map(|b| (b.start, b.size)))
    );
    let small: usize = picture.classes().map(|class| class.live * class.slot_bytes).sum();
    let of_threads: usize = picture.threads().iter().map(|thread| thread.live_bytes).sum();
    assert_eq!(small, of_threads, "by class and by thread");
    let cached: usize = picture.threads().iter().map(|thread| thread.cached_bytes).sum();
    assert_eq!(cached, stats.cached);
    let all: usize = picture.places().map(|place| place.size).sum();
    assert_eq!(
        all,
        picture.spans().iter().map(|span| span.size).sum::<usize>(),
        "places tile spans"
    );
    assert_eq!(all, stats.allocated + stats.free);
    let found = picture.fragmentation();
    let idle = found.hole_bytes + found.free_slots + found.cached + found.tails;
    assert_eq!((idle, found.largest_hole), (stats.free, stats.largest_hole));
    assert_eq!(found.histogram.iter().map(|bin| bin.holes).sum::<usize>(), stats.holes);
}

fn take_exact() -> Snapshot {
    let stats = MEMS.stats();
    let picture = snapshot().expect("there is memory");
    assert_exact(&picture, stats);
    assert_eq!(MEMS.stats(), stats, "taking a snapshot changes nothing");
    picture
}

/// Blocks of all sizes, half of them freed again.
fn mixture(seed: u64, count: usize) -> Vec<Piece> {
    let mut rng = Rng::quiet(seed);
    let mut live = Vec::with_capacity(count);
    for _ in 0..count {
        let bits = if rng.once_in(20) { 18 } else { 13 };
        live.push(Piece::new(rng.size(bits), 8, seed).unwrap());
        if rng.once_in(2) {
            live.swap_remove(rng.below(live.len())).free();
        }
    }
    live
}

fn exact_at_rest() -> Result<Answer, String> {
    take_exact();
    let mine = mixture(1, scaled(3000, 30_000));
    take_exact();
    let (is_ready, may_end) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let (is_ready, may_end) = (&is_ready, &may_end);
                scope.spawn(move || {
                    let live = mixture(number as u64, scaled(2000, 20_000));
                    is_ready.wait();
                    may_end.wait();
                    live
                })
            })
            .collect();
        is_ready.wait();
        // The others wait, and waiting allocates nothing.
        let picture = take_exact();
        let running =
            picture.threads().iter().filter(|thread| thread.state == ThreadState::Running);
        assert_eq!(running.filter(|thread| thread.live > 0).count(), THREADS + 1);
        may_end.wait();
        let kept: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let after = take_exact();
        let ended = after.threads().iter().filter(|thread| thread.state == ThreadState::Ended);
        assert_eq!(ended.filter(|thread| thread.live > 0).count(), THREADS);
        kept.into_iter().flatten().for_each(Piece::free);
    });
    take_exact();
    let in_child = in_child(|| {
        take_exact();
        let live = mixture(9, 500);
        take_exact();
        live.into_iter().for_each(Piece::free);
    });
    mine.into_iter().for_each(Piece::free);
    if in_child == 0 {
        Ok(Answer::Passed(String::new()))
    } else {
        Err(format!("child: {in_child:#x}"))
    }
}

/// Runs something in a child of a fork: 0 if all went well.
fn in_child(run: impl FnOnce() + core::panic::UnwindSafe) -> i32 {
    // SAFETY: there is no other thread.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        child::watchdog(20);
        child::exit_now(i32::from(std::panic::catch_unwind(run).is_err()));
    }
    let mut status = 0;
    // SAFETY: `status` is a place for the answer.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    status
}

/// Every byte of every block is that block's, on the heap and in the snapshot; all others are holes, or not ours.
fn find_names_the_block() -> Result<Answer, String> {
    let count = scaled(30_000, 1_500_000);
    let mut rng = Rng::announced("find", 0xf19d);
    let mut blocks = Vec::with_capacity(count);
    let mut pieces = Vec::with_capacity(count);
    for _ in 0..count {
        let size = if rng.once_in(1000) { rng.size(17) } else { 1 + rng.below(200) };
        pieces.push(Piece::new(size, 8, 3).unwrap());
        if rng.once_in(3) {
            pieces.swap_remove(rng.below(pieces.len())).free();
        }
    }
    let picture = take_exact();
    blocks.extend(picture.blocks().map(|block| (block.start, block.size)));
    let (mut bytes, mut others, mut behind) = (0_usize, 0_usize, 0);
    let step = |size: usize| if size <= 256 { scaled(7, 1) } else { 61 };
    for &(start, size) in &blocks {
        // What lies between two blocks is a hole to both.
        for address in (behind..start).step_by(scaled(997, 331)).take(40) {
            let (now, then) = (found(address), picture.find(address));
            assert!(!matches!(now, Some(Found::Block(_))), "{address:#x} {now:?}");
            assert!(then.is_none_or(|place| place.state != PlaceState::Live), "{address:#x}");
            assert_eq!(now.is_some(), then.is_some(), "{address:#x}");
            others += 1;
        }
        for address in (start..start + size).step_by(step(size)).chain([start + size - 1]) {
            let now = found(address);
            let is_named =
                matches!(now, Some(Found::Block(b)) if (b.start, b.size) == (start, size));
            assert!(is_named, "{address:#x} of {start:#x}: {now:?}");
            bytes += 1;
        }
        let then = picture.find(start + size / 2).unwrap();
        assert_eq!((then.start, then.size, then.state), (start, size, PlaceState::Live));
        behind = start + size;
    }
    for page in blocks.iter().step_by(blocks.len() / 50).map(|(start, _)| start & !4095) {
        for range in [page..page + 4096, page + 1..page + 2, page - 70_000..page + 70_000] {
            let has_byte = |p: &Place| p.start < range.end && p.start + p.size > range.start;
            let wanted = picture.places().filter(has_byte);
            assert!(picture.places_within(range.clone()).eq(wanted), "{range:x?}");
        }
    }
    let local = 7_u8;
    for address in
        [0, 8, usize::MAX, (&raw const local).addr(), find_names_the_block as *const () as usize]
    {
        assert_eq!((found(address), picture.find(address)), (None, None), "{address:#x}");
    }
    let text = format!("{} blocks, {bytes} bytes of them, {others} others", blocks.len());
    pieces.into_iter().for_each(Piece::free);
    Ok(Answer::Passed(text))
}

fn found(address: usize) -> Option<Found> {
    MEMS.find(core::ptr::without_provenance(address))
}

/// What four threads have done so far: blocks that came, and blocks that went.
#[derive(Default)]
struct Ledger {
    came: AtomicUsize,
    went: AtomicUsize,
}

/// A small class, a large one, and the free list.
const SIZES: [usize; 3] = [3000, 50_000, 5 << 20];

/// Blocks come and go until told to stop. Each is counted as having come before it does, and as gone once it is.
fn churn(seed: u64, ledger: &Ledger, shall_stop: &AtomicBool) {
    let mut rng = Rng::quiet(seed);
    let mut live: Vec<Piece> = Vec::with_capacity(300);
    while !shall_stop.load(Ordering::SeqCst) {
        ledger.came.fetch_add(1, Ordering::SeqCst);
        let size = SIZES[rng.below(2) + usize::from(rng.once_in(50))];
        live.push(Piece::new(size, 8, seed).unwrap());
        if live.len() > 200 {
            live.swap_remove(rng.below(live.len())).free();
            ledger.went.fetch_add(1, Ordering::SeqCst);
        }
        if rng.once_in(20) {
            let index = rng.below(live.len());
            ledger.came.fetch_add(1, Ordering::SeqCst);
            assert!(live[index].resize(60_000 + index * 1000), "there is memory");
            ledger.went.fetch_add(1, Ordering::SeqCst);
        }
        if rng.once_in(500) {
            MEMS.trim();
        }
    }
    live.into_iter().for_each(Piece::free);
}

/// A snapshot taken while four threads churn is off by no more than what came or went meanwhile.
fn bound_under_churn() -> Result<Answer, String> {
    let held: Vec<_> = (0..400)
        .map(|n| Piece::new(SIZES[n % 2 + usize::from(n % 100 == 1)], 8, n as u64).unwrap())
        .collect();
    let before = MEMS.stats();
    let (ledger, shall_stop) = (Ledger::default(), AtomicBool::new(false));
    let mut spread = 0;
    std::thread::scope(|scope| {
        let threads: Vec<_> = {
            let (ledger, shall_stop) = (&ledger, &shall_stop);
            (1..=4).map(|seed| scope.spawn(move || churn(seed, ledger, shall_stop))).collect()
        };
        for _ in 0..scaled(25, 200) {
            let (came, went) =
                (ledger.came.load(Ordering::SeqCst), ledger.went.load(Ordering::SeqCst));
            let picture = snapshot().expect("there is memory");
            let (came_after, went_after) =
                (ledger.came.load(Ordering::SeqCst), ledger.went.load(Ordering::SeqCst));
            // At least what was live all the while, at most what was live at any moment; a block whose free is not yet
            // counted may be missing, 1 for each thread. Threads themselves have some blocks.
            let least = (before.blocks + came).saturating_sub(went_after + 8);
            let most = before.blocks + came_after - went + 100;
            let blocks = picture.stats().blocks;
            assert!((least..=most).contains(&blocks), "{least} <= {blocks} <= {most}");
            spread = spread.max(most - least);
            let is_there = |piece: &Piece| {
                let place = picture.find(piece.address() + piece.size() / 2);
                place.is_some_and(|place| {
                    place.start == piece.address() && place.state == PlaceState::Live
                })
            };
            assert!(held.iter().all(is_there), "what lives all the while is there");
            let ordered = picture.blocks().map(|block| block.start);
            assert!(ordered.is_sorted_by(|a, b| a < b), "nothing is there twice");
            let mut bytes = Vec::new();
            picture.write_to(&mut bytes).unwrap();
            let again =
                Snapshot::from_bytes(&bytes).expect("a snapshot under churn is a valid file");
            assert_eq!(again.stats(), picture.stats());
        }
        shall_stop.store(true, Ordering::SeqCst);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    held.into_iter().for_each(Piece::free);
    MEMS.check().map_err(|broken| broken.to_string())?;
    let operations = ledger.came.into_inner();
    Ok(Answer::Passed(format!(
        "{operations} blocks came meanwhile, the bound was {spread} at most"
    )))
}

/// What a trim would return is what it returns.
fn trim_is_foretold() -> Result<Answer, String> {
    let mut text = String::with_capacity(200);
    let mut kept = Vec::with_capacity(100_000);
    for seed in 0..6 {
        for (index, piece) in mixture(seed, scaled(2000, 10_000)).into_iter().enumerate() {
            if index % 7 == 0 { kept.push(piece) } else { piece.free() }
        }
        let foretold = take_exact().fragmentation().would_trim;
        let given = MEMS.trim();
        // Before anything is allocated: that would take slots of pages that have just gone.
        let again = take_exact().fragmentation().would_trim;
        assert_eq!((foretold, again), (given, 0), "round {seed}");
        text.push_str(&format!("{} ", given >> 10));
    }
    kept.into_iter().for_each(Piece::free);
    Ok(Answer::Passed(format!("{text}KiB")))
}

/// A fork in the middle of nested regions, while another thread lives: both go on, and end their regions.
fn fork_within_regions() -> Result<Answer, String> {
    let (is_ready, may_end) = (Barrier::new(2), Barrier::new(2));
    let status = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let live = mixture(5, 300);
            is_ready.wait();
            may_end.wait();
            live.into_iter().for_each(Piece::free);
        });
        is_ready.wait();
        let before = mixture(6, 300);
        let ((pid, kept), left) = mems::region(|| {
            let outer = mixture(7, 200);
            let (inner, left) = mems::region(|| mixture(8, 200)).unwrap();
            assert_eq!(left.blocks(), inner.len() + 1, "the pieces, and the list of them: {left}");
            let deeper = mems::region(|| {
                // SAFETY: the child uses nothing that the other thread may hold but the heap.
                unsafe { libc::fork() }
            });
            (deeper.unwrap().0, (outer, inner))
        })
        .unwrap();
        let is_whole = left.blocks() == kept.0.len() + kept.1.len() + 2 && MEMS.check().is_ok();
        if pid == 0 {
            child::watchdog(20);
        }
        // Blocks of all regions and from before are freed, and their places serve again.
        before.into_iter().chain(kept.0).chain(kept.1).for_each(Piece::free);
        mixture(9, 2000).into_iter().for_each(Piece::free);
        MEMS.trim();
        let is_well = is_whole && MEMS.check().is_ok();
        if pid == 0 {
            child::exit_now(i32::from(!is_well));
        }
        let mut status = 0;
        // SAFETY: `status` is a place for the answer.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        may_end.wait();
        // A scope waits for what its threads do, not for their ends.
        other.join().unwrap();
        if is_well { status } else { -1 }
    });
    if status == 0 { Ok(Answer::Passed(String::new())) } else { Err(format!("status {status:#x}")) }
}

/// A fork while *another* thread is in a region that holds an ended one. Found where the child's first region took that
/// thread's heap, regions and all: it counted their blocks and retired one heap twice, and then `trim` ran for ever.
fn fork_beside_a_region() -> Result<Answer, String> {
    let (is_inside, may_end) = (Barrier::new(2), Barrier::new(2));
    let status = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let before = mixture(10, 50);
            let (kept, _) = mems::region(|| {
                let (inner, _) = mems::region(|| mixture(11, 50)).unwrap();
                is_inside.wait();
                may_end.wait();
                inner
            })
            .unwrap();
            before.into_iter().chain(kept).for_each(Piece::free);
        });
        is_inside.wait();
        // SAFETY: the child uses nothing that the other thread may hold but the heap.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            child::watchdog(20);
            let is_empty = (0..4).all(|_| mems::region(|| ()).unwrap().1.is_nothing());
            MEMS.trim();
            child::exit_now(i32::from(!is_empty) + 2 * i32::from(MEMS.check().is_err()));
        }
        let mut status = 0;
        // SAFETY: `status` is a place for the answer.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        may_end.wait();
        other.join().unwrap();
        status
    });
    if status == 0 { Ok(Answer::Passed(String::new())) } else { Err(format!("status {status:#x}")) }
}

fn diff_and_files() -> Result<Answer, String> {
    let mut kept = Vec::with_capacity(200);
    let first = Piece::new(48, 8, 1).unwrap();
    let gone = Piece::new(5_000_000, 8, 1).unwrap();
    let before = take_exact();
    gone.free();
    kept.extend((0..100).map(|n| Piece::new(24, 8, n).unwrap()));
    let after = take_exact();
    let (came, went) = before.diff(&after).sums();
    assert_eq!((came.blocks, came.bytes, went.blocks, went.bytes), (100, 2400, 1, 5_000_000));
    let classes: Vec<_> = before
        .diff(&after)
        .classes()
        .map(|c| (c.slot_bytes, c.came.blocks, c.went.blocks))
        .collect();
    assert_eq!(classes, [(Some(24), 100, 0), (None, 0, 1)]);
    let mut text = String::new();
    before.diff(&after).write_text(&mut text).unwrap();
    assert!(
        text.contains("slots of    24:      100 came") && text.contains("and 90 more"),
        "{text}"
    );
    assert_eq!(before.diff(&before).changes().count(), 0);

    let mut file = Vec::new();
    after.write_to(&mut file).unwrap();
    let read = Snapshot::read_from(&mut file.as_slice()).map_err(|error| error.to_string())?;
    assert!(read.places().eq(after.places()) && read.segments().eq(after.segments()));
    assert_eq!(
        (read.stats(), read.threads(), read.spans()),
        (after.stats(), after.threads(), after.spans())
    );
    let (mut one, mut two) = (String::new(), String::new());
    after.write_json(&mut one).unwrap();
    read.write_json(&mut two).unwrap();
    assert!(one == two && one.contains(&format!("\"allocated\":{},", after.stats().allocated)));
    kept.into_iter().chain([first]).for_each(Piece::free);
    Ok(Answer::Passed(format!("{} bytes as a file, {} as JSON", file.len(), one.len())))
}

/// What is written at the end of a process is written without the heap.
fn files_without_the_heap() -> Result<Answer, String> {
    let live = mixture(4, 1000);
    let folder = std::env::temp_dir();
    let name = |ending: &str| folder.join(format!("mems-exit-{}.{ending}", std::process::id()));
    let paths = ["html", "svg", "snap"].map(name);
    let names = paths.each_ref().map(|path| CString::new(path.to_str().unwrap()).unwrap());
    let nowhere = c"/nowhere/at/all";
    let before = MEMS.stats();
    let written = [
        mems::write_heap_map_to(&names[0]),
        mems::write_heap_picture_to(&names[1]),
        mems::write_snapshot_to(&names[2]),
    ];
    let refused = mems::write_snapshot_to(nowhere);
    assert_eq!(MEMS.stats(), before, "nothing is allocated");
    assert_eq!(written, [Ok(()); 3]);
    assert_eq!(refused, Err(mems::WriteError::Create(libc::ENOENT)));
    let texts = paths.each_ref().map(|path| std::fs::read(path).unwrap());
    paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    assert!(texts[0].ends_with(b"</html>\n") && texts[1].ends_with(b"</svg>\n"));
    let read = Snapshot::from_bytes(&texts[2]).map_err(|error| error.to_string())?;
    assert_eq!(read.stats(), before);
    live.into_iter().for_each(Piece::free);
    Ok(Answer::Passed(String::new()))
}

/// Walking very many blocks allocates nothing and takes no longer than it should.
fn walk_of_many() -> Result<Answer, String> {
    let count = scaled(100_000, 10_000_000);
    let mut blocks: Vec<Box<u64>> = Vec::with_capacity(count);
    blocks.extend((0..count as u64).map(Box::new));
    let before = MEMS.stats();
    let start = Instant::now();
    let (number, bytes) = MEMS.blocks().fold((0, 0), |(n, sum), block| (n + 1, sum + block.size));
    let walk = start.elapsed();
    let start = Instant::now();
    let picture = snapshot().expect("there is memory");
    let taken = start.elapsed();
    let start = Instant::now();
    let places = picture.places().count();
    let walked = start.elapsed();
    assert_eq!((number, bytes), (before.blocks, before.allocated));
    assert_eq!(MEMS.stats(), before, "walking allocates nothing");
    assert!(places >= number && number >= count);
    assert!(cfg!(debug_assertions) || walk.as_secs_f64() < 1.0, "{walk:?}");
    drop(blocks);
    let ms = |time: core::time::Duration| time.as_millis();
    let (walk, taken, walked) = (ms(walk), ms(taken), ms(walked));
    let text =
        format!("{number} blocks: walk {walk} ms, snapshot {taken} ms, its walk {walked} ms");
    Ok(Answer::Passed(text))
}

fn main() -> ExitCode {
    let mut trials = Trials::alone();
    trials.case("exact_at_rest", exact_at_rest);
    trials.case("find_names_the_block", find_names_the_block);
    trials.case("bound_under_churn", bound_under_churn);
    trials.case("trim_is_foretold", trim_is_foretold);
    trials.case("fork_within_regions", fork_within_regions);
    trials.case("fork_beside_a_region", fork_beside_a_region);
    trials.case("diff_and_files", diff_and_files);
    trials.case("files_without_the_heap", files_without_the_heap);
    trials.case("walk_of_many", walk_of_many);
    trials.finish()
}
