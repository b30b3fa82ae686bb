//! Whatever comes from outside, mutated: no parser panics, none takes for good what it would not print, and nothing
//! that cannot be read is taken for something else. `tests/corpus/<parser>/` is replayed as it is, and mutated by a
//! fixed seed; what once failed belongs there.

#![allow(unreachable_pub, reason = "nothing outside a test binary can reach it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]
#![allow(dead_code, reason = "the machine is shared with the lives, which need more of it")]

mod answers;
#[path = "../simulation/eg_here.rs"]
mod eg_here;
mod marks;
mod parsers;
mod rows;

use std::{fs, path::Path};

/// Mutations of each entry.
const ROUNDS: usize = 3000;

/// Tries every entry of a corpus as it is, then mutated.
pub fn each(corpus: &str, rounds: usize, check: impl Fn(&[u8])) {
    let entries = entries(corpus);
    assert!(!entries.is_empty(), "there is no corpus {corpus}");
    let mut dice = fastrand::Rng::with_seed(7);
    for entry in &entries {
        check(entry);
        for _ in 0..rounds {
            let mut bytes = entry.clone();
            for _ in 0..dice.usize(1..5) {
                mutate(&mut bytes, &entries, &mut dice);
            }
            check(&bytes);
        }
    }
}

/// The same for texts.
pub fn each_text(corpus: &str, check: impl Fn(&str)) {
    each(corpus, ROUNDS, |bytes| check(&String::from_utf8_lossy(bytes)));
}

/// What stands in a corpus.
pub fn entries(corpus: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(corpus);
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Pieces that parsers trip over.
const PIECES: [&str; 24] = [
    "0",
    "9",
    "-1",
    "99999999999999999999",
    "/",
    "|",
    "-",
    ":",
    "%",
    "\u{0}",
    "\u{7f}",
    "é",
    "\u{1F600}",
    "\u{202e}",
    " ",
    "\n",
    "\"",
    "[",
    "]",
    "<",
    ">",
    "&amp;",
    "h",
    "T",
];

fn mutate(bytes: &mut Vec<u8>, entries: &[Vec<u8>], dice: &mut fastrand::Rng) {
    let at = dice.usize(..=bytes.len());
    let to = dice.usize(at..=bytes.len().min(at + 12));
    match dice.u8(0..6) {
        0 => drop(bytes.drain(at..to)),
        1 => bytes.truncate(at),
        2 if at < bytes.len() => bytes[at] ^= 1 << dice.u8(0..8),
        3 => {
            let part = bytes[at..to].to_vec();
            bytes.splice(at..at, part);
        }
        4 => {
            let other = &entries[dice.usize(..entries.len())];
            let from = dice.usize(..=other.len());
            bytes.splice(at.., other[from..].iter().copied());
        }
        _ => drop(bytes.splice(at..to, PIECES[dice.usize(..PIECES.len())].bytes())),
    }
}
