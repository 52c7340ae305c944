//! What the files of the program and its libraries say of their functions, and their debug info.
//!
//! They are read with [addr2line](https://docs.rs/addr2line), anew each time, so that libraries may come and go. Its
//! memory is the heap's, and given back. Nothing is shared between threads: no lock is held, none is waited for.

#[cfg(not(feature = "symbols"))]
pub(super) use off::Symbols;
#[cfg(feature = "symbols")]
pub(super) use on::Symbols;

#[cfg(feature = "symbols")]
mod on {
    use core::fmt::{self, Write};
    use std::borrow::Cow;
    use std::vec::Vec;

    use addr2line::Loader;

    use crate::base::text::StackText;

    /// Bytes of a name, or of a file's, at the most; what is longer is cut.
    const NAME_BYTES: usize = 2000;
    /// The program's own file, also where another one has taken its place since.
    const OWN_FILE: &str = "/proc/self/exe";

    /// A text on the stack.
    type Name = StackText<NAME_BYTES>;

    /// Files that were opened, by the number of their module. One that cannot be read has nothing to say.
    pub(in crate::report::sites) struct Symbols(Vec<(usize, Option<Loader>)>);

    impl fmt::Debug for Symbols {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Symbols").field("files", &self.0.len()).finish()
        }
    }

    impl Symbols {
        /// No file.
        pub(in crate::report::sites) const fn new() -> Self {
            Self(Vec::new())
        }

        /// Opens the file of a module; that of the program has no path here.
        pub(in crate::report::sites) fn open(&mut self, module: usize, path: Option<&str>) {
            if !self.0.iter().any(|file| file.0 == module) {
                self.0.push((module, Loader::new(path.unwrap_or(OWN_FILE)).ok()));
            }
        }

        /// Hands name, file and line of each function at an address in a module's file to `take`, the innermost first.
        pub(in crate::report::sites) fn resolve(
            &self,
            module: usize,
            address: usize,
            mut take: impl FnMut(&str, &str, u32),
        ) {
            let file = self.0.iter().find(|file| file.0 == module);
            let Some(loader) = file.and_then(|file| file.1.as_ref()) else { return };
            let symbol = loader.find_symbol(address as u64).map(demangled);
            let mut frames = loader.find_frames(address as u64).ok();
            let mut next = || frames.as_mut().and_then(|frames| frames.next().ok().flatten());
            let mut frame = next();
            if let (None, Some(symbol)) = (&frame, &symbol) {
                take(symbol.as_str(), "", 0);
            }
            while let Some(now) = frame {
                frame = next();
                let name = now.function.as_ref().and_then(|function| {
                    let raw = function.raw_name().ok()?;
                    Some(demangled(&raw))
                });
                // The outermost one is what the table of symbols knows, by its whole name.
                let has_path = name.as_ref().is_some_and(|name| name.as_str().contains("::"));
                let whole = if frame.is_none() && !has_path { symbol.as_ref() } else { None };
                let Some(name) = whole.or(name.as_ref()).or(symbol.as_ref()) else { continue };
                let (file, line) =
                    now.location.as_ref().map_or((None, None), |at| (at.file, at.line));
                take(name.as_str(), file.unwrap_or_default(), line.unwrap_or(0));
            }
        }
    }

    /// A name as it is written in Rust; one of another language as it is.
    fn demangled(name: &str) -> Name {
        let mut text = Name::new();
        // What does not fit is cut.
        let _ = text.write_str(&addr2line::demangle_auto(Cow::from(name), None));
        text
    }
}

#[cfg(not(feature = "symbols"))]
mod off {
    /// Nobody is asked.
    #[derive(Debug)]
    pub(in crate::report::sites) struct Symbols;

    impl Symbols {
        pub(in crate::report::sites) const fn new() -> Self {
            Self
        }

        pub(in crate::report::sites) const fn open(&mut self, _: usize, _: Option<&str>) {}

        pub(in crate::report::sites) fn resolve(
            &self,
            _: usize,
            _: usize,
            _: impl FnMut(&str, &str, u32),
        ) {
        }
    }
}
