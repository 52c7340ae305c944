//! Functions by the addresses of their calls.
//!
//! With the feature `symbols`, functions have the names that the program's file has for them; with debug info those
//! that were inlined have theirs, too, and all have lines. Elsewhere a frame is called by its module and the address in
//! the file of that, which tools understand that have the file with that build id.

use super::modules::{Module, modules};
use super::texts::Texts;
use crate::base::array::Array;
use crate::base::os::OutOfMemory;
use crate::base::text::StackText;
use crate::profile::{Site, Sites};

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

/// A function at a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    /// Texts: its name, and the file; that is empty where it is not known.
    pub(super) name: u32,
    pub(super) file: u32,
    /// The line of the call, 0 where it is not known.
    pub(super) line: u32,
    pub(super) origin: Origin,
    /// Whether the name is that of the function, and not of its module.
    pub(super) is_named: bool,
}

/// A frame's functions, of which there are several where some were inlined: the innermost first.
#[derive(Clone, Copy, Debug)]
struct Frame {
    address: usize,
    first: usize,
    len: usize,
}

/// All functions of a profile.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) texts: Texts,
    pub(super) modules: Array<Module>,
    frames: Array<Frame>,
    functions: Array<Function>,
}

impl Names {
    /// Looks all frames of these sites up. With debug info that takes a second for a large program, and allocates.
    pub(super) fn of<'a>(looks: impl IntoIterator<Item = &'a Sites>) -> Result<Self, OutOfMemory> {
        let mut texts = Texts::new()?;
        let modules = modules(&mut texts)?;
        let (frames, functions) = (Array::new(), Array::new());
        let mut names = Self { texts, modules, frames, functions };
        let mut addresses = Array::new();
        for look in looks {
            for site in look.iter() {
                site.frames().iter().try_for_each(|frame| addresses.push(*frame))?;
            }
        }
        addresses.items_mut().sort_unstable();
        symbols::refresh();
        for (index, address) in addresses.iter().enumerate() {
            if index == 0 || addresses[index - 1] != *address {
                names.look_up(*address)?;
            }
        }
        symbols::refresh();
        Ok(names)
    }

    fn look_up(&mut self, address: usize) -> Result<(), OutOfMemory> {
        let first = self.functions.len();
        let module = self.module_with(address);
        let of_module =
            module.map_or(Origin::Program, |module| origin_of_file(self.text(module.path)));
        let mut result = Ok(());
        symbols::resolve(address, |name, file, line| {
            let mut note = || {
                let name = self.texts.intern_displayed(name)?;
                let file = self.texts.intern_displayed(file)?;
                let origin = match of_module {
                    Origin::Program => origin_of_name(self.texts.get(name)),
                    of_module => of_module,
                };
                self.functions.push(Function { name, file, line, origin, is_named: true })
            };
            result = result.and_then(|()| note());
        });
        result?;
        if self.functions.len() == first {
            let name = self.name_by_module(module, address)?;
            let origin = of_module;
            self.functions.push(Function { name, file: 0, line: 0, origin, is_named: false })?;
        }
        self.frames.push(Frame { address, first, len: self.functions.len() - first })
    }

    /// A name for a frame of which nothing else is known.
    fn name_by_module(
        &mut self,
        module: Option<Module>,
        address: usize,
    ) -> Result<u32, OutOfMemory> {
        let Some(module) = module else {
            return self.texts.intern_displayed(format_args!("{:#x}", call_of(address)));
        };
        let mut file = StackText::<128>::new();
        // A longer name is cut.
        let _ = file.write_bytes(file_name(self.text(module.path)).as_bytes());
        let file = str::from_utf8(file.as_bytes()).unwrap_or_default();
        let at = call_of(address) - module.base;
        self.texts.intern_displayed(format_args!("{file}+{at:#x}"))
    }

    /// A text by its number.
    pub(super) fn text(&self, number: u32) -> &str {
        self.texts.get(number)
    }

    /// The module that has an address.
    fn module_with(&self, address: usize) -> Option<Module> {
        self.module_number(address).and_then(|number| self.modules.get(number).copied())
    }

    /// The number of that module.
    pub(super) fn module_number(&self, address: usize) -> Option<usize> {
        let call = call_of(address);
        let behind = self.modules.partition_point(|module| module.start <= call);
        let number = behind.checked_sub(1)?;
        self.modules.get(number).filter(|module| call < module.end).map(|_| number)
    }

    /// The file of the program.
    pub(super) fn program(&self) -> &str {
        let own = self.module_with(Self::program as *const () as usize + 1);
        own.map_or("", |module| self.text(module.path))
    }

    /// All functions, those of the allocator, too.
    pub(super) fn all_functions(&self) -> impl Iterator<Item = &Function> {
        self.functions.iter()
    }

    /// The places of a site's functions among all, the innermost first, without those of the allocator.
    pub(super) fn numbers<'a>(&'a self, site: &Site<'a>) -> impl Iterator<Item = usize> + use<'a> {
        let frames = site.frames().iter().filter_map(|address| self.frame(*address));
        let skipped = self.functions(site).skipped();
        frames.flat_map(|frame| frame.first..frame.first + frame.len).skip(skipped)
    }

    /// Whether functions of a module have names here.
    pub(super) fn has_names(&self, module: &Module) -> bool {
        let within = |frame: &&Frame| (module.start..module.end).contains(&call_of(frame.address));
        let functions = |frame: &Frame| self.functions_at(frame.address).iter();
        self.frames.iter().filter(within).flat_map(functions).any(|function| function.is_named)
    }

    fn frame(&self, address: usize) -> Option<&Frame> {
        let found = self.frames.binary_search_by_key(&address, |frame| frame.address);
        found.ok().and_then(|index| self.frames.get(index))
    }

    /// The functions of a frame, the innermost first.
    pub(super) fn functions_at(&self, address: usize) -> &[Function] {
        let frame = self.frame(address);
        frame
            .and_then(|frame| self.functions.get(frame.first..frame.first + frame.len))
            .unwrap_or_default()
    }

    /// The functions of a site, the innermost first, without those of the allocator that were called there.
    pub(super) fn functions<'a>(&'a self, site: &Site<'a>) -> Stack<'a> {
        let all = || site.frames().iter().flat_map(|frame| self.functions_at(*frame));
        // The allocator itself calls functions of the standard library; the program's own come behind.
        let inner = all().take_while(|function| function.origin != Origin::Program).enumerate();
        let ours = inner.filter(|(_, function)| function.origin == Origin::Allocator);
        Stack {
            names: self,
            frames: site.frames(),
            skip: ours.map(|(index, _)| index + 1).last().unwrap_or(0),
        }
    }

    /// The function by which people know a site: the innermost of the program's own.
    pub(super) fn own_function(&self, site: &Site<'_>) -> Option<Function> {
        let stack = self.functions(site);
        let own = stack.innermost_first().find(|function| function.origin == Origin::Program);
        own.or_else(|| stack.innermost_first().next())
    }

    /// The call in that function, by where it returns to: one line of code, on however many stacks.
    pub(super) fn own_call(&self, site: &Site<'_>) -> Option<usize> {
        let is_own = |address: &&usize| {
            self.functions_at(**address).iter().any(|function| function.origin == Origin::Program)
        };
        site.frames().iter().find(is_own).or(site.frames().first()).copied()
    }
}

/// The functions of a stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stack<'a> {
    names: &'a Names,
    frames: &'a [usize],
    skip: usize,
}

impl<'a> Stack<'a> {
    /// How many functions of the allocator are left out.
    pub(super) const fn skipped(&self) -> usize {
        self.skip
    }

    /// All of them.
    pub(super) fn innermost_first(self) -> impl Iterator<Item = Function> + 'a {
        self.frames
            .iter()
            .flat_map(move |frame| self.names.functions_at(*frame))
            .copied()
            .skip(self.skip)
    }

    /// The other way round.
    pub(super) fn outermost_first(self) -> impl Iterator<Item = Function> + 'a {
        let count = self.innermost_first().count();
        let functions = move |frame: &usize| self.names.functions_at(*frame).iter().rev();
        self.frames.iter().rev().flat_map(functions).copied().take(count)
    }
}

/// An address in the call to which a frame returns.
pub(super) const fn call_of(address: usize) -> usize {
    address.saturating_sub(1)
}

/// The last part of a path.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whose the functions of a file are; `Program` where it may be either.
fn origin_of_file(path: &str) -> Origin {
    const LIBRARIES: [&str; 8] =
        ["libc.so", "libc-", "libstdc++", "ld-", "linux-vdso", "libgcc_s", "libpthread", "libc++"];
    let name = file_name(path);
    if name.starts_with("libmems") {
        Origin::Allocator
    } else if LIBRARIES.iter().any(|library| name.starts_with(library)) {
        Origin::Library
    } else {
        Origin::Program
    }
}

/// Whose a function with this name is.
fn origin_of_name(name: &str) -> Origin {
    const ALLOCATOR: [&str; 3] = ["mems::", "__rust_", "__rustc"];
    const LIBRARIES: [&str; 7] = [
        "alloc::",
        "core::",
        "std::",
        "hashbrown::",
        "__libc_",
        "operator new",
        "rust_begin_unwind",
    ];
    // What the linker and rustc call what comes before the program's own.
    const BEGINNINGS: [&str; 2] = ["_start", "main"];
    // `<alloc::vec::Vec<T> as Clone>::clone`, `<T as core::convert::Into<U>>::into`.
    let inner = name.trim_start_matches(['<', '&', '*', '(', '[']);
    let inner = inner.trim_start_matches("mut ").trim_start_matches("dyn ");
    let is_in = |name: &str, list: &[&str]| list.iter().any(|prefix| name.starts_with(prefix));
    let is_of_a_parameter = inner.as_bytes().get(1) == Some(&b' ');
    let of = |name: &str| {
        if is_in(name, &ALLOCATOR) {
            Origin::Allocator
        } else if is_in(name, &LIBRARIES) || BEGINNINGS.contains(&name) {
            Origin::Library
        } else {
            Origin::Program
        }
    };
    match inner.split_once(" as ") {
        Some((_, behind)) if is_of_a_parameter => of(behind),
        _ => of(inner),
    }
}

/// What the program's file and its debug info say.
#[cfg(feature = "symbols")]
mod symbols {
    use core::fmt;
    use core::ptr;

    /// Forgets what was read of files: libraries may have come and gone.
    pub(super) fn refresh() {
        backtrace::clear_symbol_cache();
    }

    /// Hands name, file and line of each function to `take`, the innermost first.
    pub(super) fn resolve(
        address: usize,
        mut take: impl FnMut(fmt::Arguments<'_>, fmt::Arguments<'_>, u32),
    ) {
        backtrace::resolve(ptr::without_provenance_mut(address), |symbol| {
            let Some(name) = symbol.name() else { return };
            let line = symbol.lineno().unwrap_or(0);
            match symbol.filename() {
                Some(file) => {
                    take(format_args!("{name:#}"), format_args!("{}", file.display()), line);
                }
                None => take(format_args!("{name:#}"), format_args!(""), line),
            }
        });
    }
}

#[cfg(not(feature = "symbols"))]
mod symbols {
    use core::fmt;

    pub(super) const fn refresh() {}

    pub(super) fn resolve(_: usize, _: impl FnMut(fmt::Arguments<'_>, fmt::Arguments<'_>, u32)) {}
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
            ("hashbrown::raw::RawTable<T,A>::reserve_rehash", Origin::Library),
            ("core::ops::function::FnOnce::call_once{{vtable.shim}}", Origin::Library),
            ("server::login", Origin::Program),
            ("<server::Session as core::clone::Clone>::clone", Origin::Program),
            ("server::main::{{closure}}", Origin::Program),
            ("memsy::main", Origin::Program),
            ("main", Origin::Library),
            ("main::run", Origin::Program),
            ("maintenance::sweep", Origin::Program),
            ("main_loop", Origin::Program),
        ] {
            assert_eq!(origin_of_name(name), origin, "{name}");
        }
    }
}
