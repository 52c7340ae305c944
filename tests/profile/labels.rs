//! What samples say of labels, and how scopes and futures set them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::fmt::{self, Write};
use core::future::Future;
use core::mem;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::alloc::System;
use std::process::ExitCode;
use std::thread;

use helpers::child;
use helpers::piece::{MEMS, Piece};
use helpers::trials::{Answer, Case, Trials, ensure};
use mems::profile::Sites;
use mems::{Label, Labelled, label, with_label};

/// The tests themselves run on another heap, so that all that the profile sees is theirs.
#[global_allocator]
static OTHER: System = System;

/// Samples of each block: shorter ones are left out now and then.
const SIZE: usize = 100;

fn new(count: usize) -> Vec<Piece> {
    (0..count).map(|_| Piece::new(SIZE, 8, 3).expect("memory")).collect()
}

fn sites() -> Sites {
    MEMS.check().expect("the heap is whole");
    MEMS.profile().sites().expect("memory")
}

/// Live blocks under a label.
fn blocks(sites: &Sites, name: &str) -> f64 {
    sites.labels().filter(|sum| sum.name == name).map(|sum| sum.blocks.value()).sum()
}

fn free_all(pieces: impl IntoIterator<Item = Piece>) {
    pieces.into_iter().for_each(Piece::free);
}

fn scopes_nest() -> Result<Answer, String> {
    MEMS.profile().start(1);
    let (outer, inner) = (label("outer"), label("inner"));
    let mut all = new(1);
    with_label(outer, || {
        all.extend(new(2));
        with_label("inner", || all.extend(new(3)));
        let panicked = std::panic::catch_unwind(|| {
            let _scope = inner.enter();
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(panicked.is_err() && Label::current() == outer, "a panic ends the scope");
        all.extend(with_label(Label::NONE, || new(4)));
        all.extend(new(5));
    });
    assert_eq!((Label::current(), label("inner"), label("")), (Label::NONE, inner, Label::NONE));
    let now = sites();
    let sums = ["", "outer", "inner"].map(|name| blocks(&now, name));
    ensure(sums == [5.0, 7.0, 3.0], format!("{sums:?}"))?;
    let inner = now.samples().filter(|sample| sample.label() == "inner").count();
    ensure(inner == 3, inner)?;
    free_all(all);
    Ok(Answer::Passed(String::new()))
}

/// A block that moves is whose it was.
fn a_realloc_keeps_the_label() -> Result<Answer, String> {
    MEMS.profile().start(1);
    let mut piece = with_label("first", || Piece::new(SIZE, 8, 3).expect("memory"));
    with_label("second", || assert!(piece.resize(40 * SIZE)));
    let now = sites();
    let sums = ["first", "second"].map(|name| blocks(&now, name));
    piece.free();
    ensure(sums == [1.0, 0.0], format!("{sums:?}"))?;
    Ok(Answer::Passed(String::new()))
}

fn threads_have_their_own() -> Result<Answer, String> {
    MEMS.profile().start(1);
    let all = with_label("parent", || {
        let children = (0..4).map(|number| {
            thread::spawn(move || {
                let mut all = new(1);
                for _ in 0..50 {
                    all.extend(with_label(&*format!("child {number}"), || new(1)));
                }
                all
            })
        });
        let children: Vec<_> = children.collect();
        children.into_iter().flat_map(|child| child.join().unwrap()).collect::<Vec<_>>()
    });
    let now = sites();
    ensure((0..4).all(|number| blocks(&now, &format!("child {number}")) == 50.0), "50 each")?;
    ensure(blocks(&now, "parent") == 0.0 && blocks(&now, "") == 4.0, "none from the parent")?;
    free_all(all);
    Ok(Answer::Passed(String::new()))
}

/// Is pending once, and allocates before and after that.
struct Twice(Vec<Piece>);

impl Future for Twice {
    type Output = Vec<Piece>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Vec<Piece>> {
        self.0.extend(new(1));
        if self.0.len() < 2 { Poll::Pending } else { Poll::Ready(mem::take(&mut self.0)) }
    }
}

/// Two futures that take turns on one thread.
fn futures_take_turns() -> Result<Answer, String> {
    MEMS.profile().start(1);
    let mut context = Context::from_waker(Waker::noop());
    let mut one = pin!(Labelled::new("one", Twice(Vec::new())));
    let mut other = pin!(Labelled::new(label("other"), async {
        let inner = Labelled::new("one", Twice(Vec::new())).await;
        inner.into_iter().chain(new(3)).collect::<Vec<_>>()
    }));
    let is_pending = [one.as_mut().poll(&mut context).is_pending(), {
        let polled = other.as_mut().poll(&mut context);
        polled.is_pending() && Label::current() == Label::NONE
    }];
    ensure(is_pending == [true; 2], "each is pending, and leaves no label")?;
    let mut all = new(1);
    for polled in [other.as_mut().poll(&mut context), one.as_mut().poll(&mut context)] {
        let Poll::Ready(pieces) = polled else { return Err("it is ready".to_owned()) };
        all.extend(pieces);
    }
    let now = sites();
    let sums = ["", "one", "other"].map(|name| blocks(&now, name));
    ensure(sums == [1.0, 4.0, 3.0], format!("{sums:?}"))?;
    free_all(all);
    Ok(Answer::Passed(String::new()))
}

/// Ten kinds of work that hold a quarter to a fiftieth: each is told as exactly as its interval says.
fn shares_are_told() -> Result<Answer, String> {
    MEMS.profile().start_with_seed(SIZE * 4, 7);
    let parts = [25, 20, 15, 10, 8, 7, 6, 4, 3, 2];
    let labels: Vec<_> = parts.iter().map(|part| label(&format!("share {part}"))).collect();
    let mut all = Vec::new();
    for _ in 0..400 {
        for (part, label) in parts.iter().zip(&labels) {
            all.extend(with_label(*label, || new(*part)));
        }
    }
    let now = sites();
    let whole: f64 = now.labels().map(|sum| sum.bytes.value()).sum();
    let mut worst = 0.0_f64;
    for part in parts {
        let sum = now.labels().find(|sum| sum.name == format!("share {part}")).expect("a label");
        let told = sum.bytes.value() / whole * 100.0;
        worst = worst.max((told / f64::from(u32::try_from(part).unwrap()) - 1.0).abs());
        let truth = (400 * part * 104) as f64;
        let (low, high) = sum.bytes.interval();
        // 4.5 deviations: of the interval of 95% one of these would miss every second time.
        let half = (high - low) * 4.5 / (2.0 * 1.96);
        ensure((sum.bytes.value() - truth).abs() < half, format!("{part}: {}", sum.bytes))?;
    }
    free_all(all);
    Ok(Answer::Passed(format!("off by {:.1}% at the most", worst * 100.0)))
}

/// Labels can be made and set in the child of a fork, whatever other threads did with them meanwhile.
fn a_child_has_them() -> Result<Answer, String> {
    MEMS.profile().start(1);
    let shall_stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !shall_stop.load(Ordering::Relaxed) {
                number += 1;
                let _ = label(&format!("name {number}"));
            }
        });
        let lives = (0..30).map(|_| with_label("forked", || child::forked(20, in_a_child)));
        let lived: Result<Vec<_>, String> = lives.collect();
        shall_stop.store(true, Ordering::Relaxed);
        lived.map(|lives| Answer::Passed(format!("{} children", lives.len())))
    })
}

fn in_a_child() -> Result<String, String> {
    let piece = Piece::new(SIZE, 8, 3);
    let now = MEMS.profile().sites().map_err(|error| error.to_string())?;
    let is_known = blocks(&now, "forked") == 1.0 && Label::current() == label("forked");
    ensure(piece.is_some() && is_known, now.labels().collect::<Vec<_>>())?;
    Ok(String::new())
}

/// Writes what a label is called, and looks another one up meanwhile, as who allocates may wait for one who does.
struct Asks(String);

impl Write for Asks {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text);
        let other = thread::spawn(|| label("asked for meanwhile")).join().unwrap();
        if other == Label::NONE || label("asked for meanwhile") != other {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

fn who_writes_a_label_holds_no_lock() -> Result<Answer, String> {
    child::watchdog(60);
    let mut asks = Asks(String::new());
    write!(asks, "{:?}", label("shown")).map_err(|error| error.to_string())?;
    ensure(asks.0 == "Label(\"shown\")", &asks.0)?;
    Ok(Answer::Passed(asks.0))
}

fn main() -> ExitCode {
    let cases: [(&str, Case); 7] = [
        ("scopes_nest", scopes_nest),
        ("a_realloc_keeps_the_label", a_realloc_keeps_the_label),
        ("threads_have_their_own", threads_have_their_own),
        ("futures_take_turns", futures_take_turns),
        ("shares_are_told", shares_are_told),
        ("a_child_has_them", a_child_has_them),
        ("who_writes_a_label_holds_no_lock", who_writes_a_label_holds_no_lock),
    ];
    let mut trials = Trials::alone();
    trials.cases(cases);
    trials.finish()
}
