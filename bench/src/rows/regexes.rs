//! Regular expressions and Aho-Corasick automata compiled and used.

use aho_corasick::AhoCorasick;
use fastrand::Rng;
use regex::Regex;

use super::Done;
use super::json::word;
use crate::block::or_broken;
use crate::measure::Meter;

/// Regexes compiled.
const REGEX_COUNT: u64 = 250;

/// Automata compiled, each of [`AUTOMATON_WORDS`] words.
const AUTOMATON_COUNT: u64 = 4;

/// Words of one automaton.
const AUTOMATON_WORDS: u64 = 4_000;

/// `real-regex`: one operation is one pattern compiled and used.
pub(super) fn regexes(scale: u64, meter: &mut Meter) -> Done {
    let mut rng = Rng::with_seed(0x4E6);
    let regex_count = (REGEX_COUNT / scale).max(2);
    let words_per_automaton = (AUTOMATON_WORDS / scale).max(2);
    let text: Vec<String> = (0..2_000).map(|_| word(&mut rng)).collect();
    let text = text.join(" ");
    let patterns: Vec<String> = (0..regex_count).map(|place| pattern(&mut rng, place)).collect();
    let words: Vec<Vec<String>> = (0..AUTOMATON_COUNT)
        .map(|_| (0..words_per_automaton).map(|_| word(&mut rng)).collect())
        .collect();
    let checksum = meter.time(|| {
        let mut matches = 0_u64;
        for (place, source) in (0_u64..).zip(&patterns) {
            let regex = or_broken(Regex::new(source), "a pattern does not compile");
            matches += (regex.find_iter(&text[..2_000]).count() as u64 + 1) * (place + 1);
        }
        for set in &words {
            let automaton = or_broken(AhoCorasick::new(set), "an automaton does not compile");
            matches = matches.wrapping_mul(31) + automaton.find_iter(&text).count() as u64;
        }
        matches
    });
    Done { operations: regex_count + AUTOMATON_COUNT * words_per_automaton, checksum }
}

fn pattern(rng: &mut Rng, place: u64) -> String {
    let (first, second, third) = (word(rng), word(rng), word(rng));
    match place % 5 {
        0 => format!("({first}|{second}|{third})[a-z]{{1,8}}"),
        1 => format!(r"(?i)\b{}\w*\b", &first[..2]),
        2 => format!("(?P<a>[{first}]+)(?P<b>[{second}]{{2,5}})(?P<c>{}?)", &third[..2]),
        3 => format!(r"(\d{{1,3}}\.){{3}}\d{{1,3}}|{second}\s+{third}"),
        _ => format!("(?:{}|{})+ ?[^{}]{{1,4}}$", &first[..2], &second[..2], &third[..1]),
    }
}
