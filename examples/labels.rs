//! Which task has the memory: a tokio program whose tasks and tracing spans are labels of the heap's profile.
//!
//! ```text
//! cargo run --release --example labels
//! ```
//!
//! Three kinds of tasks share the worker threads, so neither threads nor stacks tell them apart. [`mems::Labelled`]
//! sets a label whenever its future is polled; [`LabelLayer`] does so whenever a span of `tracing` is entered, and a
//! program that has spans already needs nothing else.

use core::cell::RefCell;
use core::fmt::Write;
use core::time::Duration;
use std::collections::VecDeque;

use mems::{IoText, Label, LabelScope, Labelled};
use tracing::span::{Attributes, Id};
use tracing::{Instrument, Subscriber, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

thread_local! {
    /// The labels of the spans that the thread is in.
    static SCOPES: RefCell<Vec<LabelScope>> = const { RefCell::new(Vec::new()) };
}

/// Lets what is allocated in a span have the span's name as its label.
struct LabelLayer;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LabelLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        // Once for each span, so that to enter it costs two stores.
        let label = mems::label(attributes.metadata().name());
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(label);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let span = context.span(id);
        let label = span.and_then(|span| span.extensions().get::<Label>().copied());
        SCOPES.with_borrow_mut(|scopes| scopes.push(label.unwrap_or(Label::NONE).enter()));
    }

    fn on_exit(&self, _: &Id, _: Context<'_, S>) {
        // Spans are left in reverse order.
        SCOPES.with_borrow_mut(Vec::pop);
    }
}

/// Makes rows of this many bytes, and awaits in between, so that it goes on on any thread.
async fn rows(count: usize, bytes: usize) -> Vec<Vec<u8>> {
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        rows.push(vec![1; bytes]);
        tokio::task::yield_now().await;
    }
    rows
}

/// A server's work: imports that keep 6 MB, a cache that keeps 3 MB, reports that keep 1 MB.
async fn work() -> Vec<Vec<u8>> {
    let mut tasks = Vec::new();
    for _ in 0..6 {
        tasks.push(tokio::spawn(Labelled::new("import", rows(1000, 1000))));
    }
    for _ in 0..3 {
        tasks.push(tokio::spawn(rows(1000, 1000).instrument(info_span!("cache"))));
    }
    // A label within a task that has another one.
    tasks.push(tokio::spawn(Labelled::new("import", async {
        Labelled::new("report", rows(1000, 1000)).await
    })));
    let mut kept = Vec::new();
    for task in tasks {
        kept.extend(task.await.unwrap_or_default());
    }
    // Work that keeps nothing is not seen.
    let temporary: VecDeque<_> = Labelled::new("temporary", rows(1000, 1000)).await.into();
    drop(temporary);
    tokio::time::sleep(Duration::from_millis(1)).await;
    kept
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(LabelLayer))?;
    GLOBAL.profile().start(16 << 10);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
    let kept = runtime.block_on(work());
    let sites = GLOBAL.profile().sites()?;
    let mut out = std::io::stdout().lock();
    let mut text = IoText::new(&mut out);
    let written = sites.labels().try_for_each(|label| {
        let name = if label.name.is_empty() { "(no label)" } else { label.name };
        let (low, high) = label.bytes.interval();
        let [about, low, high] = [label.bytes.value(), low, high].map(|bytes| bytes / 1e6);
        writeln!(text, "{name:<12} {about:.2} MB are live, 95% between {low:.2} and {high:.2}")
    });
    text.finish(written)?;
    drop(kept);
    Ok(())
}
