//! A worker whose allocator is wrong on purpose, as the environment says. The tests run it as a contestant.

use std::process::ExitCode;

use mems_bench::faulty::{FAULT, Fault, Faulty};

#[global_allocator]
static GLOBAL: Faulty = Faulty::new();

fn main() -> ExitCode {
    let wanted = std::env::var(FAULT).unwrap_or_default();
    if let Some(fault) = Fault::ALL.into_iter().find(|fault| fault.name() == wanted) {
        GLOBAL.break_now(fault);
    }
    mems_bench::worker::main("broken", Vec::new)
}
