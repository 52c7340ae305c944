//! What was asked for under each label.

use super::estimate::Estimate;
use super::profiler::{OLDER, PROFILER};
use super::records::Record;
use crate::base::array::Array;
use crate::base::os::OutOfMemory;
use crate::base::texts::Texts;

/// What was asked for under a label, and is live.
#[derive(Clone, Copy, Debug)]
pub struct LabelSum<'a> {
    /// The label's name; empty for what was asked for under none.
    pub name: &'a str,
    /// Its live blocks.
    pub blocks: Estimate,
    /// The bytes that these have.
    pub bytes: Estimate,
}

/// A label of samples.
#[derive(Clone, Copy, Debug)]
struct Kept {
    label: u32,
    /// Its name, a text.
    name: u32,
    blocks: Estimate,
    bytes: Estimate,
}

/// The labels of samples, by their numbers.
#[derive(Debug)]
pub(super) struct LabelSums {
    kept: Array<Kept>,
    names: Texts,
}

impl LabelSums {
    pub(super) const fn new() -> Self {
        Self { kept: Array::new(), names: Texts::new() }
    }

    /// Sums up samples, and copies the names of their labels. O(samples log samples).
    pub(super) fn sum_up(&mut self, samples: &[Record]) -> Result<(), OutOfMemory> {
        for sample in samples.iter().filter(|sample| sample.stack != OLDER) {
            let (mut blocks, mut bytes) = (Estimate::default(), Estimate::default());
            blocks.add(1.0, sample.chance);
            bytes.add(sample.block_bytes as f64, sample.chance);
            let label = sample.label;
            match self.kept.items_mut().last_mut().filter(|last| last.label == label) {
                Some(last) => last.add(blocks, bytes),
                None => self.kept.push(Kept { label, name: 0, blocks, bytes })?,
            }
        }
        self.kept.sort_and_merge(
            |one, other| one.label.cmp(&other.label),
            |sum, other| sum.add(other.blocks, other.bytes),
        );
        let labels = PROFILER.labels.lock();
        for kept in self.kept.items_mut() {
            kept.name = self.names.intern(labels.get(kept.label))?;
        }
        Ok(())
    }

    /// The place of a label among those of [`LabelSums::iter`].
    pub(super) fn place(&self, label: u32) -> Option<usize> {
        self.kept.binary_search_by_key(&label, |kept| kept.label).ok()
    }

    pub(super) fn name(&self, label: u32) -> &str {
        let kept = self.place(label).and_then(|place| self.kept.get(place));
        kept.map_or("", |kept| self.names.get(kept.name))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = LabelSum<'_>> {
        self.kept.iter().map(|kept| LabelSum {
            name: self.names.get(kept.name),
            blocks: kept.blocks,
            bytes: kept.bytes,
        })
    }
}

impl Kept {
    fn add(&mut self, blocks: Estimate, bytes: Estimate) {
        self.blocks += blocks;
        self.bytes += bytes;
    }
}
