//! Outboxes: where slots of other heaps' slabs wait that a thread has freed, until they go home together.

use super::magazine::Magazine;
use super::slot::SentSlot;

/// The slots of a class that wait.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Outbox(Magazine);

impl Outbox {
    /// An outbox without places.
    pub(super) const fn empty() -> Self {
        Self(Magazine::empty())
    }

    /// The stack in which they wait.
    pub(super) const fn stack(&self) -> &Magazine {
        &self.0
    }

    /// Lets a slot wait, or gives it back where there is no place.
    #[inline]
    pub(crate) fn push(&self, slot: SentSlot) -> Result<(), SentSlot> {
        self.0.push(slot.into_waiting()).map_err(SentSlot::waiting)
    }

    /// Takes all slots out, the oldest first.
    pub(super) fn take_all(&self, mut take: impl FnMut(SentSlot)) {
        self.0.take_oldest(self.0.len(), |slot| take(SentSlot::waiting(slot)));
    }
}
