//! Slabs: small blocks, up to 32 KiB, and large ones, up to 4 MiB. Slabs cut into slots of one class, and a heap for
//! each thread.
//!
//! From the ground up: [`class`] which slot serves a request; [`sync`] the atomics, which loom follows in `models`;
//! [`names`] of heaps and slabs; [`slot`] the right to one; [`raced`] two frees of one block; [`handover`] how a slot
//! comes home from another thread; [`notes`] what a heap that serves a region notes; [`records`] memory for all that is
//! noted; [`slab`] the slots and their states; [`entry`] what a free knows of a slab; [`magazine`] a stack of free
//! slots; [`outbox`] where those of others wait; [`place_runs`], [`heap_cards`] and [`descriptors`] what waits for a
//! heap; [`class_lists`] a heap's slabs of a class; [`budget`] how much it may keep; [`slab_map`] from an address to
//! its slab; [`view`] a thread's own of that; [`depot`] what all heaps draw on; [`marks`] which slots a profile
//! samples; [`thread_heap`] what one thread has; [`places`], [`slab_lists`], [`large`], [`marking`] and `begin_marks`
//! what it keeps; [`send_home`] free's slow ways; [`periods`] what is looked at now and then; [`retired`] heaps whose
//! threads have ended; [`vacant`] those of which nothing is left; [`vanished`] those whose threads a child has not;
//! [`refill`] malloc's slow way; [`check`] the laws.
//!
//! Which heap is the calling thread's, and whether settings concern every call, is decided above, in
//! [`process`](crate::process). Descriptors, thread heaps and places are made once and never unmapped, so they are
//! plain `&'static` references, and a late reader meets a record of the same kind, or zero where that waits.

pub(crate) mod class;
#[cfg(all(test, mems_loom))]
mod followed;
#[cfg(all(test, mems_loom))]
mod modelled;
pub(crate) mod sync;
pub(crate) mod names;
pub(crate) mod slot;
mod raced;
mod handover;
pub(crate) mod notes;
mod records;
pub(crate) mod slab;
pub(crate) mod entry;
pub(crate) mod magazine;
mod outbox;
mod place_runs;
pub(crate) mod heap_cards;
mod descriptors;
mod class_lists;
mod budget;
pub(crate) mod rounds;
pub(crate) mod slab_map;
pub(crate) mod view;
pub(crate) mod depot;
mod marks;
pub(crate) mod thread_heap;
mod places;
mod slab_lists;
mod large;
mod marking;
#[cfg(feature = "profile")]
mod begin_marks;
mod send_home;
mod vacant;
pub(crate) mod retired;
mod armed;
mod give_back;
mod periods;
mod overflow;
mod vanished;
mod refill;
mod check;
#[cfg(test)]
mod slot_model;
#[cfg(test)]
mod test_heaps;
#[cfg(all(test, mems_loom))]
mod models;
#[cfg(all(test, mems_loom))]
mod give_back_models;
#[cfg(all(test, mems_loom))]
mod race_models;
#[cfg(all(test, mems_loom))]
mod fork_models;
#[cfg(test)]
mod heaps_check;
#[cfg(test)]
mod records_check;
#[cfg(test)]
mod periods_check;
#[cfg(all(test, feature = "std"))]
mod give_back_check;
#[cfg(all(test, feature = "std"))]
mod heaps_model;
#[cfg(test)]
mod heaps_soak;
#[cfg(test)]
mod tests;
