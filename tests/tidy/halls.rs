//! Halls hold no logic: a `mod.rs` declares the files of its folder and re-exports what they offer, and nothing else.
//!
//! `src/lib.rs` may hold a little more: inline modules of re-exports, a `compile_error!` behind a `#[cfg]`, items
//! behind `#[cfg(test)]`, and a unit struct behind `#[cfg(doctest)]` that carries the README's programs.

use crate::items::{Item, items, text};
use crate::modules::is_hall;
use crate::tokens::tokens;
use crate::tree::{Finding, Tree, places};

/// Finds the items of halls that belong into a file of their own.
pub(crate) fn without_logic(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, code) in tree.sources().filter(|(path, _)| is_hall(path)) {
        let is_root = path == "src/lib.rs";
        for item in items(&tokens(code)) {
            if !(is_list_entry(&item) || is_root && is_of_root(&item)) {
                let what = text(item.declaration(), 0);
                let advice = format!(
                    "a hall holds only `mod` and `use`: move this `{what}` into a file of its own"
                );
                findings.push(Finding::new(path, item.line(), advice));
            }
        }
    }
    findings
}

/// Whether an item declares the file of a module, or re-exports.
fn is_list_entry(item: &Item<'_, '_>) -> bool {
    item.declared_module().is_some() || is_use(item)
}

fn is_use(item: &Item<'_, '_>) -> bool {
    text(item.declaration(), 0) == "use"
}

/// Whether only the root of the crate may hold an item like this.
fn is_of_root(item: &Item<'_, '_>) -> bool {
    let declaration = item.declaration();
    let is_error = text(declaration, 0) == "compile_error" && item.has_attribute("cfg");
    let is_unit_struct = text(declaration, 0) == "struct" && text(declaration, 2) == ";";
    let holds_only_uses = item.inline_module().is_some_and(|body| items(body).iter().all(is_use));
    holds_only_uses
        || is_error
        || item.is_only_for("test")
        || is_unit_struct && item.is_only_for("doctest")
}

#[test]
fn a_hall_declares_and_re_exports() {
    let code = "//! Doc.\n#![allow(x)]\n#[cfg(test)]\npub(crate) mod a;\nmod b;\npub use b::{C, D};\nuse a::E as F;";
    assert!(places(without_logic, &[("src/x/mod.rs", code), ("src/lib.rs", code)]).is_empty());
}

#[test]
fn a_hall_holds_no_code() {
    let logic = [
        "fn f() {}",
        "pub(crate) const fn f() {}",
        "impl X { fn f() {} }",
        "unsafe impl X for Y {}",
        "trait X {}",
        "enum X { Y }",
        "struct X;",
        "const X: u8 = 0;",
        "static X: u8 = 0;",
        "type X = u8;",
        "macro_rules! x { () => {} }",
        "mod x { fn f() {} }",
        "thread_local! { static X: u8 = 0; }",
        "const _: () = assert!(size_of::<u8>() == 1);",
    ];
    for item in logic {
        let code = format!("mod a;\nuse a::B;\n\n#[allow(x)]\n{item}\nmod c;");
        assert_eq!(places(without_logic, &[("src/x/mod.rs", &code)]), ["src/x/mod.rs:5"], "{item}");
        assert_eq!(places(without_logic, &[("src/lib.rs", &code)]), ["src/lib.rs:5"], "{item}");
        assert!(
            places(without_logic, &[("src/x/y.rs", &code), ("capi/src/lib.rs", &code)]).is_empty()
        );
    }
}

#[test]
fn the_root_may_hold_a_little_more() {
    let code = "
        #![cfg_attr(test, allow(x))]
        #[cfg(not(unix))] compile_error!(\"Unix only\");
        pub mod internal { pub use crate::a::B; pub use crate::c::D; }
        #[cfg(test)] #[global_allocator] static GLOBAL: X = X::new();
        #[cfg(all(doctest, feature = \"std\"))] #[doc = include_str!(\"../README.md\")] struct Readme;";
    assert!(places(without_logic, &[("src/lib.rs", code)]).is_empty());
    assert_eq!(places(without_logic, &[("src/x/mod.rs", code)]).len(), 4);
}

#[test]
fn what_the_root_holds_has_its_condition() {
    for item in [
        "compile_error!(\"no\");",
        "#[cfg(not(test))] static X: u8 = 0;",
        "#[cfg(test)] mod a; struct X;",
    ] {
        assert_eq!(places(without_logic, &[("src/lib.rs", item)]), ["src/lib.rs:1"], "{item}");
    }
    assert_eq!(
        places(without_logic, &[("src/lib.rs", "#[cfg(doctest)] struct X { y: u8 }")]).len(),
        1
    );
}
