//! What the files of the program and its libraries say of their functions by their debug info, and where they have none
//! by their tables of symbols.
//!
//! They are read with [addr2line](https://docs.rs/addr2line), anew each time, so that libraries may come and go. Its
//! memory is the heap's, and given back. Nothing is shared between threads: no lock is held, none is waited for.

#[cfg(not(feature = "symbols"))]
pub(in crate::report) use off::debug_info;
#[cfg(feature = "symbols")]
pub(in crate::report) use on::debug_info;

#[cfg(feature = "symbols")]
mod on {
    use core::fmt::Write;
    use std::borrow::Cow;

    use addr2line::Loader;

    use super::super::names::{OWN_FILE, Take};
    use crate::base::text::StackText;

    /// Bytes of a name, or of a file's, at the most; what is longer is cut.
    const NAME_BYTES: usize = 2000;

    /// A text on the stack.
    type Name = StackText<NAME_BYTES>;

    /// Functions of a file with their lines, those that were inlined, too: see [`Source`](super::super::names::Source).
    /// A file that cannot be read has nothing to say.
    pub(in crate::report) fn debug_info(
        path: Option<&str>,
        addresses: &[usize],
        take: &mut Take<'_>,
    ) {
        let Ok(loader) = Loader::new(path.unwrap_or(OWN_FILE)) else { return };
        for (place, address) in addresses.iter().enumerate() {
            resolve(&loader, *address, |name, file, line| take(place, name, file, line));
        }
    }

    /// Hands name, file and line of each function at an address to `take`, the innermost first.
    fn resolve(loader: &Loader, address: usize, mut take: impl FnMut(&str, &str, u32)) {
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
            let (file, line) = now.location.as_ref().map_or((None, None), |at| (at.file, at.line));
            take(name.as_str(), file.unwrap_or_default(), line.unwrap_or(0));
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
    use super::super::names::Take;

    /// Nobody is asked.
    pub(in crate::report) fn debug_info(_: Option<&str>, _: &[usize], _: &mut Take<'_>) {}
}
