//! Floors 4 and 6: small blocks, up to 32 KiB, and large ones, up to 4 MiB. Slabs cut into slots of one class, and a heap
//! for each thread.
//!
//! From the ground up: [`class`] which slot serves a request; [`slab`] the slots and their states; [`handover`] how a slot
//! comes home from another thread; [`owners`] from an address to its slab; [`magazine`] a stack of free slots;
//! [`measured`] what a heap that serves a region notes; [`thread_heap`] what one thread has, with [`slab_lists`] and
//! [`large`] and [`idle`]; [`pool`] what all share; [`thread`] which heap is the calling thread's, by the word [`current`]; [`process`]
//! the process heap that is made of all this and of the free list below; [`by_address`] its fast paths for C; [`purge`]
//! pages that go back; [`walk`] looking inside; [`fork`] the same in the child of a fork.
//!
//! Everything here belongs to the process heap: descriptors, thread heaps and places are made once and stay, so they are
//! plain `&'static` references, and a late reader never meets unmapped memory.

pub mod by_address;
pub(crate) mod class;
#[cfg(feature = "std")]
mod current;
mod fork;
mod handover;
mod idle;
mod large;
mod magazine;
pub(crate) mod measured;
mod owners;
mod pool;
pub(crate) mod process;
mod purge;
pub(crate) mod slab;
mod slab_lists;
mod sync;
#[cfg(test)]
mod tests;
mod thread;
mod thread_heap;
pub(crate) mod walk;
