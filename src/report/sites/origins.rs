//! Whose a function is: this allocator's, a library's, or the program's own.

/// Whose a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This allocator's.
    Allocator,
    /// The standard library's, or libc's.
    Library,
    /// All others.
    Program,
}

/// Where the standard library's source lies: when it was built, or in a toolchain.
const STANDARD_SOURCES: [&str; 2] = ["/rustc/", "/lib/rustlib/src/"];
/// The libraries of C and C++, and what the system has in each process, up to their versions.
const LIBRARIES: [&str; 13] = [
    "libc.so",
    "libc-2.",
    "libm.so",
    "libpthread.so",
    "libpthread-2.",
    "libdl.so",
    "ld-linux",
    "ld-musl",
    "linux-vdso",
    "libgcc_s.so",
    "libstdc++.so",
    "libc++.so",
    "libc++abi.so",
];
/// This allocator as a library.
const ALLOCATORS: [&str; 3] = ["libmems.so", "libmems_preload.so", "libmems_capi.so"];

/// Whose all functions of a library are; none where they may be anybody's.
pub(super) fn of_library(path: &str) -> Option<Origin> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_in = |list: &[&str]| list.iter().any(|prefix| name.starts_with(prefix));
    if is_in(&ALLOCATORS) {
        Some(Origin::Allocator)
    } else if is_in(&LIBRARIES) {
        Some(Origin::Library)
    } else {
        None
    }
}

/// Whose a function is that has this name, and was written in this file, which is empty if that is not known.
/// `sources` is the folder of the allocator's own files, empty likewise. Where debug info has lines only, names have no
/// paths, and that is all there is.
pub(super) fn of_function(name: &str, file: &str, sources: &str) -> Origin {
    if STANDARD_SOURCES.iter().any(|folder| file.contains(folder)) {
        Origin::Library
    } else if !sources.is_empty() && file.starts_with(sources) {
        Origin::Allocator
    } else {
        of_name(name)
    }
}

/// Whose a function with this name is.
fn of_name(name: &str) -> Origin {
    // `<alloc::vec::Vec<T> as Clone>::clone` is of the crate of its type; `<T as core::convert::Into<U>>::into`, and
    // those of `u8` or `[T]`, of that of its trait.
    match name.strip_prefix('<').and_then(|inner| inner.split_once(" as ")) {
        Some((_, behind)) if is_helper(behind) => Origin::Library,
        Some((kind, behind)) if !kind.contains("::") => of_path(behind),
        _ => of_path(name),
    }
}

/// Whether a trait is one by which the standard library chooses between its own ways.
fn is_helper(path: &str) -> bool {
    let parts = path.split_once('>').map_or(path, |(parts, _)| parts);
    path.contains("ConvertVec") || parts.contains("::Spec") || path.contains("::spec_")
}

fn of_path(path: &str) -> Origin {
    const OURS: [&str; 3] = ["mems::", "__rust_", "__rustc"];
    const STANDARD: [&str; 12] = [
        "alloc::",
        "core::",
        "std::",
        "hashbrown::",
        "__libc_",
        "rust_begin_unwind",
        "_Znw",
        "_Zna",
        "_ZNSt",
        "_ZNKSt",
        "_ZN9__gnu_cxx",
        "_ZNK9__gnu_cxx",
    ];
    let path = path.trim_start_matches(['<', '&', '*', '(', '[']);
    let path = path.trim_start_matches("mut ").trim_start_matches("dyn ");
    let is_in = |list: &[&str]| list.iter().any(|prefix| path.starts_with(prefix));
    if is_in(&OURS) {
        Origin::Allocator
    } else if is_in(&STANDARD) || path == "_start" {
        Origin::Library
    } else {
        Origin::Program
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_of_a_function_is_in_its_name() {
        for (name, origin) in [
            ("mems::process::malloc::malloc", Origin::Allocator),
            (
                "<mems::global::allocator::MemsAlloc as core::alloc::global::GlobalAlloc>::alloc",
                Origin::Allocator,
            ),
            ("__rustc::__rust_alloc", Origin::Allocator),
            ("<alloc::vec::Vec<server::Session> as core::clone::Clone>::clone", Origin::Library),
            ("<T as alloc::slice::<impl [T]>::to_vec_in::ConvertVec>::to_vec", Origin::Library),
            ("<u8 as alloc::vec::spec_from_elem::SpecFromElem>::from_elem", Origin::Library),
            ("<[T] as server::Sum>::sum", Origin::Program),
            ("<server::Session as <[_]>::to_vec_in::ConvertVec>::to_vec", Origin::Library),
            ("hashbrown::raw::RawTable<T,A>::reserve_rehash", Origin::Library),
            ("core::ops::function::FnOnce::call_once{{vtable.shim}}", Origin::Library),
            ("_ZNSt6vectorIiSaIiEE9push_backEOi", Origin::Library),
            ("_Znwm", Origin::Library),
            ("_start", Origin::Library),
            ("_start_worker", Origin::Program),
            ("server::login", Origin::Program),
            ("<server::Session as core::clone::Clone>::clone", Origin::Program),
            ("server::main::{{closure}}", Origin::Program),
            ("memsy::main", Origin::Program),
            ("mems_server::main", Origin::Program),
            // The one function of its own that each program has.
            ("main", Origin::Program),
            ("main::run", Origin::Program),
            ("maintenance::sweep", Origin::Program),
            ("main_loop", Origin::Program),
        ] {
            assert_eq!(of_function(name, "", ""), origin, "{name}");
        }
    }

    #[test]
    fn a_bare_name_has_its_origin_in_its_file() {
        let standard =
            "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/alloc/src/vec/mod.rs";
        let (own, ours) = ("/home/me/server/src/main.rs", "/home/me/mems/src/process/malloc.rs");
        for (file, origin) in
            [(standard, Origin::Library), (own, Origin::Program), (ours, Origin::Allocator)]
        {
            assert_eq!(of_function("with_capacity", file, "/home/me/mems/src/"), origin, "{file}");
        }
    }

    #[test]
    fn libraries_are_told_by_their_whole_names() {
        for (path, origin) in [
            ("/lib/x86_64-linux-gnu/libc.so.6", Some(Origin::Library)),
            ("/lib64/ld-linux-x86-64.so.2", Some(Origin::Library)),
            ("/opt/libmems_preload.so", Some(Origin::Allocator)),
            ("/opt/ld-foo/libserver.so", None),
            ("/opt/libmemsql.so", None),
            ("/opt/libcurl.so.4", None),
        ] {
            assert_eq!(of_library(path), origin, "{path}");
        }
    }
}
