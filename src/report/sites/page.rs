//! What the heap map's page draws of a profile.

use core::fmt::{self, Write};
use core::time::Duration;

use super::super::json::{Quoted, list};
use super::names::{Names, Source};
use super::origins::Origin;
use super::suspects::Suspects;
use super::tree::Tree;
use crate::base::array::Array;
use crate::base::os::OutOfMemory;
use crate::profile::{Estimate, Growth, Sample, Sites};

/// Sites whose stacks have the same names: they differ in frames of the allocator, or in lines of one function.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// Their node of the tree.
    leaf: u32,
    /// The function by which people know them, a text.
    own: u32,
    samples: usize,
    blocks: Estimate,
    bytes: Estimate,
    requested: Estimate,
    oldest: Option<Duration>,
    grown: f64,
    is_suspect: bool,
}

/// A profile as the page has it.
#[derive(Debug)]
pub(in crate::report) struct PageProfile<'a> {
    sites: &'a Sites,
    growth: Option<Growth<'a>>,
    names: Names,
    tree: Tree,
    /// The names of functions, texts, each once, in order; and whose they are.
    functions: Array<(u32, Origin)>,
    /// The one with the most bytes first.
    rows: Array<Row>,
    /// Leaves, in order, and the places of their rows.
    places: Array<(u32, usize)>,
}

impl<'a> PageProfile<'a> {
    /// What is known now, and what has grown since an earlier look.
    pub(in crate::report) fn new(
        sites: &'a Sites,
        earlier: Option<&'a Sites>,
        source: Source,
    ) -> Result<Self, OutOfMemory> {
        let names = Names::of(core::iter::once(sites).chain(earlier), source)?;
        let growth = earlier.map(|earlier| sites.growth_since(earlier)).transpose()?;
        let tree = Tree::of(sites, &names, growth.as_ref())?;
        let mut functions = Array::new();
        functions.push((0, Origin::Library))?;
        tree.iter().try_for_each(|node| functions.push((node.name, node.origin)))?;
        functions.sort_and_merge(|one: &(u32, Origin), other| one.0.cmp(&other.0), |_, _| {});
        let (rows, places) = (Array::new(), Array::new());
        let mut profile = Self { sites, growth, names, tree, functions, rows, places };
        profile.fill_rows()?;
        Ok(profile)
    }

    /// Makes a row for each leaf.
    fn fill_rows(&mut self) -> Result<(), OutOfMemory> {
        let suspects = match &self.growth {
            Some(growth) => Suspects::of(growth, &self.names)?,
            None => Suspects::none(),
        };
        for site in self.sites.iter() {
            let growth = self.growth.as_ref().and_then(|growth| growth.site(site.number()));
            self.rows.push(Row {
                leaf: self.tree.leaf(site.number()),
                own: self.names.own_function(&site).map_or(0, |own| own.name),
                samples: site.samples(),
                blocks: site.blocks(),
                bytes: site.bytes(),
                requested: site.requested_bytes(),
                oldest: site.oldest(),
                grown: growth.map_or(0.0, |grown| grown.bytes().value()),
                is_suspect: growth.is_some_and(|grown| suspects.at(&self.names, &grown).is_some()),
            })?;
        }
        self.rows.sort_and_merge(|one, other| one.leaf.cmp(&other.leaf), Row::add);
        self.rows.sort_by(|one, other| other.bytes.value().total_cmp(&one.bytes.value()));
        for (place, row) in self.rows.iter().enumerate() {
            self.places.push((row.leaf, place))?;
        }
        self.places.sort_by(Ord::cmp);
        Ok(())
    }

    /// Writes it as an object.
    pub(in crate::report) fn write<W: Write>(&self, out: &mut W) -> fmt::Result {
        let sites = self.sites;
        write!(
            out,
            "{{\"mean\":{},\"seconds\":{:.1}",
            sites.mean_bytes(),
            sites.age().as_secs_f64()
        )?;
        match &self.growth {
            Some(growth) => write!(out, ",\"growth\":{:.1}", growth.span().as_secs_f64())?,
            None => out.write_str(",\"growth\":null")?,
        }
        let (blocks, bytes) = sites.older();
        write!(out, ",\"older\":[{:.0},{:.0}]", blocks.value(), bytes.value())?;
        out.write_str(",\n\"names\":")?;
        list(out, self.functions.iter(), |out, (name, _)| {
            write!(out, "{}", Quoted(self.names.called(*name)))
        })?;
        // A letter for each name: whose the function is.
        out.write_str(",\n\"origins\":\"")?;
        self.functions.iter().try_for_each(|(_, origin)| out.write_char(letter(*origin)))?;
        out.write_str("\",\n\"nodes\":")?;
        list(out, self.tree.iter(), |out, node| {
            let (parent, name) = (i64::from(node.parent) - 1, self.function(node.name));
            write!(out, "[{parent},{name},{:.0},{:.0},{:.0}]", node.bytes, node.blocks, node.grown)
        })?;
        out.write_str(",\n\"sites\":")?;
        list(out, self.rows.iter(), |out, row| self.write_row(out, row))?;
        out.write_str(",\n\"samples\":")?;
        list(out, sites.samples(), |out, sample| self.write_sample(out, &sample))?;
        out.write_str(",\n\"labels\":")?;
        list(out, sites.labels(), |out, label| {
            let ((low, high), bytes) = (label.bytes.interval(), label.bytes.value());
            write!(out, "[{},{bytes:.0},{low:.0},{high:.0},", Quoted(label.name))?;
            write!(out, "{:.0}]", label.blocks.value())
        })?;
        out.write_char('}')
    }

    /// The number of a function in the page.
    fn function(&self, name: u32) -> usize {
        self.functions.binary_search_by_key(&name, |function| function.0).unwrap_or(0)
    }

    fn write_row<W: Write>(&self, out: &mut W, row: &Row) -> fmt::Result {
        let (node, own) = (i64::from(row.leaf) - 1, self.function(row.own));
        let (low, high) = row.bytes.interval();
        write!(out, "\n[{node},{own},{:.0},{low:.0},{high:.0},", row.bytes.value())?;
        write!(out, "{:.0},{},", row.blocks.value(), row.samples)?;
        match row.oldest {
            Some(oldest) => write!(out, "{:.1}", oldest.as_secs_f64())?,
            None => out.write_str("null")?,
        }
        let is_suspect = u8::from(row.is_suspect);
        write!(out, ",{:.0},{:.0},{is_suspect}]", row.requested.value(), row.grown)
    }

    fn write_sample<W: Write>(&self, out: &mut W, sample: &Sample<'_>) -> fmt::Result {
        write!(out, "[{},{},", sample.address(), sample.bytes())?;
        match (sample.site(), sample.age()) {
            (Some(site), Some(age)) => {
                let leaf = self.tree.leaf(site.number());
                let found = self.places.binary_search_by_key(&leaf, |place| place.0);
                let place = found.ok().and_then(|index| self.places.get(index));
                let row = place.map_or(0, |place| place.1);
                write!(out, "{row},{:.1}", age.as_secs_f64())?;
            }
            _ => out.write_str("-1,0")?,
        }
        write!(out, ",{:.1}", sample.weight())?;
        match sample.label_place() {
            Some(place) => write!(out, ",{place}]"),
            None => out.write_str(",-1]"),
        }
    }
}

impl Row {
    fn add(&mut self, other: &Self) {
        self.samples += other.samples;
        self.blocks += other.blocks;
        self.bytes += other.bytes;
        self.requested += other.requested;
        self.oldest = self.oldest.max(other.oldest);
        self.grown += other.grown;
        self.is_suspect |= other.is_suspect;
    }
}

const fn letter(origin: Origin) -> char {
    match origin {
        Origin::Program => 'p',
        Origin::Library => 'l',
        Origin::Allocator => 'a',
    }
}
