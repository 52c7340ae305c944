//! Names that files have, and files that are cut or changed.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

use rustix::fd::IntoRawFd;
use rustix::fs::MemfdFlags;

use super::*;

/// What is found: places of addresses, names, and offsets.
type Named = Vec<(usize, String, usize)>;

fn named(file: &File, addresses: &[usize]) -> Named {
    let mut all = Named::new();
    #[expect(unsafe_code, reason = "std's descriptor as rustix's")]
    // SAFETY: the file is open for the time of the call.
    let fd = unsafe { BorrowedFd::borrow_raw(file.as_raw_fd()) };
    find_functions(fd, addresses, |index, name, offset| {
        all.push((index, demangled(name).to_string(), offset));
    })
    .expect("memory");
    all
}

/// A file in memory.
fn file_of(bytes: &[u8]) -> File {
    let fd = rustix::fs::memfd_create("mems", MemfdFlags::CLOEXEC).expect("a file");
    #[expect(unsafe_code, reason = "rustix's descriptor as std's")]
    // SAFETY: nobody else has it.
    let mut file = unsafe { File::from_raw_fd(fd.into_raw_fd()) };
    file.write_all(bytes).expect("written");
    file.seek(SeekFrom::Start(0)).expect("sought");
    file
}

/// The file that has an address, and the address there. The first part of a file begins at its base.
fn in_file(address: usize) -> (File, usize) {
    let maps = fs::read_to_string("/proc/self/maps").expect("maps");
    let lines = maps.lines().map(|line| {
        let (range, path) = (line.split(' ').next().expect("a range"), line.split(' ').next_back());
        let (start, end) = range.split_once('-').expect("a range");
        let number = |text| usize::from_str_radix(text, 16).expect("a number");
        (number(start)..number(end), path.expect("a path"))
    });
    let lines: Vec<_> = lines.collect();
    let (_, path) = lines.iter().find(|(range, _)| range.contains(&address)).expect("mapped");
    let (first, _) = lines.iter().find(|(_, other)| other == path).expect("that one at least");
    (File::open(path).expect("a file"), address - first.start)
}

#[inline(never)]
fn a_function_of_this_test() -> usize {
    std::hint::black_box(3)
}

#[test]
fn functions_are_named_by_the_program_and_by_a_library() {
    let (program, own) = in_file(a_function_of_this_test as *const () as usize);
    let (_, test) =
        in_file(functions_are_named_by_the_program_and_by_a_library as *const () as usize);
    let mut addresses = [1, own, own + 1, test + 5, usize::MAX];
    addresses.sort_unstable();
    let names = named(&program, &addresses);
    let place = |address| addresses.binary_search(&address).expect("there");
    let path = "mems::base::symbol_table::tests";
    let mut wanted = [
        (place(own), format!("{path}::a_function_of_this_test"), 0),
        (place(own + 1), format!("{path}::a_function_of_this_test"), 1),
        (
            place(test + 5),
            format!("{path}::functions_are_named_by_the_program_and_by_a_library"),
            5,
        ),
    ];
    wanted.sort();
    assert_eq!(names, wanted);
    // It has no other table than `.dynsym`, as a rule.
    let (library, address) = in_file(libc::getpid as *const () as usize);
    let names = named(&library, &[address + 1]);
    assert!(names.len() == 1 && names[0].1.contains("getpid") && names[0].2 == 1, "{names:?}");
}

/// A symbol: name, type and binding, whether it is defined, start and size.
type Symbol = (&'static [u8], u8, bool, u64, u64);

const FUNCTION: u8 = 2;
const GLOBAL_FUNCTION: u8 = 0x12;
const GLOBAL_OBJECT: u8 = 0x11;

/// An ELF file of a header, the headers of three sections, symbols and names.
fn elf_with(symbols: &[Symbol]) -> Vec<u8> {
    let mut names = vec![0];
    let mut table = vec![0; 24];
    for (name, info, is_defined, start, bytes) in symbols {
        table.extend(u32::try_from(names.len()).expect("short").to_le_bytes());
        table.extend([*info, 0, u8::from(*is_defined), 0]);
        table.extend(start.to_le_bytes().iter().chain(&bytes.to_le_bytes()));
        names.extend(name.iter());
        names.push(0);
    }
    let section = |kind: u32, offset: usize, bytes: usize, link: u32| {
        let mut header = vec![0; 64];
        header[4..8].copy_from_slice(&kind.to_le_bytes());
        header[24..32].copy_from_slice(&(offset as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(bytes as u64).to_le_bytes());
        header[40..44].copy_from_slice(&link.to_le_bytes());
        header
    };
    let mut file = vec![0; 64];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[40] = 64;
    file[58] = 64;
    file[60] = 3;
    file.extend(section(0, 0, 0, 0));
    file.extend(section(2, 256, table.len(), 2));
    file.extend(section(3, 256 + table.len(), names.len(), 0));
    file.extend(table.iter().chain(&names));
    file
}

const SYMBOLS: [Symbol; 7] = [
    (b"outer", FUNCTION, true, 0x1000, 0x100),
    (b"inner", FUNCTION, true, 0x1040, 0x10),
    (b"local", FUNCTION, true, 0x2000, 0x10),
    (b"for_all", GLOBAL_FUNCTION, true, 0x2000, 0x10),
    (b"table", GLOBAL_OBJECT, true, 0x3000, 0x10),
    (b"elsewhere", GLOBAL_FUNCTION, false, 0x4000, 0x10),
    (b"last", GLOBAL_FUNCTION, true, u64::MAX - 9, 0x100),
];
const ADDRESSES: [usize; 9] =
    [0xfff, 0x1000, 0x1048, 0x1050, 0x10ff, 0x1100, 0x200f, 0x3001, usize::MAX];

#[test]
fn the_nearest_function_has_an_address() {
    let names = named(&file_of(&elf_with(&SYMBOLS)), &ADDRESSES);
    let wanted = [
        (1, "outer", 0),
        (2, "inner", 8),
        (3, "outer", 0x50),
        (4, "outer", 0xff),
        (6, "for_all", 15),
        (8, "last", 9),
    ];
    assert!(
        names.iter().map(|(index, name, at)| (*index, name.as_str(), *at)).eq(wanted),
        "{names:?}"
    );
    assert_eq!(named(&file_of(b"\x7fELF"), &ADDRESSES), []);
    assert_eq!(named(&file_of(&elf_with(&SYMBOLS)), &[]), []);
}

#[test]
fn a_file_that_is_cut_or_changed_names_nothing_else() {
    let whole = elf_with(&SYMBOLS);
    let names = named(&file_of(&whole), &ADDRESSES);
    for len in 0..whole.len() {
        let cut = named(&file_of(&whole[..len]), &ADDRESSES);
        assert!(cut.iter().all(|name| names.contains(name)) && cut.len() < names.len(), "{len}");
    }
    let table = 256;
    for (at, value) in (0..whole.len()).flat_map(|at| [0, 1, 0x7f, 0xff].map(|value| (at, value))) {
        let mut changed = whole.clone();
        changed[at] = value;
        let found = named(&file_of(&changed), &ADDRESSES);
        // Headers lead to the names that there are, or to a part of one.
        let is_known = |name: &String| names.iter().any(|(_, known, _)| known.ends_with(name));
        let is_right =
            at >= table || found.iter().all(|(_, name, _)| is_known(name) || name == "elsewhere");
        assert!(is_right, "{at} is {value}: {found:?}");
    }
}

#[test]
fn the_test_itself_may_be_cut_or_changed() {
    let (program, own) = in_file(a_function_of_this_test as *const () as usize);
    let mut bytes = fs::read(format!("/proc/self/fd/{}", program.as_raw_fd())).expect("read");
    let copy = file_of(&bytes);
    assert_eq!(named(&copy, &[own]).len(), 1);
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let headers = usize::try_from(number(40)).expect("an offset");
    let places = (0..64).chain(headers..bytes.len().min(headers + 64 * 48));
    let mut random = fastrand::Rng::with_seed(11);
    let places: Vec<_> = places.filter(|_| random.u8(..) < 16).collect();
    for at in places {
        let old = std::mem::replace(&mut bytes[at], random.u8(..));
        copy.write_all_at(&bytes[at..=at], at as u64).expect("written");
        named(&copy, &[own]);
        bytes[at] = old;
        copy.write_all_at(&bytes[at..=at], at as u64).expect("written");
    }
    assert_eq!(named(&copy, &[own]).len(), 1);
    // From the end on: the headers of sections go first.
    for part in (0..16_u64).rev() {
        copy.set_len(part * bytes.len() as u64 / 16).expect("cut");
        assert_eq!(named(&copy, &[own]), [], "{part}/16 of the file");
    }
}
