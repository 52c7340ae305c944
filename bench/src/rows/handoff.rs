//! Blocks that change hands: messages both ways, threads that end, requests that another worker finishes.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use fastrand::Rng;

use super::Done;
use crate::block::{Block, broken, tag_of};
use crate::measure::Meter;
use crate::random::log_normal;

/// Messages that a queue of `handoff-T` holds.
const QUEUE_LEN: usize = 1_024;

/// Messages that a thread sends before it receives as many.
const BURST: u64 = 64;

/// Threads of `threads-short` that are there at a time.
const SHORT_AT_ONCE: u64 = 4;

/// Blocks of a thread of `threads-short`.
const SHORT_BLOCKS: u64 = 64;

/// Workers of `web`.
const WORKERS: u64 = 4;

/// Blocks of a worker of `web` that outlive their requests, at the most.
const OUTLIVING: usize = 1_000;

/// What a thread returned.
fn result_of<T>(joined: thread::Result<T>) -> T {
    joined.unwrap_or_else(|_| broken(format_args!("a thread panicked")))
}

/// Sends to a thread that is there until it has received everything.
fn send<T>(sender: &SyncSender<T>, message: T) {
    if sender.send(message).is_err() {
        broken(format_args!("a thread ended before its messages"));
    }
}

/// Receives from a thread that sends as much as is asked for.
fn receive<T>(receiver: &Receiver<T>) -> T {
    receiver.recv().unwrap_or_else(|_| broken(format_args!("a thread ended before it had sent")))
}

/// `handoff-T`: pairs of threads that send each other blocks of 64 to 1,024 bytes; one operation is one block.
pub(super) fn handoff(threads: u64, scale: u64, meter: &mut Meter) -> Done {
    let bursts = (2_000_000 / BURST / threads / scale).max(1);
    let checksum = meter.time(|| {
        thread::scope(|scope| {
            let mut all = Vec::new();
            for pair in 0..threads / 2 {
                let (to_right, from_left) = sync_channel::<Block>(QUEUE_LEN);
                let (to_left, from_right) = sync_channel::<Block>(QUEUE_LEN);
                all.push(scope.spawn(move || exchange(&to_right, &from_right, bursts, 2 * pair)));
                all.push(scope.spawn(move || exchange(&to_left, &from_left, bursts, 2 * pair + 1)));
            }
            let sums = all.into_iter().map(|thread| result_of(thread.join()));
            sums.fold(0_u64, u64::wrapping_add)
        })
    });
    Done { operations: threads * bursts * BURST, checksum }
}

fn exchange(to: &SyncSender<Block>, from: &Receiver<Block>, bursts: u64, seed: u64) -> u64 {
    let mut rng = Rng::with_seed(seed);
    let (mut sum, mut birth) = (0_u64, seed << 32);
    for _ in 0..bursts {
        for _ in 0..BURST {
            birth += 1;
            send(to, Block::new(rng.u32(64..=1_024), tag_of(birth)));
        }
        for _ in 0..BURST {
            sum = sum.wrapping_add(receive(from).check_and_free());
        }
    }
    sum
}

/// `threads-short`: threads that make 64 small blocks each, a quarter of which the parent frees; one operation is one
/// thread.
pub(super) fn short_threads(scale: u64, meter: &mut Meter) -> Done {
    let operations = (5_000 / scale).max(SHORT_AT_ONCE) / SHORT_AT_ONCE * SHORT_AT_ONCE;
    let checksum = meter.time(|| {
        (0..operations).step_by(4).fold(0_u64, |sum, first| {
            let threads = (first..first + SHORT_AT_ONCE)
                .map(|number| thread::spawn(move || live_shortly(number)))
                .collect::<Vec<_>>();
            threads.into_iter().fold(sum, |sum, thread| {
                let (part, left) = result_of(thread.join());
                let blocks = left.into_iter().map(Block::check_and_free);
                blocks.fold(sum.wrapping_add(part), u64::wrapping_add)
            })
        })
    });
    Done { operations, checksum }
}

/// A short life: what it adds to the checksum, and the blocks that it leaves.
fn live_shortly(number: u64) -> (u64, Vec<Block>) {
    let mut rng = Rng::with_seed(number);
    let mut blocks: Vec<Block> = (0..SHORT_BLOCKS)
        .map(|place| Block::new(rng.u32(16..=256), tag_of(number * SHORT_BLOCKS + place)))
        .collect();
    let left = blocks.split_off(blocks.len() / 4 * 3);
    (blocks.into_iter().map(Block::check_and_free).fold(0, u64::wrapping_add), left)
}

/// `web`: a worker makes the blocks of a request, another one finishes it, and some blocks outlive it; one operation is
/// one block.
pub(super) fn web(scale: u64, meter: &mut Meter) -> Done {
    let requests = (12_000 / scale).max(4);
    let parts = meter.time(|| {
        let channels = (0..WORKERS).map(|_| sync_channel::<Vec<Block>>(64));
        let (senders, receivers): (Vec<_>, Vec<_>) = channels.unzip();
        thread::scope(|scope| {
            let all: Vec<_> = receivers
                .into_iter()
                .enumerate()
                .map(|(worker, receiver)| {
                    let next = senders[(worker + 1) % senders.len()].clone();
                    scope.spawn(move || serve(&next, &receiver, requests, worker as u64))
                })
                .collect();
            all.into_iter().map(|thread| result_of(thread.join())).collect::<Vec<_>>()
        })
    });
    parts.into_iter().fold(Done { operations: 0, checksum: 0 }, |sum, part| Done {
        operations: sum.operations + part.operations,
        checksum: sum.checksum.wrapping_add(part.checksum),
    })
}

fn serve(
    next: &SyncSender<Vec<Block>>,
    own: &Receiver<Vec<Block>>,
    requests: u64,
    worker: u64,
) -> Done {
    let mut rng = Rng::with_seed(worker);
    let mut outliving = VecDeque::with_capacity(OUTLIVING + 1);
    let (mut operations, mut checksum, mut birth) = (0_u64, 0_u64, worker << 32);
    for _ in 0..requests {
        let request: Vec<Block> = (0..rng.u64(40..=150))
            .map(|_| {
                birth += 1;
                Block::new(log_normal(&mut rng, 300.0, 1.4, 24.0, 49_152.0), tag_of(birth))
            })
            .collect();
        operations += request.len() as u64;
        send(next, request);
        for block in receive(own) {
            if rng.u32(0..100) < 4 {
                outliving.push_back(block);
            } else {
                checksum = checksum.wrapping_add(block.check_and_free());
            }
        }
        while outliving.len() > OUTLIVING {
            checksum = outliving
                .pop_front()
                .map_or(checksum, |block| checksum.wrapping_add(block.check_and_free()));
        }
    }
    let rest = outliving.into_iter().map(Block::check_and_free);
    Done { operations, checksum: rest.fold(checksum, u64::wrapping_add) }
}
