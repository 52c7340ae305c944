//! The modules of the crate that have a file, as the `mod` lists declare them from `src/lib.rs` on.
//!
//! The rule: every file under `src` is reached this way.

use std::collections::{BTreeMap, BTreeSet};

use crate::items::{Item, items};
use crate::tokens::tokens;
use crate::tree::{Finding, Tree, places};

/// Where the `mod` lists begin.
const ROOT: &str = "src/lib.rs";

/// A module that has a file.
#[derive(Debug, Default)]
pub(crate) struct Module<'a> {
    /// Its file; several if `#[path]` and `#[cfg]` choose one.
    pub(crate) files: Vec<&'a str>,
    /// The modules that it declares, from the ground up.
    pub(crate) floors: Vec<&'a str>,
}

/// The modules that have a file, by their paths from the root of the crate.
#[derive(Debug, Default)]
pub(crate) struct Modules<'a> {
    by_path: BTreeMap<Vec<&'a str>, Module<'a>>,
    files: BTreeSet<&'a str>,
}

/// Finds the files under `src` that no `mod` list leads to.
pub(crate) fn no_dead_files(tree: &Tree) -> Vec<Finding> {
    let modules = Modules::of(tree);
    let dead = tree.sources().filter(|(path, _)| !modules.files.contains(path));
    let advice = "no `mod` leads to this file from src/lib.rs: declare it in its folder's list, or delete it";
    dead.map(|(path, _)| Finding::new(path, 1, advice)).collect()
}

/// Whether a file is the hall of its folder: it declares the files beside it and re-exports what they offer.
pub(crate) fn is_hall(path: &str) -> bool {
    path == ROOT || path.ends_with("/mod.rs")
}

impl<'a> Modules<'a> {
    /// Follows the `mod` lists of a tree.
    pub(crate) fn of(tree: &'a Tree) -> Self {
        let mut modules = Self::default();
        modules.follow(tree, &[], ROOT);
        modules
    }

    /// All modules with their paths.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[&'a str], &Module<'a>)> {
        self.by_path.iter().map(|(path, module)| (path.as_slice(), module))
    }

    /// The module of this path.
    pub(crate) fn get(&self, path: &[&'a str]) -> Option<&Module<'a>> {
        self.by_path.get(path)
    }

    /// How many segments of `path` name modules that have a file. What follows is an item.
    pub(crate) fn depth_of(&self, path: &[&'a str]) -> usize {
        let has_file = |len: &usize| self.by_path.contains_key(&path[..*len]);
        (1..=path.len()).take_while(has_file).last().unwrap_or(0)
    }

    /// Enters the module `own` with the file at `path`, if there is one, and all modules below it.
    fn follow(&mut self, tree: &'a Tree, own: &[&'a str], path: &str) {
        let Some((file, code)) = tree.file(path) else { return };
        if !self.files.insert(file) {
            return;
        }
        self.by_path.entry(own.to_vec()).or_default().files.push(file);
        let tokens = tokens(code);
        for item in items(&tokens) {
            let Some(name) = item.declared_module() else { continue };
            let floors = &mut self.by_path.entry(own.to_vec()).or_default().floors;
            if !floors.contains(&name) {
                floors.push(name);
            }
            for path in files_of(&item, name, file) {
                self.follow(tree, &[own, &[name]].concat(), &path);
            }
        }
    }
}

/// The paths where the file of a `mod name;` in `file` may be.
fn files_of(item: &Item<'_, '_>, name: &str, file: &str) -> Vec<String> {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut paths = Vec::new();
    for token in item.attributes.iter().flat_map(|words| words.windows(3)) {
        if (token[0].text, token[1].text) == ("path", "=") {
            paths.push(joined(folder, token[2].text.trim_matches('"')));
        }
    }
    if !item.has_attribute("path") {
        let name = name.trim_start_matches("r#");
        let below = if is_hall(file) { folder } else { file.trim_end_matches(".rs") };
        paths.extend([format!("{below}/{name}.rs"), format!("{below}/{name}/mod.rs")]);
    }
    paths
}

/// The path `relative` as seen from `folder`.
fn joined(folder: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in relative.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Where this rule finds something, if the root declares modules like this.
fn places_with(root: &str, files: &[&str]) -> Vec<String> {
    let mut tree = vec![(ROOT, root)];
    tree.extend(files.iter().map(|path| (*path, "")));
    places(no_dead_files, &tree)
}

#[test]
fn a_file_without_mod_is_dead() {
    assert_eq!(places_with("mod a;", &["src/a.rs", "src/b.rs"]), ["src/b.rs:1"]);
    assert_eq!(
        places_with("// mod b;", &["src/b.rs", "src/b/c.rs"]),
        ["src/b.rs:1", "src/b/c.rs:1"]
    );
    assert!(
        places_with("mod a; #[cfg(test)] pub(crate) mod b;", &["src/a.rs", "src/b/mod.rs"])
            .is_empty()
    );
    assert!(places_with("mod r#try;", &["src/try.rs", "tests/free.rs"]).is_empty());
}

#[test]
fn lists_are_followed_down() {
    let good = [
        (ROOT, "mod a;"),
        ("src/a/mod.rs", "mod b;"),
        ("src/a/b.rs", "mod c;"),
        ("src/a/b/c.rs", ""),
    ];
    assert!(places(no_dead_files, &good).is_empty());
    let bad =
        [(ROOT, "mod a;"), ("src/a/mod.rs", ""), ("src/a/b.rs", "mod c;"), ("src/a/b/c.rs", "")];
    assert_eq!(places(no_dead_files, &bad), ["src/a/b.rs:1", "src/a/b/c.rs:1"]);
}

#[test]
fn a_path_attribute_names_the_file() {
    let chosen = "#[cfg_attr(unix, path = \"os/unix.rs\")] mod os;";
    assert!(places_with(chosen, &["src/os/unix.rs", "src/os.rs"]).is_empty());
    let named = "#[path = \"./x/../b.rs\"] mod a;";
    assert_eq!(places_with(named, &["src/a.rs", "src/b.rs"]), ["src/a.rs:1"]);
    assert!(places_with("#[path = \"lib.rs\"] mod a;", &[]).is_empty());
}

#[test]
fn floors_are_in_the_order_of_the_list() {
    let tree = Tree::of(&[
        (ROOT, "mod b;\nmod a;\n#[cfg(x)]\nmod b;"),
        ("src/a.rs", ""),
        ("src/b.rs", ""),
    ]);
    let modules = Modules::of(&tree);
    assert_eq!(modules.get(&[]).map(|root| root.floors.clone()), Some(vec!["b", "a"]));
    assert_eq!(modules.depth_of(&["a", "Thing", "new"]), 1);
    assert_eq!(modules.depth_of(&["Thing"]), 0);
}
