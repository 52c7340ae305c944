//! Collapsed stacks: a line for each, the outermost function first, and its live bytes. Flame graph tools read them.

use core::fmt::{self, Write};

use super::debug_info::debug_info;
use super::names::{Names, Source};
use crate::profile::Sites;

/// A name without what has a meaning in such a line.
struct Plain<'name>(&'name str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            ';' => f.write_char(','),
            _ if letter.is_control() => f.write_char(' '),
            _ => f.write_char(letter),
        })
    }
}

impl Sites {
    /// Writes a line for each site with live blocks, `main;handle;login 1234`: functions from the outermost on, and its
    /// live bytes. Blocks that are older than the profile have a line of their own. The form is that of
    /// [FlameGraph](https://github.com/brendangregg/FlameGraph), and what inferno, speedscope and others read.
    ///
    /// # Errors
    ///
    /// Those of `out`, and if there is no memory for the names.
    pub fn write_collapsed<W: Write>(&self, out: &mut W) -> fmt::Result {
        self.write_collapsed_by(out, debug_info)
    }

    /// The same with names from somewhere else.
    pub(crate) fn write_collapsed_by<W: Write>(&self, out: &mut W, source: Source) -> fmt::Result {
        let names = Names::of([self], source).map_err(|_| fmt::Error)?;
        for site in self.iter().filter(|site| site.samples() > 0) {
            let mut is_first = true;
            for function in names.functions(&site).outermost_first() {
                write!(
                    out,
                    "{}{}",
                    if is_first { "" } else { ";" },
                    Plain(names.text(function.name))
                )?;
                is_first = false;
            }
            let unknown = if is_first { "(unknown)" } else { "" };
            writeln!(out, "{unknown} {:.0}", site.bytes().value())?;
        }
        let (blocks, bytes) = self.older();
        if blocks.value() > 0.0 {
            writeln!(out, "(older than the profile) {:.0}", bytes.value())?;
        }
        Ok(())
    }
}
