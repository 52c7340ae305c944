//! MeMS in place of malloc, for a program that is there already: `LD_PRELOAD=libmems_preload.so program`.
//!
//! The library exports C's malloc family and C++'s `operator new` and `operator delete` families; the loader finds them
//! before libc's and libstdc++'s. All blocks are the process heap's, so every free of anything but a live block's
//! start, and every sized delete of another size, ends the program with one line that says what and where. Files,
//! bottom to top:
//!
//! 1. `errno`: how C hears of an error;
//! 2. `nothing`: blocks of 0 bytes, which nobody can read or write;
//! 3. `engine`: the process heap and those together;
//! 4. `next`: what the program would have without us; `program`: which of our functions it replaces by its own;
//! 5. `family`, `aligned`, `sized`, `cxx_new`, `cxx_delete`, `inquiry`, `loader`: the exported functions.
//!
//! # Rules
//!
//! No function here calls an exported one by its name: the call would end in whatever the program has under that name.
//! Nothing unwinds but what the next `operator new` throws. The functions that the fast paths leave for have C's
//! convention, too: it promises that, and so a fast path needs no stack.
#![allow(unsafe_code, reason = "exports C symbols")]

mod aligned;
mod cxx_delete;
mod cxx_new;
mod engine;
mod errno;
mod family;
mod inquiry;
mod loader;
mod next;
mod nothing;
mod program;
mod sized;
