//! The form of DHAT, Valgrind's heap profiler, which its viewer `dh_view.html` opens.
//!
//! A field that a sampled profile cannot know gets what is known: the moment of the profile is the peak and the end,
//! and lifetimes are those of live blocks so far.

use core::fmt::{self, Write};

use super::super::json::{Quoted, list};
use super::names::{Function, Names};
use crate::base::path::this_process;
use crate::base::text::StackText;
use crate::profile::{Site, Sites};

impl Sites {
    /// Writes the profile in the form of DHAT: its viewer, `dh_view.html` of Valgrind, sorts and folds sites. *Total*
    /// is what was allocated since the profile began, *At t-end* what is live. The peak is not known: *At t-gmax* is
    /// the same as at the end.
    ///
    /// # Errors
    ///
    /// Those of `out`, and if there is no memory for the names.
    pub fn write_dhat<W: Write>(&self, out: &mut W) -> fmt::Result {
        let names = Names::of([self]).map_err(|_| fmt::Error)?;
        let milliseconds = self.age().as_millis();
        out.write_str("{\"dhatFileVersion\":2,\"mode\":\"mems\",\"verb\":\"Allocated\"")?;
        out.write_str(",\"bklt\":true,\"bkacc\":false,\"tu\":\"ms\",\"Mtu\":\"s\",\"tuth\":1000")?;
        write!(out, ",\"cmd\":{},\"pid\":{}", Quoted(names.program()), this_process())?;
        write!(out, ",\"tg\":{milliseconds},\"te\":{milliseconds}")?;
        out.write_str(",\n\"pps\":")?;
        let is_known = |site: &Site<'_>| names.functions(site).innermost_first().next().is_some();
        list(out, self.iter().filter(is_known), |out, site| write_site(out, &names, &site))?;
        out.write_str(",\n\"ftbl\":")?;
        let root = core::iter::once(None);
        list(out, root.chain(names.all_functions().map(Some)), |out, function| match function {
            Some(function) => write_function(out, &names, function),
            None => write!(out, "{}", Quoted("[root]")),
        })?;
        out.write_str("}\n")
    }
}

fn write_site<W: Write>(out: &mut W, names: &Names, site: &Site<'_>) -> fmt::Result {
    let (blocks, bytes) = (site.blocks().value(), site.bytes().value());
    let (allocated, allocated_bytes) = site.allocated();
    // The live ones were allocated, too.
    let (total, total_bytes) = (allocated.max(blocks), allocated_bytes.max(bytes));
    let lifetime = site.mean_age().map_or(0.0, |age| age.as_secs_f64() * 1000.0 * blocks);
    write!(out, "\n{{\"tb\":{total_bytes:.0},\"tbk\":{total:.0},\"tl\":{lifetime:.0}")?;
    for name in ["m", "g", "e"] {
        write!(out, ",\"{name}b\":{bytes:.0},\"{name}bk\":{blocks:.0}")?;
    }
    out.write_str(",\"fs\":")?;
    list(out, names.numbers(site), |out, number| write!(out, "{}", number + 1))?;
    out.write_char('}')
}

fn write_function<W: Write>(out: &mut W, names: &Names, function: &Function) -> fmt::Result {
    let mut text = StackText::<1024>::new();
    // A longer one is cut.
    let _ = write!(text, "{}", names.text(function.name));
    let _ = match (function.file, function.line) {
        (0, _) => Ok(()),
        (file, line) => write!(text, " ({}:{line})", names.text(file)),
    };
    let text = text.as_bytes();
    let whole = str::from_utf8(text).or_else(|error| str::from_utf8(&text[..error.valid_up_to()]));
    write!(out, "\n{}", Quoted(whole.unwrap_or_default()))
}
