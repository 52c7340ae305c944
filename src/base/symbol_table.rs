//! Names of functions from the symbol table of a program or library: `.symtab`, else `.dynsym`, of 64-bit little-endian
//! ELF files.
//!
//! No heap and no lock: the file is read into a mapping of MeMS's own, not mapped itself, since a file that is cut
//! meanwhile would end the program by SIGBUS. Each number in it may be wrong: what does not fit gives no names.

use core::fmt;

use object::elf::{self, FileHeader64, SectionHeader64, Sym64};
use object::endian::LittleEndian as LE;
use object::pod::{Pod, slice_from_bytes};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use super::array::Array;
use super::os::OutOfMemory;
use super::text::valid_text;

/// Bytes that are read at a time: whole symbols and whole headers of sections.
const BUFFER_BYTES: usize = 3 << 14;
/// The longest name, in bytes; what is longer is cut.
const NAME_BYTES: usize = 2000;
/// The most bytes of a table that are read: 44 million symbols.
const MOST_BYTES: u64 = 1 << 30;

/// A part of a file, in bytes.
#[derive(Clone, Copy, Debug)]
struct Part {
    offset: u64,
    bytes: u64,
}

/// A function that has an address, or none if its size is 0.
#[derive(Clone, Copy, Debug)]
struct Found {
    start: u64,
    bytes: u64,
    /// Where its name lies among all.
    name: u32,
    is_global: bool,
}

impl Found {
    const NONE: Self = Self { start: 0, bytes: 0, name: 0, is_global: false };

    fn of(symbol: &Sym64<LE>) -> Option<Self> {
        let is_function = [elf::STT_FUNC, elf::STT_GNU_IFUNC].contains(&symbol.st_type());
        let is_defined = symbol.st_shndx.get(LE) != elf::SHN_UNDEF;
        let found = Self {
            start: symbol.st_value.get(LE),
            bytes: symbol.st_size.get(LE),
            name: symbol.st_name.get(LE),
            is_global: symbol.st_bind() == elf::STB_GLOBAL,
        };
        (is_function && is_defined && found.bytes > 0).then_some(found)
    }

    /// Whether this one is meant where both have an address: the one that begins last, and of names of one function
    /// the one for all.
    const fn is_nearer_than(&self, other: &Self) -> bool {
        other.bytes == 0
            || self.start > other.start
            || self.start == other.start && self.is_global && !other.is_global
    }
}

/// Shows `each` which function has an address, of `addresses` in ascending order, as the file counts them: the place of
/// the address among all, the function's name as the file has it, and how far behind its start the address lies.
/// Those that no function has are left out. O(symbols log addresses).
pub(crate) fn find_functions(
    file: BorrowedFd<'_>,
    addresses: &[usize],
    mut each: impl FnMut(usize, &[u8], usize),
) -> Result<(), OutOfMemory> {
    let mut reader = Reader { file, buffer: Array::zeroed(BUFFER_BYTES)? };
    let Some([symbols, names]) = reader.tables() else { return Ok(()) };
    let mut functions = Array::new();
    addresses.iter().try_for_each(|_| functions.push(Found::NONE))?;
    let functions = functions.items_mut();
    reader.for_each(symbols, |symbol| {
        let Some(found) = Found::of(symbol) else { return };
        let is_before = |address: &usize| (*address as u64) < found.start;
        let first = addresses.partition_point(is_before);
        let at = addresses.iter().zip(functions.iter_mut()).skip(first);
        let within = at.take_while(|(address, _)| **address as u64 - found.start < found.bytes);
        within
            .filter(|(_, known)| found.is_nearer_than(known))
            .for_each(|(_, known)| *known = found);
    });
    for ((index, address), found) in addresses.iter().enumerate().zip(functions.iter()) {
        let offset = usize::try_from(*address as u64 - found.start).unwrap_or(0);
        if found.bytes > 0
            && let Some(name) = reader.name(names, found.name)
        {
            each(index, name, offset);
        }
    }
    Ok(())
}

/// A function's name as it is written in Rust, without its hash; one of another language as it is.
pub(crate) fn demangled(name: &[u8]) -> impl fmt::Display {
    let name = valid_text(name);
    fmt::from_fn(move |f| match rustc_demangle::try_demangle(name) {
        Ok(name) => write!(f, "{name:#}"),
        Err(_) => f.write_str(name),
    })
}

/// Reads a file.
struct Reader<'file> {
    file: BorrowedFd<'file>,
    buffer: Array<u8>,
}

impl Reader<'_> {
    /// The bytes of a part of the file, or as many as there are and the buffer has room for.
    fn read(&mut self, part: Part) -> &[u8] {
        let wanted = usize::try_from(part.bytes).unwrap_or(usize::MAX).min(self.buffer.len());
        let buffer = self.buffer.items_mut().get_mut(..wanted).unwrap_or_default();
        let mut len = 0;
        while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pread(self.file, rest, part.offset.saturating_add(len as u64)) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.buffer.get(..len).unwrap_or_default()
    }

    /// Shows all items of a table that the file has.
    fn for_each<T: Pod>(&mut self, table: Part, mut each: impl FnMut(&T)) {
        let mut rest = Part { bytes: table.bytes.min(MOST_BYTES), ..table };
        loop {
            let bytes = self.read(rest);
            let count = bytes.len() / size_of::<T>();
            let items = slice_from_bytes::<T>(bytes, count).map_or(&[][..], |(items, _)| items);
            if items.is_empty() {
                return;
            }
            items.iter().for_each(&mut each);
            let taken = size_of_val(items) as u64;
            rest.offset = rest.offset.saturating_add(taken);
            rest.bytes -= taken;
        }
    }

    /// The first item of a table.
    fn first<T: Pod>(&mut self, offset: u64) -> Option<T> {
        let mut first = None;
        let table = Part { offset, bytes: size_of::<T>() as u64 };
        self.for_each(table, |item| first = Some(*item));
        first
    }

    /// The symbols, and their names.
    fn tables(&mut self) -> Option<[Part; 2]> {
        const HEADER_BYTES: u64 = size_of::<SectionHeader64<LE>>() as u64;
        let header: FileHeader64<LE> = self.first(0)?;
        let ident = &header.e_ident;
        let is_known = ident.magic == elf::ELFMAG
            && ident.class == elf::ELFCLASS64
            && ident.data == elf::ELFDATA2LSB
            && u64::from(header.e_shentsize.get(LE)) == HEADER_BYTES;
        let first = is_known.then(|| header.e_shoff.get(LE)).filter(|offset| *offset > 0)?;
        let count = match header.e_shnum.get(LE) {
            // There are too many for this number.
            0 => self.first::<SectionHeader64<LE>>(first)?.sh_size.get(LE),
            count => u64::from(count),
        };
        let headers = Part { offset: first, bytes: count.checked_mul(HEADER_BYTES)? };
        let [mut all, mut dynamic] = [None; 2];
        self.for_each(headers, |header: &SectionHeader64<LE>| match header.sh_type.get(LE) {
            elf::SHT_SYMTAB => all = Some(*header),
            elf::SHT_DYNSYM => dynamic = Some(*header),
            _ => {}
        });
        let symbols = all.or(dynamic)?;
        let number = u64::from(symbols.sh_link.get(LE));
        let place = first.checked_add(number.checked_mul(HEADER_BYTES)?)?;
        let names: SectionHeader64<LE> = self.first(place)?;
        let part = |header: SectionHeader64<LE>| Part {
            offset: header.sh_offset.get(LE),
            bytes: header.sh_size.get(LE),
        };
        let has_names = number < count && names.sh_type.get(LE) == elf::SHT_STRTAB;
        has_names.then(|| [part(symbols), part(names)])
    }

    /// The name that lies there among all; none if it is empty, or does not end.
    fn name(&mut self, names: Part, at: u32) -> Option<&[u8]> {
        let rest = names.bytes.checked_sub(u64::from(at))?;
        let offset = names.offset.checked_add(u64::from(at))?;
        let bytes = self.read(Part { offset, bytes: rest.min(NAME_BYTES as u64) });
        let len = bytes.iter().position(|byte| *byte == 0);
        let len = len.or_else(|| (bytes.len() == NAME_BYTES).then_some(NAME_BYTES))?;
        bytes.get(..len).filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests;
