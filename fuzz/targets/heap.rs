//! Operations on a heap beside a model of it: blocks do not overlap and keep their contents, every wrong address is
//! refused and changes nothing, and the heap's laws hold, also where the system refuses memory.
//!
//! The first byte chooses the heap: one of its own on a system that fails, or the process heap, whose blocks may also
//! be freed by another thread.
#![no_main]
#![allow(unsafe_code)]

#[path = "../../tests/helpers/faulty.rs"]
#[allow(dead_code)]
mod faulty;

use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;
use std::ptr::NonNull;

use allocator_api2::alloc::Allocator;
use arbitrary::Arbitrary;
use faulty::FaultyOs;
use libfuzzer_sys::fuzz_target;
use mems::{Heap, MemsAlloc, Misuse};

/// A step. Blocks are named by their number, modulo those that are live.
#[derive(Arbitrary, Debug)]
enum Step {
    Allocate { size: Size, align: u8, is_zeroed: bool },
    Free { block: u16, by_other_thread: bool },
    Resize { block: u16, size: Size },
    FreeAgain,
    FreeWrong { block: u16, offset: i32 },
    WrongSize { block: u16, size: Size },
    Trim,
    Flush,
    Limit { mib: u8 },
    Refuse { calls: u8 },
    Heal,
    Check,
}

/// A size: a power of two, and some bytes more.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Size {
    bits: u8,
    more: u32,
}

impl Size {
    fn bytes(self) -> usize {
        let power = 1_usize << (self.bits % 25);
        power - 1 + self.more as usize % (power + 1)
    }
}

/// The heap under test.
trait Subject: Sync {
    fn allocate(&self, layout: Layout, is_zeroed: bool) -> Option<NonNull<u8>>;
    unsafe fn free(&self, start: *mut u8, layout: Option<Layout>) -> Result<(), Misuse>;
    unsafe fn resize(&self, start: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<u8>>;
    fn usable_size(&self, start: *const u8) -> Option<usize>;
    fn validate(&self, start: *const u8, layout: Layout) -> Result<(), Misuse>;
    fn trim(&self);
    fn flush(&self);
    fn set_limit(&self, bytes: usize);
    fn check(&self);
}

impl Subject for Heap<&FaultyOs> {
    fn allocate(&self, layout: Layout, is_zeroed: bool) -> Option<NonNull<u8>> {
        let block = if is_zeroed {
            Allocator::allocate_zeroed(&self, layout)
        } else {
            Allocator::allocate(&self, layout)
        };
        block.ok().map(NonNull::cast)
    }

    unsafe fn free(&self, start: *mut u8, layout: Option<Layout>) -> Result<(), Misuse> {
        match layout {
            Some(layout) => unsafe { self.mems_free_sized(start, layout) },
            None => unsafe { self.mems_free(start) },
        }
    }

    unsafe fn resize(&self, start: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<u8>> {
        let block = if new.size() < old.size() {
            unsafe { Allocator::shrink(&self, start, old, new) }
        } else {
            unsafe { Allocator::grow(&self, start, old, new) }
        };
        block.ok().map(NonNull::cast)
    }

    fn usable_size(&self, start: *const u8) -> Option<usize> {
        Heap::usable_size(self, start)
    }

    fn validate(&self, start: *const u8, layout: Layout) -> Result<(), Misuse> {
        Heap::validate(self, start, layout)
    }

    fn trim(&self) {
        Heap::trim(self);
    }

    fn flush(&self) {}

    fn set_limit(&self, bytes: usize) {
        Heap::set_limit(self, bytes);
    }

    fn check(&self) {
        assert_eq!(Heap::check(self), Ok(()));
    }
}

impl Subject for MemsAlloc {
    fn allocate(&self, layout: Layout, is_zeroed: bool) -> Option<NonNull<u8>> {
        if layout.size() == 0 {
            return self.mems_malloc(0, layout.align());
        }
        NonNull::new(if is_zeroed {
            unsafe { self.alloc_zeroed(layout) }
        } else {
            unsafe { self.alloc(layout) }
        })
    }

    unsafe fn free(&self, start: *mut u8, layout: Option<Layout>) -> Result<(), Misuse> {
        match layout {
            Some(layout) => unsafe { self.mems_free_sized(start, layout) },
            None => unsafe { self.mems_free(start) },
        }
    }

    unsafe fn resize(&self, start: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<u8>> {
        if new.size() == 0 {
            return None;
        }
        NonNull::new(unsafe { self.realloc(start.as_ptr(), old, new.size()) })
    }

    fn usable_size(&self, start: *const u8) -> Option<usize> {
        MemsAlloc::usable_size(self, start)
    }

    fn validate(&self, start: *const u8, layout: Layout) -> Result<(), Misuse> {
        MemsAlloc::validate(self, start, layout)
    }

    fn trim(&self) {
        MemsAlloc::trim(self);
    }

    fn flush(&self) {
        self.thread_flush();
    }

    fn set_limit(&self, _: usize) {}

    fn check(&self) {
        assert_eq!(MemsAlloc::check(self), Ok(()));
    }
}

/// A live block of the model.
#[derive(Clone, Copy, Debug)]
struct Block {
    layout: Layout,
    stamp: u8,
}

/// What is live, by address.
#[derive(Default)]
struct Model {
    live: BTreeMap<usize, Block>,
    freed: Option<(usize, Layout)>,
    stamp: u8,
}

/// The first and the last bytes of a block have its stamp.
fn marked(start: *mut u8, size: usize) -> impl Iterator<Item = *mut u8> {
    let edge = size.min(32);
    (0..edge).chain(size - edge..size).map(move |offset| start.wrapping_add(offset))
}

fn pointer(address: usize) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address)
}

impl Model {
    fn insert(&mut self, start: NonNull<u8>, layout: Layout) {
        self.stamp = self.stamp.wrapping_add(1);
        let (address, stamp) = (start.expose_provenance().get(), self.stamp);
        assert_eq!(address % layout.align(), 0, "{layout:?} at {address:#x}");
        let below = self.live.range(..=address).next_back();
        assert!(
            below.is_none_or(|(other, it)| other + it.layout.size().max(1) <= address),
            "two owners"
        );
        let above = self.live.range(address..).next();
        assert!(
            above.is_none_or(|(other, _)| address + layout.size().max(1) <= *other),
            "two owners"
        );
        marked(start.as_ptr(), layout.size()).for_each(|byte| unsafe { byte.write(stamp) });
        self.live.insert(address, Block { layout, stamp });
    }

    fn nth(&self, number: u16) -> Option<(usize, Block)> {
        let index = usize::from(number) % self.live.len().max(1);
        self.live.iter().nth(index).map(|(address, block)| (*address, *block))
    }

    fn assert_intact(address: usize, size: usize, stamp: u8) {
        let intact = marked(pointer(address), size).all(|byte| unsafe { byte.read() } == stamp);
        assert!(intact, "the contents of {address:#x} have changed");
    }

    /// Whether an address is in a live block, its start apart.
    fn is_start(&self, address: usize) -> bool {
        self.live.contains_key(&address)
    }
}

fn take(heap: &dyn Subject, model: &mut Model, step: Step) {
    match step {
        Step::Allocate { size, align, is_zeroed } => {
            let layout =
                Layout::from_size_align(size.bytes(), 1 << (align % 14)).expect("a layout");
            let Some(start) = heap.allocate(layout, is_zeroed) else { return };
            if is_zeroed {
                let mut bytes = marked(start.as_ptr(), layout.size());
                assert!(bytes.all(|byte| unsafe { byte.read() } == 0), "zeroed");
            }
            assert!(heap.usable_size(start.as_ptr()) >= Some(layout.size()));
            model.insert(start, layout);
        }
        Step::Free { block, by_other_thread } => {
            let Some((address, block)) = model.nth(block) else { return };
            Model::assert_intact(address, block.layout.size(), block.stamp);
            model.live.remove(&address);
            model.freed = Some((address, block.layout));
            let free = || unsafe { heap.free(pointer(address), Some(block.layout)) };
            let freed = if by_other_thread {
                std::thread::scope(|scope| scope.spawn(free).join().expect("no panic"))
            } else {
                free()
            };
            assert_eq!(freed, Ok(()));
            assert_eq!(heap.usable_size(pointer(address)), None);
        }
        Step::Resize { block, size } => {
            let Some((address, block)) = model.nth(block) else { return };
            let new =
                Layout::from_size_align(size.bytes(), block.layout.align()).expect("a layout");
            let old = NonNull::new(pointer(address)).expect("not null");
            Model::assert_intact(address, block.layout.size(), block.stamp);
            let Some(start) = (unsafe { heap.resize(old, block.layout, new) }) else { return };
            let kept = new.size().min(block.layout.size()).min(32);
            let is_kept = |offset: usize| unsafe { start.as_ptr().wrapping_add(offset).read() } == block.stamp;
            assert!((0..kept).all(is_kept), "a resize keeps contents");
            model.live.remove(&address);
            model.insert(start, new);
        }
        Step::FreeAgain => {
            let Some((address, layout)) = model.freed else { return };
            if !model.is_start(address) && heap.usable_size(pointer(address)).is_none() {
                assert!(heap.validate(pointer(address), layout).is_err());
                assert!(unsafe { heap.free(pointer(address), None) }.is_err(), "a double free");
                assert!(
                    unsafe { heap.free(pointer(address), Some(layout)) }.is_err(),
                    "a double free"
                );
            }
        }
        Step::FreeWrong { block, offset } => {
            let Some((address, block)) = model.nth(block) else { return };
            let wrong = address.wrapping_add_signed(offset as isize);
            if !model.is_start(wrong) && heap.usable_size(pointer(wrong)).is_none() {
                assert!(unsafe { heap.free(pointer(wrong), None) }.is_err(), "{wrong:#x}");
                assert!(
                    unsafe { heap.free(pointer(wrong), Some(block.layout)) }.is_err(),
                    "{wrong:#x}"
                );
            }
        }
        Step::WrongSize { block, size } => {
            let Some((address, block)) = model.nth(block) else { return };
            let wrong =
                Layout::from_size_align(size.bytes(), block.layout.align()).expect("a layout");
            if heap.validate(pointer(address), wrong).is_err() {
                assert!(unsafe { heap.free(pointer(address), Some(wrong)) }.is_err());
            }
            assert_eq!(heap.validate(pointer(address), block.layout), Ok(()));
        }
        Step::Trim => heap.trim(),
        Step::Flush => heap.flush(),
        Step::Limit { mib } => heap.set_limit(usize::from(mib) << 20),
        Step::Check => heap.check(),
        Step::Refuse { .. } | Step::Heal => {}
    }
}

/// Frees what is left.
fn finish(heap: &dyn Subject, model: Model) {
    for (address, block) in model.live {
        Model::assert_intact(address, block.layout.size(), block.stamp);
        assert_eq!(unsafe { heap.free(pointer(address), None) }, Ok(()));
    }
    heap.check();
}

fuzz_target!(|input: (bool, bool, Vec<Step>)| {
    let (is_process, is_large, steps) = input;
    let mut model = Model::default();
    if is_process {
        static HEAP: MemsAlloc = MemsAlloc::new();
        steps.into_iter().for_each(|step| take(&HEAP, &mut model, step));
        return finish(&HEAP, model);
    }
    let os = FaultyOs::default();
    let heap = Heap::with_os(&os, if is_large { 1 << 30 } else { 1 << 20 });
    for step in steps {
        match step {
            Step::Refuse { calls } => os.refuse_next(usize::from(calls)),
            Step::Heal => os.heal(),
            _ => take(&heap, &mut model, step),
        }
    }
    os.heal();
    finish(&heap, model);
    drop(heap);
    assert!(os.unmaps_refused() > 0 || os.held() == 0, "a heap that is gone holds nothing");
});
