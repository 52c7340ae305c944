//! A profile as text for people: who has what, and what grew.

use core::cmp::Ordering;
use core::fmt::{self, Display, Write};
use core::time::Duration;

use super::super::text::Bytes;
use super::debug_info::debug_info;
use super::names::{Names, Source};
use super::origins::Origin;
use super::suspects::Suspects;
use crate::base::array::Array;
use crate::base::os::OutOfMemory;
use crate::base::text::StackText;
use crate::profile::{Change, Estimate, Growth, Site, SiteGrowth, Sites, StackEnd, Suspicion};

/// Functions that a report names, and those of a stack.
const MOST_GROUPS: usize = 12;
const MOST_FUNCTIONS: usize = 12;
/// Threads, and labels, that it names.
const MOST_THREADS: usize = 8;
const MOST_LABELS: usize = 16;

/// What it says of rates.
const CLUSTERS: &str = "* rates are cluster samples: right on average, but a loop that uses one slot again and again \
is counted each time or never";

/// Sites whose own function is the same one.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// Its name, a text.
    name: u32,
    blocks: Estimate,
    bytes: Estimate,
    requested: Estimate,
    oldest: Duration,
    grown: Change,
    /// Bytes that are allocated a second.
    rate: f64,
    /// The call that is most suspected of a leak.
    suspect: Option<Suspicion>,
    /// The site that has, or has grown by, the most.
    largest: usize,
    most: f64,
    sites: usize,
}

/// Groups of sites.
struct Groups(Array<Group>);

impl Groups {
    /// The group of a name, which is made if it is new.
    fn group(&mut self, name: u32) -> Result<&mut Group, OutOfMemory> {
        let place = match self.0.iter().position(|group| group.name == name) {
            Some(place) => place,
            None => {
                self.0.push(Group::new(name))?;
                self.0.len() - 1
            }
        };
        Ok(&mut self.0.items_mut()[place])
    }

    fn of_sites(sites: &Sites, names: &Names) -> Result<Self, OutOfMemory> {
        let mut groups = Self(Array::new());
        for site in sites.iter().filter(|site| site.samples() > 0) {
            let group = groups.group(names.own_function(&site).map_or(0, |own| own.name))?;
            group.add(&site);
            group.take_largest(site.number(), site.bytes().value());
        }
        groups.0.sort_by(|one, other| falling(one.bytes.value(), other.bytes.value()));
        Ok(groups)
    }

    fn of_growth(growth: &Growth<'_>, names: &Names) -> Result<Self, OutOfMemory> {
        let (mut groups, suspects) = (Self(Array::new()), Suspects::of(growth, names)?);
        for grown in growth.iter() {
            let Some(site) = grown.site() else { continue };
            let group = groups.group(names.own_function(&site).map_or(0, |own| own.name))?;
            group.add_growth(&grown);
            group.take_suspect(suspects.at(names, &grown));
            if let Some(site) = grown.now() {
                group.add(&site);
                group.take_largest(site.number(), grown.bytes().value());
            }
        }
        groups.0.sort_by(|one, other| falling(one.grown.value(), other.grown.value()));
        Ok(groups)
    }
}

impl Group {
    const fn new(name: u32) -> Self {
        Self {
            name,
            blocks: Estimate::NONE,
            bytes: Estimate::NONE,
            requested: Estimate::NONE,
            oldest: Duration::ZERO,
            grown: Change::NONE,
            rate: 0.0,
            suspect: None,
            largest: usize::MAX,
            most: f64::MIN,
            sites: 0,
        }
    }

    fn add(&mut self, site: &Site<'_>) {
        self.sites += 1;
        self.blocks += site.blocks();
        self.bytes += site.bytes();
        self.requested += site.requested_bytes();
        self.oldest = self.oldest.max(site.oldest().unwrap_or_default());
    }

    fn add_growth(&mut self, grown: &SiteGrowth<'_>) {
        self.grown += grown.bytes();
        self.rate += grown.allocated_per_second().unwrap_or_default().1;
    }

    fn take_suspect(&mut self, other: Option<Suspicion>) {
        let growth = |suspect: &Option<Suspicion>| suspect.map_or(0.0, |one| one.growth());
        if growth(&other) > growth(&self.suspect) {
            self.suspect = other;
        }
    }

    fn take_largest(&mut self, site: usize, value: f64) {
        if value > self.most {
            (self.largest, self.most) = (site, value);
        }
    }
}

impl Sites {
    /// Writes who has what is live, the largest first: the program's own functions, each with the stack that has most
    /// of it, the threads, and the [labels](crate::label). About 200 lines at the most.
    ///
    /// # Errors
    ///
    /// Those of `out`, and if there is no memory for the names.
    pub fn write_report<W: Write>(&self, out: &mut W) -> fmt::Result {
        self.write_report_by(out, debug_info)
    }

    /// The same with names from somewhere else.
    pub(crate) fn write_report_by<W: Write>(&self, out: &mut W, source: Source) -> fmt::Result {
        let names = Names::of([self], source).map_err(|_| fmt::Error)?;
        let groups = Groups::of_sites(self, &names).map_err(|_| fmt::Error)?;
        let known = groups.0.iter().fold((Estimate::NONE, Estimate::NONE), |mut sum, group| {
            sum.0 += group.bytes;
            sum.1 += group.blocks;
            sum
        });
        write_head(out, self)?;
        writeln!(out, "live: {} in about {:.0} blocks", About(known.0), known.1.value())?;
        let (blocks, bytes) = self.older();
        if blocks.value() > 0.0 {
            write!(out, "older than the profile, and nobody's: {} ", About(bytes))?;
            writeln!(out, "in about {:.0} blocks", blocks.value())?;
        }
        writeln!(
            out,
            "\n      live  of 95% between            blocks  lost   oldest  allocated by"
        )?;
        for group in groups.0.iter().take(MOST_GROUPS) {
            let (low, high) = group.bytes.interval();
            let lost = 1.0 - group.requested.value() / group.bytes.value().max(1.0);
            let oldest = group.oldest.as_secs_f64();
            write!(
                out,
                "{:>10}  {:>9} {:>9}  ",
                Bytes::about(group.bytes.value()),
                Bytes::about(low),
                Bytes::about(high)
            )?;
            write!(
                out,
                "{:>11.0}  {:>3.0}% {oldest:>6.1} s  ",
                group.blocks.value(),
                lost * 100.0
            )?;
            writeln!(out, "{}", names.called(group.name))?;
            write_stack(out, &names, self.site(group.largest), group)?;
        }
        write_rest(out, groups.0.len())?;
        write_threads(out, self)?;
        write_labels(out, self)
    }
}

impl Growth<'_> {
    /// Writes what has grown, the most first: the program's own functions, each with the stack that has grown most. A
    /// *leak suspect* is called so: see [`SiteGrowth::is_leak_suspect`].
    ///
    /// # Errors
    ///
    /// Those of `out`, and if there is no memory for the names.
    pub fn write_report<W: Write>(&self, out: &mut W) -> fmt::Result {
        self.write_report_by(out, debug_info)
    }

    /// The same with names from somewhere else.
    pub(crate) fn write_report_by<W: Write>(&self, out: &mut W, source: Source) -> fmt::Result {
        let names = Names::of([self.before(), self.after()], source).map_err(|_| fmt::Error)?;
        let groups = Groups::of_growth(self, &names).map_err(|_| fmt::Error)?;
        let mut all = Change::NONE;
        groups.0.iter().for_each(|group| all += group.grown);
        write_head(out, self.after())?;
        let seconds = self.span().as_secs_f64();
        writeln!(out, "growth of live bytes within {seconds:.1} s: {}", Grown(all))?;
        writeln!(
            out,
            "\n     grown  95% between               came       went  allocated a second*  by"
        )?;
        for group in groups.0.iter().take(MOST_GROUPS).filter(|group| group.grown.value() > 0.0) {
            let (low, high) = group.grown.interval();
            write!(
                out,
                "{:>10}  {:>10} {:>10} ",
                Signed(group.grown.value()),
                Signed(low),
                Signed(high)
            )?;
            let (came, went) = (group.grown.came.value(), group.grown.went.value());
            write!(out, "{:>10} {:>10}  ", Bytes::about(came), Bytes::about(went))?;
            write!(out, "{:>19}  ", Bytes::about(group.rate))?;
            writeln!(out, "{}", names.called(group.name))?;
            if let Some(suspect) = group.suspect {
                let (stayed, had) = suspect.stayed_of();
                write!(
                    out,
                    "            leak suspect: a call has about {:.0} blocks more, ",
                    suspect.growth()
                )?;
                writeln!(
                    out,
                    "and {stayed} of {had} that were sampled {seconds:.1} s before live on"
                )?;
            }
            write_stack(out, &names, self.after().site(group.largest), group)?;
        }
        writeln!(out, "\n{CLUSTERS}")
    }
}

fn write_head<W: Write>(out: &mut W, sites: &Sites) -> fmt::Result {
    write!(out, "profile of {:.1} s, ", sites.age().as_secs_f64())?;
    match sites.mean_bytes() {
        0 => write!(out, "ended")?,
        mean => write!(out, "a sample for each {}", Bytes(mean))?,
    }
    writeln!(out, ": {} samples", sites.samples().len())
}

/// Writes the functions of a group's largest stack, the innermost first.
fn write_stack<W: Write>(
    out: &mut W,
    names: &Names,
    site: Option<Site<'_>>,
    group: &Group,
) -> fmt::Result {
    let Some(site) = site else { return Ok(()) };
    let stack = names.functions(&site);
    // As far as the function that is told, at the least.
    let own = stack.innermost_first().position(|function| function.name == group.name);
    let most = MOST_FUNCTIONS.max(own.map_or(0, |own| own + 2));
    for function in stack.innermost_first().take(most) {
        write!(out, "            {}", names.called(function.name))?;
        // Lines of libraries would hide those that can be changed.
        match (function.line, function.origin) {
            (1.., Origin::Program) => {
                writeln!(out, "  {}:{}", names.text(function.file), function.line)?;
            }
            _ => writeln!(out)?,
        }
    }
    let left = stack.innermost_first().count().saturating_sub(most);
    if left > 0 {
        writeln!(out, "            and {left} more")?;
    }
    match site.end() {
        StackEnd::Bottom => {}
        StackEnd::TooDeep => writeln!(out, "            (deeper than 64 frames)")?,
        StackEnd::Lost => writeln!(out, "            (its callers could not be found)")?,
    }
    match group.sites {
        0 | 1 => Ok(()),
        sites => writeln!(out, "            (the largest of {sites} stacks)"),
    }
}

fn write_rest<W: Write>(out: &mut W, groups: usize) -> fmt::Result {
    match groups.saturating_sub(MOST_GROUPS) {
        0 => Ok(()),
        rest => writeln!(out, "\nand {rest} more functions"),
    }
}

fn write_threads<W: Write>(out: &mut W, sites: &Sites) -> fmt::Result {
    let mut threads = Array::new();
    for thread in sites.threads() {
        threads.push(thread).map_err(|_| fmt::Error)?;
    }
    threads.sort_by(|one, other| falling(one.bytes.value(), other.bytes.value()));
    writeln!(out, "\n      live        blocks  asked for by thread")?;
    for thread in threads.iter().take(MOST_THREADS) {
        write!(
            out,
            "{:>10}  {:>12.0}  ",
            Bytes::about(thread.bytes.value()),
            thread.blocks.value()
        )?;
        match (thread.thread_id, thread.name) {
            (0, _) => writeln!(out, "not known, or before the profile")?,
            (id, "") => writeln!(out, "{id}, which has ended")?,
            (id, name) => writeln!(out, "{id} {name}")?,
        }
    }
    match threads.len().saturating_sub(MOST_THREADS) {
        0 => Ok(()),
        rest => writeln!(out, "and {rest} more threads"),
    }
}

fn write_labels<W: Write>(out: &mut W, sites: &Sites) -> fmt::Result {
    if sites.labels().all(|label| label.name.is_empty()) {
        return Ok(());
    }
    let mut labels = Array::new();
    for label in sites.labels() {
        labels.push(label).map_err(|_| fmt::Error)?;
    }
    labels.sort_by(|one, other| falling(one.bytes.value(), other.bytes.value()));
    writeln!(out, "\n      live  of 95% between            blocks  asked for under label")?;
    for label in labels.iter().take(MOST_LABELS) {
        let (low, high) = label.bytes.interval();
        let bytes = [label.bytes.value(), low, high].map(Bytes::about);
        write!(out, "{:>10}  {:>9} {:>9}  ", bytes[0], bytes[1], bytes[2])?;
        let name = if label.name.is_empty() { "(none)" } else { label.name };
        writeln!(out, "{:>11.0}  {name}", label.blocks.value())?;
    }
    match labels.len().saturating_sub(MOST_LABELS) {
        0 => Ok(()),
        rest => writeln!(out, "and {rest} more labels"),
    }
}

/// The order in which the larger one comes first.
fn falling(one: f64, other: f64) -> Ordering {
    other.total_cmp(&one)
}

/// An estimate of bytes with its interval.
struct About(Estimate);

impl Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.0.interval();
        write!(
            f,
            "{} ({} to {})",
            Bytes::about(self.0.value()),
            Bytes::about(low),
            Bytes::about(high)
        )
    }
}

/// A change of bytes with its interval.
struct Grown(Change);

impl Display for Grown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.0.interval();
        write!(f, "{} ({} to {})", Signed(self.0.value()), Signed(low), Signed(high))
    }
}

/// Bytes with a sign.
struct Signed(f64);

impl Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = StackText::<40>::new();
        write!(text, "{}{}", if self.0 < 0.0 { '-' } else { '+' }, Bytes::about(self.0.abs()))?;
        f.pad(text.as_str())
    }
}
