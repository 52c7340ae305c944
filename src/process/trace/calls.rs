//! Calls on a stack, as lines: the address, the function and how far into it, the file and where there.

use core::fmt;

use super::modules::{Module, Modules};
use crate::base::array::Array;
use crate::base::fatal;
use crate::base::os::OutOfMemory;
use crate::base::text::valid_text;
use crate::profile::walk::call_of;

/// What names of this allocator's functions, and of those that lead to it, begin with.
const OWN_NAMES: [&str; 4] = ["mems::", "<mems::", "__rustc::__r", "__rust_"];
/// And those of its libraries.
const OWN_LIBRARIES: [&[u8]; 3] = [b"libmems.so", b"libmems_preload.", b"libmems_capi."];
/// What the names of functions begin with that may stand between two of the allocator's.
const NAMES_BETWEEN: [&str; 4] = ["core::", "<core::", "alloc::", "<alloc::"];

/// A call.
#[derive(Clone, Copy, Debug)]
struct Call {
    /// An address in its instruction, in memory and in the file.
    address: usize,
    in_file: usize,
    /// Where the function's name lies among all, and how long it is, 0 if that is not known.
    name: [usize; 2],
    /// How far behind the function's start it is.
    offset: usize,
}

/// The calls of a stack, in address order.
#[derive(Debug)]
struct Calls {
    calls: Array<Call>,
    names: Array<u8>,
    modules: Modules,
}

/// Writes the calls to which the frames of a stack return, without those of the allocator, the innermost first.
pub(super) fn write(frames: &[usize]) {
    let Ok(calls) = Calls::of(frames) else {
        frames.iter().for_each(|frame| fatal::add(format_args!("    {:#018x}", call_of(*frame))));
        return;
    };
    let found = || frames.iter().filter_map(|frame| calls.find(*frame));
    let inner = found().take_while(|call| calls.is_own(call) || calls.is_between(call));
    let own = inner.enumerate().filter(|(_, call)| calls.is_own(call)).last();
    // A stack of the allocator alone is shown.
    let own = own.map_or(0, |(last, _)| last + 1);
    let own = if own == frames.len() { 0 } else { own };
    found().skip(own).for_each(|call| fatal::add(format_args!("    {}", calls.shown(call))));
}

impl Calls {
    fn of(frames: &[usize]) -> Result<Self, OutOfMemory> {
        let mut addresses = Array::new();
        frames.iter().try_for_each(|frame| addresses.push(call_of(*frame)))?;
        addresses.items_mut().sort_unstable();
        let modules = Modules::with(&addresses)?;
        let mut calls = Self { calls: Array::new(), names: Array::new(), modules };
        let mut rest: &[usize] = &addresses;
        while let Some(first) = rest.first() {
            let module = calls.modules.find(*first).copied();
            let is_there = |address: &&usize| match &module {
                Some(module) => (module.start..module.end).contains(*address),
                None => *address == first,
            };
            let (group, behind) = rest.split_at(rest.iter().take_while(is_there).count());
            calls.add(group, module)?;
            rest = behind;
        }
        Ok(calls)
    }

    /// Adds calls that are in one module.
    fn add(&mut self, group: &[usize], module: Option<Module>) -> Result<(), OutOfMemory> {
        let file = module.and_then(|module| self.modules.open(&module));
        let base = module.map_or(0, |module| module.base_of_file(file.as_ref()));
        let first = self.calls.len();
        for address in group {
            let in_file = address.wrapping_sub(base);
            self.calls.push(Call { address: *address, in_file, name: [0; 2], offset: 0 })?;
        }
        #[cfg(feature = "symbols")]
        if let Some(file) = file {
            self.name(first, &file)?;
        }
        #[cfg(not(feature = "symbols"))]
        let _ = first;
        Ok(())
    }

    /// Finds the names of all calls from the `first` one on, which are in one file.
    #[cfg(feature = "symbols")]
    fn name(&mut self, first: usize, file: &rustix::fd::OwnedFd) -> Result<(), OutOfMemory> {
        use core::fmt::Write;
        use rustix::fd::AsFd;

        use crate::base::symbol_table::{demangled, find_functions};
        use crate::base::text::StackText;

        /// Bytes of a name at the most; what is longer is cut.
        const NAME_BYTES: usize = 400;

        let mut addresses = Array::new();
        let calls = self.calls.items_mut().get_mut(first..).unwrap_or_default();
        calls.iter().try_for_each(|call| addresses.push(call.in_file))?;
        let (names, mut result) = (&mut self.names, Ok(()));
        find_functions(file.as_fd(), &addresses, |place, name, offset| {
            let mut text = StackText::<NAME_BYTES>::new();
            // What does not fit is cut.
            let _ = write!(text, "{}", demangled(name));
            let first = names.len();
            let pushed = text.as_str().bytes().try_for_each(|byte| names.push(byte));
            if let Some(call) = calls.get_mut(place).filter(|_| pushed.is_ok()) {
                (call.name, call.offset) = ([first, names.len() - first], offset);
            }
            result = result.and(pushed);
        })?;
        result
    }

    fn find(&self, frame: usize) -> Option<&Call> {
        let place = self.calls.binary_search_by_key(&call_of(frame), |call| call.address).ok()?;
        self.calls.get(place)
    }

    /// The name of a call's function, empty if that is not known.
    fn name_of(&self, call: &Call) -> &str {
        let [first, len] = call.name;
        valid_text(self.names.get(first..first + len).unwrap_or_default())
    }

    /// Whether the function is the allocator's.
    fn is_own(&self, call: &Call) -> bool {
        let name = self.name_of(call);
        let path =
            self.modules.find(call.address).map_or(&[][..], |module| self.modules.path(module));
        let file = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        OWN_NAMES.iter().any(|own| name.starts_with(own))
            || OWN_LIBRARIES.iter().any(|own| file.starts_with(own))
    }

    /// Whether the function may stand between two of the allocator's.
    fn is_between(&self, call: &Call) -> bool {
        let name = self.name_of(call);
        NAMES_BETWEEN.iter().any(|begin| name.starts_with(begin))
    }

    fn shown(&self, call: &Call) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            write!(f, "{:#018x}", call.address)?;
            match self.name_of(call) {
                "" => {}
                name => write!(f, " {}+{:#x}", Plain(name.as_bytes()), call.offset)?,
            }
            match self.modules.find(call.address) {
                Some(module) if module.has_name() => {
                    write!(f, " ({}+{:#x})", Plain(self.modules.path(module)), call.in_file)
                }
                _ => Ok(()),
            }
        })
    }
}

/// Bytes as text in a line: with `?` for what is no letter.
struct Plain<'bytes>(&'bytes [u8]);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;

        self.0.utf8_chunks().try_for_each(|chunk| {
            let letters = chunk.valid().chars();
            letters
                .map(|one| if one.is_control() { '?' } else { one })
                .try_for_each(|one| f.write_char(one))?;
            f.write_str(if chunk.invalid().is_empty() { "" } else { "?" })
        })
    }
}
