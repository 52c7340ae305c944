//! Tasks of an asynchronous runtime that answer through a bounded channel (tokio, two workers).

use core::future::Future;
use core::pin::Pin;

use tokio::sync::mpsc::{self, Sender};

use super::Done;
use crate::block::{broken, or_broken};
use crate::measure::Meter;

/// Tasks of the full row.
const TASK_COUNT: u64 = 1_000_000;

/// Tasks in flight at once.
const WINDOW: u64 = 1_000;

/// Answers the channel holds.
const CHANNEL_LEN: usize = 256;

/// `real-tokio`: one operation is one task spawned, run and answered.
pub(super) fn tasks(scale: u64, meter: &mut Meter) -> Done {
    let operations = TASK_COUNT / scale;
    let checksum = meter.time(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
        let runtime = or_broken(runtime, "the runtime does not start");
        // The driving task runs on a worker too, so that no third thread takes part.
        match runtime.block_on(runtime.spawn(drive(operations))) {
            Ok(sum) => sum,
            Err(error) => broken(format_args!("the driving task failed: {error}")),
        }
    });
    Done { operations, checksum }
}

async fn drive(operations: u64) -> u64 {
    let (sender, mut receiver) = mpsc::channel::<Box<[u64]>>(CHANNEL_LEN);
    let mut sum = 0_u64;
    let mut answered = 0;
    for task in 0..operations {
        tokio::spawn(answer(task, sender.clone()));
        if task >= WINDOW {
            sum = sum.wrapping_add(receiver.recv().await.map_or(0, |values| total(&values)));
            answered += 1;
        }
    }
    while answered < operations {
        sum = sum.wrapping_add(receiver.recv().await.map_or(0, |values| total(&values)));
        answered += 1;
    }
    sum
}

/// A boxed future, as `dyn` asynchronous interfaces make them.
fn answer(task: u64, sender: Sender<Box<[u64]>>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        tokio::task::yield_now().await;
        let values: Box<[u64]> = (0..task % 16 + 1).map(|place| task ^ place).collect();
        if sender.send(values).await.is_err() {
            broken(format_args!("the channel closed before all tasks had answered"));
        }
    })
}

fn total(values: &[u64]) -> u64 {
    values.iter().fold(0, |sum, value| sum.wrapping_add(*value))
}
