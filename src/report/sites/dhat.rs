//! The form of DHAT, Valgrind's heap profiler, which its viewer `dh_view.html` opens.
//!
//! A field that a sampled profile cannot know gets what is known: the moment of the profile is the peak and the end,
//! and lifetimes are those of live blocks so far.

use core::fmt::{self, Write};

use super::super::json::{Quoted, list};
use super::debug_info::debug_info;
use super::names::{Function, Names, Source};
use crate::base::array::Array;
use crate::base::os::OutOfMemory;
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
        self.write_dhat_by(out, debug_info)
    }

    /// The same with names from somewhere else.
    pub(crate) fn write_dhat_by<W: Write>(&self, out: &mut W, source: Source) -> fmt::Result {
        let names = Names::of([self], source).map_err(|_| fmt::Error)?;
        let milliseconds = self.age().as_millis();
        out.write_str("{\"dhatFileVersion\":2,\"mode\":\"mems\",\"verb\":\"Allocated\"")?;
        out.write_str(",\"bklt\":true,\"bkacc\":false,\"tu\":\"ms\",\"Mtu\":\"s\",\"tuth\":1000")?;
        write!(out, ",\"cmd\":{},\"pid\":{}", Quoted(names.program()), this_process())?;
        write!(out, ",\"tg\":{milliseconds},\"te\":{milliseconds}")?;
        out.write_str(",\n\"pps\":")?;
        let points = points(self, &names).map_err(|_| fmt::Error)?;
        list(out, points.iter(), |out, point| write_point(out, &names, self, point))?;
        out.write_str(",\n\"ftbl\":")?;
        let root = core::iter::once(None);
        list(out, root.chain(names.all_functions().map(Some)), |out, function| match function {
            Some(function) => write_function(out, &names, function),
            None => write!(out, "{}", Quoted("[root]")),
        })?;
        out.write_str("}\n")
    }
}

/// A stack with its sums. Sites that differ only in calls inside the allocator are one: the viewer refuses a file that
/// has a stack twice.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// One of its sites.
    site: usize,
    /// Bytes and blocks: live ones, and those that were allocated.
    live: [f64; 2],
    total: [f64; 2],
    lifetime: f64,
}

impl Point {
    fn of(site: &Site<'_>) -> Self {
        let live = [site.bytes().value(), site.blocks().value()];
        let (blocks, bytes) = site.allocated();
        // The live ones were allocated, too.
        let total = [bytes.max(live[0]), blocks.max(live[1])];
        let lifetime = site.mean_age().map_or(0.0, |age| age.as_secs_f64() * 1000.0 * live[1]);
        Self { site: site.number(), live, total, lifetime }
    }

    fn add(&mut self, other: &Self) {
        for index in 0..2 {
            self.live[index] += other.live[index];
            self.total[index] += other.total[index];
        }
        self.lifetime += other.lifetime;
    }
}

/// All stacks of which something is known, each once.
fn points(sites: &Sites, names: &Names) -> Result<Array<Point>, OutOfMemory> {
    let stack_of =
        |point: &Point| sites.site(point.site).into_iter().flat_map(|site| names.numbers(&site));
    let mut points = Array::new();
    for site in sites.iter() {
        let point = Point::of(&site);
        if stack_of(&point).next().is_some() {
            points.push(point)?;
        }
    }
    points.sort_and_merge(|one, other| stack_of(one).cmp(stack_of(other)), Point::add);
    Ok(points)
}

fn write_point<W: Write>(out: &mut W, names: &Names, sites: &Sites, point: &Point) -> fmt::Result {
    let ([bytes, blocks], [total_bytes, total]) = (point.live, point.total);
    write!(out, "\n{{\"tb\":{total_bytes:.0},\"tbk\":{total:.0},\"tl\":{:.0}", point.lifetime)?;
    for name in ["m", "g", "e"] {
        write!(out, ",\"{name}b\":{bytes:.0},\"{name}bk\":{blocks:.0}")?;
    }
    out.write_str(",\"fs\":")?;
    let stack = sites.site(point.site).into_iter().flat_map(|site| names.numbers(&site));
    list(out, stack, |out, number| write!(out, "{}", number + 1))?;
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
    write!(out, "\n{}", Quoted(text.as_str()))
}
