//! What a profile knows, as text, pictures, and in the forms that other tools read.
//!
//! From the ground up: `modules` the program and its libraries; `origins` whose a function is; `names` functions by
//! their addresses; `debug_info` and `symbols` where names come from; `tree` all stacks as one tree; `suspects` of a
//! leak. Then a file for each form: `report` for people, `budget` for a test, `collapsed` a line for each stack,
//! `flame` a picture, `json`, `dhat`, `pprof` with its `protobuf` and `gzip`; `page` what the heap map's page draws.

mod modules;
mod origins;
pub(super) mod names;
pub(super) mod debug_info;
#[cfg(feature = "symbols")]
pub(super) mod symbols;
mod tree;
mod suspects;
mod report;
pub(super) mod budget;
mod collapsed;
mod flame;
mod json;
mod dhat;
mod protobuf;
mod gzip;
mod pprof;
pub(super) mod page;
#[cfg(all(test, feature = "symbols"))]
mod tests;
