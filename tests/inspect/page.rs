//! The heap map in a real browser: headless chromium opens the page, points at blocks, searches, zooms, and says what
//! it saw; nothing may appear on its console, and its numbers are those of `stats()`.
//!
//! Without chromium (`apt-get install chromium`) the browser's cases are counted as ignored.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(unsafe_code, reason = "frees blocks by hand")]

#[path = "../helpers/mod.rs"]
mod helpers;

use std::path::Path;
use std::process::ExitCode;

use helpers::Rng;
use helpers::browser::{probe, with_browser};
use helpers::piece::{MEMS, Piece};
use helpers::trials::{Answer, Trials};
use mems::inspect::PlaceState;
use mems::{HeapStats, Snapshot, snapshot};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// What the browser is asked to do with the page, as a script behind the page's own. The answer stands in the page's
/// text when it is dumped.
const PROBE: &str = r#"
<script>
const answer = [];
const at = (group, address) => {
  const box = $("map").getBoundingClientRect();
  const clientX = box.left + xOf(address % rowBytes) + 0.2;
  const clientY = box.top + yOf(group, address) - scroller.scrollTop + 3;
  return { bubbles: true, clientX, clientY };
};
for (const address of ADDRESSES) {
  $("address").value = "0x" + address.toString(16);
  $("search").dispatchEvent(new Event("submit", { cancelable: true }));
  while (rowBytes > 4096 && !D.cell) zoom(1 / 2);
  goTo(address);
  const group = rows.find((r) => address >= r.s.start && address < r.s.end);
  map.dispatchEvent(new MouseEvent("mousemove", group ? at(group, address) : {}));
  answer.push([address, $("found").textContent, tip.hidden ? "" : tip.textContent]);
}
for (const mode of ["kind", "thread", "class"]) document.querySelector(`input[value=${mode}]`).click();
for (let i = 0; i < 40; i++) { $("out").click(); }
for (let i = 0; i < 60; i++) { $("in").click(); }
$("fit").click();
const drawn = new Set(map.getContext("2d").getImageData(0, 0, map.width, map.height).data).size;
const out = document.createElement("script");
out.type = "text/plain";
out.id = "answer";
out.textContent = "\n" + answer.map((a) => a.join("\t").replaceAll("\n", "; ")).join("\n") +
  `\ncolours\t${drawn}\trows\t${rows.length}\n`;
document.body.append(out);
</script>
"#;

/// Opens a page with the probe appended: the answer's lines, and what was on the console.
fn open(browser: &Path, page: &str, addresses: &[usize], scheme: &str) -> (Vec<String>, String) {
    probe(browser, page, &PROBE.replace("ADDRESSES", &format!("{addresses:?}")), scheme)
}

/// The sums that stand on a page.
fn assert_sums(page: &str, stats: &HeapStats) {
    let sums = [
        ("allocated", stats.allocated),
        ("active", stats.active),
        ("resident", stats.resident),
        ("mapped", stats.mapped),
        ("reserved", stats.reserved),
        ("metadata", stats.metadata),
        ("blocks", stats.blocks),
        ("holes", stats.holes),
        ("free", stats.free),
        ("largest_hole", stats.largest_hole),
        ("spans", stats.spans),
        ("slabs", stats.slabs),
        ("cached", stats.cached),
    ];
    for (name, value) in sums {
        let wanted = format!("id=\"stat-{name}\" data-value=\"{value}\"");
        assert!(page.contains(&wanted), "{wanted}");
    }
}

/// Blocks of all sizes, with holes between them.
fn fragments(count: usize, bits: usize) -> Vec<Piece> {
    let mut rng = Rng::announced("fragments", 0x9a6e);
    let mut live = Vec::with_capacity(count);
    for _ in 0..count {
        live.push(Piece::new(rng.size(bits), 8, 1).unwrap());
        if rng.once_in(2) {
            live.swap_remove(rng.below(live.len())).free();
        }
    }
    live
}

fn page_of(picture: &Snapshot) -> String {
    let mut page = String::new();
    picture.write_html(&mut page).unwrap();
    page
}

/// Numbers equal `stats()`, nothing is fetched from elsewhere.
fn page_is_whole() -> Result<Answer, String> {
    let live = fragments(2000, 16);
    let stats = MEMS.stats();
    let page = page_of(&snapshot().unwrap());
    assert_sums(&page, &stats);
    assert!(!page.contains("{{") && page.ends_with("</html>\n"));
    for word in ["http:", "https:", "//cdn", "@import", "src=", "url("] {
        assert!(!page.contains(word), "the page needs {word}");
    }
    let mut picture = String::new();
    snapshot().unwrap().write_svg(&mut picture).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    let opened = picture.matches("<rect ").count();
    assert!(opened > 20 && picture.matches("<title>").count() <= opened + 1);
    live.into_iter().for_each(Piece::free);
    Ok(Answer::Passed(format!(
        "page {} KiB, picture {} KiB",
        page.len() >> 10,
        picture.len() >> 10
    )))
}

/// Pointing at a byte of a block shows that block.
fn pointing_shows_the_block(browser: &Path, scheme: &str) -> Result<Answer, String> {
    let mut live = fragments(3000, 16);
    live.push(Piece::new(5 << 20, 8, 2).unwrap());
    let stats = MEMS.stats();
    let picture = snapshot().unwrap();
    let places: Vec<_> = picture.places().filter(|place| place.size >= 48).collect();
    let asked: Vec<_> = places.iter().step_by(places.len() / 60 + 1).chain(places.last()).collect();
    let largest = picture.blocks().max_by_key(|block| block.size).unwrap();
    let mut addresses: Vec<usize> =
        asked.iter().map(|place| place.start + place.size / 2).collect();
    addresses.extend([largest.start + 77, 0x1000]);
    let page = page_of(&picture);
    assert_sums(&page, &stats);
    let (answer, console) = open(browser, &page, &addresses, scheme);
    if !console.is_empty() || answer.len() != addresses.len() + 1 {
        return Err(format!(
            "{} of {} answers, console: {console}",
            answer.len(),
            addresses.len() + 1
        ));
    }
    for (line, address) in answer.iter().zip(&addresses) {
        let mut parts = line.split('\t').skip(1);
        let (found, tip) = (parts.next().unwrap(), parts.next().unwrap());
        let Some(place) = picture.find(*address) else {
            assert!(found.ends_with("was not memory of this heap"), "{line}");
            continue;
        };
        assert_eq!(found, tip, "{address:#x}: searching and pointing find the same");
        let state = match place.state {
            PlaceState::Live => "live block",
            PlaceState::Cached => "free slot, in a thread's cache",
            PlaceState::Free => "free slot",
            PlaceState::Tail => "tail behind the last slot",
            PlaceState::Hole | PlaceState::CleanHole | PlaceState::Between => "hole",
            other => panic!("{other:?} is new to this test"),
        };
        assert!(tip.starts_with(state), "{address:#x}: {tip}, not {state}");
        let wanted = format!("{:#x}, ", place.start);
        assert!(place.state == PlaceState::Tail || tip.contains(&wanted), "{tip}: {wanted}");
        let size = place.slot_bytes.map_or(format!("{} bytes", place.size), |slot| {
            format!("class of {slot} bytes, thread")
        });
        assert!(place.state == PlaceState::Tail || tip.contains(&size), "{tip}: {size}");
    }
    let colours = answer.last().and_then(|line| line.split('\t').nth(1)?.parse::<usize>().ok());
    assert!(colours > Some(20), "the map is drawn: {colours:?} values");
    live.into_iter().for_each(Piece::free);
    Ok(Answer::Passed(format!("{} addresses, {scheme}", addresses.len())))
}

/// An error in a page is heard: else silence would say nothing.
fn errors_are_heard(browser: &Path) -> Result<Answer, String> {
    let page = page_of(&snapshot().unwrap()).replace("fit();", "fit(); nothing.there();");
    let (_, console) = open(browser, &page, &[], "1");
    if console.contains("nothing is not defined") {
        Ok(Answer::Passed(String::new()))
    } else {
        Err(console)
    }
}

/// A heap of more blocks than a page shows one by one: cells with sums.
fn cells_of_a_large_heap(browser: &Path) -> Result<Answer, String> {
    // One block in three of 24 bytes: the slots' states alone are more than the page spends on single blocks.
    let mut boxes: Vec<Option<Box<[u64; 3]>>> = Vec::with_capacity(32 << 20);
    boxes.extend((0..32_u64 << 20).map(|n| Some(Box::new([n; 3]))));
    for (index, place) in boxes.iter_mut().enumerate() {
        if index % 3 != 0 {
            *place = None;
        }
    }
    let stats = MEMS.stats();
    let picture = snapshot().unwrap();
    let page = page_of(&picture);
    assert_sums(&page, &stats);
    assert!(page.len() < 13 << 20, "{} bytes", page.len());
    let address =
        boxes[boxes.len() / 2 / 3 * 3].as_ref().map(|place| place.as_ptr().addr()).unwrap();
    let (answer, console) = open(browser, &page, &[address], "0");
    assert!(console.is_empty(), "{console}");
    let line = answer.first().ok_or("no answer")?;
    assert!(
        line.contains("live, ") && line.contains("mostly slots of 24 bytes, thread "),
        "{line}"
    );
    Ok(Answer::Passed(format!("{} MiB mapped, page {} KiB", stats.mapped >> 20, page.len() >> 10)))
}

fn main() -> ExitCode {
    let mut trials = Trials::alone();
    trials.case("page_is_whole", page_is_whole);
    let mut case = |name, run: fn(&Path) -> Result<Answer, String>| {
        trials.case(name, move || with_browser(run));
    };
    case("errors_are_heard", errors_are_heard);
    case("pointing_shows_the_block_light", |browser| pointing_shows_the_block(browser, "1"));
    case("pointing_shows_the_block_dark", |browser| pointing_shows_the_block(browser, "0"));
    if !cfg!(debug_assertions) {
        case("cells_of_a_large_heap", cells_of_a_large_heap);
    }
    trials.finish()
}
