//! The tour of the original MeMS: ten blocks, a write through an inner address, statistics, a free, the same request
//! again. Run it with `cargo run --release --example mems_tour`.

use mems::{MallocError, Mems, VirtAddr};

/// The size of a block: 250 integers of four bytes.
const BLOCK_BYTES: usize = 250 * size_of::<i32>();

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let mut heap = Mems::with_page_size(4096);

    println!("------- Allocated virtual addresses [mems_malloc] -------");
    let blocks = (0..10)
        .map(|_| heap.malloc(BLOCK_BYTES))
        .collect::<Result<Vec<VirtAddr>, MallocError>>()?;
    for block in &blocks {
        println!("Virtual address: {block}");
    }

    println!("------ Assigning a value through an inner address [mems_get] ------");
    let second_integer = blocks[0] + size_of::<i32>();
    heap.bytes_mut(second_integer).ok_or("a live block")?[..4]
        .copy_from_slice(&200_i32.to_ne_bytes());
    println!("Virtual address: {second_integer}\tPhysical address: {:?}", heap.get(second_integer));
    let view = heap.bytes(blocks[0]).ok_or("a live block")?;
    println!("Value written: {}", i32::from_ne_bytes(view[4..8].try_into()?));

    println!("--------- Printing stats [mems_print_stats] --------");
    heap.print_stats();

    println!("--------- Freeing up the memory [mems_free] --------");
    heap.free(blocks[3])?;
    heap.print_stats();
    let again = heap.malloc(BLOCK_BYTES)?;
    println!("The same request again: {again}");
    heap.print_stats();

    println!("--------- Freeing it twice --------");
    heap.free(again)?;
    if let Err(error) = heap.free(again) {
        println!("{error}");
    }

    heap.finish();
    println!("--------- Unmapping all memory [mems_finish] --------");
    heap.print_stats();
    Ok(())
}
