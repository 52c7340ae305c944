//! Memory that goes back to the system, and blocks that grow and shrink where they are. Each case prints its figures.
//!
//! In the role `up-and-down` the program is a child that does one piece of work.
#![allow(unsafe_code, reason = "touches blocks, and asks the system what is resident")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::alloc::GlobalAlloc;
use core::time::Duration;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use helpers::piece::{MEMS, Piece, is_zero, layout};
use helpers::proc::{resident_in, status_bytes};
use helpers::trials::{Answer, Trials, shown};
use helpers::{Rng, child, scaled};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;
/// Seconds until SIGALRM ends a child that hangs.
const PATIENCE_SECONDS: u32 = 120;

/// Writes to each page of a block.
fn touch(piece: &Piece) {
    touch_pages(piece.pointer(), piece.size(), PAGE);
}

/// Writes to the first byte, and then to one in every `stride`.
fn touch_pages(start: *mut u8, len: usize, stride: usize) {
    for offset in (0..len).step_by(stride) {
        let byte = start.wrapping_add(offset);
        // SAFETY: the byte lies in a live block, whose bytes are initialised or zero; its value stays.
        let old = unsafe { byte.read_volatile() };
        // SAFETY: as above.
        unsafe { byte.write_volatile(old) };
    }
}

/// Page faults without disk up to now.
fn minor_faults() -> usize {
    let mut usage = core::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is a valid place for the answer.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: an rusage is plain integers, so the zero bytes are one.
    let usage = unsafe { usage.assume_init() };
    usize::try_from(usage.ru_minflt).expect("not negative")
}

/// What a process that was busy and is idle keeps, once it does a little again.
fn everything_freed() -> Result<Answer, String> {
    let mut rng = Rng::announced("everything freed", 0xBAC4);
    let base = status_bytes("VmRSS");
    let (mut pieces, mut sum) = (Vec::with_capacity(scaled(100_000, 400_000)), 0);
    let wanted = scaled(100, 300) * MIB;
    while sum < wanted {
        // As many bytes of each power of two would be few small blocks, so half of the bytes are.
        let size = if rng.once_in(64) { 16 + rng.size(20) } else { 16 + rng.size(12) };
        sum += size;
        let piece = Piece::new(size, 8, rng.next()).expect("there is memory");
        touch(&piece);
        pieces.push(piece);
    }
    let peak = status_bytes("VmRSS");
    while !pieces.is_empty() {
        pieces.swap_remove(rng.below(pieces.len())).free();
    }
    let count = pieces.capacity();
    drop(pieces);
    let freed = status_bytes("VmRSS");
    thread::sleep(Duration::from_secs(2));
    for operation in 0..1000 {
        // Whatever a thread has cached serves the others; a block above 4 MiB always comes from the free list.
        let size = if operation % 20 == 0 { 5 * MIB } else { 100 };
        Piece::new(size, 8, operation).expect("there is memory").free();
    }
    let late = status_bytes("VmRSS");
    MEMS.trim();
    let trimmed = status_bytes("VmRSS");
    let part = |rss: usize| 100.0 * rss as f64 / peak as f64;
    let figures = format!(
        "{} MiB before, {} at the peak ({count} places), {} freed, {:.1}% after 2 s and 1,000 calls, {:.1}% after trim",
        base / MIB,
        peak / MIB,
        freed / MIB,
        part(late),
        part(trimmed)
    );
    MEMS.check().map_err(|broken| broken.to_string())?;
    // A debug build's own pages are 4 MiB of its smaller peak.
    let bounds = if cfg!(debug_assertions) { (15.0, 9.0) } else { (5.0, 3.0) };
    let holds = part(late) <= bounds.0 && part(trimmed) <= bounds.1;
    shown(figures, holds)
}

/// The child: from nothing to many blocks and back, every 100 ms. Prints its page faults.
fn up_and_down() {
    let mut rng = Rng::quiet(0x0b0e);
    let full = scaled(64, 256) * MIB;
    let mut pieces = Vec::with_capacity(100_000);
    let before = minor_faults();
    for _ in 0..scaled(15, 40) {
        let start = Instant::now();
        let mut sum = 0;
        while sum < full {
            let piece = Piece::new(4096 + rng.size(19), 8, rng.next()).expect("there is memory");
            touch(&piece);
            sum += piece.size();
            pieces.push(piece);
        }
        pieces.drain(..).for_each(Piece::free);
        // The load is the test's subject: a wave every 100 ms.
        thread::sleep(Duration::from_millis(100).saturating_sub(start.elapsed()));
    }
    println!("{}", minor_faults() - before);
}

/// A load that comes and goes ten times a second keeps its pages.
fn a_load_that_comes_back() -> Result<Answer, String> {
    let faults = |decay_ms: &str| {
        let mut command = child::this_program("up-and-down");
        let output = child::output_of(command.env("MEMS_DECAY_MS", decay_ms)).success()?;
        output.trim().parse::<usize>().map_err(|error| format!("{error}: {output}"))
    };
    let (plain, never) = (faults("1000")?, faults("1000000000")?);
    let figures = format!("{plain} page faults, {never} where nothing goes back");
    shown(figures, plain <= never + never / 5)
}

/// Bytes that reallocs copied: a block that has moved had its contents copied.
#[derive(Debug, Default)]
struct Copied {
    bytes: usize,
    moves: usize,
}

impl Copied {
    fn note(&mut self, old: (usize, usize), new: (usize, usize)) {
        if old.0 != new.0 {
            self.bytes += old.1.min(new.1);
            self.moves += 1;
        }
    }
}

/// A block that grows by 1 MiB at a time, and a `Vec` that doubles, while small blocks come between.
fn growing_in_place() -> Result<Answer, String> {
    let (mut small, mut stepped, mut doubled) = (Vec::new(), Copied::default(), Copied::default());
    let mut piece = Piece::new(MIB, 8, 77).expect("there is memory");
    for step in 2..=64 {
        for size in [100, 5000, 40_000, 200_000] {
            small.push(Piece::new(size, 8, step as u64).expect("there is memory"));
        }
        let old = (piece.address(), piece.size());
        assert!(piece.resize(step * MIB), "there is memory");
        stepped.note(old, (piece.address(), piece.size()));
    }
    piece.free();
    let full = scaled(256, 1024) * MIB;
    let mut vector: Vec<u64> = Vec::with_capacity(MIB / 8);
    while vector.capacity() < full / 8 {
        let old = (vector.as_ptr().addr(), vector.capacity() * 8);
        let first = vector.len() as u64;
        let room = vector.capacity() - vector.len();
        // One word in each 64 KiB tells whether contents came along; the others are zero.
        vector.extend((first..first + room as u64).map(|n| if n % 8192 == 0 { n } else { 0 }));
        small.push(Piece::new(5000, 8, first).expect("there is memory"));
        vector.reserve_exact(vector.capacity());
        doubled.note(old, (vector.as_ptr().addr(), vector.capacity() * 8));
    }
    let kept = vector.iter().step_by(8192).zip((0_u64..).step_by(8192));
    assert!(kept.into_iter().all(|(found, wanted)| *found == wanted), "contents of the Vec");
    small.into_iter().for_each(Piece::free);
    MEMS.check().map_err(|broken| broken.to_string())?;
    let figures = format!(
        "64 MiB by 1 MiB: {} MiB copied in {} moves; Vec to {} MiB: {} MiB copied in {} moves",
        stepped.bytes / MIB,
        stepped.moves,
        full / MIB,
        doubled.bytes / MIB,
        doubled.moves
    );
    let holds = stepped.bytes <= 16 * MIB && doubled.bytes <= 16 * MIB;
    shown(figures, holds)
}

/// A block that was touched and has shrunk, and what it gave up.
struct Shrunk {
    piece: Piece,
    given_up: (usize, usize),
}

impl Shrunk {
    fn new(mut piece: Piece, to: usize) -> Self {
        let (start, from) = (piece.address(), piece.size());
        assert!(resident_in(start, from) >= from - PAGE, "all of it was touched");
        assert!(piece.resize(to), "a block shrinks");
        let kept = if piece.address() == start { to } else { 0 };
        Self { piece, given_up: (start + kept, from - kept) }
    }

    /// Bytes of what it gave up that are resident.
    fn left(&self) -> usize {
        resident_in(self.given_up.0, self.given_up.1)
    }
}

/// What blocks give up as they shrink goes back once it was idle, or at once from 32 MiB on; and they grow again over
/// fresh pages. From large to large and huge to huge that is in place; from huge to large the block moves.
fn shrinking_gives_back() -> Result<Answer, String> {
    let pairs = [(4, 2), (4, 1), (30, 5), (256, 29), (64, 40), (20, 2), (30, 4)];
    // All at first, so that none lies in what another one gave up.
    let pieces = pairs.map(|(from, _)| Piece::new(from * MIB, 8, 4).expect("there is memory"));
    pieces.iter().for_each(touch);
    // Asked of each when it has shrunk: by the time that the last one has, the first one's pages may be idle.
    let shrink = |(piece, (_, to)): (Piece, (usize, usize))| {
        let shrunk = Shrunk::new(piece, to * MIB);
        let left = shrunk.left();
        (shrunk, left)
    };
    let (mut all, left): (Vec<_>, Vec<_>) = pieces.into_iter().zip(pairs).map(shrink).unzip();
    let (at_once, before) = (left[3], left.iter().sum::<usize>());
    // Looked at only when somebody comes by.
    for _ in 0..30 {
        thread::sleep(Duration::from_millis(50));
        Piece::new(5 * MIB, 8, 1).expect("there is memory").free();
    }
    let after: usize = all.iter().map(Shrunk::left).sum();
    let mut lines = format!(
        "of 256 MiB that became 29 {} KiB were left, of all {} MiB, {} KiB after 1.5 s; ",
        at_once >> 10,
        before / MIB,
        after >> 10
    );
    // A heap keeps 1/8 of what is live.
    if at_once > 2 * PAGE || before < 60 * MIB || after > 16 * MIB {
        return Err(lines);
    }
    for (shrunk, (from, _)) in all.iter_mut().zip(pairs) {
        assert!(shrunk.piece.resize(from * MIB), "it grows again");
        touch(&shrunk.piece);
    }
    all.into_iter().for_each(|shrunk| shrunk.piece.free());
    MEMS.check().map_err(|broken| broken.to_string())?;
    lines.push_str(&to_and_fro()?);
    // Threads that shrink and grow beside one another: contents are verified by each resize.
    thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let mut rng = Rng::quiet(0x5417 + thread);
                let mut piece = Piece::new(8 * MIB, 8, thread).expect("there is memory");
                for _ in 0..scaled(100, 1000) {
                    assert!(piece.resize(MIB / 2 + rng.below(12 * MIB)), "there is memory");
                }
                piece.free();
            });
        }
    });
    MEMS.check().map_err(|broken| broken.to_string())?;
    Ok(Answer::Passed(lines))
}

/// A buffer that goes between 5 and 6 MiB pays for its pages once.
fn to_and_fro() -> Result<String, String> {
    const ROUNDS: usize = 1000;
    let mut piece = Piece::new(5 * MIB, 8, 3).expect("there is memory");
    let start = piece.address();
    assert!(piece.resize(6 * MIB), "there is memory");
    touch(&piece);
    let before = minor_faults();
    for round in 0..ROUNDS {
        for size in [5 * MIB, 6 * MIB] {
            assert!(piece.resize(size) && piece.address() == start, "{round}: where it was");
        }
    }
    let faults = minor_faults() - before;
    piece.free();
    let line = format!("{faults} page faults in {ROUNDS} rounds between 5 and 6 MiB");
    if faults < ROUNDS / 10 { Ok(line) } else { Err(line) }
}

/// Zeroed blocks of every class from 4 KiB on, on memory that was dirty.
fn zeroed_after_dirty() -> Result<Answer, String> {
    let (mut size, mut count) = (4096, 0);
    while size <= 64 * MIB {
        for size in [size, size - 8, size + size / 4, size + size / 2, size + size / 4 * 3] {
            let dirty: Vec<_> = (0..2).map(|_| Piece::new(size, 8, 0xD1).unwrap()).collect();
            for piece in &dirty {
                // SAFETY: the block is live; it is freed without a look at its contents.
                unsafe { piece.pointer().write_bytes(0xD1, piece.size()) };
                // SAFETY: the block is live with this layout, and a piece has no destructor.
                unsafe { MEMS.dealloc(piece.pointer(), piece.layout()) };
            }
            drop(dirty);
            Piece::zeroed(size, 8, 1).expect("there is memory").free();
            count += 1;
        }
        size *= 2;
    }
    let whole = 64 * MIB;
    let dirty = Piece::new(whole - 64, 8, 2).expect("there is memory");
    touch(&dirty);
    dirty.free();
    // SAFETY: the size is not 0.
    let block = unsafe { MEMS.alloc_zeroed(layout(whole, 8)) };
    assert!(!block.is_null(), "there is memory");
    touch_pages(block, whole, 16 * PAGE);
    let resident = resident_in(block.addr(), whole);
    // SAFETY: the block is live, and its bytes are initialised.
    let all_zero = unsafe { is_zero(core::ptr::NonNull::new(block).unwrap(), whole) };
    // SAFETY: the block is live with this layout.
    unsafe { MEMS.dealloc(block, layout(whole, 8)) };
    assert!(all_zero, "64 MiB of zeros");
    let figures = format!("{count} sizes; {} of 64 MiB resident", resident as f64 / MIB as f64);
    shown(figures, resident < whole / 8)
}

/// As above, in a heap whose system has larger pages.
#[cfg(feature = "allocator-api2")]
fn zeroed_on_large_pages(page_size: usize) -> Result<Answer, String> {
    use allocator_api2::alloc::Allocator;
    let os = helpers::strict::StrictOs::new(page_size, 1 << 30);
    let heap = mems::Heap::with_os(os, 4 << 30);
    let (mut size, mut count) = (4096, 0);
    while size <= 64 * MIB {
        for size in [size, size - 8, size + size / 4, size + page_size / 2] {
            let layout = layout(size, 16);
            let dirty = (&heap).allocate(layout).expect("there is memory").cast::<u8>();
            // SAFETY: the block is live and that long.
            unsafe { dirty.write_bytes(0xD1, size) };
            // SAFETY: it is live with this layout.
            unsafe { (&heap).deallocate(dirty, layout) };
            let zeroed = (&heap).allocate_zeroed(layout).expect("there is memory").cast::<u8>();
            // SAFETY: the block is live and initialised.
            assert!(unsafe { is_zero(zeroed, size) }, "{size} bytes are not zero");
            // SAFETY: it is live with this layout.
            unsafe { zeroed.write_bytes(0xD2, size) };
            // SAFETY: as above.
            unsafe { (&heap).deallocate(zeroed, layout) };
            count += 1;
        }
        size *= 2;
    }
    heap.check().map_err(|broken| broken.to_string())?;
    Ok(Answer::Passed(format!("{count} sizes")))
}

fn main() -> ExitCode {
    child::watchdog(PATIENCE_SECONDS);
    if child::role().as_deref() == Some("up-and-down") {
        up_and_down();
        return ExitCode::SUCCESS;
    }
    let mut trials = Trials::alone();
    trials.case("everything_freed_then_idle", everything_freed);
    trials.case("a_load_that_comes_and_goes", a_load_that_comes_back);
    trials.case("blocks_grow_in_place", growing_in_place);
    trials.case("blocks_that_shrink_give_pages_back", shrinking_gives_back);
    trials.case("alloc_zeroed_after_dirty_reuse", zeroed_after_dirty);
    #[cfg(feature = "allocator-api2")]
    for (name, page_size) in [
        ("alloc_zeroed_on_pages_of_16_kib", 16 << 10),
        ("alloc_zeroed_on_pages_of_64_kib", 64 << 10),
    ] {
        trials.case(name, move || zeroed_on_large_pages(page_size));
    }
    trials.finish()
}
