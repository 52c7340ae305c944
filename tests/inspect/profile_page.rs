//! The page with a profile in a real browser: headless chromium clicks on the flame graph, searches it, chooses rows of
//! the table, colours the map by sites, and looks at growth; light and dark, wide and narrow. The profile is that of a
//! server with a leak.
//!
//! Without chromium (`apt-get install chromium`) the browser's cases are counted as ignored.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../helpers/mod.rs"]
mod helpers;

use core::cell::OnceCell;
use core::time::Duration;
use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;

use helpers::browser::{open, probe, with_browser};
use helpers::folders::folder;
use helpers::server::serve;
use helpers::trials::{Answer, Case, Trials, shown};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// What the browser is asked to do with the page. Each line of the answer begins with its name.
const PROBE: &str = r##"
<script>
const answer = [];
const say = (...parts) => answer.push(parts.join("\t").replaceAll("\n", "; "));
const key = (name) => flame.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
const frames = () => [...flame.querySelectorAll(".frame")];
const frameOf = (name) => frames().find((box) => box.getAttribute("aria-label").startsWith(name + ": "));
const countMarked = () => flame.querySelectorAll(".marked").length;
const countMatches = () => flame.querySelectorAll(".match").length;
const litSamples = () => marks.dataset.lit;
const searchFor = (name) => {
  $("function").value = name;
  $("function").dispatchEvent(new Event("input"));
};
const colourSums = () => {
  // A copy is read, because the browser warns of a canvas that is read twice.
  const copy = new OffscreenCanvas(map.width, map.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(map, 0, 0);
  const pixels = copy.getImageData(0, 0, map.width, map.height).data;
  const sums = new Set();
  for (let i = 0; i < pixels.length; i += 4) sums.add(pixels[i] << 16 | pixels[i + 1] << 8 | pixels[i + 2]);
  return sums;
};
say("width", document.documentElement.scrollWidth, document.documentElement.clientWidth, window.innerWidth);
say("known", $("known").textContent);
say("boxes", frames().length, frames().filter((box) => box.tabIndex === 0).length);
const leaking = P.sites.find((site) => site[10]);
const own = P.names[leaking[1]];
searchFor(own);
say("search", countMatches(), $("matched").textContent);
searchFor("");
say("cleared", countMatches(), $("matched").textContent);
frameOf(own).dispatchEvent(new MouseEvent("click", { bubbles: true }));
say("click", litSamples(), countMarked(), $("picked").textContent);
$("next").click();
say("next", $("found").textContent);
key("Escape");
say("escape", litSamples(), frames().length, $("next").hidden);
key("ArrowDown");
say("down", frames().filter((box) => box.tabIndex === 0).length, current.text);
key("Enter");
say("enter", focus.text);
$("whole").click();
const suspects = [...$("sites").tBodies[0].rows].filter((row) => row.lastChild.textContent === "leak suspect");
say("suspects", suspects.length, suspects.map((row) => row.firstChild.textContent).join(" and "));
suspects[0].querySelector("button").click();
say("site", litSamples(), countMarked());
$("more").click();
say("table", $("sites").tBodies[0].rows.length, P.sites.length);
$("whole").click();
const before = colourSums().size;
document.querySelector("input[value=site]").click();
say("mode", before, colourSums().size, $("legend").textContent);
// Others may have been freed between the look and the picture.
const one = sampled.find((sample) => sample.site === P.sites.indexOf(leaking));
goTo(one.start);
say("block", countMarked(), $("found").textContent);
const labels = [...$("labels").tBodies[0].rows].map((row) => row.cells[0].textContent);
say("labels", $("labelled").hidden, labels.join(" and "));
$("labels").tBodies[0].rows[labels.indexOf("sessions")].querySelector("button").click();
say("label", litSamples(), $("found").textContent, $("labels").querySelectorAll(".lit").length);
const sessions = P.labels.findIndex((label) => label[0] === "sessions");
say("under", sampled.filter((sample) => sample.label === sessions).length);
document.querySelector("input[value=growth]").click();
say("growth", frames().length, $("known").textContent, frameOf(own) !== undefined);
document.querySelector("input[value=live]").click();
$("library").click();
say("own", flame.querySelectorAll(".library").length, frames().length);
$("library").click();
say("wide", document.documentElement.scrollWidth, document.documentElement.clientWidth, window.innerWidth);
const out = document.createElement("script");
out.type = "text/plain";
out.id = "answer";
out.textContent = "\n" + answer.join("\n") + "\n";
document.body.append(out);
</script>
"##;

thread_local! {
    /// The page of a server that leaks, which the cases share.
    static PAGE: OnceCell<String> = const { OnceCell::new() };
}

fn page() -> String {
    let make = || {
        GLOBAL.profile().start_with_seed(4 << 10, 0x9a6e);
        let mut before = None;
        let look = || before = Some(GLOBAL.profile().sites().unwrap());
        let _servers = serve(Duration::from_secs(1), true, look);
        let after = GLOBAL.profile().sites().unwrap();
        GLOBAL.profile().stop();
        let mut page = String::new();
        mems::snapshot().unwrap().write_html_with(&mut page, &after, before.as_ref()).unwrap();
        page
    };
    PAGE.with(|page| page.get_or_init(make).clone())
}

/// Nothing is fetched from elsewhere. Names of functions, which are data, are not looked at.
fn nothing_is_fetched() -> Result<Answer, String> {
    let page = page();
    let (before, names) = page.split_once("\"names\":[").ok_or("no names")?;
    let (names, behind) = names.split_once("],\n\"origins\"").ok_or("no end of the names")?;
    for word in ["http:", "https:", "//cdn", "@import", "src=", "url("] {
        let is_there = before.contains(word) || behind.contains(word);
        assert!(!is_there, "the page needs {word}");
    }
    // A name is text, and ends no element.
    assert!(!names.contains('<') && page.ends_with("</html>\n"));
    Ok(Answer::Passed(format!("{} KiB", page.len() >> 10)))
}

/// What each line of an answer says.
type Said = HashMap<String, Vec<String>>;

fn said(lines: &[String]) -> Said {
    let mut said = Said::new();
    for line in lines {
        let mut parts = line.split('\t').map(str::to_owned);
        said.insert(parts.next().unwrap(), parts.collect());
    }
    said
}

/// Whether the page did what it was asked for.
fn judge(said: &Said) -> Result<(), String> {
    let part = |name: &str, at: usize| said.get(name).and_then(|parts| parts.get(at));
    let text = |name, at| part(name, at).map_or("", String::as_str);
    let number = |name, at| text(name, at).parse::<usize>().unwrap_or(usize::MAX);
    let is_some = |name, at| (1..usize::MAX).contains(&number(name, at));
    let laws = [
        ("the sum is said", text("known", 0).contains(", stand for ")),
        ("boxes are drawn", (5..10_000).contains(&number("boxes", 0))),
        ("one box has the focus", number("boxes", 1) == 1 && number("down", 0) == 1),
        ("a search finds boxes", is_some("search", 0) && text("search", 1).contains("login: ")),
        ("an empty one none", number("cleared", 0) == 0 && text("cleared", 1).is_empty()),
        ("a click lights samples", is_some("click", 0)),
        ("a click says what it is", text("click", 2).contains("server::login: ")),
        ("there is a next sample", text("next", 0).contains("live block")),
        ("Escape ends that", text("escape", 2) == "true" && is_some("escape", 1)),
        ("keys move", !text("down", 1).is_empty() && text("down", 1) == text("enter", 0)),
        ("login is a suspect", is_some("suspects", 0)),
        ("a row lights samples", is_some("site", 0) && is_some("site", 1)),
        ("all rows are shown", number("table", 0) == number("table", 1)),
        ("sites have colours", is_some("mode", 1) && text("mode", 2).contains("login")),
        ("a block shows its stack", is_some("block", 0) && text("block", 1).contains("live")),
        (
            "labels are listed",
            text("labels", 0) == "false" && text("labels", 1).contains("sessions"),
        ),
        ("a label lights samples", is_some("label", 0) && number("label", 0) == number("under", 0)),
        (
            "and says how many",
            text("label", 1).starts_with("sessions: ") && number("label", 2) == 1,
        ),
        ("growth is drawn", is_some("growth", 0) && text("growth", 2) == "true"),
        ("growth is summed up", text("growth", 1).contains(" were added where memory grew")),
        ("libraries are folded", number("own", 0) == 0 && is_some("own", 1)),
        ("nothing is too wide", number("width", 0) <= number("width", 1)),
        ("nor at the end", number("wide", 0) <= number("wide", 1)),
    ];
    let broken: Vec<_> = laws.iter().filter(|law| !law.1).map(|law| law.0).collect();
    let suspects = text("suspects", 1).split(" and ");
    let others: Vec<_> = suspects.filter(|name| !name.contains("login")).collect();
    if broken.is_empty() && others.is_empty() {
        Ok(())
    } else {
        Err(format!("not so: {broken:?}, suspects: {others:?}; {said:#?}"))
    }
}

fn wide(browser: &Path, scheme: &str) -> Result<Answer, String> {
    let (lines, console) = probe(browser, &page(), PROBE, scheme);
    if !console.is_empty() || lines.is_empty() {
        return Err(format!("{} lines, console: {console}", lines.len()));
    }
    let said = said(&lines);
    judge(&said)?;
    Ok(Answer::Passed(format!("{} lines, boxes {}", lines.len(), said["boxes"][0])))
}

/// A window of 390 pixels, as telephones have it. The browser's own is wider, so it is a frame in a page.
fn narrow(browser: &Path) -> Result<Answer, String> {
    const OUTER: &str = "<!DOCTYPE html><html><body style=\"margin:0\">\
        <iframe id=\"inner\" src=\"inner.html\" style=\"border:0;width:390px;height:800px\"></iframe>\
        <script>const inner = document.getElementById('inner');\
        inner.onload = () => document.body.append(\
        inner.contentDocument.getElementById('answer').cloneNode(true));</script></body></html>";
    let folder = folder("narrow");
    let inner = page().replace("</body>", &format!("{PROBE}</body>"));
    std::fs::write(folder.join("inner.html"), inner).unwrap();
    let file = folder.join("outer.html");
    std::fs::write(&file, OUTER).unwrap();
    let opened = open(browser, &file, "1");
    let said = said(&opened.answer());
    if !opened.console.is_empty() || said.is_empty() {
        return Err(format!("{} lines, console: {}", said.len(), opened.console));
    }
    judge(&said)?;
    let widths = format!("widths {:?} and {:?}", said["width"], said["wide"]);
    shown(widths, said["width"][2] == "390")
}

/// An error in a page is heard: else silence would say nothing.
fn errors_are_heard(browser: &Path) -> Result<Answer, String> {
    let page = page().replace("\nstart();", "\nstart(); nothing.there();");
    let (_, console) = probe(browser, &page, "", "1");
    shown(console.clone(), console.contains("nothing is not defined"))
}

fn main() -> ExitCode {
    let cases: [(&str, Case); 5] = [
        ("nothing_is_fetched", nothing_is_fetched),
        ("errors_are_heard", || with_browser(errors_are_heard)),
        ("the_profile_is_drawn_light", || with_browser(|browser| wide(browser, "1"))),
        ("the_profile_is_drawn_dark", || with_browser(|browser| wide(browser, "0"))),
        ("the_profile_is_drawn_on_390_pixels", || with_browser(narrow)),
    ];
    let mut trials = Trials::alone();
    trials.cases(cases);
    trials.finish()
}
