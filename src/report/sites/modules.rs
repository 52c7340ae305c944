//! The program and the libraries that are loaded: where their code lies, and which builds they are.
#![allow(unsafe_code, reason = "asks the loader, and reads notes that it has mapped")]

use core::ffi::{CStr, c_int, c_void};
use core::fmt;
use core::slice;

use crate::base::addr;
use crate::base::array::Array;
use crate::base::os::{Os, OutOfMemory, System};
use crate::base::path::PATH_BYTES;
use crate::base::texts::Texts;
use crate::profile::profiler::PROFILER;

/// Code of a program or library, where it is mapped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Module {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Where its first byte lies in the file.
    pub(super) offset: usize,
    /// Where the file's own addresses begin.
    pub(super) base: usize,
    /// Texts: the file, and its build id in hexadecimal, empty if it has none.
    pub(super) path: u32,
    pub(super) build_id: u32,
    /// Whether it is the program itself.
    pub(super) is_program: bool,
}

/// All that is loaded now, in address order. The loader is asked, which has a lock for that. A signal handler that
/// interrupts this gets none.
pub(super) fn modules(texts: &mut Texts) -> Result<Array<Module>, OutOfMemory> {
    let mut listing = Listing { modules: Array::new(), texts, result: Ok(()) };
    let asked = PROFILER.with_loader(|| {
        // SAFETY: the function is one of this type, and its argument the listing, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut listing).cast()) }
    });
    asked.ok_or(OutOfMemory)?;
    listing.result?;
    let mut modules = listing.modules;
    modules.sort_by(|one, other| one.start.cmp(&other.start));
    Ok(modules)
}

struct Listing<'texts> {
    modules: Array<Module>,
    texts: &'texts mut Texts,
    result: Result<(), OutOfMemory>,
}

unsafe extern "C" fn note(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    listing: *mut c_void,
) -> c_int {
    // SAFETY: `modules` has handed its listing to the loader, which hands it on.
    let listing = unsafe { &mut *listing.cast::<Listing<'_>>() };
    // SAFETY: the loader describes a library, for the time of this call.
    let info = unsafe { &*info };
    listing.result = listing.note(info);
    c_int::from(listing.result.is_err())
}

impl Listing<'_> {
    fn note(&mut self, info: &libc::dl_phdr_info) -> Result<(), OutOfMemory> {
        // SAFETY: the loader has that many headers there.
        let headers =
            unsafe { slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        let base = to_usize(info.dlpi_addr);
        let is_code = |header: &&libc::Elf64_Phdr| {
            header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0
        };
        let (path, is_program) = self.path_of(info)?;
        // What is said to be a note may lie where nothing is mapped.
        let is_mapped = |note: &&libc::Elf64_Phdr| headers.iter().any(|header| has(header, note));
        let notes = headers.iter().filter(|header| header.p_type == libc::PT_NOTE);
        let notes = notes.filter(is_mapped);
        // SAFETY: the loader has mapped the readable part in which the note lies, until the library is unloaded, which
        // it is not during the call.
        let mut ids =
            notes.filter_map(|header| build_id(unsafe { bytes_of(base, header) }, header));
        let build_id = match ids.next() {
            Some(id) => self.texts.intern_displayed(format_args!("{}", Hex(id)))?,
            None => 0,
        };
        for header in headers.iter().filter(is_code) {
            let (first, size) = (to_usize(header.p_vaddr), to_usize(header.p_memsz));
            // Pages are mapped: the code begins somewhere in the first one.
            let ahead = first % System.page_size();
            let start = base.wrapping_add(first - ahead);
            let end = start.wrapping_add(ahead + size);
            let offset = to_usize(header.p_offset).wrapping_sub(ahead);
            self.modules.push(Module { start, end, offset, base, path, build_id, is_program })?;
        }
        Ok(())
    }

    /// The file, and whether it is that of the program, which has no name here.
    fn path_of(&mut self, info: &libc::dl_phdr_info) -> Result<(u32, bool), OutOfMemory> {
        let name = if info.dlpi_name.is_null() {
            c""
        } else {
            // SAFETY: the loader has a name there that ends with a zero.
            unsafe { CStr::from_ptr(info.dlpi_name) }
        };
        if !name.is_empty() {
            let path = self.texts.intern_displayed(format_args!("{}", Lossy(name.to_bytes())))?;
            return Ok((path, false));
        }
        let mut path = [0; PATH_BYTES];
        let read = rustix::fs::readlinkat_raw(rustix::fs::CWD, c"/proc/self/exe", &mut path[..]);
        let path = path.get(..read.unwrap_or(0)).unwrap_or_default();
        // So the kernel calls a file in whose place there is another one now, or none.
        let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
        Ok((self.texts.intern_displayed(format_args!("{}", Lossy(path)))?, true))
    }
}

/// The bytes of a part of a file that is mapped.
///
/// # Safety
///
/// The library is loaded at this base for as long as they are used, and what the header describes is mapped.
unsafe fn bytes_of<'mapped>(base: usize, header: &libc::Elf64_Phdr) -> &'mapped [u8] {
    let start = addr::raw_pointer(base.wrapping_add(to_usize(header.p_vaddr))).cast::<u8>();
    // SAFETY: so the caller says.
    unsafe { slice::from_raw_parts(start, to_usize(header.p_memsz)) }
}

/// Whether a part of a file that is mapped to be read has all of a note.
fn has(part: &libc::Elf64_Phdr, note: &libc::Elf64_Phdr) -> bool {
    let is_read = part.p_type == libc::PT_LOAD && part.p_flags & libc::PF_R != 0;
    let behind = note.p_vaddr.checked_sub(part.p_vaddr).and_then(|at| at.checked_add(note.p_memsz));
    is_read && behind.is_some_and(|end| end <= part.p_filesz)
}

/// The build id among notes: of type 3, and by GNU. A note is three numbers, the lengths of name and value and the
/// type, and then both, each padded (`elf(5)`).
fn build_id<'mapped>(mut notes: &'mapped [u8], header: &libc::Elf64_Phdr) -> Option<&'mapped [u8]> {
    const GNU: &[u8] = b"GNU\0";
    const BUILD_ID: usize = 3;
    let align = to_usize(header.p_align).clamp(4, 8);
    let number = |at: usize, notes: &[u8]| -> Option<usize> {
        let bytes = notes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_ne_bytes(bytes)).ok()
    };
    loop {
        let (name_len, len) = (number(0, notes)?, number(4, notes)?);
        let value = (12 + name_len).next_multiple_of(align);
        let is_id = number(8, notes)? == BUILD_ID && notes.get(12..12 + name_len)? == GNU;
        if is_id {
            return notes.get(value..value + len);
        }
        notes = notes.get((value + len).next_multiple_of(align)..)?;
    }
}

/// A number that the loader has as 64 bits, as all addresses are here.
fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// Bytes in hexadecimal.
struct Hex<'bytes>(&'bytes [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Bytes as text, with a sign in place of what is none.
struct Lossy<'bytes>(&'bytes [u8]);

impl fmt::Display for Lossy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.utf8_chunks().try_for_each(|chunk| {
            f.write_str(chunk.valid())?;
            f.write_str(if chunk.invalid().is_empty() { "" } else { "\u{fffd}" })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_and_libc_are_listed() {
        let mut texts = Texts::new();
        let modules = modules(&mut texts).expect("memory");
        let with = |address: usize| {
            let found = modules.iter().find(|module| (module.start..module.end).contains(&address));
            found.map(|module| texts.get(module.path).to_owned())
        };
        let own = with(the_program_and_libc_are_listed as *const () as usize).expect("the program");
        let exe = std::env::current_exe().expect("a path");
        assert_eq!(own, exe.display().to_string());
        assert!(with(libc::getpid as *const () as usize).is_some());
        assert!(with(0x10).is_none());
        assert!(modules.is_sorted_by_key(|module| module.start));
    }

    #[test]
    fn a_build_id_is_found_behind_other_notes() {
        let mut notes = Vec::new();
        for (kind, name, value) in
            [(5_u32, "GNU\0", &[1_u8; 5][..]), (3, "Go\0", &[2; 3]), (3, "GNU\0", &[7; 20])]
        {
            for number in
                [u32::try_from(name.len()).unwrap(), u32::try_from(value.len()).unwrap(), kind]
            {
                notes.extend(number.to_ne_bytes());
            }
            for part in [name.as_bytes(), value] {
                notes.extend(part);
                notes.resize(notes.len().next_multiple_of(4), 0);
            }
        }
        let header = libc::Elf64_Phdr {
            p_type: libc::PT_NOTE,
            p_flags: 0,
            p_offset: 0,
            p_vaddr: 0,
            p_paddr: 0,
            p_filesz: 0,
            p_memsz: 0,
            p_align: 4,
        };
        assert_eq!(build_id(&notes, &header), Some(&[7; 20][..]));
        assert!((0..notes.len()).all(|len| build_id(&notes[..len], &header).is_none()));
    }
}
