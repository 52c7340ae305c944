//! A soak: threads allocate, reallocate, exchange and free blocks of all sizes for as long as they are told to, every
//! block holds a pattern of its own that is verified whenever the block changes its size or goes, and one thread trims,
//! flushes, walks and checks the heap meanwhile.
//!
//! ```text
//! cargo run --release --example soak -- [SECONDS [THREADS [SEED]]]     # 10 seconds, 4 threads, seed 1
//! ```
//!
//! Ends with status 1 where a byte is not what it should be or the heap breaks a law. The seed fixes what each thread
//! does, not how the threads meet.
#![allow(unsafe_code, reason = "calls the allocator and writes to its blocks")]

use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use fastrand::Rng;
use spin::Mutex;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// Places at which blocks change hands.
const PLACES: usize = 4096;
/// Blocks that a thread keeps to itself.
const KEPT: usize = 600;
/// Operations of a thread before it ends and another takes its place.
const LIFE: u64 = 300_000;
/// Blocks up to this size are written and verified as a whole; of others the head, one run in a page, and the tail.
const DENSE: usize = 2048;
/// The bytes of such a run.
const RUN: usize = 32;
const PAGE: usize = 4096;
/// No block is larger.
const LARGEST: usize = 2 << 20;
/// Blocks that stay for the whole time, so that a walk must see each of them once.
const STAYING: usize = 64;

/// A size of a block: mostly small, up to 2 MiB.
fn any_size(random: &mut Rng) -> usize {
    let bound = match random.usize(..1000) {
        0..800 => 256,
        800..950 => 4 << 10,
        950..993 => 32 << 10,
        993..999 => 256 << 10,
        _ => LARGEST,
    };
    random.usize(1..=bound)
}

/// An alignment: mostly what Rust asks for, up to 64 KiB.
fn any_align(random: &mut Rng) -> usize {
    match random.usize(..100) {
        0..60 => 8,
        60..95 => 1 << random.usize(..6),
        _ => 1 << random.usize(..17),
    }
}

/// What went wrong, and with which block.
#[derive(Debug)]
struct Wrong {
    what: &'static str,
    start: usize,
    size: usize,
    align: usize,
    offset: usize,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, start, size, align, offset } = self;
        write!(f, "{what}: block {start:#x}, {size} bytes aligned to {align}, at offset {offset}")
    }
}

/// A live block with its pattern.
struct Held {
    start: NonNull<u8>,
    layout: Layout,
    stamp: u64,
}

// SAFETY: a `Held` is the only value that refers to its block.
unsafe impl Send for Held {}

/// The byte of a pattern.
#[expect(clippy::cast_possible_truncation, reason = "the lowest byte is meant")]
fn byte(stamp: u64, offset: usize) -> u8 {
    (stamp >> (offset % 8 * 8)) as u8 ^ (offset as u64).wrapping_mul(0x9D) as u8
}

/// Start and end of the parts of a block of `size` bytes that have the pattern.
fn runs(size: usize) -> impl Iterator<Item = (usize, usize)> {
    let (head, tail) = if size <= DENSE { (size, size) } else { (DENSE, size - RUN) };
    let inner = (DENSE.next_multiple_of(PAGE)..size.saturating_sub(RUN)).step_by(PAGE);
    let inner = inner.take(if size <= DENSE { 0 } else { usize::MAX });
    let inner = inner.map(|start| (start, start + RUN));
    core::iter::once((0, head)).chain(inner).chain([(tail, size)])
}

impl Held {
    fn wrong(&self, what: &'static str, offset: usize) -> Wrong {
        let (size, align) = (self.layout.size(), self.layout.align());
        Wrong { what, start: self.start.addr().get(), size, align, offset }
    }

    /// A new block; `None` where memory has run out.
    fn new(random: &mut Rng) -> Result<Option<Self>, Wrong> {
        let Ok(layout) = Layout::from_size_align(any_size(random), any_align(random)) else {
            return Ok(None);
        };
        let is_zeroed = random.usize(..4) == 0;
        let start = if is_zeroed {
            // SAFETY: the size is not 0.
            unsafe { GLOBAL.alloc_zeroed(layout) }
        } else {
            // SAFETY: the size is not 0.
            unsafe { GLOBAL.alloc(layout) }
        };
        let Some(start) = NonNull::new(start) else { return Ok(None) };
        let held = Self { start, layout, stamp: random.u64(..) };
        if !start.addr().get().is_multiple_of(layout.align()) {
            return Err(held.wrong("misaligned", 0));
        }
        if is_zeroed && let Some(offset) = held.bytes().iter().position(|byte| *byte != 0) {
            return Err(held.wrong("not zero", offset));
        }
        held.write();
        Ok(Some(held))
    }

    /// The block's bytes, where they are initialised.
    fn bytes(&self) -> &[u8] {
        // SAFETY: the block is live; what is read of it was written, by the pattern or as zeros.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }

    fn write(&self) {
        for offset in runs(self.layout.size()).flat_map(|(start, end)| start..end) {
            // SAFETY: the offset lies in the block.
            let place = unsafe { self.start.add(offset) };
            // SAFETY: the block is live, and this is the only one who refers to it.
            unsafe { place.write(byte(self.stamp, offset)) };
        }
    }

    /// Verifies what lies in the first `kept` bytes of a pattern for `size` bytes.
    fn verify(&self, size: usize, kept: usize) -> Result<(), Wrong> {
        for offset in runs(size).flat_map(|(start, end)| start..end.min(kept)) {
            // SAFETY: the offset lies in the block.
            let place = unsafe { self.start.add(offset) };
            // SAFETY: the block is live, and the byte was written.
            if unsafe { place.read() } != byte(self.stamp, offset) {
                return Err(self.wrong("wrong byte", offset));
            }
        }
        Ok(())
    }

    fn free(self) -> Result<(), Wrong> {
        self.verify(self.layout.size(), self.layout.size())?;
        // SAFETY: the block is live, and nobody refers to it.
        unsafe { GLOBAL.dealloc(self.start.as_ptr(), self.layout) };
        Ok(())
    }

    /// Gives it another size, a random one or one that is near.
    fn resize(&mut self, random: &mut Rng) -> Result<(), Wrong> {
        let old = self.layout.size();
        let size =
            if random.bool() { any_size(random) } else { (old + random.usize(..old)).min(LARGEST) };
        let Ok(layout) = Layout::from_size_align(size, self.layout.align()) else { return Ok(()) };
        // SAFETY: the block is live, and the size is not 0.
        let start = unsafe { GLOBAL.realloc(self.start.as_ptr(), self.layout, size) };
        let Some(start) = NonNull::new(start) else { return Ok(()) };
        (self.start, self.layout) = (start, layout);
        self.verify(old, old.min(size))?;
        if !start.addr().get().is_multiple_of(layout.align()) {
            return Err(self.wrong("misaligned", 0));
        }
        self.write();
        Ok(())
    }
}

/// What all threads share.
struct Soak {
    places: Vec<Mutex<Option<Held>>>,
    operations: AtomicU64,
    is_over: AtomicBool,
    /// What went wrong first.
    wrong: Mutex<Option<String>>,
}

impl Soak {
    fn fail(&self, wrong: String) {
        self.is_over.store(true, Ordering::Relaxed);
        self.wrong.lock().get_or_insert(wrong);
    }

    /// One thread's life.
    fn live(&self, seed: u64) {
        if let Err(wrong) = self.work(&mut Rng::with_seed(seed)) {
            self.fail(format!("thread with seed {seed}: {wrong}"));
        }
    }

    fn work(&self, random: &mut Rng) -> Result<(), Wrong> {
        let mut kept = Vec::new();
        // Lives of different lengths, so that threads do not end together.
        let life = LIFE / 4 + random.u64(..LIFE);
        for operation in 0..life {
            if operation % 256 == 0 {
                self.operations.fetch_add(256, Ordering::Relaxed);
                if self.is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
            match random.usize(..10) {
                0..4 => kept.extend(Held::new(random)?),
                4..6 => {
                    let other = Held::new(random)?;
                    let place = &self.places[random.usize(..PLACES)];
                    let other = core::mem::replace(&mut *place.lock(), other);
                    other.map_or(Ok(()), Held::free)?;
                }
                6 => {
                    let place = &self.places[random.usize(..PLACES)];
                    kept.extend(place.lock().take());
                }
                7 if !kept.is_empty() => {
                    let index = random.usize(..kept.len());
                    kept[index].resize(random)?;
                }
                _ if !kept.is_empty() => kept.swap_remove(random.usize(..kept.len())).free()?,
                _ => {}
            }
            while kept.len() > KEPT {
                kept.swap_remove(random.usize(..kept.len())).free()?;
            }
        }
        // Some end with all their blocks in other hands, so that these outlive the thread.
        for held in kept {
            let other = self.places[random.usize(..PLACES)].lock().replace(held);
            other.map_or(Ok(()), Held::free)?;
        }
        Ok(())
    }

    /// Looks into the heap and tidies it, while the others work.
    fn oversee(&self, random: &mut Rng, staying: &[Held]) -> Result<(), String> {
        match random.usize(..5) {
            0 => drop(GLOBAL.trim()),
            1 => GLOBAL.thread_flush(),
            2 => GLOBAL.check().map_err(|broken| broken.to_string())?,
            3 => {
                let stays =
                    |start: usize| staying.iter().any(|held| held.start.addr().get() == start);
                let seen = GLOBAL.blocks().filter(|block| stays(block.start)).count();
                if seen != staying.len() {
                    return Err(format!("a walk saw {seen} of {} blocks", staying.len()));
                }
            }
            _ => {
                for held in staying {
                    held.verify(held.layout.size(), held.layout.size())
                        .map_err(|wrong| wrong.to_string())?;
                    GLOBAL
                        .validate(held.start.as_ptr(), held.layout)
                        .map_err(|misuse| misuse.to_string())?;
                }
            }
        }
        Ok(())
    }
}

/// The most memory that the process ever had, in KiB.
fn peak_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Keeps `threads` threads at work until the time is over. Returns how many there were.
fn run(soak: &Soak, time: Duration, threads: usize, seed: u64) -> usize {
    let (began, lives) = (Instant::now(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // Each life is a thread of its own, and this one waits for it.
                while !soak.is_over.load(Ordering::Relaxed) {
                    let life = lives.fetch_add(1, Ordering::Relaxed) as u64;
                    thread::scope(|inner| {
                        inner.spawn(move || {
                            soak.live(seed.wrapping_mul(1_000_003).wrapping_add(life));
                        });
                    });
                }
            });
        }
        let mut random = Rng::with_seed(seed);
        let staying: Vec<_> =
            (0..STAYING).filter_map(|_| Held::new(&mut random).ok().flatten()).collect();
        let mut next_line = 1;
        while began.elapsed() < time && !soak.is_over.load(Ordering::Relaxed) {
            if let Err(wrong) = soak.oversee(&mut random, &staying) {
                soak.fail(wrong);
            }
            if began.elapsed().as_secs() >= next_line {
                next_line = began.elapsed().as_secs() + 1;
                let operations = soak.operations.load(Ordering::Relaxed);
                let lives = lives.load(Ordering::Relaxed);
                println!(
                    "{:4} s: {operations} operations, {lives} threads so far; {}",
                    next_line - 1,
                    GLOBAL.stats()
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
        soak.is_over.store(true, Ordering::Relaxed);
        if let Some(wrong) = staying.into_iter().find_map(|held| held.free().err()) {
            soak.fail(wrong.to_string());
        }
    });
    lives.into_inner()
}

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let mut number = |default| numbers.next().unwrap_or(Ok(default));
    let (Ok(seconds), Ok(threads), Ok(seed)) = (number(10), number(4), number(1)) else {
        eprintln!("usage: soak [SECONDS [THREADS [SEED]]]");
        return ExitCode::from(2);
    };
    println!("{seconds} seconds, {threads} threads, seed {seed}");
    let soak = Soak {
        places: (0..PLACES).map(|_| Mutex::new(None)).collect(),
        operations: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
        wrong: Mutex::new(None),
    };
    let threads = usize::try_from(threads).unwrap_or(usize::MAX);
    let lives = run(&soak, Duration::from_secs(seconds), threads, seed);
    for place in &soak.places {
        if let Some(Err(wrong)) = place.lock().take().map(Held::free) {
            soak.fail(wrong.to_string());
        }
    }
    GLOBAL.trim();
    let check = GLOBAL.check();
    let (operations, kib) = (soak.operations.load(Ordering::Relaxed), peak_kib());
    let check_text = check.map_or_else(|broken| broken.to_string(), |()| "every law holds".into());
    println!("{operations} operations by {lives} threads, peak RSS {kib} KiB, check: {check_text}");
    match soak.wrong.lock().take() {
        Some(wrong) => {
            eprintln!("WRONG: {wrong}");
            ExitCode::FAILURE
        }
        None if check.is_err() => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    }
}
