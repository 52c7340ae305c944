//! Names and build ids of libraries that come and go between two looks, and of such as are made oddly; and looks that
//! are written in the child of a fork.
//!
//! Libraries are built with a C compiler (`apt-get install gcc`); without one these cases are counted as ignored.
#![allow(unsafe_code, reason = "loads libraries, and forks")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicBool, Ordering};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;

use helpers::folders::folder;
use helpers::scaled;
use helpers::trials::{Answer, Case, Trials, shown};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

type Blocks = Vec<Vec<u8>>;

/// Calls a function from within a library.
type Caller = unsafe extern "C" fn(unsafe extern "C" fn(*mut Blocks), *mut Blocks);

/// A shared library with one function of this name; none without a compiler.
fn build(folder: &Path, function: &str, option: &str) -> Option<PathBuf> {
    let (source, library) = (folder.join("source.c"), folder.join(format!("lib{function}.so")));
    // Something is left to do behind the call, or it would be a jump.
    let text = format!(
        "int calls; void {function}(void (*call)(void *), void *blocks) {{ call(blocks); calls++; }}\n"
    );
    std::fs::write(&source, text).unwrap();
    let options = ["-shared", "-fPIC", "-O1", "-Wl,--build-id"];
    let mut command = Command::new("cc");
    command.args(options).args((!option.is_empty()).then_some(option));
    let status = command.arg("-o").arg(&library).arg(&source).status();
    status.is_ok_and(|status| status.success()).then_some(library)
}

unsafe extern "C" fn allocate(blocks: *mut Blocks) {
    // SAFETY: `called_from` has handed it out.
    let blocks = unsafe { &mut *blocks };
    blocks.extend((0..2000).map(|_| vec![0; 500]));
}

/// Blocks that were allocated below a function of a library, which is unloaded behind `then`.
fn called_from(library: &Path, function: &CStr, then: impl FnOnce()) {
    let path = CString::new(library.as_os_str().as_bytes()).unwrap();
    // SAFETY: the library does nothing when it is loaded.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null(), "{}", library.display());
    // SAFETY: the library is loaded.
    let caller = unsafe { libc::dlsym(handle, function.as_ptr()) };
    assert!(!caller.is_null());
    // SAFETY: the function is of this type.
    let caller = unsafe { core::mem::transmute::<*mut c_void, Caller>(caller) };
    let mut blocks = Blocks::with_capacity(2000);
    // SAFETY: it calls `allocate` with these blocks.
    unsafe { caller(allocate, &raw mut blocks) };
    then();
    drop(blocks);
    // SAFETY: nothing of the library is used any more.
    assert_eq!(unsafe { libc::dlclose(handle) }, 0);
}

/// A look as collapsed stacks.
fn stacks() -> String {
    let mut text = String::new();
    GLOBAL.profile().sites().unwrap().write_collapsed(&mut text).unwrap();
    text
}

/// Each library that comes has its own names, also where another one lay before, and however often was written before.
fn those_that_come_later_have_names() -> Result<Answer, String> {
    let folder = folder("later");
    let mut named = 0;
    for function in ["first_caller", "second_caller", "third_caller"] {
        let Some(library) = build(&folder, function, "") else {
            return Ok(Answer::Skipped("no C compiler".to_owned()));
        };
        GLOBAL.profile().start_with_seed(4 << 10, 1);
        drop(stacks());
        called_from(&library, &CString::new(function).unwrap(), || {
            let text = stacks();
            named += usize::from(text.lines().any(|line| line.contains(&format!(";{function};"))));
        });
    }
    shown(format!("{named} of 3 named"), named == 3)
}

/// A library that says that its notes lie where nothing is mapped. To look at them was a segmentation fault.
fn notes_that_are_not_mapped() -> Result<Answer, String> {
    const NOTE: u32 = 4;
    let Some(library) = build(&folder("notes"), "odd_notes", "") else {
        return Ok(Answer::Skipped("no C compiler".to_owned()));
    };
    let mut bytes = std::fs::read(&library).unwrap();
    // The program headers: where they begin, and how many there are (`elf(5)`).
    let first = usize::try_from(u64::from_le_bytes(bytes[32..40].try_into().unwrap())).unwrap();
    let count = usize::from(u16::from_le_bytes(bytes[56..58].try_into().unwrap()));
    let mut moved = 0;
    for header in bytes[first..].chunks_exact_mut(56).take(count) {
        if header[..4] == NOTE.to_le_bytes() {
            header[16..24].copy_from_slice(&(1_u64 << 40).to_le_bytes());
            moved += 1;
        }
    }
    std::fs::write(&library, bytes).unwrap();
    let mut is_named = false;
    GLOBAL.profile().start_with_seed(4 << 10, 1);
    called_from(&library, c"odd_notes", || is_named = stacks().contains(";odd_notes;"));
    shown(format!("{moved} notes moved, named {is_named}"), moved > 0 && is_named)
}

/// A library that is linked to addresses behind all others: its base wraps around.
fn a_base_that_wraps() -> Result<Answer, String> {
    let option = "-Wl,-Ttext-segment=0xffff800000000000";
    let Some(library) = build(&folder("base"), "odd_base", option) else {
        return Ok(Answer::Skipped("no C compiler that links this".to_owned()));
    };
    let mut is_named = false;
    GLOBAL.profile().start_with_seed(4 << 10, 1);
    called_from(&library, c"odd_base", || is_named = stacks().contains(";odd_base;"));
    shown(format!("named {is_named}"), is_named)
}

/// Looks are written in the children of a process whose other thread does so in that moment. Of 40 children 3 waited
/// for the loader's lock for ever, which that thread had held.
fn forks_beside_a_writer() -> Result<Answer, String> {
    const FORKS: usize = scaled(10, 100);
    GLOBAL.profile().start_with_seed(4 << 10, 1);
    let kept: Blocks = (0..2000).map(|_| vec![0; 500]).collect();
    let is_over = AtomicBool::new(false);
    let fine = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                drop(stacks());
            }
        });
        let fine = (0..FORKS).filter(|_| fork_and_write()).count();
        is_over.store(true, Ordering::Relaxed);
        fine
    });
    drop(kept);
    shown(format!("{fine} of {FORKS} children"), fine == FORKS)
}

/// Whether a child has written a look, within a minute.
fn fork_and_write() -> bool {
    // SAFETY: the child allocates, which MeMS lets it, and ends by `_exit`.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: the child ends by it if it hangs.
            unsafe { libc::alarm(60) };
            let code = i32::from(!stacks().contains("forks_beside_a_writer"));
            // SAFETY: no destructors are run.
            unsafe { libc::_exit(code) }
        }
        child => {
            let mut status = -1;
            // SAFETY: the child is this process's.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            status == 0
        }
    }
}

fn main() -> ExitCode {
    let cases: [(&str, Case); 4] = [
        ("those_that_come_later_have_names", those_that_come_later_have_names),
        ("notes_that_are_not_mapped", notes_that_are_not_mapped),
        ("a_base_that_wraps", a_base_that_wraps),
        ("forks_beside_a_writer", forks_beside_a_writer),
    ];
    let mut trials = Trials::alone();
    trials.cases(cases);
    trials.finish()
}
