//! Each form of a profile with names from tables of symbols alone: it has the names of functions, and the heap is not
//! touched meanwhile. In a process of its own, where nobody else allocates.

use core::fmt;
use std::env;
use std::hint::black_box;
use std::io;
use std::process::Command;

use super::debug_info::debug_info;
use super::names::Source;
use super::symbols::symbols;
use crate::base::array::Array;
use crate::inspect::{region, snapshot};
use crate::process::profiling;
use crate::profile::Sites;
use crate::settings::Settings;

/// Says in which process the test is.
const IN_CHILD: &str = "MEMS_TEST_NAMES_BY_SYMBOLS";

/// Text in a mapping of its own.
struct Text(Array<u8>);

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().try_for_each(|byte| self.0.push(byte)).map_err(|_| fmt::Error)
    }
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let pushed = bytes.iter().try_for_each(|byte| self.0.push(*byte));
        pushed.map(|()| bytes.len()).map_err(|_| io::ErrorKind::OutOfMemory.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Export = fn(&[Sites; 2], &mut Text, Source) -> bool;

const EXPORTS: [(&str, Export); 9] = [
    ("report", |[_, now], out, source| now.write_report_by(out, source).is_ok()),
    ("collapsed", |[_, now], out, source| now.write_collapsed_by(out, source).is_ok()),
    ("json", |[_, now], out, source| now.write_json_by(out, source).is_ok()),
    ("dhat", |[_, now], out, source| now.write_dhat_by(out, source).is_ok()),
    ("flame", |[_, now], out, source| now.write_flame_svg_by(out, source).is_ok()),
    ("pprof", |[_, now], out, source| now.write_pprof_by(out, source).is_ok()),
    ("growth", |[before, now], out, source| {
        now.growth_since(before).is_ok_and(|growth| growth.write_report_by(out, source).is_ok())
    }),
    ("growth flame", |[before, now], out, source| {
        now.growth_since(before).is_ok_and(|growth| growth.write_flame_svg_by(out, source).is_ok())
    }),
    ("page", |[before, now], out, source| {
        snapshot().is_ok_and(|heap| heap.write_html_by(out, now, Some(before), source).is_ok())
    }),
];

/// What is in this crate would count as the allocator's, by its path.
#[expect(unsafe_code, reason = "has a name without a path")]
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
#[inline(never)]
fn a_site_of_this_test() -> [Box<[u8; 100]>; 100] {
    black_box([(); 100].map(|()| Box::new([1; 100])))
}

/// Writes a form: how many blocks this thread was handed out meanwhile, and whether it was written.
fn written(export: Export, looks: &[Sites; 2], text: &mut Text, source: Source) -> (bool, usize) {
    let counted = region(|| export(looks, text, source));
    counted.map_or((false, 0), |(is_written, counted)| (is_written, counted.allocations()))
}

#[test]
fn names_from_symbols_are_found_without_the_heap() {
    if env::var_os(IN_CHILD).is_none() {
        let own = env::current_exe().expect("a path");
        let path = "report::sites::tests::names_from_symbols_are_found_without_the_heap";
        let mut child = Command::new(own);
        let child = child.args(["--exact", path, "--nocapture"]).env(IN_CHILD, "1");
        let outcome = child.output().expect("it runs");
        let told = String::from_utf8_lossy(&outcome.stdout);
        assert!(outcome.status.success() && told.contains("1 passed"), "{outcome:?}");
        return;
    }
    profiling::start(&Settings::DEFAULT, 1, 7);
    let sites = || profiling::sites().expect("memory");
    let before = sites();
    let kept = a_site_of_this_test();
    let looks = [before, sites()];
    for (form, export) in EXPORTS {
        let mut text = Text(Array::new());
        assert_eq!(written(export, &looks, &mut text, symbols), (true, 0), "{form}");
        let name = b"a_site_of_this_test";
        assert!(text.0.windows(name.len()).any(|part| part == name), "{form} lacks the name");
    }
    let (_, blocks) = written(EXPORTS[1].1, &looks, &mut Text(Array::new()), debug_info);
    assert!(blocks > 1, "those of debug info are counted");
    drop(kept);
}
