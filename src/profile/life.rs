//! Who allocated a sampled block, and who freed it, for the lines that follow a mistake.
//!
//! The thread that asks may hold any lock, so each one is only tried: for a millisecond, while another thread has it.

use super::profiler::Profiler;
use super::records::Record;
use super::walk::Frames;
use crate::base::clock;
use crate::base::thread_name::{NAME_BYTES, thread_name};

/// What a thread did to a block.
#[derive(Debug)]
pub(crate) struct Deed {
    /// How long ago, in milliseconds.
    pub(crate) ago: u64,
    /// What the system calls the thread, 0 if nobody knows, and its name, empty likewise.
    pub(crate) thread: u32,
    pub(crate) thread_name: [u8; NAME_BYTES],
    /// Where, the innermost frame first.
    pub(crate) frames: Frames,
}

/// What is known of a sampled block.
#[derive(Debug)]
pub(crate) struct Life {
    /// None if the block is older than the profile, or its stack is not at hand.
    pub(crate) allocated: Option<Deed>,
    /// None while the block is live.
    pub(crate) freed: Option<Deed>,
}

impl Profiler {
    /// What is known of the block that starts at an address, or that was the last one to do so. None while nothing is
    /// sampled: blocks that were handed out meanwhile are not known.
    pub(crate) fn life_of(&self, address: usize) -> Option<Life> {
        if self.mean() == 0 {
            return None;
        }
        if let Some(live) = self.records.find_soon(address) {
            return Some(Life { allocated: self.allocation(&live), freed: None });
        }
        // A block that is older than this profile may have been handed out once more, unnoticed.
        let is_known = |record: &Record| record.profile == self.newest();
        let ended = self.ended.find_soon(address).filter(|ended| is_known(&ended.record))?;
        let freed = Deed {
            ago: clock::milliseconds().saturating_sub(ended.at),
            thread: ended.thread,
            thread_name: thread_name(ended.thread),
            frames: Frames::of(ended.frames.addresses()),
        };
        Some(Life { allocated: self.allocation(&ended.record), freed: Some(freed) })
    }

    fn allocation(&self, record: &Record) -> Option<Deed> {
        // Stacks of earlier profiles are forgotten.
        if record.profile != self.newest() {
            return None;
        }
        let frames = Frames::of(self.stacks.lock_soon()?.frames(record.stack)?);
        let (ago, thread) = (clock::milliseconds().saturating_sub(record.at), record.thread);
        Some(Deed { ago, thread, thread_name: thread_name(thread), frames })
    }
}
