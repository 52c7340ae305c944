//! A profile as JSON. See `docs/profile-format.md`.

use core::fmt::{self, Write};

use super::super::json::{Quoted, list};
use super::debug_info::debug_info;
use super::names::{Function, Names, Source};
use crate::profile::{Estimate, Sample, Site, Sites, StackEnd};

/// An estimate: what is most likely, and the interval.
struct Three(Estimate);

impl fmt::Display for Three {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.0.interval();
        write!(f, "[{:.0},{low:.0},{high:.0}]", self.0.value())
    }
}

impl Sites {
    /// Writes all that the profile knows as one JSON object: modules with build ids, sites with their functions, live
    /// samples, threads, labels. Addresses are decimal numbers below 2^53; an estimate is an array of what is most
    /// likely and its interval of 95%.
    ///
    /// # Errors
    ///
    /// Those of `out`, and if there is no memory for the names.
    pub fn write_json<W: Write>(&self, out: &mut W) -> fmt::Result {
        self.write_json_by(out, debug_info)
    }

    /// The same with names from somewhere else.
    pub(crate) fn write_json_by<W: Write>(&self, out: &mut W, source: Source) -> fmt::Result {
        let names = Names::of([self], source).map_err(|_| fmt::Error)?;
        let (blocks, bytes) = self.older();
        write!(
            out,
            "{{\"format\":\"mems-profile\",\"version\":1,\"mean_bytes\":{}",
            self.mean_bytes()
        )?;
        write!(out, ",\"seconds\":{:.3}", self.age().as_secs_f64())?;
        write!(out, ",\n\"older\":{{\"blocks\":{},\"bytes\":{}}}", Three(blocks), Three(bytes))?;
        out.write_str(",\n\"threads\":")?;
        list(out, self.threads(), |out, thread| {
            write!(out, "{{\"thread_id\":{},\"name\":{},", thread.thread_id, Quoted(thread.name))?;
            write!(out, "\"blocks\":{},\"bytes\":{}}}", Three(thread.blocks), Three(thread.bytes))
        })?;
        out.write_str(",\n\"labels\":")?;
        list(out, self.labels(), |out, label| {
            write!(out, "{{\"name\":{},", Quoted(label.name))?;
            write!(out, "\"blocks\":{},\"bytes\":{}}}", Three(label.blocks), Three(label.bytes))
        })?;
        out.write_str(",\n\"modules\":")?;
        list(out, names.modules.iter(), |out, module| {
            let (path, id) = (Quoted(names.text(module.path)), Quoted(names.text(module.build_id)));
            write!(out, "\n{{\"path\":{path},\"build_id\":{id},\"start\":{},", module.start)?;
            write!(out, "\"end\":{},\"offset\":{}}}", module.end, module.offset)
        })?;
        out.write_str(",\n\"sites\":")?;
        list(out, self.iter(), |out, site| write_site(out, &names, &site))?;
        out.write_str(",\n\"samples\":")?;
        list(out, self.samples(), |out, sample| write_sample(out, &sample))?;
        out.write_str("}\n")
    }
}

fn write_site<W: Write>(out: &mut W, names: &Names, site: &Site<'_>) -> fmt::Result {
    let end = match site.end() {
        StackEnd::Bottom => "bottom",
        StackEnd::TooDeep => "too deep",
        StackEnd::Lost => "lost",
    };
    let (allocated, allocated_bytes) = site.allocated();
    write!(out, "\n{{\"site\":{},\"samples\":{},", site.number(), site.samples())?;
    write!(out, "\"blocks\":{},\"bytes\":{},", Three(site.blocks()), Three(site.bytes()))?;
    write!(out, "\"requested_bytes\":{},", Three(site.requested_bytes()))?;
    match site.oldest() {
        Some(age) => write!(out, "\"oldest_seconds\":{:.3},", age.as_secs_f64())?,
        None => out.write_str("\"oldest_seconds\":null,")?,
    }
    write!(out, "\"allocated_blocks\":{allocated:.0},\"allocated_bytes\":{allocated_bytes:.0},")?;
    write!(out, "\"end\":\"{end}\",\"frames\":")?;
    list(out, site.frames().iter(), |out, address| {
        write!(out, "\n  {{\"address\":{address},\"functions\":")?;
        list(out, names.functions_at(*address).iter(), |out, function| {
            write_function(out, names, function)
        })?;
        out.write_char('}')
    })?;
    out.write_char('}')
}

fn write_function<W: Write>(out: &mut W, names: &Names, function: &Function) -> fmt::Result {
    let (name, file) = (Quoted(names.text(function.name)), Quoted(names.text(function.file)));
    match function.file {
        0 => write!(out, "{{\"name\":{name}}}"),
        _ => write!(out, "{{\"name\":{name},\"file\":{file},\"line\":{}}}", function.line),
    }
}

fn write_sample<W: Write>(out: &mut W, sample: &Sample<'_>) -> fmt::Result {
    write!(out, "\n{{\"address\":{},\"bytes\":{},", sample.address(), sample.bytes())?;
    write!(
        out,
        "\"requested_bytes\":{},\"weight\":{:.3},",
        sample.requested_bytes(),
        sample.weight()
    )?;
    match (sample.site(), sample.age()) {
        (Some(site), Some(age)) => {
            write!(out, "\"site\":{},\"seconds\":{:.3},", site.number(), age.as_secs_f64())?;
        }
        _ => out.write_str("\"site\":null,\"seconds\":null,")?,
    }
    write!(out, "\"thread_id\":{},\"label\":{}}}", sample.thread_id(), Quoted(sample.label()))
}
