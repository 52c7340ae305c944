//! Functions by the addresses of their calls.
//!
//! With the feature `symbols`, functions have the names that the program's file has for them; with debug info those
//! that were inlined have theirs, too, and all have lines. Elsewhere a frame is called by its module and the address in
//! the file of that, which tools understand that have the file with that build id.

use core::fmt::Write;

use super::modules::{Module, modules};
use super::origins::{self, Origin};
use crate::base::array::Array;
use crate::base::os::OutOfMemory;
use crate::base::path::PATH_BYTES;
use crate::base::text::StackText;
use crate::base::texts::Texts;
use crate::profile::walk::call_of;
use crate::profile::{Site, Sites};

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

impl Function {
    const UNKNOWN: Self =
        Self { name: 0, file: 0, line: 0, origin: Origin::Program, is_named: false };
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

/// The program's own file, also where another one has taken its place since.
#[cfg(feature = "symbols")]
pub(super) const OWN_FILE: &str = "/proc/self/exe";

/// Where names come from: of the file of a library, or of the program itself where there is no path, and addresses
/// there in ascending order. Hands the place of an address among those, and name, file and line of each function there
/// on: by places, and of one the innermost function first.
pub(in crate::report) type Source = fn(Option<&str>, &[usize], &mut Take<'_>);

/// Takes the place of an address, and the name, the file and the line of a function.
pub(in crate::report) type Take<'a> = dyn FnMut(usize, &str, &str, u32) + 'a;

impl Names {
    /// Looks all frames of these sites up. That reads the program's file.
    pub(super) fn of<'a>(
        looks: impl IntoIterator<Item = &'a Sites>,
        source: Source,
    ) -> Result<Self, OutOfMemory> {
        let mut texts = Texts::new();
        let modules = modules(&mut texts)?;
        let (frames, functions) = (Array::new(), Array::new());
        let mut names = Self { texts, modules, frames, functions };
        let mut addresses = Array::new();
        for look in looks {
            for site in look.iter() {
                site.frames().iter().try_for_each(|frame| addresses.push(*frame))?;
            }
        }
        addresses.sort_and_dedup();
        let mut sources = 0;
        let mut rest: &[usize] = &addresses;
        while let Some(first) = rest.first() {
            let number = names.module_number(*first);
            let is_there = |address: &&usize| names.module_number(**address) == number;
            let (group, behind) = rest.split_at(rest.iter().take_while(is_there).count());
            sources = names.look_up(group, source)?.unwrap_or(sources);
            rest = behind;
        }
        names.find_origins(sources);
        Ok(names)
    }

    /// Looks frames of one module up, which are in order. The folder of the allocator's own files, a text, if this is
    /// the module that has it, and says where its files are.
    fn look_up(&mut self, group: &[usize], source: Source) -> Result<Option<u32>, OutOfMemory> {
        let module = group.first().and_then(|address| self.module_with(*address));
        let mut found = Array::new();
        let (mut sources, mut result) = (None, Ok(()));
        if let Some(module) = module {
            let own = Self::program as *const () as usize + 1;
            let is_own = (module.start..module.end).contains(&own);
            let own_place = is_own.then(|| group.partition_point(|address| *address < own));
            let mut addresses = Array::new();
            let (before, behind) = group.split_at(own_place.unwrap_or(group.len()));
            let all = before.iter().copied().chain(own_place.map(|_| own));
            for address in all.chain(behind.iter().copied()) {
                addresses.push(call_of(address).wrapping_sub(module.base))?;
            }
            let mut path = StackText::<PATH_BYTES>::new();
            // No path of the system's is longer.
            let _ = path.write_str(self.text(module.path));
            let path = (!module.is_program).then(|| path.as_str());
            let texts = &mut self.texts;
            source(path, &addresses, &mut |place, name, file, line| {
                let mut note = || {
                    if own_place == Some(place) {
                        if let Some(folder) = file.strip_suffix("report/sites/names.rs") {
                            sources = Some(texts.intern(folder)?);
                        }
                        return Ok(());
                    }
                    let is_behind = own_place.is_some_and(|own| place > own);
                    let (name, file) = (texts.intern(name)?, texts.intern(file)?);
                    let function = Function { name, file, line, ..Function::UNKNOWN };
                    found.push((place - usize::from(is_behind), function))
                };
                result = result.and_then(|()| note());
            });
        }
        result?;
        self.enter(group, module, &found)?;
        Ok(sources)
    }

    /// Enters frames with the functions that were found, by their places, or with a name for each other one.
    fn enter(
        &mut self,
        group: &[usize],
        module: Option<Module>,
        found: &[(usize, Function)],
    ) -> Result<(), OutOfMemory> {
        let mut rest = found.iter().peekable();
        for (place, address) in group.iter().enumerate() {
            let first = self.functions.len();
            while let Some((_, function)) = rest.next_if(|(at, _)| *at <= place) {
                self.functions.push(Function { is_named: true, ..*function })?;
            }
            if self.functions.len() == first {
                let name = self.name_by_module(module, *address)?;
                self.functions.push(Function { name, ..Function::UNKNOWN })?;
            }
            let len = self.functions.len() - first;
            self.frames.push(Frame { address: *address, first, len })?;
        }
        Ok(())
    }

    /// Says whose each function is. `sources` is the folder of the allocator's own files.
    fn find_origins(&mut self, sources: u32) {
        for place in 0..self.frames.len() {
            let frame = self.frames[place];
            let library = self.module_with(frame.address).filter(|module| !module.is_program);
            let of_module =
                library.and_then(|library| origins::of_library(self.texts.get(library.path)));
            let texts = &self.texts;
            let functions =
                self.functions.items_mut().get_mut(frame.first..frame.first + frame.len);
            for function in functions.unwrap_or_default() {
                let text = |number| texts.get(number);
                let by_name = || {
                    origins::of_function(text(function.name), text(function.file), text(sources))
                };
                function.origin = match of_module {
                    Some(origin) => origin,
                    None if function.is_named => by_name(),
                    None => Origin::Program,
                };
            }
        }
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
        let mut file = StackText::<256>::new();
        // No name of a file is longer.
        let path = self.text(module.path);
        let _ = file.write_bytes(path.rsplit('/').next().unwrap_or(path).as_bytes());
        let at = call_of(address).wrapping_sub(module.base);
        self.texts.intern_displayed(format_args!("{}+{at:#x}", file.as_str()))
    }

    /// A text by its number.
    pub(super) fn text(&self, number: u32) -> &str {
        self.texts.get(number)
    }

    /// The name of a function, or words for none.
    pub(super) fn called(&self, name: u32) -> &str {
        match self.text(name) {
            "" => "(unknown)",
            name => name,
        }
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

    /// The addresses of all frames, each once, in order.
    pub(super) fn addresses(&self) -> impl Iterator<Item = usize> {
        self.frames.iter().map(|frame| frame.address)
    }

    /// The place of a frame among all.
    pub(super) fn place_of(&self, address: usize) -> Option<usize> {
        self.frames.binary_search_by_key(&address, |frame| frame.address).ok()
    }

    fn frame(&self, address: usize) -> Option<&Frame> {
        self.place_of(address).and_then(|place| self.frames.get(place))
    }

    /// The functions of a frame, the innermost first.
    pub(super) fn functions_at(&self, address: usize) -> &[Function] {
        let frame = self.frame(address);
        frame
            .and_then(|frame| self.functions.get(frame.first..frame.first + frame.len))
            .unwrap_or_default()
    }

    /// The functions of a frame without those of the allocator that were put into a function of the program's own.
    pub(super) fn lines_at(&self, address: usize) -> &[Function] {
        let functions = self.functions_at(address);
        let kept = functions.get(allocators_of(functions.iter())..).unwrap_or_default();
        if kept.is_empty() { functions } else { kept }
    }

    /// The functions of a site, the innermost first, without those of the allocator that were called there.
    pub(super) fn functions<'a>(&'a self, site: &Site<'a>) -> Stack<'a> {
        let all = site.frames().iter().flat_map(|frame| self.functions_at(*frame));
        Stack { names: self, frames: site.frames(), skip: allocators_of(all) }
    }

    /// The function by which people know a site: the innermost of the program's own.
    pub(super) fn own_function(&self, site: &Site<'_>) -> Option<Function> {
        let stack = self.functions(site);
        let own = stack.innermost_first().find(|function| function.origin == Origin::Program);
        own.or_else(|| stack.innermost_first().next())
    }

    /// The call in that function, by where it returns to: one line of code, on however many stacks. None where names
    /// are not known.
    pub(super) fn own_call(&self, site: &Site<'_>) -> Option<usize> {
        let is_own = |function: &Function| function.origin == Origin::Program && function.is_named;
        let has_own = |address: &&usize| self.functions_at(**address).iter().any(is_own);
        site.frames().iter().find(has_own).copied()
    }
}

/// How many functions there are, the innermost first, up to the last one of the allocator before the first of the
/// program's own. The allocator itself calls functions of the standard library.
fn allocators_of<'a>(functions: impl Iterator<Item = &'a Function>) -> usize {
    let inner = functions.take_while(|function| function.origin != Origin::Program).enumerate();
    let ours = inner.filter(|(_, function)| function.origin == Origin::Allocator);
    ours.map(|(index, _)| index + 1).last().unwrap_or(0)
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
