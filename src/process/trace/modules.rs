//! The files whose code is at some addresses, by `/proc/self/maps`: the loader, who knows them too, has a lock.

use core::ffi::CStr;
use core::fmt::Write;
use core::ops::Range;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, fstat, major, minor};
use rustix::io::Errno;

use crate::base::array::Array;
use crate::base::os::OutOfMemory;
use crate::base::path::PATH_BYTES;
use crate::base::text::StackText;

/// Bytes that are read at a time: more than the longest line has.
const BUFFER_BYTES: usize = 16 << 10;
/// What a file that does not move with its base lies below, where the file itself cannot be read.
const MOST_FIXED: usize = 1 << 32;

/// A mapping that has some of the addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Module {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Where the first byte of its file is mapped.
    base: usize,
    /// Major and minor number of the device, and number of the file there, 0 for no file.
    device: [u32; 2],
    inode: u64,
    /// Whether it is the program itself.
    is_program: bool,
    /// Where its path lies among all.
    path: [usize; 2],
}

/// The modules of some addresses, in address order.
#[derive(Debug)]
pub(super) struct Modules {
    modules: Array<Module>,
    paths: Array<u8>,
}

impl Modules {
    /// Those that have some of `addresses`, which are in order. None where the list cannot be read.
    pub(super) fn with(addresses: &[usize]) -> Result<Self, OutOfMemory> {
        let mut modules = Self { modules: Array::new(), paths: Array::new() };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::open("/proc/self/maps", flags, Mode::empty()) else {
            return Ok(modules);
        };
        let (mut buffer, mut len) = (Array::<u8>::zeroed(BUFFER_BYTES)?, 0);
        let mut object = Object::NONE;
        loop {
            let room = buffer.items_mut().get_mut(len..).unwrap_or_default();
            match rustix::io::read(&file, room) {
                Ok(0) => return Ok(modules),
                Ok(read) => len += read,
                Err(Errno::INTR) => continue,
                Err(_) => return Ok(modules),
            }
            let text = buffer.get(..len).unwrap_or_default();
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            let lines = text.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n');
            for line in lines.filter_map(Line::of) {
                object.take(&line);
                let first = addresses.partition_point(|address| *address < line.range.start);
                if addresses.get(first).is_some_and(|address| line.range.contains(address)) {
                    modules.push(&line, &object)?;
                }
            }
            // What is left begins the next line.
            buffer.items_mut().copy_within(whole..len, 0);
            len -= whole;
        }
    }

    fn push(&mut self, line: &Line<'_>, object: &Object) -> Result<(), OutOfMemory> {
        let first = self.paths.len();
        let path = line.path.strip_suffix(b" (deleted)").unwrap_or(line.path);
        path.iter().try_for_each(|byte| self.paths.push(*byte))?;
        let has_file = line.inode > 0;
        self.modules.push(Module {
            start: line.range.start,
            end: line.range.end,
            base: if has_file { object.base } else { line.range.start },
            device: line.device,
            inode: line.inode,
            is_program: has_file && object.is_program,
            path: [first, path.len()],
        })
    }

    /// The module that has an address.
    pub(super) fn find(&self, address: usize) -> Option<&Module> {
        self.modules.iter().find(|module| (module.start..module.end).contains(&address))
    }

    /// The path of a module.
    pub(super) fn path(&self, module: &Module) -> &[u8] {
        let [first, len] = module.path;
        self.paths.get(first..first + len).unwrap_or_default()
    }

    /// The file of a module, if it is the one that is mapped.
    pub(super) fn open(&self, module: &Module) -> Option<OwnedFd> {
        if module.inode == 0 {
            return None;
        }
        let mut text = StackText::<PATH_BYTES>::new();
        if module.is_program {
            // Also where there is another one in its place by now.
            text.write_str("/proc/self/exe\0").ok()?;
        } else {
            text.write_bytes(self.path(module)).ok()?;
            text.write_bytes(b"\0").ok()?;
        }
        let path = CStr::from_bytes_with_nul(text.as_bytes()).ok()?;
        // What is there may be no file any more, and shall not keep who opens it waiting.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
        let stat = fstat(&file).ok()?;
        let is_same = stat.st_ino == module.inode
            && [major(stat.st_dev), minor(stat.st_dev)] == module.device;
        (is_same || module.is_program).then_some(file)
    }
}

impl Module {
    /// Whether its path, or what the system says in place of one, is known.
    pub(super) const fn has_name(&self) -> bool {
        self.path[1] > 0
    }

    /// From where on the addresses in a module's file count: 0 if they are those in memory.
    pub(super) fn base_of_file(&self, file: Option<&OwnedFd>) -> usize {
        const TYPE: u64 = 16;
        const FIXED: u16 = 2;
        let mut kind = [0; 2];
        let is_read = file.is_some_and(|file| rustix::io::pread(file, &mut kind, TYPE) == Ok(2));
        let is_fixed = match is_read {
            true => u16::from_ne_bytes(kind) == FIXED,
            false => self.inode > 0 && self.base < MOST_FIXED,
        };
        if is_fixed { 0 } else { self.base }
    }
}

/// The program or library whose mappings are being read: they lie beside each other.
struct Object {
    device: [u32; 2],
    inode: u64,
    base: usize,
    end: usize,
    is_program: bool,
}

impl Object {
    const NONE: Self = Self { device: [0; 2], inode: 0, base: 0, end: 0, is_program: false };

    fn take(&mut self, line: &Line<'_>) {
        if line.inode == 0 {
            return;
        }
        let is_same = (line.device, line.inode) == (self.device, self.inode);
        // One file may be loaded twice. A small one has two parts that are in its first page.
        let begins_again = line.offset == 0 && line.range.start != self.end;
        if !is_same || begins_again {
            *self = Self {
                device: line.device,
                inode: line.inode,
                base: line.range.start.wrapping_sub(line.offset),
                end: line.range.end,
                is_program: line.range.contains(&headers_of_program()),
            };
        }
        self.end = line.range.end;
    }
}

/// Where the kernel has mapped the headers of the program: in the first part of its file.
#[expect(unsafe_code, reason = "asks libc")]
fn headers_of_program() -> usize {
    // SAFETY: getauxval(3) has no preconditions.
    let headers = unsafe { libc::getauxval(libc::AT_PHDR) };
    usize::try_from(headers).unwrap_or(0)
}

/// A line: `start-end rights offset major:minor inode   path`.
#[derive(Debug, PartialEq)]
struct Line<'text> {
    range: Range<usize>,
    offset: usize,
    device: [u32; 2],
    inode: u64,
    path: &'text [u8],
}

impl<'text> Line<'text> {
    fn of(line: &'text [u8]) -> Option<Self> {
        let mut fields = line.splitn(6, |byte| *byte == b' ');
        let mut next = || str::from_utf8(fields.next()?).ok();
        let (start, end) = next()?.split_once('-')?;
        let (_, offset) = (next()?, next()?);
        let (major, minor) = next()?.split_once(':')?;
        let inode = next()?.parse().ok()?;
        let path = fields.next().unwrap_or_default().trim_ascii_start();
        let address = |text| usize::from_str_radix(text, 16).ok();
        let number = |text| u32::from_str_radix(text, 16).ok();
        let (range, offset) = (address(start)?..address(end)?, address(offset)?);
        Some(Self { range, offset, device: [number(major)?, number(minor)?], inode, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read() {
        let line =
            b"7f8ffb158000-7f8ffb17e000 r-xp 0001f000 fe:01 326279                     /a b/c.so";
        let wanted = Line {
            range: 0x7f8f_fb15_8000..0x7f8f_fb17_e000,
            offset: 0x1f000,
            device: [0xfe, 1],
            inode: 326_279,
            path: b"/a b/c.so",
        };
        assert_eq!(Line::of(line), Some(wanted));
        let line = Line::of(b"1000-2000 rw-p 00000000 00:00 0 ").expect("a line");
        assert_eq!((line.inode, line.path), (0, &b""[..]));
        assert!(
            [&b""[..], b"1000", b"x-2 r 0 0:0 0", b"1-2 r 0 0 0"]
                .iter()
                .all(|line| Line::of(line).is_none())
        );
    }

    #[test]
    fn own_code_and_libc_have_their_files() {
        let mut addresses = [
            own_code_and_libc_have_their_files as *const () as usize,
            libc::getpid as *const () as usize,
        ];
        let own = addresses[0];
        addresses.sort_unstable();
        let modules = Modules::with(&addresses).expect("memory");
        assert_eq!(modules.modules.len(), 2);
        for address in addresses {
            let module = modules.find(address).expect("a module");
            let path = String::from_utf8(modules.path(module).to_vec()).expect("text");
            assert_eq!(module.is_program, address == own, "{path}");
            let file = modules.open(module).expect("a file");
            let base = module.base_of_file(Some(&file));
            assert!(base < address && base == module.base_of_file(None), "{path} at {base:#x}");
        }
        assert!(modules.find(1).is_none());
    }
}
