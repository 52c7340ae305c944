//! A library with a heap of its own is loaded, used and unloaded, again and again, by a program with another allocator.
#![allow(unsafe_code, reason = "loads a library and calls it")]
#![allow(clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::ffi::{CStr, c_void};
use std::ffi::CString;
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;

use helpers::child;
use helpers::proc::status_bytes;
use helpers::trials::{Answer, Trials};

const GIB: usize = 1 << 30;
/// Seconds until SIGALRM ends a child that hangs.
const PATIENCE_SECONDS: u32 = 60;

/// The example `plugin`, which cargo builds with the tests unless it is told to build one of them only.
fn library() -> Option<CString> {
    let test = std::env::current_exe().expect("the test's own path");
    let path = test.parent()?.parent()?.join("examples/libplugin.so");
    path.exists().then(|| CString::new(path.into_os_string().into_encoded_bytes()).ok())?
}

/// The library, loaded.
struct Plugin(*mut c_void);

impl Plugin {
    fn load() -> Self {
        let path = library().expect("it was there a moment ago");
        // SAFETY: the library's constructors do nothing that is not done in any program.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null(), "{path:?} is loaded");
        Self(handle)
    }

    fn call(&self, name: &CStr, argument: u64) -> u64 {
        // SAFETY: the handle is the library's.
        let function = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!function.is_null(), "{name:?}");
        // SAFETY: both functions of the library may be called like this.
        let function =
            unsafe { core::mem::transmute::<*mut c_void, extern "C" fn(u64) -> u64>(function) };
        function(argument)
    }

    fn work(&self) {
        assert_eq!(self.call(c"plugin_work", 5000), 5000);
    }

    fn unload(self) {
        // SAFETY: the handle is used no more.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0);
    }
}

/// Whether the program still has addresses, and the library did not take new ones.
fn judge(before: usize, calls: u64) {
    let more = status_bytes("VmSize:").saturating_sub(before);
    // The heap's reservation, and the stack and libc's arena of a thread.
    assert!(more < 600 * GIB, "{} GiB more", more / GIB);
    let plugin = Plugin::load();
    assert_eq!(plugin.call(c"plugin_calls", 0), calls, "it was never unloaded");
    plugin.unload();
}

fn main() -> ExitCode {
    let cases: [(&str, fn()); 3] = [
        ("loaded_and_unloaded_300_times", || {
            let before = status_bytes("VmSize:");
            for _ in 0..300 {
                let plugin = Plugin::load();
                plugin.work();
                plugin.unload();
            }
            judge(before, 300);
        }),
        ("a_thread_that_used_it_ends_after_it_was_unloaded", || {
            let before = status_bytes("VmSize:");
            for _ in 0..100 {
                let threads = thread::spawn(|| {
                    let plugin = Plugin::load();
                    plugin.work();
                    plugin.unload();
                });
                threads.join().expect("no panic");
            }
            judge(before, 100);
        }),
        ("threads_end_long_after_another_one_unloaded_it", || {
            let before = status_bytes("VmSize:");
            let (has_worked, is_unloaded) = (Barrier::new(5), Barrier::new(5));
            for _ in 0..50 {
                let plugin = Plugin::load();
                thread::scope(|scope| {
                    for _ in 0..4 {
                        scope.spawn(|| {
                            let own = Plugin::load();
                            own.work();
                            own.unload();
                            has_worked.wait();
                            is_unloaded.wait();
                        });
                    }
                    plugin.work();
                    has_worked.wait();
                    plugin.unload();
                    is_unloaded.wait();
                });
            }
            judge(before, 50 * 5);
        }),
    ];
    if let Some(role) = child::role() {
        child::watchdog(PATIENCE_SECONDS);
        let case = cases.iter().find(|(name, _)| *name == role).expect("a case");
        (case.1)();
        return ExitCode::SUCCESS;
    }
    let mut trials = Trials::side_by_side();
    for (name, _) in cases {
        trials.case(name, move || match library() {
            Some(_) => child::run(name).success().map(|_| Answer::Passed(String::new())),
            None => Ok(Answer::Skipped("the example plugin is not built".into())),
        });
    }
    trials.finish()
}
