//! The form of pprof: <https://github.com/google/pprof/blob/main/proto/profile.proto>. The numbers of fields are those
//! of that file.

use core::iter;
use std::io::{self, Write};

use rustix::time::{ClockId, clock_gettime};

use super::debug_info::debug_info;
use super::gzip::Gzip;
use super::modules::Module;
use super::names::{Function, Names, Source};
use super::protobuf::{Fields, Message, Sink};
use crate::base::array::Array;
use crate::base::os::OutOfMemory;
use crate::profile::walk::call_of;
use crate::profile::{Site, Sites};

const COMMENT: &str = "inuse: live blocks, estimated without bias. alloc: cluster samples, right on average, but a \
loop that uses one slot again and again is counted each time or never.";

/// The texts that each profile has.
#[derive(Clone, Copy, Debug)]
struct Words {
    /// The four types of values and their units.
    types: [(u32, u32); 4],
    space: u32,
    bytes: u32,
    thread: u32,
    label: u32,
    comment: u32,
}

/// All that is written.
struct Profile<'a> {
    sites: &'a Sites,
    names: &'a Names,
    words: Words,
    /// Names and files of functions, each pair once, in order.
    functions: Array<(u32, u32)>,
    /// Live samples by site, thread and label: of each the sums, and the names.
    live: Array<Live>,
}

/// What is live of a site, a thread, and a label.
#[derive(Clone, Copy, Debug)]
struct Live {
    site: usize,
    thread_id: u32,
    thread: u32,
    label: u32,
    blocks: f64,
    bytes: f64,
}

impl Sites {
    /// Writes the profile in the form of [pprof](https://github.com/google/pprof), gzipped: `go tool pprof`, Pyroscope,
    /// Parca, speedscope and others read it. Values are `alloc_objects`, `alloc_space`, `inuse_objects` and
    /// `inuse_space` (the default); live ones have the label `thread`, and `label` where the
    /// thread had [one](crate::label). Modules have their build ids, so what has no
    /// name here can get one elsewhere. Blocks that are older than the profile are not in it.
    ///
    /// # Errors
    ///
    /// Those of `out`, and if there is no memory for the names.
    pub fn write_pprof<W: Write>(&self, out: &mut W) -> io::Result<()> {
        self.write_pprof_by(out, debug_info)
    }

    /// The same with names from somewhere else.
    pub(crate) fn write_pprof_by<W: Write>(&self, out: &mut W, source: Source) -> io::Result<()> {
        let no_memory = |_| io::Error::from(io::ErrorKind::OutOfMemory);
        let mut names = Names::of([self], source).map_err(no_memory)?;
        let words = Words::new(&mut names).map_err(no_memory)?;
        let live = live_sums(self, &mut names).map_err(no_memory)?;
        let profile = Profile {
            sites: self,
            functions: functions(&names).map_err(no_memory)?,
            names: &names,
            words,
            live,
        };
        let mut gzip = Gzip::new(|bytes: &[u8]| out.write_all(bytes));
        profile.write(&mut Message::new(&mut gzip))?;
        gzip.finish()
    }
}

impl<S: FnMut(&[u8]) -> io::Result<()>> Sink for Gzip<io::Error, S> {
    type Error = io::Error;

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes)
    }
}

impl Words {
    fn new(names: &mut Names) -> Result<Self, OutOfMemory> {
        let texts = &mut names.texts;
        let (count, bytes) = (texts.intern("count")?, texts.intern("bytes")?);
        Ok(Self {
            types: [
                (texts.intern("alloc_objects")?, count),
                (texts.intern("alloc_space")?, bytes),
                (texts.intern("inuse_objects")?, count),
                (texts.intern("inuse_space")?, bytes),
            ],
            space: texts.intern("space")?,
            bytes,
            thread: texts.intern("thread")?,
            label: texts.intern("label")?,
            comment: texts.intern(COMMENT)?,
        })
    }
}

/// Sums of live samples by site, thread and label. O(samples log samples).
fn live_sums(sites: &Sites, names: &mut Names) -> Result<Array<Live>, OutOfMemory> {
    let mut live = Array::new();
    for sample in sites.samples() {
        let Some(site) = sample.site() else { continue };
        let (weight, bytes) = (sample.weight(), sample.bytes() as f64);
        let (site, thread_id) = (site.number(), sample.thread_id());
        let thread = match sample.thread_name() {
            "" => names.texts.intern("(ended)")?,
            name => names.texts.intern(name)?,
        };
        let label = names.texts.intern(sample.label())?;
        let (blocks, bytes) = (weight, weight * bytes);
        live.push(Live { site, thread_id, thread, label, blocks, bytes })?;
    }
    let key = |live: &Live| (live.site, live.thread_id, live.label);
    live.sort_and_merge(
        |one, other| key(one).cmp(&key(other)),
        |sum, other| {
            sum.blocks += other.blocks;
            sum.bytes += other.bytes;
        },
    );
    Ok(live)
}

/// Names and files, each pair once.
fn functions(names: &Names) -> Result<Array<(u32, u32)>, OutOfMemory> {
    let mut functions = Array::new();
    let mut all = names.all_functions();
    all.try_for_each(|function| functions.push((function.name, function.file)))?;
    functions.sort_and_dedup();
    Ok(functions)
}

impl Profile<'_> {
    /// The number of a location: one more than the place of its frame.
    fn location(&self, address: usize) -> u64 {
        self.names.place_of(address).map_or(0, |place| place as u64 + 1)
    }

    /// The locations of a site, the innermost first, without those that are the allocator's alone.
    fn locations_of(&self, site: &Site<'_>) -> impl Iterator<Item = u64> + Clone {
        let all = site.frames().iter().map(|frame| self.names.functions_at(*frame).len());
        let mut left = self.names.functions(site).skipped();
        let ours = all.take_while(|count| {
            let is_ours = left >= *count;
            left = left.saturating_sub(*count);
            is_ours
        });
        site.frames().iter().skip(ours.count()).map(|frame| self.location(*frame))
    }
}

impl Fields for Profile<'_> {
    fn write<S: Sink>(&self, message: &mut Message<'_, S>) -> Result<(), S::Error> {
        let words = &self.words;
        for (kind, unit) in words.types {
            message.message(1, &Pair(kind, unit))?;
        }
        for site in self.sites.iter() {
            let (blocks, bytes) = site.allocated();
            // The live ones were allocated, too.
            let blocks = blocks.max(site.blocks().value());
            let values = [blocks, bytes.max(site.bytes().value()), 0.0, 0.0];
            message.message(2, &Value { profile: self, site, values, live: None })?;
        }
        for live in self.live.iter() {
            let Some(site) = self.sites.site(live.site) else { continue };
            let values = [0.0, 0.0, live.blocks, live.bytes];
            message.message(2, &Value { profile: self, site, values, live: Some(live) })?;
        }
        // Who reads this takes the first one for the program.
        for is_program in [true, false] {
            let modules = (1..).zip(self.names.modules.iter());
            for (number, module) in modules.filter(|(_, one)| one.is_program == is_program) {
                let has_names = self.names.has_names(module);
                message.message(3, &Mapping { number, module, has_names })?;
            }
        }
        for (number, address) in (1..).zip(self.names.addresses()) {
            message.message(4, &Location { number, address, profile: self })?;
        }
        for (number, (name, file)) in (1..).zip(self.functions.iter()) {
            message.message(5, &FunctionFields { number, name: *name, file: *file })?;
        }
        for text in self.names.texts.iter() {
            message.text(6, text)?;
        }
        let now = clock_gettime(ClockId::Realtime);
        let nanoseconds = now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned();
        message.number(9, nanoseconds)?;
        message.number(10, u64::try_from(self.sites.age().as_nanos()).unwrap_or(u64::MAX))?;
        message.message(11, &Pair(words.space, words.bytes))?;
        message.number(12, self.sites.mean_bytes() as u64)?;
        message.numbers(13, iter::once(u64::from(words.comment)))?;
        message.number(14, u64::from(words.types[3].0))
    }
}

/// A type and its unit.
struct Pair(u32, u32);

impl Fields for Pair {
    fn write<S: Sink>(&self, message: &mut Message<'_, S>) -> Result<(), S::Error> {
        message.number(1, u64::from(self.0))?;
        message.number(2, u64::from(self.1))
    }
}

/// A stack with its values.
struct Value<'a> {
    profile: &'a Profile<'a>,
    site: Site<'a>,
    values: [f64; 4],
    live: Option<&'a Live>,
}

impl Fields for Value<'_> {
    fn write<S: Sink>(&self, message: &mut Message<'_, S>) -> Result<(), S::Error> {
        message.numbers(1, self.profile.locations_of(&self.site))?;
        message.numbers(2, self.values.into_iter().map(whole))?;
        let Some(live) = self.live else { return Ok(()) };
        let words = &self.profile.words;
        message.message(3, &Pair(words.thread, live.thread))?;
        match live.label {
            0 => Ok(()),
            label => message.message(3, &Pair(words.label, label)),
        }
    }
}

struct Mapping<'a> {
    number: u64,
    module: &'a Module,
    has_names: bool,
}

impl Fields for Mapping<'_> {
    fn write<S: Sink>(&self, message: &mut Message<'_, S>) -> Result<(), S::Error> {
        message.number(1, self.number)?;
        message.number(2, self.module.start as u64)?;
        message.number(3, self.module.end as u64)?;
        message.number(4, self.module.offset as u64)?;
        message.number(5, u64::from(self.module.path))?;
        message.number(6, u64::from(self.module.build_id))?;
        message.number(7, u64::from(self.has_names))
    }
}

struct Location<'a> {
    number: u64,
    address: usize,
    profile: &'a Profile<'a>,
}

impl Fields for Location<'_> {
    fn write<S: Sink>(&self, message: &mut Message<'_, S>) -> Result<(), S::Error> {
        message.number(1, self.number)?;
        let names = self.profile.names;
        let module = names.module_number(self.address).map_or(0, |number| number as u64 + 1);
        message.number(2, module)?;
        message.number(3, call_of(self.address) as u64)?;
        for function in names.lines_at(self.address).iter().filter(|one| one.is_named) {
            message.message(4, &Line { function, profile: self.profile })?;
        }
        Ok(())
    }
}

struct Line<'a> {
    function: &'a Function,
    profile: &'a Profile<'a>,
}

impl Fields for Line<'_> {
    fn write<S: Sink>(&self, message: &mut Message<'_, S>) -> Result<(), S::Error> {
        let pair = (self.function.name, self.function.file);
        let place = self.profile.functions.binary_search(&pair);
        message.number(1, place.map_or(0, |place| place as u64 + 1))?;
        message.number(2, u64::from(self.function.line))
    }
}

struct FunctionFields {
    number: u64,
    name: u32,
    file: u32,
}

impl Fields for FunctionFields {
    fn write<S: Sink>(&self, message: &mut Message<'_, S>) -> Result<(), S::Error> {
        message.number(1, self.number)?;
        message.number(2, u64::from(self.name))?;
        message.number(3, u64::from(self.name))?;
        message.number(4, u64::from(self.file))
    }
}

/// An estimate as a whole number.
fn whole(value: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let whole = libm::round(value) as u64;
    whole
}
