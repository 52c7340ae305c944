//! Who has asked for what in a region, for the message of a test that fails.

use core::fmt::{self, Write};

use super::super::text::Bytes;
use super::debug_info::debug_info;
use super::names::Names;
use super::origins::Origin;
use crate::base::array::Array;
use crate::base::os::OutOfMemory;
use crate::profile::{Site, Sites};

/// Calls that are named, and the functions of each.
const MOST_CALLS: usize = 5;
const MOST_FUNCTIONS: usize = 6;

/// Which blocks are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Those that are live.
    Left,
    /// All that were handed out.
    Allocated,
}

/// Sites whose own function, and the line in it, is the same.
#[derive(Clone, Copy, Debug)]
struct Call {
    /// Texts: the name and the file of the function, and the line.
    function: (u32, u32, u32),
    /// The site that has the most of it.
    largest: usize,
    most: f64,
    blocks: f64,
    bytes: f64,
}

impl Sites {
    /// Writes a heading, and who has asked for the blocks that are told, the most bytes first: a line for each call of
    /// the program's own, and its callers.
    pub(crate) fn write_told<W: Write>(&self, out: &mut W, told: Told, head: &str) -> fmt::Result {
        let names = Names::of([self], debug_info).map_err(|_| fmt::Error)?;
        let calls = calls(self, &names, told).map_err(|_| fmt::Error)?;
        if calls.is_empty() {
            return write!(out, "\n{head} calls that are not known");
        }
        write!(out, "\n{head}")?;
        for call in calls.iter().take(MOST_CALLS) {
            let unit = if call.blocks == 1.0 { "block, " } else { "blocks," };
            write!(out, "\n{:>10.0} {unit} {:>9}  ", call.blocks, Bytes::about(call.bytes))?;
            write_function(out, &names, call.function)?;
            let site = self.site(call.largest);
            let stack = site.iter().flat_map(|site| names.functions(site).innermost_first());
            let own =
                stack.filter(|function| function.origin == Origin::Program && function.is_named);
            for caller in own.skip(1).take(MOST_FUNCTIONS - 1) {
                out.write_str("\n                              from ")?;
                write_function(out, &names, (caller.name, caller.file, caller.line))?;
            }
        }
        match calls.len().saturating_sub(MOST_CALLS) {
            0 => Ok(()),
            rest => write!(out, "\n           and {rest} more"),
        }
    }
}

fn calls(sites: &Sites, names: &Names, told: Told) -> Result<Array<Call>, OutOfMemory> {
    let mut calls = Array::new();
    for site in sites.iter() {
        let (blocks, bytes) = sums(&site, told);
        if blocks > 0.0 {
            let own = names.own_function(&site);
            let function = own.map_or((0, 0, 0), |own| (own.name, own.file, own.line));
            calls.push(Call { function, largest: site.number(), most: bytes, blocks, bytes })?;
        }
    }
    calls.sort_and_merge(|one: &Call, other| one.function.cmp(&other.function), Call::add);
    calls.sort_by(|one, other| other.bytes.total_cmp(&one.bytes));
    Ok(calls)
}

fn sums(site: &Site<'_>, told: Told) -> (f64, f64) {
    match told {
        Told::Left => (site.blocks().value(), site.bytes().value()),
        Told::Allocated => site.allocated(),
    }
}

impl Call {
    fn add(&mut self, other: &Self) {
        self.blocks += other.blocks;
        self.bytes += other.bytes;
        if other.most > self.most {
            (self.largest, self.most) = (other.largest, other.most);
        }
    }
}

fn write_function<W: Write>(
    out: &mut W,
    names: &Names,
    (name, file, line): (u32, u32, u32),
) -> fmt::Result {
    out.write_str(names.called(name))?;
    match (names.text(file), line) {
        ("", _) | (_, 0) => Ok(()),
        (file, line) => write!(out, "  {file}:{line}"),
    }
}
