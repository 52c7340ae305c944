//! The threads that asked for sampled blocks.

use super::estimate::Estimate;
use super::records::Record;
use crate::base::array::Array;
use crate::base::os::OutOfMemory;
use crate::base::thread_name::{NAME_BYTES, name_text, thread_name};

/// What a thread has asked for, and is live.
#[derive(Clone, Copy, Debug)]
pub struct ThreadSum<'a> {
    /// What the system calls the thread; 0 for all of whom that is not known, and for blocks older than the profile.
    pub thread_id: u32,
    /// Its name; empty if it has ended.
    pub name: &'a str,
    /// Its live blocks.
    pub blocks: Estimate,
    /// The bytes that these have.
    pub bytes: Estimate,
}

/// The threads of samples, by their numbers.
#[derive(Debug)]
pub(super) struct Threads(Array<(u32, [u8; NAME_BYTES])>);

impl Threads {
    pub(super) const fn new() -> Self {
        Self(Array::new())
    }

    /// Notes the threads of samples with the names that they have now.
    pub(super) fn name_all(&mut self, samples: &[Record]) -> Result<(), OutOfMemory> {
        for sample in samples {
            if let Err(place) = self.find(sample.thread) {
                self.0.push((sample.thread, thread_name(sample.thread)))?;
                self.0.items_mut()[place..].rotate_right(1);
            }
        }
        Ok(())
    }

    fn find(&self, thread_id: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&thread_id, |thread| thread.0)
    }

    pub(super) fn name(&self, thread_id: u32) -> &str {
        let found = self.find(thread_id).ok().and_then(|index| self.0.get(index));
        found.map_or("", |(_, name)| name_text(name))
    }

    pub(super) fn iter(&self, samples: &[Record]) -> impl Iterator<Item = ThreadSum<'_>> {
        self.0.iter().map(move |(thread_id, name)| {
            let (mut blocks, mut bytes) = (Estimate::default(), Estimate::default());
            for sample in samples.iter().filter(|sample| sample.thread == *thread_id) {
                blocks.add(1.0, sample.chance);
                bytes.add(sample.block_bytes as f64, sample.chance);
            }
            ThreadSum { thread_id: *thread_id, name: name_text(name), blocks, bytes }
        })
    }
}
