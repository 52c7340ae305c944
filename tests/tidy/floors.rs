//! A file uses only the floors below its own.
//!
//! The floors are the `mod` lists, from the ground up: `src/lib.rs` for what is directly in `src`, `src/x/mod.rs` for
//! what is in `src/x`. To judge a path, follow it and the file's own module from the root of the crate to where the two
//! part. In the list of that folder, the path's next module has to come before the file's.
//!
//! Nor does a file use the halls above it (`mod.rs` and `lib.rs`). A hall shows its folder to those outside, so it
//! stands on top of the files in it. The halls themselves are not judged, since all they do is re-export.

use crate::modules::{Modules, is_hall};
use crate::tokens::tokens;
use crate::tree::{Finding, Tree, places};
use crate::uses::{Use, uses};

/// Finds the paths that lead up, or to a hall above.
pub(crate) fn only_below(tree: &Tree) -> Vec<Finding> {
    let modules = Modules::of(tree);
    let mut findings = Vec::new();
    for (own, module) in modules.iter() {
        let files = module.files.iter().filter(|path| !is_hall(path));
        for (path, code) in files.filter_map(|path| tree.file(path)) {
            for used in uses(&tokens(code)) {
                let advice = advice(&modules, own, &used);
                findings.extend(advice.map(|advice| Finding::new(path, used.line, advice)));
            }
        }
    }
    findings
}

/// What to do about a path that a file of the module `own` names, if anything.
fn advice<'a>(modules: &Modules<'a>, own: &[&'a str], used: &Use<'a>) -> Option<String> {
    let path = used.resolve(own)?;
    let target = &path[..modules.depth_of(&path)];
    let parting = own.iter().zip(target).take_while(|(own, target)| own == target).count();
    let shared = modules.get(&target[..parting])?;
    let list = shared.files.first()?;
    let text = used.text();
    match (own.get(parting), target.get(parting)) {
        // What a file is made of may use the file.
        (Some(_), None) if !is_hall(list) => None,
        (Some(_), None) => Some(format!(
            "`{text}` leads to {list}: name the file that defines it, not the hall it goes out through"
        )),
        (Some(mine), Some(other)) => {
            let floor = |name| shared.floors.iter().position(|floor| floor == name);
            (floor(other) > floor(mine)).then(|| {
                format!("`{text}` leads up: use only what comes before `{mine}` in {list}; `{other}` comes after it")
            })
        }
        // The file itself, or one below it.
        (None, _) => None,
    }
}

/// Where this rule finds something if one of the files has this code. `base` has `os` and `lock`, `heap` has `root` and
/// `clear`, each from the ground up.
fn places_with(path: &str, code: &str) -> Vec<String> {
    let mut files = vec![
        ("src/lib.rs", "mod base;\nmod heap;\n#[cfg(test)]\nmod tests;\npub use heap::Heap;"),
        ("src/base/mod.rs", "pub(crate) mod os;\npub(crate) mod lock;"),
        ("src/base/os.rs", ""),
        ("src/base/lock.rs", ""),
        ("src/heap/mod.rs", "mod root;\nmod clear;\npub use clear::clear;\npub use root::Heap;"),
        ("src/heap/root.rs", ""),
        ("src/heap/clear.rs", ""),
        ("src/tests.rs", ""),
    ];
    files.retain(|(other, _)| *other != path);
    files.push((path, code));
    places(only_below, &files)
}

#[test]
fn a_file_may_use_what_comes_before_it() {
    let code = "use crate::base::lock::Lock;\nuse super::root::{self, Heap};\nuse std::mem;";
    assert!(places_with("src/heap/clear.rs", code).is_empty());
    assert!(places_with("src/base/lock.rs", "fn f() { super::os::map() }").is_empty());
}

#[test]
fn a_file_may_not_use_what_comes_after_it() {
    assert_eq!(
        places_with("src/heap/root.rs", "\nuse super::clear::Clear;"),
        ["src/heap/root.rs:2"]
    );
    assert_eq!(places_with("src/base/os.rs", "use crate::heap::root::Heap;"), ["src/base/os.rs:1"]);
    assert_eq!(
        places_with("src/base/os.rs", "fn f() {\n    super::lock::wait()\n}"),
        ["src/base/os.rs:2"]
    );
    assert_eq!(places_with("src/base/os.rs", "use super::super::heap;"), ["src/base/os.rs:1"]);
}

#[test]
fn the_hall_of_another_folder_is_as_high_as_the_folder() {
    assert!(places_with("src/tests.rs", "use crate::heap::Heap;").is_empty());
    assert!(places_with("src/heap/root.rs", "use crate::base;").is_empty());
    assert_eq!(places_with("src/base/lock.rs", "use crate::heap::Heap;"), ["src/base/lock.rs:1"]);
}

#[test]
fn a_file_does_not_use_the_halls_above_it() {
    for code in
        ["use super::Heap;", "use super::*;", "type X = crate::heap::Heap;", "use crate::Heap;"]
    {
        assert_eq!(places_with("src/heap/clear.rs", code), ["src/heap/clear.rs:1"], "{code}");
    }
    assert_eq!(places_with("src/tests.rs", "use super::Heap;"), ["src/tests.rs:1"]);
}

#[test]
fn a_file_below_another_may_use_that_one_but_nothing_above_it() {
    let tree = |code| {
        let files = [
            ("src/lib.rs", "mod base;\nmod heap;"),
            ("src/base.rs", "mod tests;"),
            ("src/base/tests.rs", code),
            ("src/heap.rs", ""),
        ];
        places(only_below, &files)
    };
    assert!(tree("use super::*;\nuse crate::base::Base;").is_empty());
    assert_eq!(tree("use super::*;\nuse crate::heap::Heap;"), ["src/base/tests.rs:2"]);
}

#[test]
fn the_items_of_the_file_itself_are_at_hand() {
    let code = "fn f() { self::g() }\nuse crate::heap::root::Heap as Own;
        mod word { pub(super) fn get() {} }\nfn g() { self::word::get() }
        #[cfg(test)]\nmod tests { use super::*; use super::word::get; use super::super::root; }";
    assert!(places_with("src/heap/root.rs", code).is_empty());
}

#[test]
fn the_code_of_tests_stands_on_the_same_floor() {
    let code = "#[cfg(test)]\nmod tests {\n    use super::super::clear::Clear;\n    use super::super::Heap;\n}";
    assert_eq!(places_with("src/heap/root.rs", code), ["src/heap/root.rs:3", "src/heap/root.rs:4"]);
}

#[test]
fn halls_may_name_what_they_like() {
    assert!(
        places_with("src/base/mod.rs", "pub(crate) mod os;\npub use crate::heap::Heap;").is_empty()
    );
}

#[test]
fn the_advice_names_the_list_and_both_floors() {
    let tree = Tree::of(&[
        ("src/lib.rs", "mod base;\nmod heap;"),
        ("src/base.rs", "use crate::heap::Heap;\nuse super::Heap;"),
        ("src/heap.rs", ""),
    ]);
    let findings: Vec<_> = only_below(&tree).iter().map(Finding::to_string).collect();
    assert_eq!(
        findings,
        [
            "src/base.rs:1: `crate::heap::Heap` leads up: use only what comes before `base` in src/lib.rs; \
             `heap` comes after it",
            "src/base.rs:2: `super::Heap` leads to src/lib.rs: name the file that defines it, \
             not the hall it goes out through",
        ]
    );
}
