//! Snapshot files: whatever the bytes, they are an error, or a snapshot that answers every question and is the same
//! when it is written and read again.
//!
//! If the first byte is odd the checksum behind the rest is made right, as in a file that somebody made up.
#![no_main]

#[path = "../../tests/helpers/signed.rs"]
mod signed;

use libfuzzer_sys::fuzz_target;
use mems::{IoText, Snapshot};
use signed::sign;

/// Places that are looked at one by one.
const PLACES: usize = 10_000;

/// Asks for everything that a snapshot can tell.
fn ask(snapshot: &Snapshot) {
    let mut end = 0;
    for place in snapshot.places().take(PLACES) {
        assert!(place.start >= end, "places are in address order and apart");
        end = place.start + place.size;
        let found = snapshot.find(place.start).expect("a place is found by its start");
        assert_eq!(found.start, place.start);
    }
    assert_eq!(snapshot.diff(snapshot).changes().count(), 0, "nothing has changed since itself");
    let mut text = String::new();
    snapshot.write_fragmentation(&mut text).expect("a string takes all");
    snapshot.stats().write_prometheus(&mut text).expect("a string takes all");
    snapshot.write_svg(&mut text).expect("a string takes all");
    snapshot.write_html(&mut text).expect("a string takes all");
    snapshot.write_json(&mut IoText::new(&mut std::io::sink())).expect("a sink takes all");
    let _ = (snapshot.stats(), snapshot.threads(), snapshot.classes().count());
}

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let mut file = rest.to_vec();
    if first % 2 == 1 {
        sign(&mut file);
    }
    let Ok(snapshot) = Snapshot::from_bytes(&file) else { return };
    ask(&snapshot);
    let mut again = Vec::new();
    snapshot.write_to(&mut again).expect("a vector takes all");
    let reread = Snapshot::from_bytes(&again).expect("what was written is read");
    assert_eq!(reread.stats(), snapshot.stats());
});
