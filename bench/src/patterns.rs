//! Patterns that fragment heaps, and what a worker notes as it runs one: live and resident bytes over time. After its
//! work each one idles, as servers do: a timer fires ten times a second, and makes a few small blocks.
//!
//! Live bytes are those asked for. Resident bytes are the process's beyond what it had when the pattern began; the
//! arrays that hold the blocks are written before, so they do not count.

use core::ops::Range;
use core::time::Duration;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use fastrand::Rng;

use crate::block::{Block, broken, tag_of};
use crate::measure::rss_kib;

/// About how many samples a pattern takes.
const SAMPLES: u64 = 100;

/// How often the timer fires while a pattern idles, and how long it waits.
const IDLE_TICKS: u32 = 50;
/// See [`IDLE_TICKS`].
const TICK: Duration = Duration::from_millis(100);
/// Seconds that a pattern idles at a time.
pub const IDLE_SECONDS: u32 = 5;
const _: () = assert!(IDLE_TICKS as u128 * TICK.as_millis() == IDLE_SECONDS as u128 * 1000);

/// What is to be seen of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Resident over live bytes.
    Ratio,
    /// Resident MiB.
    Resident,
}

/// A pattern.
#[derive(Debug, Clone, Copy)]
pub struct Pattern {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a few words.
    pub title: &'static str,
    /// Where it was published.
    pub source: &'static str,
    /// What is to be seen of it.
    pub shown: Shown,
    run: fn(&mut Recorder),
}

/// All patterns.
pub const ALL: [Pattern; 4] = [
    Pattern {
        name: "redis",
        title: "a cache of 100 MB whose values grow from 150 to 300 bytes",
        source: "Redis, tests/unit/memefficiency.tcl, \"Active defrag main dictionary\": 700,000 keys with values of \
                 150 bytes, then 170,000 of 300, maxmemory 100mb, allkeys-lru (the oldest of five random keys goes). \
                 A key is four blocks: entry, object, name, value.",
        shown: Shown::Ratio,
        run: redis,
    },
    Pattern {
        name: "ramcloud-w8",
        title: "a store of 100 MB whose objects grow from 50-150 to 5,000-15,000 bytes",
        source: "Rumble, Kejriwal and Ousterhout, Log-structured Memory for DRAM-based Storage, FAST 2014, workload W8 \
                 at a hundredth of its size: 500 MB of objects of 50-150 bytes, random ones deleted so that no more \
                 than 100 MB live; 90% deleted; 500 MB of objects of 5,000-15,000 bytes, deleted likewise.",
        shown: Shown::Ratio,
        run: ramcloud,
    },
    Pattern {
        name: "larson",
        title: "a server of eight threads that end and hand their blocks to their successors",
        source: "Larson and Krishnan, Memory Allocation for Long-Running Server Applications, ISMM 1998: each thread \
                 replaces 50,000 times one of 10,000 blocks of 16-1,024 bytes and leaves them to the next; 40 \
                 generations.",
        shown: Shown::Ratio,
        run: larson,
    },
    Pattern {
        name: "server",
        title: "a server that fills, drops and idles, twice",
        source: "Of our own: four threads fill 384 MiB with blocks of 16 bytes to 8 KiB, as many of each power of two; \
                 nine tenths at random are freed, half by the threads that made them and half by another one; each \
                 thread has a timer. Then they fill it to 192 MiB, all is freed likewise, and the four sleep.",
        shown: Shown::Resident,
        run: server,
    },
];

/// The pattern called `name`.
pub fn find(name: &str) -> Option<Pattern> {
    ALL.into_iter().find(|pattern| pattern.name == name)
}

/// What a worker prints of a pattern: `pattern=NAME live=KIB,... rss=KIB,... idle=FROM-TO,... checksum=SUM`, where the
/// samples from FROM to TO are of idle time.
pub fn worker_line(name: &str) -> Option<String> {
    let pattern = find(name)?;
    let mut recorder = Recorder::default();
    recorder.samples.reserve_exact(4 * usize::try_from(SAMPLES).unwrap_or(0));
    recorder.idle.reserve_exact(2);
    (pattern.run)(&mut recorder);
    let list = |of: fn(&(u64, u64)) -> u64| {
        recorder.samples.iter().map(|pair| of(pair).to_string()).collect::<Vec<_>>().join(",")
    };
    let idle: Vec<_> =
        recorder.idle.iter().map(|range| format!("{}-{}", range.start, range.end)).collect();
    Some(format!(
        "pattern={name} live={} rss={} idle={} checksum={}",
        list(|sample| sample.0 >> 10),
        list(|sample| sample.1),
        idle.join(","),
        recorder.sum
    ))
}

/// Counts what is live, and notes it beside what is resident.
#[derive(Debug, Default)]
struct Recorder {
    base_kib: u64,
    live_bytes: u64,
    births: u64,
    sum: u64,
    /// Live bytes and resident KiB.
    samples: Vec<(u64, u64)>,
    /// Which of them are of idle time.
    idle: Vec<Range<usize>>,
}

impl Recorder {
    /// From here on memory counts.
    fn begin(&mut self) {
        self.base_kib = rss_kib();
    }

    fn sample(&mut self) {
        self.samples.push((self.live_bytes, rss_kib().saturating_sub(self.base_kib)));
    }

    /// What is done when a timer fires.
    fn tick(&mut self) {
        for size_bytes in (32..=512).step_by(32) {
            let block = self.block(size_bytes);
            self.free(block);
        }
    }

    /// Little happens for a while.
    fn idle(&mut self) {
        self.idle_with(|| ());
    }

    /// Little happens for a while but what others do when the timer fires.
    fn idle_with(&mut self, others_tick: impl Fn()) {
        let from = self.samples.len();
        for _ in 0..IDLE_TICKS {
            thread::sleep(TICK);
            self.tick();
            others_tick();
            self.sample();
        }
        self.idle.push(from..self.samples.len());
    }

    fn block(&mut self, size_bytes: u32) -> Block {
        self.births += 1;
        self.live_bytes += u64::from(size_bytes);
        Block::new(size_bytes, tag_of(self.births))
    }

    fn free(&mut self, block: Block) {
        self.live_bytes -= u64::from(block.size_bytes());
        self.sum = self.sum.wrapping_add(block.check_and_free());
    }
}

/// Things of which random ones go, in an array whose pages were all written before.
struct Bag<T> {
    items: Vec<Option<T>>,
    len: usize,
}

impl<T> Bag<T> {
    fn with_room(room: usize) -> Self {
        Self { items: (0..room).map(|_| None).collect(), len: 0 }
    }

    fn put(&mut self, item: T) {
        match self.items.get_mut(self.len) {
            Some(place) => *place = Some(item),
            None => broken(format_args!("no room for item {}", self.len)),
        }
        self.len += 1;
    }

    fn take(&mut self, index: usize) -> Option<T> {
        self.len -= 1;
        self.items.swap(index, self.len);
        self.items[self.len].take()
    }
}

/// A key of Redis: when it was set, and its dictionary entry, object, name and value.
struct Key {
    birth: u64,
    blocks: [Block; 4],
}

fn redis(recorder: &mut Recorder) {
    const LIMIT_BYTES: u64 = 100_000_000;
    /// `maxmemory-samples`.
    const CANDIDATES: usize = 5;
    /// An entry of three words, an object of two, and a name with header and end.
    const OTHERS: [u32; 3] = [24, 16, 16];
    let (mut keys, mut rng) = (Bag::<Key>::with_room(600_000), Rng::with_seed(0x2ED15));
    let every = (700_000 + 170_000) / SAMPLES;
    recorder.begin();
    // Strings have a header of 3 or 5 bytes and a zero behind them.
    for (count, value_bytes) in [(700_000, 150 + 3 + 1), (170_000, 300 + 5 + 1)] {
        for _ in 0..count {
            while recorder.live_bytes + u64::from(value_bytes) > LIMIT_BYTES {
                let birth = |index: &usize| keys.items[*index].as_ref().map_or(0, |key| key.birth);
                let candidates: [usize; CANDIDATES] =
                    core::array::from_fn(|_| rng.usize(0..keys.len));
                let oldest = candidates.into_iter().min_by_key(birth).unwrap_or(0);
                let gone = keys.take(oldest);
                gone.into_iter().flat_map(|key| key.blocks).for_each(|block| recorder.free(block));
            }
            let [entry, object, name] = OTHERS.map(|size_bytes| recorder.block(size_bytes));
            let blocks = [entry, object, name, recorder.block(value_bytes)];
            keys.put(Key { birth: recorder.births, blocks });
            if (recorder.births / 4).is_multiple_of(every) {
                recorder.sample();
            }
        }
    }
    recorder.sample();
    recorder.idle();
}

fn ramcloud(recorder: &mut Recorder) {
    const LIVE_BYTES: u64 = 100_000_000;
    const PHASE_BYTES: u64 = 500_000_000;
    let (mut objects, mut rng) = (Bag::<Block>::with_room(1_200_000), Rng::with_seed(0x57048));
    recorder.begin();
    for (phase, sizes) in [50..=150_u32, 5_000..=15_000].into_iter().enumerate() {
        if phase > 0 {
            for _ in 0..objects.len * 9 / 10 {
                let gone = objects.take(rng.usize(0..objects.len));
                gone.into_iter().for_each(|block| recorder.free(block));
            }
            recorder.sample();
        }
        let (mut allocated, mut next_sample) = (0, 0);
        while allocated < PHASE_BYTES {
            let size_bytes = rng.u32(sizes.clone());
            while recorder.live_bytes + u64::from(size_bytes) > LIVE_BYTES {
                let gone = objects.take(rng.usize(0..objects.len));
                gone.into_iter().for_each(|block| recorder.free(block));
            }
            let block = recorder.block(size_bytes);
            objects.put(block);
            allocated += u64::from(size_bytes);
            if allocated >= next_sample {
                recorder.sample();
                next_sample += 2 * PHASE_BYTES / SAMPLES;
            }
        }
    }
    recorder.sample();
    recorder.idle();
}

fn larson(recorder: &mut Recorder) {
    const THREADS: u64 = 8;
    const SLOTS: usize = 10_000;
    const REPLACEMENTS: usize = 50_000;
    const GENERATIONS: u64 = 40;
    let mut chains: Vec<Bag<Block>> = (0..THREADS).map(|_| Bag::with_room(SLOTS + 1)).collect();
    recorder.begin();
    for generation in 0..GENERATIONS {
        let parts = thread::scope(|scope| {
            let threads = chains.iter_mut().zip(0_u64..).map(|(chain, number)| {
                scope.spawn(move || {
                    let mut rng = Rng::with_seed(generation * THREADS + number);
                    let mut part = Recorder { live_bytes: 1 << 40, ..Recorder::default() };
                    while chain.len < SLOTS {
                        chain.put(part.block(rng.u32(16..=1_024)));
                    }
                    for _ in 0..REPLACEMENTS {
                        let gone = chain.take(rng.usize(0..SLOTS));
                        gone.into_iter().for_each(|block| part.free(block));
                        chain.put(part.block(rng.u32(16..=1_024)));
                    }
                    part.sum
                })
            });
            let threads: Vec<_> = threads.collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(0)).fold(0, u64::wrapping_add)
        });
        recorder.sum = recorder.sum.wrapping_add(parts);
        let all = chains.iter().flat_map(|chain| chain.items.iter().flatten());
        recorder.live_bytes = all.map(|block| u64::from(block.size_bytes())).sum();
        recorder.sample();
    }
    recorder.idle();
}

/// What a thread of the server is asked to do.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// To make blocks of that many bytes.
    Fill(u64),
    /// To free as many of its blocks, at random.
    Free(usize),
    /// To do what is done when a timer fires.
    Tick,
}

/// Blocks that a thread of the server made, and what it has counted.
struct Share {
    blocks: Bag<Block>,
    rng: Rng,
    part: Recorder,
}

impl Share {
    fn fill(&mut self, bytes: u64) {
        let end = self.part.live_bytes + bytes;
        while self.part.live_bytes < end {
            let power = 16 << self.rng.u32(0..9);
            let block = self.part.block(power + self.rng.u32(0..power));
            self.blocks.put(block);
        }
    }

    fn free(&mut self, count: usize) {
        for _ in 0..count {
            let gone = self.blocks.take(self.rng.usize(0..self.blocks.len));
            gone.into_iter().for_each(|block| self.part.free(block));
        }
    }
}

/// A thread that does what it is told, and says when it is done.
struct Servant {
    share: Arc<Mutex<Share>>,
    orders: Sender<Order>,
    done: Receiver<()>,
}

impl Servant {
    fn start(number: u64) -> Self {
        let share = Share {
            blocks: Bag::with_room(100_000),
            rng: Rng::with_seed(number),
            part: Recorder::default(),
        };
        let share = Arc::new(Mutex::new(share));
        let (orders, received) = channel();
        let (say, done) = channel();
        let own = Arc::clone(&share);
        thread::spawn(move || {
            for order in received {
                let mut share = locked(&own);
                match order {
                    Order::Fill(bytes) => share.fill(bytes),
                    Order::Free(count) => share.free(count),
                    Order::Tick => share.part.tick(),
                }
                drop(share);
                if say.send(()).is_err() {
                    break;
                }
            }
        });
        Self { share, orders, done }
    }
}

/// What a thread has; one that panicked has printed why.
fn locked(share: &Mutex<Share>) -> MutexGuard<'_, Share> {
    share.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets all of them do something at once.
fn all_do(servants: &[Servant], order: impl Fn(usize) -> Order) {
    for (number, servant) in servants.iter().enumerate() {
        // One that has panicked has printed why.
        let _ = servant.orders.send(order(number));
    }
    for servant in servants {
        let _ = servant.done.recv();
    }
}

/// Notes what is live and resident.
fn count_shares(recorder: &mut Recorder, servants: &[Servant]) {
    recorder.live_bytes =
        servants.iter().map(|servant| locked(&servant.share).part.live_bytes).sum();
    recorder.sample();
}

fn server(recorder: &mut Recorder) {
    const THREADS: u64 = 4;
    const STEPS: u64 = 20;
    const DROPS: usize = 10;
    let servants: Vec<_> = (0..THREADS).map(Servant::start).collect();
    recorder.begin();
    for (mib, kept_tenths) in [(384, 1), (192, 0)] {
        let missing = (mib << 20) - recorder.live_bytes;
        for _ in 0..STEPS {
            all_do(&servants, |_| Order::Fill(missing / STEPS / THREADS));
            count_shares(recorder, &servants);
        }
        let mut blocks: Vec<usize> =
            servants.iter().map(|servant| locked(&servant.share).blocks.len).collect();
        let kept: Vec<usize> = blocks.iter().map(|len| len / 10 * kept_tenths).collect();
        for step in (1..=DROPS).rev() {
            // Half of what goes is freed by its thread, and half by this one.
            let going: Vec<_> =
                blocks.iter().zip(&kept).map(|(len, kept)| (len - kept) / step).collect();
            all_do(&servants, |number| Order::Free(going[number] / 2));
            for (number, servant) in servants.iter().enumerate() {
                locked(&servant.share).free(going[number] - going[number] / 2);
                blocks[number] -= going[number];
            }
            count_shares(recorder, &servants);
        }
        if kept_tenths > 0 {
            recorder.idle_with(|| all_do(&servants, |_| Order::Tick));
        } else {
            recorder.idle();
        }
    }
    for servant in &servants {
        recorder.sum = recorder.sum.wrapping_add(locked(&servant.share).part.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::parse_words;

    #[test]
    fn a_pattern_prints_as_many_live_as_resident_numbers() {
        let line = worker_line("larson").unwrap();
        let words = parse_words(&line);
        let numbers =
            |key: &str| words[key].split(',').filter(|n| n.parse::<u64>().is_ok()).count();
        assert_eq!((numbers("live"), numbers("rss")), (90, 90));
        assert_eq!(words["idle"], "40-90");
        assert!(worker_line("none").is_none());
    }
}
