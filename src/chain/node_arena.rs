//! Storage for nodes: out of band, recycled, named by small ids.
//!
//! Owns: chunks of memory that hold nodes of one type, and the directory that finds a chunk by its number. Chunks come
//! from a [`ChunkSource`] in steps of at most [`CHUNK_BYTES`]; a node that is freed is used again, a chunk goes back
//! only when the whole arena does.
//!
//! Invariants: **I1** an id below `carved` names memory of this arena that is a valid `T` (every [`Node`] is valid for
//! all bit patterns, so a freed one can be read, if to no use); **I2** [`NodeArena::create`] never maps: who changes a
//! structure calls [`NodeArena::reserve`] first, so that nothing fails half-way.
#![allow(unsafe_code, reason = "the door to the nodes' memory")]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::base::os::OutOfMemory;
use crate::base::{addr, fatal};

/// The largest step by which an arena grows. 64 KiB is the largest page size of Linux, so a step is never less
/// than a page and a small heap never holds more than one spare step.
const CHUNK_BYTES: usize = 64 * 1024;

/// The first directory holds this many chunks; each next one twice as many.
const FIRST_DIRECTORY_CHUNKS: usize = 512;

/// A type that an arena can hold.
///
/// # Safety
///
/// Every bit pattern is a valid value, the size is at least 4 and the alignment at most 16.
pub(crate) unsafe trait Node: Copy {}

/// Where an arena gets its memory.
pub(crate) trait ChunkSource {
    /// `len` zero bytes aligned to 16, at most a few pages.
    fn chunk_create(&mut self, len: usize) -> Result<NonNull<u8>, OutOfMemory>;
    /// What a chunk of `len` bytes takes.
    fn chunk_cost(&self, len: usize) -> usize {
        len
    }
    /// Takes back what [`chunk_create`](ChunkSource::chunk_create) gave for the same `len`.
    fn chunk_destroy(&mut self, start: NonNull<u8>, len: usize);
}

/// The name of a node.
pub(crate) struct Id<T> {
    index: u32,
    node: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// No node.
    pub(crate) const NONE: Self = Self { index: u32::MAX, node: PhantomData };

    /// Whether this names no node.
    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self.index == u32::MAX
    }

    /// `None` for [`Id::NONE`].
    #[inline]
    pub(crate) fn some(self) -> Option<Self> {
        (!self.is_none()).then_some(self)
    }

    /// The same number as the name of a node of another type.
    #[inline]
    pub(crate) fn cast<U>(self) -> Id<U> {
        Id { index: self.index, node: PhantomData }
    }
}

impl<T> Clone for Id<T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
    }
}

impl<T> Eq for Id<T> {}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.some() {
            Some(id) => write!(f, "#{}", id.index),
            None => f.write_str("#none"),
        }
    }
}

/// Nodes of one type.
#[derive(Debug)]
pub(crate) struct NodeArena<T> {
    /// Where the directory is: the address of each chunk.
    directory: usize,
    directory_chunks: usize,
    chunk_count: usize,
    /// Nodes that were ever handed out; the ids above have not been touched yet.
    carved: u32,
    recycled: Id<T>,
    recycled_count: u32,
    /// What all chunks and the directory take.
    mapped_bytes: usize,
}

impl<T: Node> NodeArena<T> {
    /// A power of two, so that an id is split by shift and mask.
    const NODES_PER_CHUNK: u32 = {
        assert!(
            size_of::<T>() >= 4 && align_of::<T>() <= 16,
            "a node holds an id and fits a chunk"
        );
        assert!(size_of::<T>() <= CHUNK_BYTES / 8, "a chunk holds a few nodes");
        // The greatest power of two that fits.
        1 << (CHUNK_BYTES / size_of::<T>()).ilog2()
    };
    const SHIFT: u32 = Self::NODES_PER_CHUNK.trailing_zeros();
    const NODES_BYTES: usize = Self::NODES_PER_CHUNK as usize * size_of::<T>();
    const MAX_CHUNKS: usize = (u32::MAX >> Self::SHIFT) as usize;

    /// An arena without memory.
    pub(crate) const fn new() -> Self {
        Self {
            directory: 0,
            directory_chunks: 0,
            chunk_count: 0,
            carved: 0,
            recycled: Id::NONE,
            recycled_count: 0,
            mapped_bytes: 0,
        }
    }

    /// How many nodes can be created before the arena has to grow.
    #[inline]
    fn spare(&self) -> usize {
        (self.chunk_count << Self::SHIFT) - self.carved as usize + self.recycled_count as usize
    }

    /// Bytes that the arena holds, its directory included.
    pub(crate) fn mapped_bytes(&self) -> usize {
        self.mapped_bytes
    }

    /// Makes sure that `nodes` nodes can be created without growing.
    #[inline]
    pub(crate) fn reserve(
        &mut self,
        nodes: usize,
        source: &mut dyn ChunkSource,
    ) -> Result<(), OutOfMemory> {
        if self.spare() >= nodes { Ok(()) } else { self.grow(nodes, source) }
    }

    #[cold]
    fn grow(&mut self, nodes: usize, source: &mut dyn ChunkSource) -> Result<(), OutOfMemory> {
        while self.spare() < nodes {
            if self.chunk_count == Self::MAX_CHUNKS {
                return Err(OutOfMemory);
            }
            if self.chunk_count == self.directory_chunks {
                self.grow_directory(source)?;
            }
            let chunk = addr::expose(source.chunk_create(Self::NODES_BYTES)?);
            let entry = self.directory_entry(self.chunk_count);
            // SAFETY: `chunk_count < directory_chunks`, so the entry lies inside the directory (I1).
            unsafe { entry.write(chunk) };
            self.chunk_count += 1;
            self.mapped_bytes += source.chunk_cost(Self::NODES_BYTES);
        }
        Ok(())
    }

    /// Moves the directory to one of twice the size.
    fn grow_directory(&mut self, source: &mut dyn ChunkSource) -> Result<(), OutOfMemory> {
        let chunks = (self.directory_chunks * 2).max(FIRST_DIRECTORY_CHUNKS);
        let fresh = source.chunk_create(chunks * size_of::<usize>())?;
        if self.directory_chunks > 0 {
            let old = self.directory_entry(0);
            // SAFETY: the old directory has `chunk_count` entries, the fresh one is a longer, separate mapping.
            unsafe { fresh.cast::<usize>().copy_from_nonoverlapping(old, self.chunk_count) };
            let old_bytes = self.directory_chunks * size_of::<usize>();
            source.chunk_destroy(old.cast(), old_bytes);
            self.mapped_bytes -= source.chunk_cost(old_bytes);
        }
        self.mapped_bytes += source.chunk_cost(chunks * size_of::<usize>());
        self.directory = addr::expose(fresh);
        self.directory_chunks = chunks;
        Ok(())
    }

    /// A place in the directory.
    #[inline]
    fn directory_entry(&self, chunk: usize) -> NonNull<usize> {
        Self::place(self.directory.wrapping_add(chunk * size_of::<usize>()))
    }

    /// The memory at `address`, which lies in a chunk or a directory and so is never null.
    #[inline]
    fn place<U>(address: usize) -> NonNull<U> {
        match addr::pointer(address) {
            Some(place) => place.cast(),
            None => broken(),
        }
    }

    /// The memory of a node.
    #[inline]
    fn node(&self, id: Id<T>) -> NonNull<T> {
        if id.index >= self.carved {
            broken();
        }
        // SAFETY: the id is below `carved`, so its chunk has been entered into the directory (I1).
        let chunk = unsafe { self.directory_entry((id.index >> Self::SHIFT) as usize).read() };
        let slot = (id.index & (Self::NODES_PER_CHUNK - 1)) as usize;
        Self::place(chunk.wrapping_add(slot * size_of::<T>()))
    }

    /// The node `id`.
    #[inline]
    pub(crate) fn get(&self, id: Id<T>) -> &T {
        let node = self.node(id);
        // SAFETY: the place is a valid `T` of this arena (I1), and `&self` keeps writers away.
        unsafe { node.as_ref() }
    }

    /// The node `id`, to change it.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: Id<T>) -> &mut T {
        let mut node = self.node(id);
        // SAFETY: the place is a valid `T` of this arena (I1), and `&mut self` keeps everybody else away.
        unsafe { node.as_mut() }
    }

    /// A new node. The caller has reserved it.
    #[inline]
    pub(crate) fn create(&mut self, value: T) -> Id<T> {
        let id = match self.recycled.some() {
            Some(id) => {
                // SAFETY: a recycled node's first bytes hold the id of the next one.
                self.recycled = unsafe { self.node(id).cast::<Id<T>>().read() };
                self.recycled_count -= 1;
                id
            }
            None => {
                if self.carved as usize >= self.chunk_count << Self::SHIFT {
                    broken();
                }
                self.carved += 1;
                Id { index: self.carved - 1, node: PhantomData }
            }
        };
        *self.get_mut(id) = value;
        id
    }

    /// Takes a node back.
    #[inline]
    pub(crate) fn destroy(&mut self, id: Id<T>) {
        let node = self.node(id).cast::<Id<T>>();
        // SAFETY: the place holds at least 4 bytes, aligned to 4 like every node (I1).
        unsafe { node.write(self.recycled) };
        self.recycled = id;
        self.recycled_count += 1;
    }

    /// Nodes in use.
    pub(crate) fn live_count(&self) -> usize {
        (self.carved - self.recycled_count) as usize
    }

    /// Gives all memory back; the arena is as new.
    pub(crate) fn release(&mut self, source: &mut dyn ChunkSource) {
        for chunk in 0..self.chunk_count {
            // SAFETY: the entry lies inside the directory, which goes back last.
            let nodes = unsafe { self.directory_entry(chunk).read() };
            source.chunk_destroy(Self::place(nodes), Self::NODES_BYTES);
        }
        if self.directory_chunks > 0 {
            let bytes = self.directory_chunks * size_of::<usize>();
            source.chunk_destroy(self.directory_entry(0).cast(), bytes);
        }
        *self = Self::new();
    }
}

/// An id that no arena gave out: MeMS's own memory was overwritten.
#[cold]
#[inline(never)]
fn broken() -> ! {
    fatal::die(format_args!("the allocator's own records are damaged: a node id is out of range"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::base::os::{Os, System};

    /// Chunks straight from the system; the `fail_at`-th call fails.
    #[derive(Debug, Default)]
    pub(crate) struct TestChunks {
        pub(crate) calls: usize,
        pub(crate) fail_at: Option<usize>,
        pub(crate) live: usize,
    }

    impl ChunkSource for TestChunks {
        fn chunk_create(&mut self, len: usize) -> Result<NonNull<u8>, OutOfMemory> {
            self.calls += 1;
            if self.fail_at == Some(self.calls) {
                return Err(OutOfMemory);
            }
            let start = System.map(len)?;
            self.live += 1;
            Ok(start)
        }

        fn chunk_destroy(&mut self, start: NonNull<u8>, len: usize) {
            self.live -= 1;
            // SAFETY: the arena gives back what it was given.
            unsafe { System.unmap(start, len) }.expect("unmap");
        }
    }

    // SAFETY: 64 bytes of integers.
    unsafe impl Node for [u64; 8] {}

    #[test]
    fn nodes_keep_their_values_and_are_recycled() {
        let mut source = TestChunks::default();
        let mut arena = NodeArena::<[u64; 8]>::new();
        let mut ids = Vec::new();
        for value in 0..600_000_u64 {
            arena.reserve(1, &mut source).expect("room");
            ids.push(arena.create([value; 8]));
        }
        assert!(arena.directory_chunks > FIRST_DIRECTORY_CHUNKS, "the directory has grown");
        for (value, id) in ids.iter().enumerate() {
            assert_eq!(*arena.get(*id), [value as u64; 8]);
        }
        let mapped = arena.mapped_bytes();
        for id in &ids {
            arena.destroy(*id);
        }
        assert_eq!(arena.live_count(), 0);
        arena.reserve(ids.len(), &mut source).expect("all of them are there");
        for _ in 0..ids.len() {
            let _ = arena.create([7; 8]);
        }
        assert_eq!(arena.mapped_bytes(), mapped);
        arena.release(&mut source);
        assert_eq!((source.live, arena.mapped_bytes()), (0, 0));
    }

    #[test]
    fn a_failed_reserve_changes_nothing() {
        for fail_at in 1..=3 {
            let mut source = TestChunks { fail_at: Some(fail_at), ..TestChunks::default() };
            let mut arena = NodeArena::<[u64; 8]>::new();
            let two_chunks = NodeArena::<[u64; 8]>::NODES_PER_CHUNK as usize + 1;
            assert_eq!(arena.reserve(two_chunks, &mut source), Err(OutOfMemory));
            arena.reserve(two_chunks, &mut source).expect("the next try succeeds");
            let id = arena.create([1; 8]);
            assert_eq!(arena.get(id)[7], 1);
            arena.release(&mut source);
            assert_eq!(source.live, 0);
        }
    }
}
