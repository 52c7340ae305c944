//! A JSON document parsed to a value, serialised, parsed again into maps.

use core::fmt::Write as _;
use core::hash::BuildHasherDefault;
use std::collections::HashMap;
use std::hash::DefaultHasher;

use fastrand::Rng;
use serde_json::Value;

use super::Done;
use crate::block::or_broken;
use crate::measure::Meter;

/// Bytes of the full document.
const DOCUMENT_BYTES: usize = 20 << 20;

/// Records as maps; the hasher is fixed, so that every run does the same work.
type Record = HashMap<String, Value, BuildHasherDefault<DefaultHasher>>;

/// `real-json`: one operation is one byte in or out.
pub(super) fn json(scale: u64, meter: &mut Meter) -> Done {
    let document = document(DOCUMENT_BYTES / usize::try_from(scale).unwrap_or(usize::MAX).max(1));
    meter.time(|| {
        let value: Value =
            or_broken(serde_json::from_str(&document), "the document does not parse");
        let text = or_broken(serde_json::to_string(&value), "the value does not serialise");
        drop(value);
        let records: Vec<Record> =
            or_broken(serde_json::from_str(&text), "the text does not parse");
        let fields: usize = records.iter().map(HashMap::len).sum();
        let operations = (document.len() + 2 * text.len()) as u64;
        Done { operations, checksum: operations ^ ((records.len() << 32) ^ fields) as u64 }
    })
}

fn document(size_bytes: usize) -> String {
    let mut rng = Rng::with_seed(0x750);
    let mut text = String::with_capacity(size_bytes + 1_024);
    text.push('[');
    while text.len() < size_bytes {
        if text.len() > 1 {
            text.push(',');
        }
        push_record(&mut text, &mut rng);
    }
    text.push(']');
    text
}

fn push_record(text: &mut String, rng: &mut Rng) {
    let id = rng.u32(..);
    let name = word(rng);
    // Writing to a String cannot fail.
    let _ =
        write!(text, r#"{{"id":{id},"name":"{name}","score":{:.3},"tags":["#, rng.f64() * 100.0);
    for place in 0..rng.usize(0..6) {
        let comma = if place == 0 { "" } else { "," };
        let _ = write!(text, r#"{comma}"{}""#, word(rng));
    }
    let _ = write!(
        text,
        r#"],"address":{{"street":"{} {}","city":"{}"}}"#,
        word(rng),
        rng.u8(..),
        word(rng)
    );
    if rng.bool() {
        let _ =
            write!(text, r#","note":"{} \u00e9 {}","active":{}"#, word(rng), word(rng), rng.bool());
    }
    text.push('}');
}

/// A word of 3-14 letters.
pub(super) fn word(rng: &mut Rng) -> String {
    (0..rng.usize(3..15)).map(|_| rng.lowercase()).collect()
}
