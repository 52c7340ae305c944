//! The kinds of misuse. Each names on standard output the address that it is about to misuse, and comes back only if
//! MeMS does not stop it.
//!
//! A second free is a misuse only while no other block has taken the address. Where something may have (threads end
//! in between), the scene is played again until the address is nobody's.
#![allow(unsafe_code, reason = "misuse is what this commits")]

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::HashMap;
use std::io::Write;
use std::thread;

use crate::helpers::Rng;
use crate::helpers::piece::{MEMS, Piece, layout};

/// The exit code of a misuse that was missed.
pub(crate) const NOT_STOPPED: u8 = 3;
/// Tries until an address that was freed is nobody's.
const TRIES: usize = 1000;

/// A misuse.
pub(crate) type Misuse = fn(&Scene);

/// All kinds, by name.
pub(crate) const KINDS: [(&str, Misuse); 35] = [
    ("double-at-once", |scene| scene.free_again(scene.gone())),
    ("double-interleaved", double_interleaved),
    ("double-delayed", double_delayed),
    ("double-by-other-thread", double_by_other_thread),
    ("double-by-two-threads", double_by_two_threads),
    ("double-in-a-race", double_in_a_race),
    ("double-after-owners-free", double_after_owners_free),
    ("double-after-owners-death", double_after_owners_death),
    ("double-after-realloc", double_after_realloc),
    ("double-after-trim", double_after_trim),
    ("interior-8", |scene| scene.free_again(scene.block() + 8)),
    ("interior-middle", |scene| scene.free_again(scene.block() + scene.layout.size() / 2)),
    ("interior-last", |scene| scene.free_again(scene.block() + scene.layout.size() - 1)),
    ("misaligned", |scene| scene.free_again(scene.block() + 1)),
    ("before-by-1", |scene| scene.free_again(scene.block() - 1)),
    ("before-by-8", |scene| scene.free_again(scene.block() - 8)),
    ("stack", stack),
    ("static", |scene| scene.free_again((&raw const STATIC).addr())),
    ("function", |scene| scene.free_again(stack as *const () as usize)),
    ("foreign-mmap", foreign_mmap),
    ("libc-malloc", libc_malloc),
    ("low", |scene| scene.free_again(16)),
    ("kernel", |scene| scene.free_again(0xffff_8000_0000_1000)),
    ("last-address", |scene| scene.free_again(usize::MAX - 15)),
    ("non-canonical", |scene| scene.free_again(0x8000_0000_0000_0000)),
    ("non-canonical-low", |scene| scene.free_again(0x0000_8000_0000_1000)),
    ("never-used-hole", never_used_hole),
    ("never-used-slot", never_used_slot),
    ("never-used-range", |scene| scene.free_again((scene.block() + (1 << 33)) & !4095)),
    ("realloc-freed", |scene| scene.realloc(scene.gone(), scene.layout)),
    ("realloc-interior", |scene| scene.realloc(scene.block() + 8, scene.layout)),
    ("realloc-foreign", |scene| scene.realloc((&raw const STATIC).addr(), scene.layout)),
    ("realloc-wrong-size", |scene| scene.realloc(scene.block(), scene.twice())),
    ("wrong-size-larger", |scene| scene.free_as(scene.block(), scene.twice())),
    ("wrong-size-smaller", |scene| scene.free_as(scene.block(), scene.half())),
];

static STATIC: [u64; 8] = [7; 8];

/// Where a misuse takes place: blocks of one layout.
pub(crate) struct Scene {
    layout: Layout,
}

impl Scene {
    pub(crate) fn new(size: usize) -> Self {
        Self { layout: layout(size, 8) }
    }

    /// A layout of another size class.
    fn twice(&self) -> Layout {
        layout(self.layout.size() * 2, 8)
    }

    /// Another one, but for the smallest block, of which there is no half.
    fn half(&self) -> Layout {
        let size = self.layout.size();
        layout(if size <= 16 { 48 } else { size / 2 }, 8)
    }

    /// A live block's address.
    fn block(&self) -> usize {
        // SAFETY: the layout has a size.
        let block = unsafe { MEMS.alloc(self.layout) };
        assert!(!block.is_null(), "there is memory");
        block.expose_provenance()
    }

    /// The address of a block that was freed.
    fn gone(&self) -> usize {
        let block = self.block();
        self.free(block);
        block
    }

    /// Frees an address as it is.
    fn free(&self, address: usize) {
        let pointer = core::ptr::with_exposed_provenance_mut(address);
        // SAFETY: upheld by nobody: that is for MeMS to find out.
        unsafe { MEMS.dealloc(pointer, self.layout) };
    }

    /// Announces the address and frees it: the misuse.
    fn free_again(&self, address: usize) {
        self.free_as(address, self.layout);
    }

    fn free_as(&self, address: usize, layout: Layout) {
        announce(address);
        // SAFETY: deliberately not upheld.
        unsafe { MEMS.dealloc(core::ptr::with_exposed_provenance_mut(address), layout) };
    }

    fn realloc(&self, address: usize, layout: Layout) {
        announce(address);
        let pointer = core::ptr::with_exposed_provenance_mut(address);
        // SAFETY: deliberately not upheld.
        let moved = unsafe { MEMS.realloc(pointer, layout, self.layout.size() * 3) };
        core::hint::black_box(moved);
    }
}

/// Writes the address to standard output, on the stack: nothing may be allocated between two frees of one block.
fn announce(address: usize) {
    let mut line = [0_u8; 32];
    let mut rest = &mut line[..];
    let _ = writeln!(rest, "{address:#x}");
    let len = 32 - rest.len();
    // SAFETY: the first `len` bytes of the line are initialised.
    let written = unsafe { libc::write(1, line.as_ptr().cast(), len) };
    assert_eq!(written.cast_unsigned(), len);
}

/// Whether the address is the start of somebody's block.
fn is_live(address: usize) -> bool {
    MEMS.usable_size(core::ptr::without_provenance(address)).is_some()
}

/// Plays `scene` until the address it answers, which was freed, is nobody's; then frees it again.
fn free_again_when_gone(scene: &Scene, mut play: impl FnMut() -> usize) {
    let found = (0..TRIES).map(|_| play()).find(|address| !is_live(*address));
    scene.free_again(found.expect("some address stays free"));
}

fn double_interleaved(scene: &Scene) {
    let (first, second) = (scene.block(), scene.block());
    scene.free(first);
    scene.free(second);
    scene.free_again(first);
}

fn double_delayed(scene: &Scene) {
    let block = scene.gone();
    let later: Vec<_> = (0..1000).map(|size| Piece::new(size, 8, 1).expect("memory")).collect();
    later.into_iter().for_each(Piece::free);
    if !is_live(block) {
        scene.free_again(block);
    }
    free_again_when_gone(scene, || scene.gone());
}

fn double_by_other_thread(scene: &Scene) {
    free_again_when_gone(scene, || {
        let block = scene.block();
        thread::scope(|scope| {
            scope.spawn(|| scene.free(block));
        });
        block
    });
}

/// Both threads run before the first free, so that nothing is allocated between the two.
fn double_by_two_threads(scene: &Scene) {
    let turn = AtomicUsize::new(0);
    let wait = |mine| {
        while turn.load(Ordering::Acquire) != mine {
            thread::yield_now();
        }
    };
    let block = scene.block();
    thread::scope(|scope| {
        scope.spawn(|| {
            turn.fetch_add(1, Ordering::AcqRel);
            wait(2);
            scene.free(block);
            turn.store(3, Ordering::Release);
            wait(4);
        });
        scope.spawn(|| {
            wait(1);
            turn.store(2, Ordering::Release);
            wait(3);
            scene.free_again(block);
            turn.store(4, Ordering::Release);
        });
    });
}

/// Two threads free one block at the same instant; at the latest when the block would be handed out twice that is
/// seen.
fn double_in_a_race(scene: &Scene) {
    let (ready, block) = (AtomicUsize::new(0), scene.block());
    announce(block);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                ready.fetch_add(1, Ordering::AcqRel);
                while ready.load(Ordering::Acquire) < 2 {
                    core::hint::spin_loop();
                }
                scene.free(block);
            });
        }
    });
    let count = (1 << 28) / scene.layout.size().max(4096);
    for _ in 0..count.min(10_000) {
        core::hint::black_box(scene.block());
    }
}

fn double_after_owners_free(scene: &Scene) {
    free_again_when_gone(scene, || {
        thread::scope(|scope| scope.spawn(|| scene.gone()).join().expect("a block"))
    });
}

fn double_after_owners_death(scene: &Scene) {
    let block = thread::scope(|scope| scope.spawn(|| scene.block()).join().expect("a block"));
    scene.free(block);
    scene.free_again(block);
}

/// The address that a block had before a realloc moved it.
fn double_after_realloc(scene: &Scene) {
    let (mut at, mut held) = (scene.block(), Vec::new());
    let mut size = scene.layout.size();
    loop {
        // What stands behind makes the block move.
        held.push(scene.block());
        let pointer = core::ptr::with_exposed_provenance_mut(at);
        // SAFETY: the block is live with this layout.
        let moved = unsafe { MEMS.realloc(pointer, layout(size, 8), size * 2) };
        if moved.addr() != at && !is_live(at) {
            return scene.free_again(at);
        }
        (at, size) = (moved.expose_provenance(), size * 2);
    }
}

fn double_after_trim(scene: &Scene) {
    let block = scene.gone();
    MEMS.trim();
    scene.free_again(block);
}

fn stack(scene: &Scene) {
    let local = [0_u64; 64];
    scene.free_again((&raw const local).expose_provenance() & !15);
}

fn foreign_mmap(scene: &Scene) {
    let (rights, flags) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: without MAP_FIXED the kernel picks addresses that nothing uses.
    let mapped = unsafe { libc::mmap(core::ptr::null_mut(), 1 << 20, rights, flags, -1, 0) };
    assert_ne!(mapped, libc::MAP_FAILED);
    scene.free_again(mapped.expose_provenance() + 4096);
}

fn libc_malloc(scene: &Scene) {
    // SAFETY: malloc(3) has no preconditions.
    let foreign = unsafe { libc::malloc(scene.layout.size()) };
    scene.free_again(foreign.expose_provenance());
}

/// Memory behind the last block, which is mapped and was never handed out.
fn never_used_hole(scene: &Scene) {
    let block = scene.block();
    let spans = MEMS.spans().map(|span| span.start..span.start + span.size);
    let end = spans.filter(|span| span.contains(&block)).map(|span| span.end).last();
    let end = end.expect("a span has the block");
    let unused = (block..end).rev().step_by(16).map(|address| address & !15);
    let hole = unused.take(1000).find(|address| !is_live(*address));
    scene.free_again(hole.expect("some of it is unused"));
}

/// The place behind a block, which is a slot's where blocks of the size lie in slabs.
fn never_used_slot(scene: &Scene) {
    let mut blocks: Vec<usize> =
        (0..TRIES.min((64 << 20) / scene.layout.size() + 1)).map(|_| scene.block()).collect();
    // Behind the last one of a row there may be another thread's.
    let unused = (0..TRIES).find_map(|_| {
        let behind = blocks.iter().map(|block| {
            let usable = MEMS.usable_size(core::ptr::without_provenance(*block));
            block + usable.expect("a live block has a size")
        });
        let unused =
            behind.into_iter().find(|behind| !blocks.contains(behind) && !is_live(*behind));
        if unused.is_none() {
            blocks.push(scene.block());
        }
        unused
    });
    scene.free_again(unused.expect("some block is the last one of its row"));
}

/// Work of three threads that leaves blocks and holes behind.
pub(crate) fn live_in() {
    let threads = (1..4).map(|seed| {
        thread::spawn(move || {
            let (mut rng, mut live) = (Rng::quiet(seed), HashMap::new());
            for _ in 0..crate::helpers::scaled(700, 3000) {
                let piece = Piece::new(rng.size(14), 8, rng.next()).expect("there is memory");
                if let Some(old) = live.insert(rng.below(300), piece) {
                    old.free();
                }
            }
            live
        })
    });
    let threads: Vec<_> = threads.collect();
    for thread in threads {
        let live = thread.join().expect("the work is correct");
        // What lives on has no owner any more.
        let _ = Box::leak(Box::new(live));
    }
}
