//! Producers allocate, consumers free: all frees are remote.

use core::array;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use fastrand::Rng;

use super::Done;
use crate::block::{Block, broken, tag_of};
use crate::measure::Meter;

/// Objects of a batch.
const BATCH_LEN: usize = 64;

/// Batches a channel holds before the producer must wait.
const CHANNEL_BATCHES: usize = 32;

/// A batch travels by value, so that the objects are the only blocks exchanged.
type Batch = [Block; BATCH_LEN];

/// `prodcons-T`: T/2 pairs of threads; one operation is one object allocated, sent, checked and freed.
pub(super) fn prodcons(threads: u64, scale: u64, meter: &mut Meter) -> Done {
    let pairs = threads / 2;
    let batches = (4_000_000 / BATCH_LEN as u64 / pairs / scale).max(1);
    let checksum = meter.time(|| {
        std::thread::scope(|scope| {
            let consumers: Vec<_> = (0..pairs)
                .map(|pair| {
                    let (sender, receiver) = sync_channel::<Batch>(CHANNEL_BATCHES);
                    scope.spawn(move || produce(&sender, batches, pair));
                    scope.spawn(move || consume(&receiver))
                })
                .collect();
            consumers.into_iter().fold(0_u64, |sum, consumer| match consumer.join() {
                Ok(part) => sum.wrapping_add(part),
                Err(_) => broken(format_args!("a consumer panicked")),
            })
        })
    });
    Done { operations: pairs * batches * BATCH_LEN as u64, checksum }
}

fn produce(sender: &SyncSender<Batch>, batches: u64, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut birth = seed << 32;
    for _ in 0..batches {
        let batch = array::from_fn(|_| {
            birth += 1;
            Block::new(rng.u32(16..=512), tag_of(birth))
        });
        if sender.send(batch).is_err() {
            broken(format_args!("a consumer ended before its producer"));
        }
    }
}

fn consume(receiver: &Receiver<Batch>) -> u64 {
    let mut sum = 0_u64;
    while let Ok(batch) = receiver.recv() {
        for block in batch {
            sum = sum.wrapping_add(block.check_and_free());
        }
    }
    sum
}
