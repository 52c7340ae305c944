//! Models of pages that go back while their slab's owner sleeps, or wakes. They are run as, and with the means of, the
//! other [`models`](super::models).
//!
//! The pages are real ones: a thread writes to the block that it is handed out, and finds in the end what it wrote.
#![allow(unsafe_code, reason = "writes to blocks")]
#![allow(clippy::expect_used, reason = "a test")]

use super::depot::Depot;
use super::followed::Followed;
use super::models::{
    Heap, assert_all_home, class, explore, free_and_deliver, heap_with, heap_with_and_another,
    show, spawn,
};
use super::raced;
use super::rounds::Step;
use super::slab::Slab;
use super::test_heaps::{allocate, free, slab_of};
use crate::base::addr;

/// What is written to a block.
const BYTE: u8 = 0xA5;

fn write(block: usize) {
    let start = addr::pointer(block).expect("an address");
    // SAFETY: the block was just handed out.
    unsafe { start.as_ptr().write(BYTE) };
}

fn is_written(block: usize) -> bool {
    let start = addr::pointer(block).expect("an address");
    // SAFETY: the pages of a slab can be read.
    unsafe { start.as_ptr().read() == BYTE }
}

/// Gives back what others have sent home to a slab.
fn give_back(depot: &'static Depot, slab: &'static Slab) -> usize {
    let _looking = depot.looking.lock();
    let mut step = Step::all();
    depot.give_back_sent(slab, &mut step);
    step.given_back
}

/// A heap whose slots are home, but for two blocks, which are written to, and another thread's.
struct Scene {
    owner: Heap,
    blocks: [usize; 2],
    slab: &'static Slab,
    other: Heap,
}

impl Scene {
    fn of(depot: &'static Depot) -> (Self, Followed) {
        let (owner, blocks, other) = heap_with_and_another::<2>(depot);
        owner.flush();
        blocks.into_iter().for_each(write);
        let slab = slab_of(owner, blocks[0]);
        (Self { owner, blocks, slab, other }, show(&[owner, other], &blocks))
    }
}

/// The owner takes in what was sent home, and is handed it out, while its pages go back.
#[test]
fn no_page_goes_back_under_its_new_owner() {
    explore(|depot| {
        let (Scene { owner, blocks, slab, other }, followed) = Scene::of(depot);
        assert!(free_and_deliver(other, blocks[0]));
        let giving = spawn(move || give_back(depot, slab));
        owner.drain();
        let block = allocate(owner, class()).expect("memory");
        write(block);
        giving.join().expect("it ends");
        drop(followed);
        assert!(is_written(block) && is_written(blocks[1]), "what was written is there");
        assert!([block, blocks[1]].iter().all(|block| free(owner, *block)));
        assert_all_home(&[owner, other], &blocks);
    });
}

/// Another thread frees a block while the pages of the first one go back.
#[test]
fn no_slot_is_forgotten_that_comes_home_meanwhile() {
    explore(|depot| {
        let (Scene { owner, blocks, slab, other }, followed) = Scene::of(depot);
        assert!(free_and_deliver(other, blocks[0]));
        let giving = spawn(move || give_back(depot, slab));
        let freeing = spawn(move || assert!(free_and_deliver(other, blocks[1])));
        owner.drain();
        giving.join().expect("it ends");
        freeing.join().expect("it ends");
        drop(followed);
        assert_all_home(&[owner, other], &blocks);
    });
}

/// Who looks while the owner sleeps finds all that was sent home.
#[test]
fn all_pages_of_a_sleeping_owner_go_back() {
    explore(|depot| {
        let (Scene { owner, blocks, slab, other }, followed) = Scene::of(depot);
        let freeing = spawn(move || blocks.iter().all(|block| free_and_deliver(other, *block)));
        let early = give_back(depot, slab);
        assert!(freeing.join().expect("it ends"));
        let late = give_back(depot, slab);
        drop(followed);
        assert_eq!(early + late, 2 * class().shape().slot_bytes, "once each");
        assert!(!blocks.into_iter().any(is_written));
        assert_all_home(&[owner, other], &blocks);
    });
}

/// The owner frees a block in the same instant as another thread does, and is handed it out again, while the page of
/// the other free's slot goes back: then that is recognised, at the latest when the slot comes home.
#[test]
fn of_two_frees_one_is_recognised_where_pages_go_back() {
    explore(|depot| {
        raced::count();
        let (owner, blocks) = heap_with::<1>(depot);
        let (other, []) = heap_with::<0>(depot);
        let slab = slab_of(owner, blocks[0]);
        let followed = show(&[owner, other], &blocks);
        let freeing = spawn(move || {
            let is_accepted = free_and_deliver(other, blocks[0]);
            give_back(depot, slab);
            is_accepted
        });
        let is_accepted = free(owner, blocks[0]);
        let block = allocate(owner, class()).expect("memory");
        write(block);
        let both = freeing.join().expect("it ends") && is_accepted;
        drop(followed);
        let is_kept = is_written(block);
        // The other free may have come when the block was handed out again: then it was a right one.
        let is_live = free(owner, block);
        owner.flush();
        let late = raced::count();
        assert_eq!(late > 0, both && is_live, "the second free is recognised, and nothing else");
        assert!(is_kept || both, "no page goes back under a block of somebody who made no mistake");
        assert_all_home(&[owner, other], &blocks);
    });
}
