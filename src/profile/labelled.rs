//! Futures with a label.
#![allow(unsafe_code, reason = "polls a field in place")]

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::labels::Label;

/// A future that runs under a label: it is set for the time of each poll, on whichever thread that is.
///
/// ```
/// # async fn read_rows() -> Vec<u64> { vec![1, 2, 3] }
/// # async fn example() {
/// let rows = mems::Labelled::new("import", read_rows()).await;
/// # drop(rows);
/// # }
/// ```
///
/// Tasks that it spawns are futures of their own: label them as well. What it drops when it ends or is cancelled is
/// freed, which needs no label.
#[derive(Clone, Debug)]
#[must_use = "a future does nothing until it is polled"]
pub struct Labelled<F> {
    label: Label,
    future: F,
}

impl<F> Labelled<F> {
    /// Lets a future run under a label, or one of this name.
    pub fn new(label: impl Into<Label>, future: F) -> Self {
        Self { label: label.into(), future }
    }
}

impl<F: Future> Future for Labelled<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _scope = self.label.enter();
        // SAFETY: the field is never moved out of, the type has no drop of its own, and is `Unpin` only if the future
        // is.
        let future = unsafe { self.map_unchecked_mut(|labelled| &mut labelled.future) };
        future.poll(context)
    }
}
